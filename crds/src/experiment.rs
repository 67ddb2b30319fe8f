//! Experiment: versions that run side by side for a while, with analyses (Argo Rollouts).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

use crate::analysis::{AnalysisPhase, Argument, DryRun, MeasurementRetention};
use crate::object::Record;
use crate::rollout::LabelSelector;
use crate::rollout::status::Condition;
use crate::rollout::strategy::PodMetadata;
use crate::time::Time;

/// An Experiment as stores keep it.
pub type ExperimentRecord = Record<ExperimentSpec, ExperimentStatus>;

/// Which versions run side by side, for how long, and what judges them.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentSpec {
    /// Versions; names are unique.
    #[schemars(extend("x-required" = true))]
    pub templates: Vec<ExperimentTemplate>,
    /// How long the versions run once all are available, such as `1h`. Absent: until terminated or judged.
    pub duration: Option<String>,
    /// Seconds without progress after which a version counts as failed. Default 600; not below `minReadySeconds`.
    #[schemars(range(min = 0))]
    pub progress_deadline_seconds: Option<i32>,
    /// Ends the experiment. Default false.
    pub terminate: Option<bool>,
    /// Analyses that run once all versions are available.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub analyses: Vec<ExperimentAnalysis>,
    /// Seconds before versions are scaled down at the end. Default 30; 0 is at once.
    #[schemars(range(min = 0))]
    pub scale_down_delay_seconds: Option<i32>,
    /// Metrics that are taken and do not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dry_run: Vec<DryRun>,
    /// How many measurements to keep.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measurement_retention: Vec<MeasurementRetention>,
    /// Labels and annotations for the AnalysisRuns.
    pub analysis_run_metadata: Option<PodMetadata>,
}

/// One version.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentTemplate {
    /// Name, unique in the experiment.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Wanted Pods. Default 1.
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// Seconds that a Pod must be ready to count as available. Default 0.
    #[schemars(range(min = 0))]
    pub min_ready_seconds: Option<i32>,
    /// Selects the Pods of this version; must match the template's labels.
    #[schemars(extend("x-required" = true))]
    pub selector: LabelSelector,
    /// The Pod template, kept byte for byte.
    #[schemars(schema_with = "crate::schema::any_object")]
    #[schemars(extend("x-required" = true))]
    pub template: Value,
    /// Present: the version gets a Service of its own.
    pub service: Option<ExperimentService>,
}

/// A Service for one version.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentService {
    /// Name. Default: that of the ReplicaSet.
    pub name: Option<String>,
}

/// An analysis of an experiment.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentAnalysis {
    /// Name, unique in the experiment.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// AnalysisTemplate or ClusterAnalysisTemplate.
    #[schemars(extend("x-required" = true))]
    pub template_name: String,
    /// Whether it is a ClusterAnalysisTemplate. Default false.
    pub cluster_scope: Option<bool>,
    /// Arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,
    /// Whether the experiment ends when this analysis is successful. Default false.
    pub required_for_completion: Option<bool>,
}

/// What an experiment has come to.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentStatus {
    /// `Pending`, `Running`, `Successful`, `Failed`, `Error` or `Inconclusive`.
    pub phase: Option<AnalysisPhase>,
    /// Why.
    pub message: Option<String>,
    /// When all versions were available.
    pub available_at: Option<Time>,
    /// Each version.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub template_statuses: Vec<ExperimentTemplateStatus>,
    /// Each analysis.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub analysis_runs: Vec<ExperimentAnalysisRunStatus>,
    /// Conditions: `Progressing`, `InvalidSpec`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// State of one version.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentTemplateStatus {
    /// Name of the version.
    pub name: String,
    /// Pods.
    pub replicas: i32,
    /// Pods of the wanted template.
    pub updated_replicas: i32,
    /// Ready Pods.
    pub ready_replicas: i32,
    /// Available Pods.
    pub available_replicas: i32,
    /// How often the name met a foreign ReplicaSet.
    pub collision_count: Option<i32>,
    /// `Progressing`, `Running`, `Successful`, `Failed` or `Error`.
    pub status: Option<String>,
    /// Why.
    pub message: Option<String>,
    /// When the status last changed.
    pub last_transition_time: Option<Time>,
    /// Its Service.
    pub service_name: Option<String>,
    /// Hash of its template.
    pub pod_template_hash: Option<String>,
}

/// State of one analysis.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentAnalysisRunStatus {
    /// Name of the analysis.
    pub name: String,
    /// AnalysisRun.
    pub analysis_run: String,
    /// Its phase.
    pub phase: Option<AnalysisPhase>,
    /// Why.
    pub message: Option<String>,
}
