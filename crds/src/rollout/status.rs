//! `status` of a Rollout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::time::Time;

/// What a Rollout is. `abort`, `promoteFull`, `pauseConditions`, `controllerPause` and `currentStepIndex` are also
/// written by people (Argo's kubectl plugin and Argo CD's actions).
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// Asks to take the update back; stays until retry or a new template.
    pub abort: Option<bool>,
    /// When the abort was first acted on.
    pub aborted_at: Option<Time>,
    /// Why the Rollout is paused. Emptied by the user to resume.
    pub pause_conditions: Option<Vec<PauseCondition>>,
    /// Whether we added a pause. With an empty list: the user resumed.
    pub controller_pause: Option<bool>,
    /// Hash of the revision of `spec.template`.
    pub current_pod_hash: Option<String>,
    /// Hash of the steps; a change starts them anew.
    pub current_step_hash: Option<String>,
    /// Current step; equal to their number when all are done; absent without steps.
    pub current_step_index: Option<i32>,
    /// Pods of all ReplicaSets.
    pub replicas: Option<i32>,
    /// Pods of the current revision.
    pub updated_replicas: Option<i32>,
    /// Ready Pods.
    pub ready_replicas: Option<i32>,
    /// Available Pods.
    pub available_replicas: Option<i32>,
    /// Pods that an autoscaler should count.
    #[serde(rename = "HPAReplicas")]
    pub hpa_replicas: Option<i32>,
    /// Selector of those Pods, as a string.
    pub selector: Option<String>,
    /// Hash of the last fully promoted revision.
    #[serde(rename = "stableRS")]
    pub stable_rs: Option<String>,
    /// How often the hash met a foreign ReplicaSet.
    pub collision_count: Option<i32>,
    /// Generation that this status describes, in decimal.
    pub observed_generation: Option<String>,
    /// Generation of the referenced workload.
    pub workload_observed_generation: Option<String>,
    /// Conditions.
    pub conditions: Option<Vec<Condition>>,
    /// `Healthy`, `Degraded`, `Progressing` or `Paused`.
    pub phase: Option<String>,
    /// Why.
    pub message: Option<String>,
    /// Asks for full promotion at once.
    pub promote_full: Option<bool>,
    /// Last completed `spec.restartAt`.
    pub restarted_at: Option<Time>,
    /// State of a canary.
    pub canary: Option<CanaryStatus>,
    /// State of a blue-green update.
    pub blue_green: Option<BlueGreenStatus>,
    /// State of a load balancer.
    pub alb: Option<AlbStatus>,
    /// State of several load balancers.
    pub albs: Option<Vec<AlbStatus>>,
    /// How long the update takes.
    pub duration: Option<RolloutDuration>,
    /// What only Sluice records.
    pub sluice: Option<SluiceStatus>,
}

/// A reason to be paused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseCondition {
    /// `CanaryPauseStep`, `BlueGreenPause`, `InconclusiveAnalysisRun` or `InconclusiveExperiment`.
    pub reason: String,
    /// Since when.
    pub start_time: Time,
}

/// A condition.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When it was last confirmed.
    pub last_update_time: Option<Time>,
    /// When its status last changed.
    pub last_transition_time: Option<Time>,
    /// Reason, one word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// State of a canary.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryStatus {
    /// Last weights given to the router.
    pub weights: Option<TrafficWeights>,
    /// AnalysisRun of the current step.
    pub current_step_analysis_run_status: Option<AnalysisRunRef>,
    /// AnalysisRun in the background.
    pub current_background_analysis_run_status: Option<AnalysisRunRef>,
    /// Experiment of the current step.
    pub current_experiment: Option<String>,
    /// `ping` or `pong`: which Service is stable.
    pub stable_ping_pong: Option<String>,
    /// State of step plugins.
    pub step_plugin_statuses: Option<Vec<StepPluginStatus>>,
}

/// Weights given to a router.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficWeights {
    /// The canary's share.
    pub canary: WeightDestination,
    /// The stable share.
    pub stable: WeightDestination,
    /// Shares of experiments.
    pub additional: Option<Vec<WeightDestination>>,
    /// Whether the data plane confirmed them; absent where nobody can tell.
    pub verified: Option<bool>,
}

/// One destination and its share.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightDestination {
    /// Share, 0..=100.
    pub weight: i32,
    /// Service.
    pub service_name: Option<String>,
    /// Revision that it reaches.
    pub pod_template_hash: Option<String>,
}

/// An AnalysisRun and its phase.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisRunRef {
    /// Name.
    pub name: String,
    /// Phase.
    pub status: String,
    /// Message.
    pub message: Option<String>,
}

/// State of a blue-green update.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BlueGreenStatus {
    /// Hash that the preview Service selects.
    pub preview_selector: Option<String>,
    /// Hash that the active Service selects.
    pub active_selector: Option<String>,
    /// Whether the preview may grow to full size.
    pub scale_up_preview_check_point: Option<bool>,
    /// AnalysisRun before the switch.
    pub pre_promotion_analysis_run_status: Option<AnalysisRunRef>,
    /// AnalysisRun after the switch.
    pub post_promotion_analysis_run_status: Option<AnalysisRunRef>,
}

/// How long an update takes.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutDuration {
    /// Start.
    pub rollout_started_at: Option<Time>,
    /// Start of the manual pause that is on.
    pub manual_pause_started_at: Option<Time>,
    /// Seconds in manual pauses.
    pub total_manual_pause_duration_seconds: Option<i64>,
    /// End.
    pub finished_at: Option<Time>,
    /// `Promoted`, `FastPromoted`, `Aborted`, `Superseded`, `RolledBack` or `FastRolledBack`.
    pub completion_status: Option<String>,
}

/// What only Sluice records in a Rollout's status.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SluiceStatus {
    /// Attempt at the current revision: 1 at first, one more after each retry.
    pub attempt: Option<i64>,
    /// How often the stable revision changed.
    pub stable_seq: Option<i64>,
    /// Why the current attempt was aborted, with numbers.
    pub abort_cause: Option<String>,
    /// What the Rollout waits for, in words (`kubectl sluice why`).
    pub waiting: Option<Vec<String>>,
    /// When what a destination resolves to was last switched; weight may rise a confirmation later.
    pub switched_at: Option<Time>,
    /// When weight last left the stable or canary set; capacity may go a confirmation later.
    pub routed_at: Option<Time>,
    /// Last decision that changed traffic, in words.
    pub last_decision: Option<String>,
    /// `spec.replicas` for which the canary last had the available Pods that its weight needs. A greater `spec.replicas` means
    /// that the Rollout grows; fewer Pods than this asks for mean that some were lost.
    pub sized_for: Option<i64>,
    /// Whether a blue-green update goes back to a revision whose ReplicaSet still waited for its scale-down delay when the update
    /// began: it needs no pause and no analysis.
    pub fast_rollback: Option<bool>,
}

/// A load balancer, seen through its target groups.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AlbStatus {
    /// Ingress.
    pub ingress: Option<String>,
    /// Load balancer.
    pub load_balancer: Option<AwsResource>,
    /// Target group of the canary.
    pub canary_target_group: Option<AwsResource>,
    /// Target group of the stable version.
    pub stable_target_group: Option<AwsResource>,
}

/// A resource of AWS.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AwsResource {
    /// Name.
    pub name: Option<String>,
    /// ARN.
    pub arn: Option<String>,
    /// Full name.
    pub full_name: Option<String>,
}

/// State of a step plugin.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StepPluginStatus {
    /// Step.
    pub index: i32,
    /// Name of the plugin.
    pub name: String,
    /// `Run`, `Terminate` or `Abort`.
    pub operation: Option<String>,
    /// `Running`, `Successful`, `Failed` or `Error`.
    pub phase: Option<String>,
    /// Why.
    pub message: Option<String>,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it was last called.
    pub updated_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
    /// Time until the next call.
    pub backoff: Option<String>,
    /// Number of calls.
    pub executions: Option<i32>,
    /// Whether it was switched off.
    pub disabled: Option<bool>,
    /// What the plugin remembers.
    #[schemars(schema_with = "crate::schema::any_value")]
    pub status: Option<serde_json::Value>,
}
