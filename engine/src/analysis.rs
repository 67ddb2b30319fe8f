//! Analysis: what a run measures, and what its measurements mean.
//!
//! [`arguments`] makes the spec of a run from templates; [`judge`] turns measurements into phases. Both are used by the
//! AnalysisRun's reconciler and by the Rollout's, so that an abort does not wait for a status to be written. [`jobs`] are metrics that
//! are measured by Kubernetes itself.

pub mod arguments;
pub mod jobs;
pub mod judge;
pub mod named;
