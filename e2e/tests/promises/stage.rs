//! One controller for all promises, and the words in which they speak about one Rollout.

pub(crate) use sluice_e2e::stage::*;
