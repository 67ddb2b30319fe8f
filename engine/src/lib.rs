//! Decides what a Rollout, an Experiment or an AnalysisRun does next.
//!
//! The shape is one function: a view of the world in, a decision out ([`plan::Reconciler::decide`]). It cannot fail, waits
//! for nothing and reads no clock: `now` is a field of the view. Start with [`rollout`], the table of contents of the
//! product, then [`plan`] (the vocabulary) and [`fence`] (why a write is safe).
#![deny(missing_docs)]

/// Whether a defect is switched on, to see that the checks bite ([`seeds`]); never in a release.
#[cfg(debug_assertions)]
macro_rules! seeded {
    ($defect:ident) => {
        crate::seeds::is_on(crate::seeds::Defect::$defect)
    };
}
#[cfg(not(debug_assertions))]
macro_rules! seeded {
    ($defect:ident) => {
        false
    };
}

pub mod analysis;
pub mod analysis_run;
pub mod audit;
pub mod config;
pub mod experiment;
pub mod fence;
pub mod lease;
pub mod owned_fields;
pub mod plan;
pub mod report;
pub mod rollout;
#[cfg(debug_assertions)]
pub mod seeds;
pub mod traffic;
pub mod view;
