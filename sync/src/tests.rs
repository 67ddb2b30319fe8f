//! Promises of sync, on a small cluster in a value: what users see when they push, break, edit, delete and restart.

pub(crate) mod hold;
mod lifecycle;
mod ownership;
mod prune;
mod sync;
mod trouble;
pub(crate) mod world;
