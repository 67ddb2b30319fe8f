//! Decides how an Application differs from its desired state and in what order to close the gap.
//!
//! One function, as in the engine: a view in, a decision out. Start with [`decide`], then [`hold`] (why a bad commit is never
//! applied again), [`compare`] and [`apply`] (whose field is whose), [`prune`] (what may be deleted).
#![deny(missing_docs)]

pub mod apply;
pub mod compare;
pub mod duration;
pub mod health;
pub mod key;
pub mod manifest;
pub mod track;
pub mod view;
