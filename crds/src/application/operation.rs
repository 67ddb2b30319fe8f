use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{ApplicationSource, Info, RetryStrategy};

/// What somebody asked the controller to do, once. Writing it starts a sync; the controller removes it at the end.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// A sync, with its options.
    pub sync: Option<SyncOperation>,
    /// Who asked.
    pub initiated_by: Option<OperationInitiator>,
    /// Notes for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub info: Vec<Info>,
    /// How a failure is retried.
    pub retry: Option<RetryStrategy>,
}

/// A sync, with its options.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncOperation {
    /// Revision to sync to. Default: that of the source.
    pub revision: Option<String>,
    /// Revisions to sync to, for several sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<String>,
    /// Whether objects that left the source are deleted. Default false.
    pub prune: Option<bool>,
    /// Whether nothing is written. Default false.
    pub dry_run: Option<bool>,
    /// How objects are applied. Default: with hooks.
    pub sync_strategy: Option<SyncStrategy>,
    /// Only these objects; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<SyncOperationResource>,
    /// Source to use in place of the application's, for a rollback.
    pub source: Option<ApplicationSource>,
    /// Sources to use in place of the application's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<ApplicationSource>,
    /// Manifests to apply in place of the source's, for development.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<String>,
    /// Options of the form `Key=value`, in place of the application's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sync_options: Vec<String>,
    /// How many times self-heal has tried this.
    pub auto_heal_attempts_count: Option<i64>,
}

/// How objects are applied: one of `apply` and `hook`.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStrategy {
    /// Plain, without hooks.
    pub apply: Option<SyncStrategyForce>,
    /// With hooks.
    pub hook: Option<SyncStrategyForce>,
}

/// Whether objects are replaced where they cannot be changed.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStrategyForce {
    /// Whether an object that cannot be changed is deleted and created anew. Default false.
    pub force: Option<bool>,
}

/// One object that a selective sync is about.
#[skip_serializing_none]
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncOperationResource {
    /// API group; empty is the core group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind.
    #[schemars(extend("x-required" = true))]
    pub kind: String,
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Namespace; absent is any.
    pub namespace: Option<String>,
}

/// Who asked for an operation.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationInitiator {
    /// User, as authenticated.
    pub username: Option<String>,
    /// Whether it was the controller itself.
    pub automated: Option<bool>,
}
