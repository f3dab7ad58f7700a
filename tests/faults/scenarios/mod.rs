//! What can happen to the store.

mod network;
mod replicated;
mod single;
