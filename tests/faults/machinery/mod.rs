//! Tests of what the scenarios are made of: servers, clusters, sentinels, the proxy between.

mod network;
mod servers;
