//! `spec.strategy` of a Rollout.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::steps::{CanaryStep, RolloutAnalysis};
use super::traffic_routing::TrafficRouting;
use crate::intstr::IntOrString;

/// How an update proceeds: exactly one of the two.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Strategy {
    /// Two full sets, switched at once.
    pub blue_green: Option<Box<BlueGreenStrategy>>,
    /// A share that grows step by step.
    pub canary: Option<Box<CanaryStrategy>>,
}

/// Labels and annotations put on Pods while they play a role.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodMetadata {
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Keeps new and stable Pods on different nodes: exactly one of the two.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AntiAffinity {
    /// A preference with a weight.
    pub preferred_during_scheduling_ignored_during_execution: Option<PreferredAntiAffinity>,
    /// A requirement.
    pub required_during_scheduling_ignored_during_execution: Option<RequiredAntiAffinity>,
}

/// Weight of the preference.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PreferredAntiAffinity {
    /// 1..=100.
    #[schemars(range(min = 1, max = 100))]
    pub weight: Option<i32>,
}

/// Requires different nodes; has no fields.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RequiredAntiAffinity {}

/// `spec.strategy.blueGreen`.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BlueGreenStrategy {
    /// Service of the users' traffic.
    #[schemars(extend("x-required" = true))]
    pub active_service: Option<String>,
    /// Service of the new version before the switch.
    pub preview_service: Option<String>,
    /// Size of the new version before promotion.
    pub preview_replica_count: Option<i32>,
    /// Switches without a word by the user. Default true.
    pub auto_promotion_enabled: Option<bool>,
    /// Seconds to wait before switching by itself.
    pub auto_promotion_seconds: Option<i32>,
    /// Used for restarts only. Default 25 %.
    pub max_unavailable: Option<IntOrString>,
    /// Seconds before the old version is scaled down. Default 30.
    pub scale_down_delay_seconds: Option<i32>,
    /// Old versions that may wait for the delay.
    pub scale_down_delay_revision_limit: Option<i32>,
    /// Seconds before an aborted new version is scaled down. Default 30; 0 keeps it.
    pub abort_scale_down_delay_seconds: Option<i32>,
    /// Analysis before the switch.
    pub pre_promotion_analysis: Option<RolloutAnalysis>,
    /// Analysis after the switch.
    pub post_promotion_analysis: Option<RolloutAnalysis>,
    /// Keeps new and old Pods apart.
    pub anti_affinity: Option<AntiAffinity>,
    /// Metadata of the new version's Pods before the switch.
    pub preview_metadata: Option<PodMetadata>,
    /// Metadata of the active version's Pods.
    pub active_metadata: Option<PodMetadata>,
}

/// `spec.strategy.canary`.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryStrategy {
    /// Service that reaches the canary's Pods; we set its selector.
    pub canary_service: Option<String>,
    /// Service that reaches the stable Pods; we set its selector.
    pub stable_service: Option<String>,
    /// Steps, in order. Without steps: a rolling update within surge and unavailability.
    pub steps: Option<Vec<CanaryStep>>,
    /// Traffic router. Without one, the share of traffic follows the share of Pods.
    pub traffic_routing: Option<Box<TrafficRouting>>,
    /// Pods that may be missing. Default 25 %, rounded down. A string is a percentage.
    pub max_unavailable: Option<IntOrString>,
    /// Pods above `replicas`. Default 25 %, rounded up. A string is a percentage.
    pub max_surge: Option<IntOrString>,
    /// Analysis that runs in the background of all steps.
    pub analysis: Option<BackgroundAnalysis>,
    /// Keeps new and old Pods apart.
    pub anti_affinity: Option<AntiAffinity>,
    /// Metadata of canary Pods.
    pub canary_metadata: Option<PodMetadata>,
    /// Metadata of stable Pods.
    pub stable_metadata: Option<PodMetadata>,
    /// Seconds before the former stable is scaled down. Default 30; only with a router.
    pub scale_down_delay_seconds: Option<i32>,
    /// Old versions that may wait for the delay.
    pub scale_down_delay_revision_limit: Option<i32>,
    /// Seconds before an aborted canary is scaled down. Default 30; 0 keeps it. Only with a router.
    pub abort_scale_down_delay_seconds: Option<i32>,
    /// Shrinks the stable set as traffic leaves it. Default false; only with a router.
    pub dynamic_stable_scale: Option<bool>,
    /// Two Services that swap roles.
    pub ping_pong: Option<PingPong>,
    /// Least size of a set that is not empty, at most `replicas`.
    pub min_pods_per_replica_set: Option<i32>,
    /// Share of Pods that must be available to go on. Default 100 %.
    pub replica_progress_threshold: Option<ReplicaProgressThreshold>,
}

/// Two Services that swap the canary and stable roles.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PingPong {
    /// One Service.
    #[schemars(extend("x-required" = true))]
    pub ping_service: String,
    /// The other.
    #[schemars(extend("x-required" = true))]
    pub pong_service: String,
}

/// Share of Pods that must be available to go on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaProgressThreshold {
    /// `Percent` or `Pods`.
    #[serde(rename = "type")]
    #[schemars(extend("x-required" = true))]
    pub kind: String,
    /// Percent 0..=100, or a number of Pods.
    #[schemars(extend("x-required" = true))]
    pub value: i32,
}

/// Analysis in the background of the steps.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackgroundAnalysis {
    /// Templates, arguments, dry runs, retention.
    #[serde(flatten)]
    pub analysis: RolloutAnalysis,
    /// Step index at which it starts. Default 0.
    #[schemars(range(min = 0))]
    pub starting_step: Option<i32>,
    /// Inline form (superset): how often the metrics are taken.
    pub interval: Option<String>,
    /// Inline form (superset): failures that abort.
    pub threshold: Option<i32>,
    /// Inline form (superset): named queries with their ranges.
    pub metrics: Option<Vec<InlineMetric>>,
}

/// A metric of the inline background analysis (superset, after Flagger).
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InlineMetric {
    /// Name of a query in the registry, such as `error-rate`.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Range in which the value counts as good.
    pub threshold_range: Option<ThresholdRange>,
    /// How often this metric is taken; overrides the block's.
    pub interval: Option<String>,
}

/// Bounds of a good value, both inclusive.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ThresholdRange {
    /// Least good value.
    pub min: Option<f64>,
    /// Greatest good value.
    pub max: Option<f64>,
}
