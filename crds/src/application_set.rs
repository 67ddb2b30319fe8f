//! ApplicationSet: Applications made from a template and lists of parameters (Argo CD).
//!
//! Templates that belong to a single generator, and generators nested deeper than one level, are kept as written: the API
//! server cannot describe a kind that holds itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::application::ApplicationSpec;
use crate::intstr::IntOrString;
use crate::object::Record;
use crate::rollout::LabelSelectorRequirement;
use crate::time::Time;

mod generators;
mod repositories;

pub use generators::*;
pub use repositories::*;

/// An ApplicationSet as stores keep it.
pub type ApplicationSetRecord = Record<ApplicationSetSpec, ApplicationSetStatus>;

/// Where the parameters come from, and what is made of them.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSetSpec {
    /// Where the parameters come from; the results of all are joined.
    pub generators: Vec<Generator>,
    /// The Application made of each set of parameters.
    pub template: ApplicationSetTemplate,
    /// A patch that is rendered and merged into each Application; also reaches fields that are not strings.
    pub template_patch: Option<String>,
    /// Whether templates are Go templates. Default false: `{{name}}` only.
    pub go_template: Option<bool>,
    /// Options of Go templates, such as `missingkey=error`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub go_template_options: Vec<String>,
    /// What may happen to the Applications.
    pub sync_policy: Option<ApplicationSetSyncPolicy>,
    /// In which order the Applications are synced and deleted.
    pub strategy: Option<ApplicationSetStrategy>,
    /// Labels and annotations of the Applications that are left alone.
    pub preserved_fields: Option<PreservedFields>,
    /// Fields of the Applications that are left alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_application_differences: Vec<IgnoreApplicationDifferences>,
    /// Ignored: selectors of nested generators always apply.
    pub apply_nested_selectors: Option<bool>,
}

/// The Application made of each set of parameters.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSetTemplate {
    /// Metadata of the Application.
    pub metadata: ApplicationSetTemplateMeta,
    /// Spec of the Application.
    pub spec: ApplicationSpec,
}

/// Metadata of the Application made of each set of parameters.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSetTemplateMeta {
    /// Name.
    pub name: Option<String>,
    /// Namespace. Default: that of the ApplicationSet.
    pub namespace: Option<String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Finalizers. Default: the one that deletes the resources with the Application.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
}

/// What may happen to the Applications.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSetSyncPolicy {
    /// Whether deleting an Application leaves its resources. Default false.
    pub preserve_resources_on_deletion: Option<bool>,
    /// `create-only`, `create-update`, `create-delete` or `sync`. Default `sync`.
    pub applications_sync: Option<String>,
}

/// In which order the Applications are synced and deleted.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSetStrategy {
    /// `AllAtOnce` or `RollingSync`. Default `AllAtOnce`.
    #[serde(rename = "type")]
    pub strategy_type: Option<String>,
    /// Steps of a `RollingSync`.
    pub rolling_sync: Option<RollingSync>,
    /// `AllAtOnce` or, only with `RollingSync`, `Reverse`. Default `AllAtOnce`.
    pub deletion_order: Option<String>,
}

/// Steps of a rolling sync.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingSync {
    /// Steps; the next begins when all Applications of the ones before are healthy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<RollingSyncStep>,
}

/// A step of a rolling sync.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingSyncStep {
    /// Labels of the Applications in this step; operators `In` and `NotIn`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
    /// How many are synced at once: a number, or a percentage of the step. Default all; 0 starts none.
    pub max_update: Option<IntOrString>,
}

/// Labels and annotations of the Applications that are left alone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PreservedFields {
    /// Annotations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<String>,
    /// Labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// Fields of the Applications that are left alone.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IgnoreApplicationDifferences {
    /// Application; absent is any.
    pub name: Option<String>,
    /// JSON pointers (RFC 6901) to the fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub json_pointers: Vec<String>,
    /// jq paths to the fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jq_path_expressions: Vec<String>,
}

/// What has come of an ApplicationSet.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSetStatus {
    /// `ErrorOccurred`, `ParametersGenerated`, `ResourcesUpToDate`, `RolloutProgressing`, `InvalidRolloutConfig`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ApplicationSetCondition>,
    /// The Applications, at most 5000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<crate::application::ResourceStatus>,
    /// How many Applications there are.
    pub resources_count: Option<i64>,
    /// Progress of a rolling sync.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub application_status: Vec<ApplicationSetApplicationStatus>,
    /// The worst health of the Applications.
    pub health: Option<crate::application::HealthStatus>,
}

/// A condition of an ApplicationSet.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSetCondition {
    /// Which.
    #[serde(rename = "type")]
    pub condition_type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Reason, one word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// When the status last changed.
    pub last_transition_time: Option<Time>,
}

/// Progress of one Application in a rolling sync.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSetApplicationStatus {
    /// Application.
    pub application: String,
    /// `Waiting`, `Pending`, `Progressing` or `Healthy`.
    pub status: String,
    /// Step, counted from 1, as text; `-1`: in no step.
    pub step: String,
    /// Revisions wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_revisions: Vec<String>,
    /// Why.
    pub message: String,
    /// When the status last changed.
    pub last_transition_time: Option<Time>,
}
