//! `status` of an AnalysisRun.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::time::Time;

/// Phase of a run, a metric or a measurement.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
pub enum AnalysisPhase {
    /// Nothing measured yet.
    Pending,
    /// Being measured.
    Running,
    /// Good.
    Successful,
    /// Bad.
    Failed,
    /// Could not be measured.
    Error,
    /// Neither good nor bad.
    Inconclusive,
}

impl AnalysisPhase {
    /// Returns whether the phase is an end.
    pub fn is_completed(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Successful | Self::Failed | Self::Error | Self::Inconclusive => true,
        }
    }

    /// Returns the name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
            Self::Error => "Error",
            Self::Inconclusive => "Inconclusive",
        }
    }
}

/// What a run has found so far.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisRunStatus {
    /// Phase.
    pub phase: Option<AnalysisPhase>,
    /// Why.
    pub message: Option<String>,
    /// When the first assessment was made.
    pub started_at: Option<Time>,
    /// When it ended.
    pub completed_at: Option<Time>,
    /// Number of metrics by phase.
    pub run_summary: Option<RunSummary>,
    /// The same for dry runs.
    pub dry_run_summary: Option<RunSummary>,
    /// Each metric.
    pub metric_results: Option<Vec<MetricResult>>,
}

/// Number of metrics by phase.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RunSummary {
    /// All.
    pub count: Option<i32>,
    /// Successful ones, and those still good.
    pub successful: Option<i32>,
    /// Failed ones.
    pub failed: Option<i32>,
    /// Inconclusive ones.
    pub inconclusive: Option<i32>,
    /// Errored ones.
    pub error: Option<i32>,
}

/// What one metric has found so far.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricResult {
    /// Name.
    pub name: String,
    /// Phase.
    pub phase: Option<AnalysisPhase>,
    /// Last measurements, oldest first.
    pub measurements: Option<Vec<Measurement>>,
    /// Why.
    pub message: Option<String>,
    /// Measurements that gave a verdict (errors do not count).
    pub count: Option<i32>,
    /// Successful ones.
    pub successful: Option<i32>,
    /// Failed ones.
    pub failed: Option<i32>,
    /// Inconclusive ones.
    pub inconclusive: Option<i32>,
    /// Errors.
    pub error: Option<i32>,
    /// Errors in a row.
    pub consecutive_error: Option<i32>,
    /// Successes in a row.
    pub consecutive_success: Option<i32>,
    /// Whether it does not count.
    pub dry_run: Option<bool>,
    /// What the provider says about the metric.
    pub metadata: Option<BTreeMap<String, String>>,
}

/// One measurement.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Measurement {
    /// Verdict.
    pub phase: Option<AnalysisPhase>,
    /// Why.
    pub message: Option<String>,
    /// Start.
    pub started_at: Option<Time>,
    /// End.
    pub finished_at: Option<Time>,
    /// Value as text.
    pub value: Option<String>,
    /// What the provider says about it.
    pub metadata: Option<BTreeMap<String, String>>,
    /// When an unfinished one is taken up again.
    pub resume_at: Option<Time>,
}
