//! Rollout: a Deployment whose update is stepped, judged and taken back.
//!
//! Source: `spec-rollouts` section 1, Argo Rollouts v1.9. Field names and defaults are Argo's.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::object::Record;
use crate::time::Time;

pub mod status;
pub mod steps;
pub mod strategy;
pub mod traffic_routing;

pub use status::RolloutStatus;
pub use steps::{CanaryStep, RolloutAnalysis};
pub use strategy::{BlueGreenStrategy, CanaryStrategy, Strategy};
pub use traffic_routing::TrafficRouting;

/// A Rollout as stores keep it: pruned metadata, spec, status.
pub type RolloutRecord = Record<RolloutSpec, RolloutStatus>;

/// What a Rollout should be.
#[skip_serializing_none]
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "Rollout",
    plural = "rollouts",
    shortname = "ro",
    namespaced,
    status = "RolloutStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutSpec {
    /// Wanted Pods. Default 1; written back when absent, because an autoscaler needs a value.
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// Selects the Pods of this Rollout. Immutable; must match the template's labels.
    pub selector: Option<LabelSelector>,
    /// The Pod template, kept byte for byte: fields that we do not know survive.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub template: Option<serde_json::Value>,
    /// Takes the template from another workload instead.
    pub workload_ref: Option<WorkloadRef>,
    /// Seconds that a Pod must be ready to count as available. Default 0.
    #[schemars(range(min = 0))]
    pub min_ready_seconds: Option<i32>,
    /// How far back a rollback may skip the steps.
    pub rollback_window: Option<RollbackWindow>,
    /// How an update proceeds: exactly one of `canary` and `blueGreen`.
    pub strategy: Strategy,
    /// Old ReplicaSets to keep. Default 10.
    #[schemars(range(min = 0))]
    pub revision_history_limit: Option<i32>,
    /// Holds the Rollout where it is, at the user's word. Default false.
    pub paused: Option<bool>,
    /// Seconds without progress after which the update counts as stuck. Default 600; above `minReadySeconds`.
    #[schemars(range(min = 0))]
    pub progress_deadline_seconds: Option<i32>,
    /// Aborts the update when the progress deadline passes. Default false.
    pub progress_deadline_abort: Option<bool>,
    /// Restarts all Pods created before this instant.
    pub restart_at: Option<Time>,
    /// Retention of finished AnalysisRuns and Experiments.
    pub analysis: Option<AnalysisRetention>,
}

/// A label selector as Kubernetes has it.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels with the value that each must have.
    pub match_labels: Option<std::collections::BTreeMap<String, String>>,
    /// Further requirements.
    pub match_expressions: Option<Vec<LabelSelectorRequirement>>,
}

/// One requirement of a label selector.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelectorRequirement {
    /// Label key.
    #[schemars(extend("x-required" = true))]
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    #[schemars(extend("x-required" = true))]
    pub operator: String,
    /// Values for `In` and `NotIn`.
    pub values: Option<Vec<String>>,
}

/// A workload whose Pod template the Rollout takes over.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadRef {
    /// API version of the workload, such as `apps/v1`.
    pub api_version: Option<String>,
    /// `Deployment`, `ReplicaSet` or `PodTemplate`.
    pub kind: Option<String>,
    /// Name of the workload.
    pub name: Option<String>,
    /// `never`, `onsuccess` or `progressively`. Default `never`.
    pub scale_down: Option<String>,
}

/// How far back a rollback may skip the steps.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RollbackWindow {
    /// Number of revisions.
    #[schemars(range(min = 0))]
    pub revisions: Option<i32>,
}

/// Retention of finished AnalysisRuns and Experiments.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisRetention {
    /// Successful ones to keep. Default 5.
    #[schemars(range(min = 0))]
    pub successful_run_history_limit: Option<i32>,
    /// Failed, errored and inconclusive ones to keep. Default 5.
    #[schemars(range(min = 0))]
    pub unsuccessful_run_history_limit: Option<i32>,
}
