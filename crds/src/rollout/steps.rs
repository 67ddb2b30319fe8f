//! `spec.strategy.canary.steps[]` of a Rollout.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::analysis::{DryRun, MeasurementRetention};
use crate::intstr::IntOrString;
use crate::rollout::LabelSelector;
use crate::rollout::strategy::PodMetadata;
use crate::schema::any_value;

/// One step. Exactly one field should be set; `setWeight` may carry `duration` (superset).
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryStep {
    /// Share of traffic for the canary, 0..=`maxTrafficWeight` (default 100).
    #[schemars(range(min = 0))]
    pub set_weight: Option<i32>,
    /// Superset: beside `setWeight`, a pause that follows it.
    pub duration: Option<IntOrString>,
    /// Waits for a time, or for the user.
    pub pause: Option<Pause>,
    /// Sets the canary's size apart from its weight; only with a router.
    pub set_canary_scale: Option<SetCanaryScale>,
    /// Runs analysis and waits for its verdict.
    pub analysis: Option<RolloutAnalysis>,
    /// Runs an Experiment and waits for its verdict.
    pub experiment: Option<ExperimentStep>,
    /// Sends requests with given headers to the canary.
    pub set_header_route: Option<SetHeaderRoute>,
    /// Copies requests to the canary.
    pub set_mirror_route: Option<SetMirrorRoute>,
    /// Runs a step plugin.
    pub plugin: Option<PluginStep>,
}

impl CanaryStep {
    /// Returns the length of the step's pause: `None` for no pause, `Some(None)` for one without end, also for a text that is no
    /// duration, which validation refuses before. A plain number is seconds.
    pub fn pause_length(&self) -> Option<Option<TimeDelta>> {
        let length = |duration: &IntOrString| {
            let length = match duration {
                IntOrString::Int(seconds) => TimeDelta::try_seconds(*seconds)?,
                IntOrString::String(text) => crate::duration::parse_or_seconds(text).ok()?,
            };
            (length >= TimeDelta::zero()).then_some(length)
        };
        match (&self.pause, &self.duration) {
            (Some(pause), _) => Some(pause.duration.as_ref().and_then(length)),
            (None, Some(duration)) => Some(length(duration)),
            (None, None) => None,
        }
    }
}

/// A pause. Without a duration it waits for `promote`.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Pause {
    /// Seconds, or a Go duration such as `5m`.
    pub duration: Option<IntOrString>,
}

/// Size of the canary apart from its weight: one of the three.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SetCanaryScale {
    /// A fixed number of Pods.
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// A percentage of `spec.replicas`.
    #[schemars(range(min = 0, max = 100))]
    pub weight: Option<i32>,
    /// Back to following the weight.
    pub match_traffic_weight: Option<bool>,
}

/// Which analysis to run.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutAnalysis {
    /// Templates; their metrics are joined.
    pub templates: Option<Vec<TemplateRef>>,
    /// Values of arguments.
    pub args: Option<Vec<AnalysisArgument>>,
    /// Metrics that are taken and do not count.
    pub dry_run: Option<Vec<DryRun>>,
    /// How many measurements to keep.
    pub measurement_retention: Option<Vec<MeasurementRetention>>,
    /// Metadata of the AnalysisRun.
    pub analysis_run_metadata: Option<PodMetadata>,
}

/// Names an AnalysisTemplate or ClusterAnalysisTemplate.
#[skip_serializing_none]
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateRef {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub template_name: String,
    /// Whether it is a ClusterAnalysisTemplate. Default false.
    pub cluster_scope: Option<bool>,
}

/// Value of one argument.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisArgument {
    /// Name of the argument.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// A literal.
    pub value: Option<String>,
    /// A value taken from the Rollout.
    pub value_from: Option<ArgumentSource>,
}

/// Where an argument's value comes from.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ArgumentSource {
    /// `Stable` or `Latest`: the pod-template-hash of that ReplicaSet.
    pub pod_template_hash_value: Option<String>,
    /// A field of the Rollout.
    pub field_ref: Option<FieldRef>,
}

/// A path into the Rollout.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldRef {
    /// Such as `metadata.labels['app']` or `spec.replicas`.
    #[schemars(extend("x-required" = true))]
    pub field_path: String,
}

/// An Experiment as a step.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentStep {
    /// The sets to run.
    #[schemars(extend("x-required" = true))]
    pub templates: Option<Vec<ExperimentTemplate>>,
    /// How long, once all are available.
    pub duration: Option<String>,
    /// Analyses of the experiment.
    pub analyses: Option<Vec<ExperimentAnalysis>>,
    /// Metrics that are taken and do not count.
    pub dry_run: Option<Vec<DryRun>>,
    /// Metadata of the AnalysisRuns.
    pub analysis_run_metadata: Option<PodMetadata>,
    /// Seconds before the sets are scaled down. Default 30.
    pub scale_down_delay_seconds: Option<i32>,
}

/// One set of an Experiment step.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentTemplate {
    /// Name of the set.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// `canary` or `stable`: whose Pod template it takes.
    #[schemars(extend("x-required" = true))]
    pub spec_ref: Option<String>,
    /// Size. Default 1.
    pub replicas: Option<i32>,
    /// Metadata of its Pods.
    pub metadata: Option<PodMetadata>,
    /// Selector; default that of the ReplicaSet.
    pub selector: Option<LabelSelector>,
    /// Share of traffic.
    pub weight: Option<i32>,
    /// Makes a Service for the set.
    pub service: Option<ExperimentService>,
}

/// A Service for a set of an Experiment.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ExperimentService {
    /// Name; default that of the ReplicaSet.
    pub name: Option<String>,
}

/// One analysis of an Experiment.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentAnalysis {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Template.
    #[schemars(extend("x-required" = true))]
    pub template_name: String,
    /// Whether it is a ClusterAnalysisTemplate.
    pub cluster_scope: Option<bool>,
    /// Values of arguments.
    pub args: Option<Vec<AnalysisArgument>>,
    /// Whether the Experiment waits for it.
    pub required_for_completion: Option<bool>,
}

/// Sends requests with given headers to the canary. Without `match` the route is removed.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SetHeaderRoute {
    /// A name listed in `managedRoutes`.
    pub name: String,
    /// Headers; entries are alternatives.
    #[serde(rename = "match")]
    pub matches: Option<Vec<HeaderMatch>>,
}

/// One header to match.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderMatch {
    /// Header.
    #[schemars(extend("x-required" = true))]
    pub header_name: String,
    /// Its value.
    #[schemars(extend("x-required" = true))]
    pub header_value: Option<StringMatch>,
}

/// Exactly one of the three.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// The whole value.
    pub exact: Option<String>,
    /// Its beginning.
    pub prefix: Option<String>,
    /// A regular expression.
    pub regex: Option<String>,
}

/// Copies requests to the canary. Without `match` the route is removed.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SetMirrorRoute {
    /// A name listed in `managedRoutes`.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Requests; entries are alternatives.
    #[serde(rename = "match")]
    pub matches: Option<Vec<RouteMatch>>,
    /// Share of requests to copy, in percent. Default 100.
    #[schemars(range(min = 0, max = 100))]
    pub percentage: Option<i32>,
}

/// Which requests to copy.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteMatch {
    /// Method.
    pub method: Option<StringMatch>,
    /// Path.
    pub path: Option<StringMatch>,
    /// Headers.
    pub headers: Option<BTreeMap<String, StringMatch>>,
}

/// A step plugin.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PluginStep {
    /// Name of the plugin.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Configuration, kept as written.
    #[schemars(schema_with = "any_value")]
    pub config: Option<serde_json::Value>,
}
