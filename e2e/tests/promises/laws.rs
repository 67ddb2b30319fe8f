//! The laws of engine and sync over what the recorder saw.

pub(crate) use sluice_e2e::laws::check;
