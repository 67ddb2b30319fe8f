//! Decides what a Rollout, an Experiment or an AnalysisRun does next.
//!
//! The shape is one function: a view of the world in, a decision out ([`plan::Reconciler::decide`]). It cannot fail, waits
//! for nothing and reads no clock: `now` is a field of the view. Start with [`rollout`], the table of contents of the
//! product, then [`plan`] (the vocabulary) and [`fence`] (why a write is safe).
#![deny(missing_docs)]

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
pub mod traffic;
pub mod view;
