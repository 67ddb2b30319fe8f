//! Analysis: what a run measures, and what its measurements mean.
//!
//! [`arguments`] makes the spec of a run from templates; [`judge`] turns measurements into phases. Both are used by the
//! AnalysisRun's reconciler and by the Rollout's, so that an abort does not wait for a status to be written.

pub mod arguments;
pub mod judge;
