//! AnalysisTemplate, ClusterAnalysisTemplate and AnalysisRun.
//!
//! Source: `spec-rollouts` 1.8, 1.9 and 6.8, Argo Rollouts v1.9.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::intstr::IntOrString;
use crate::object::Record;
use crate::rollout::steps::{FieldRef, TemplateRef};

pub mod provider;
pub mod status;

pub use provider::Provider;
pub use status::{AnalysisPhase, AnalysisRunStatus, Measurement, MetricResult};

/// An AnalysisTemplate as stores keep it; a ClusterAnalysisTemplate has the same shape.
pub type AnalysisTemplateRecord = Record<AnalysisTemplateSpec, ()>;
/// An AnalysisRun as stores keep it.
pub type AnalysisRunRecord = Record<AnalysisRunSpec, AnalysisRunStatus>;

/// Metrics with arguments, to be run by Rollouts of the namespace.
#[skip_serializing_none]
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "AnalysisTemplate",
    plural = "analysistemplates",
    shortname = "at",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisTemplateSpec {
    /// Metrics; names are unique.
    pub metrics: Option<Vec<Metric>>,
    /// Arguments that the metrics use as `{{args.name}}`.
    pub args: Option<Vec<Argument>>,
    /// Metrics that are taken and do not count.
    pub dry_run: Option<Vec<DryRun>>,
    /// How many measurements to keep.
    pub measurement_retention: Option<Vec<MeasurementRetention>>,
    /// Further templates whose metrics are joined.
    pub templates: Option<Vec<TemplateRef>>,
}

/// Metrics with arguments, to be run by Rollouts of any namespace.
#[skip_serializing_none]
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "ClusterAnalysisTemplate",
    plural = "clusteranalysistemplates",
    shortname = "cat"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterAnalysisTemplateSpec {
    /// As in AnalysisTemplate.
    #[serde(flatten)]
    pub template: AnalysisTemplateSpec,
}

/// Metrics being measured.
#[skip_serializing_none]
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "AnalysisRun",
    plural = "analysisruns",
    shortname = "ar",
    namespaced,
    status = "AnalysisRunStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisRunSpec {
    /// Metrics.
    #[schemars(extend("x-required" = true))]
    pub metrics: Vec<Metric>,
    /// Arguments with their values.
    pub args: Option<Vec<Argument>>,
    /// Ends the run with the measurements so far.
    pub terminate: Option<bool>,
    /// Metrics that are taken and do not count.
    pub dry_run: Option<Vec<DryRun>>,
    /// How many measurements to keep.
    pub measurement_retention: Option<Vec<MeasurementRetention>>,
    /// When a finished run is deleted.
    pub ttl_strategy: Option<TtlStrategy>,
}

/// When a finished run is deleted, in seconds after its end.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TtlStrategy {
    /// For any end.
    pub seconds_after_completion: Option<i32>,
    /// For a failed run.
    pub seconds_after_failure: Option<i32>,
    /// For a successful run.
    pub seconds_after_success: Option<i32>,
}

/// One metric: a query, how often, and what counts as good.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Metric {
    /// Name, unique in a run.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Time between measurements, such as `30s`. Required if `count` is above 1.
    pub interval: Option<String>,
    /// Time before the first measurement.
    pub initial_delay: Option<String>,
    /// Measurements to take. Default 1 without interval, unbounded with one.
    pub count: Option<IntOrString>,
    /// Expression over `result` that must hold.
    pub success_condition: Option<String>,
    /// Expression over `result` that must not hold.
    pub failure_condition: Option<String>,
    /// Failed measurements that are tolerated. Default 0; -1 disables the limit.
    pub failure_limit: Option<IntOrString>,
    /// Inconclusive measurements that are tolerated. Default 0.
    pub inconclusive_limit: Option<IntOrString>,
    /// Errors in a row that are tolerated. Default 4.
    pub consecutive_error_limit: Option<IntOrString>,
    /// Successes in a row that end the metric as Successful. Default 0: off.
    pub consecutive_success_limit: Option<IntOrString>,
    /// Where the value comes from.
    #[schemars(extend("x-required" = true))]
    pub provider: Provider,
}

/// An argument of a template or run.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Argument {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Value; default of the template, or resolved.
    pub value: Option<String>,
    /// Where the value comes from.
    pub value_from: Option<ValueFrom>,
}

/// Where an argument's value comes from.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ValueFrom {
    /// A key of a Secret in the run's namespace.
    pub secret_key_ref: Option<SecretKeyRef>,
    /// A field of the Rollout.
    pub field_ref: Option<FieldRef>,
}

/// A key of a Secret.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Key in it.
    #[schemars(extend("x-required" = true))]
    pub key: String,
}

/// Metrics that are taken and do not count.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DryRun {
    /// Regular expression over metric names, unanchored.
    #[schemars(extend("x-required" = true))]
    pub metric_name: String,
}

/// How many measurements of matching metrics to keep.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MeasurementRetention {
    /// Regular expression over metric names, unanchored.
    #[schemars(extend("x-required" = true))]
    pub metric_name: String,
    /// Measurements to keep. Default 10.
    #[schemars(extend("x-required" = true))]
    pub limit: i32,
}
