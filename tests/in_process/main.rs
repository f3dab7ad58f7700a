//! The cache through its public API, within one process: no sockets but of a test or two, no
//! programs, no Redis. Each module is about one behaviour.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod basics;
mod collapsing;
mod consistency_kit;
mod credentials;
mod defaults;
mod entries;
mod freshness;
mod in_the_way;
mod invalidation;
mod keys;
mod layer_order;
mod ledger;
mod oracle;
mod ranges;
mod refresh;
mod simulation_found;
mod status;
mod store_contract;
mod storing;
mod streaming;
mod telemetry;
mod tower_shape;
mod validation;
mod values;
mod vary;
mod writes;
