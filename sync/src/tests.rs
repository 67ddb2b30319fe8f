//! Promises of sync, on a small cluster in a value: what users see when they push, break, edit, delete and restart.

mod hold;
mod ownership;
mod prune;
mod sync;
mod trouble;
mod world;
