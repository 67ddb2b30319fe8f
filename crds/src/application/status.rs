use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    ApplicationDestination, ApplicationSource, NamespaceMetadata, Operation, OperationInitiator,
    ResourceIgnoreDifferences, SourceHydrator,
};
use crate::time::Time;

/// What the controller has seen and done.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationStatus {
    /// Whether the cluster is as the source wants it.
    pub sync: Option<SyncStatus>,
    /// The worst health of the application's resources.
    pub health: Option<HealthStatus>,
    /// The application's resources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceStatus>,
    /// Syncs that succeeded, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<RevisionHistory>,
    /// Problems, sorted by type and message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ApplicationCondition>,
    /// The running or last operation.
    pub operation_state: Option<OperationState>,
    /// When the application was last compared with a fresh rendering.
    pub reconciled_at: Option<Time>,
    /// Obsolete form of `reconciledAt`.
    pub observed_at: Option<Time>,
    /// Kind of the source: `Directory`, `Kustomize`, `Helm` or `Plugin`.
    pub source_type: Option<String>,
    /// Kinds of several sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_types: Vec<String>,
    /// What the resources say at a glance.
    pub summary: Option<ApplicationSummary>,
    /// Where the health of single resources is kept: absent here, `appTree` elsewhere.
    pub resource_health_source: Option<String>,
    /// Namespace of the controller that owns the application.
    pub controller_namespace: Option<String>,
    /// State of the rendered-manifests pattern.
    pub source_hydrator: Option<SourceHydratorStatus>,
    /// What only Sluice knows: which revision is wanted, allowed and served, and what is quarantined.
    pub sluice: Option<SluiceStatus>,
}

/// Which revision is wanted, allowed and served, and what is quarantined.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SluiceStatus {
    /// Commit that Git wants.
    pub desired: Option<String>,
    /// Commit that sync has allowed. For quarantined scopes the last healthy commit counts instead.
    pub admitted: Option<String>,
    /// Commit whose content the stable version serves; differs from `admitted` while a canary runs and after an abort.
    pub effective: Option<String>,
    /// The last commit at which the application was synced and healthy.
    pub last_healthy: Option<LastHealthy>,
    /// Content that failed and is not applied again, newest last; at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<QuarantineEntry>,
    /// How many of the quarantine entries hold something back at this moment.
    pub quarantined: Option<u32>,
    /// `metadata.generation` that this status is about.
    pub observed_generation: Option<i64>,
    /// When the source was last asked for a revision.
    pub fetched_at: Option<Time>,
    /// Objects that self-heal put right lately, and how often; the limit is 5 times in 10 minutes for each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub self_heal: Vec<SelfHealAttempts>,
}

/// How often self-heal put one object right.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SelfHealAttempts {
    /// The object: `group/Kind/namespace/name`.
    pub resource: String,
    /// Attempts since it was last left alone for 10 minutes.
    pub attempts: u32,
    /// The last attempt.
    pub at: Option<Time>,
}

/// The last commit at which the application was synced and healthy.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LastHealthy {
    /// Commit.
    pub revision: String,
    /// When it was first seen healthy.
    pub at: Option<Time>,
    /// Digest of what was rendered from it.
    pub digest: Option<String>,
    /// ConfigMap in the control namespace that keeps what was rendered from it.
    pub config_map: Option<String>,
}

/// Content that failed and is not applied again until it is released or changed.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct QuarantineEntry {
    /// API group of the resource that failed, such as `argoproj.io`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind of the resource that failed, such as `Rollout`.
    pub kind: String,
    /// Namespace of the resource that failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name of the resource that failed.
    pub name: String,
    /// Pod template hash of the failed content.
    pub template_hash: String,
    /// Digest of the failed content with the ConfigMaps and Secrets that it mentions.
    pub digest: Option<String>,
    /// Commit that brought it.
    pub revision: String,
    /// When it failed.
    pub at: Option<Time>,
    /// Why, in one word, such as `AnalysisFailed`, `ProgressDeadlineExceeded`, `HealthFailed` or `AbortedByUser`.
    pub reason: String,
    /// Why, in a sentence with the figures.
    pub message: Option<String>,
    /// AnalysisRun that shows it, in the resource's namespace.
    pub analysis_run: Option<String>,
    /// What was taken back with it: `rollout`, `application` or `hold`.
    pub scope: Option<String>,
    /// Commit whose content is applied instead.
    pub replaced_by: Option<String>,
    /// Whether Git wants something else by now. The same content is refused again if it comes back.
    pub moot: Option<bool>,
}

/// Whether the cluster is as the source wants it.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStatus {
    /// `Synced`, `OutOfSync` or `Unknown`.
    pub status: SyncStatusCode,
    /// Commit that was compared with.
    pub revision: Option<String>,
    /// Commits that were compared with, for several sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<String>,
    /// What was compared.
    pub compared_to: Option<ComparedTo>,
}

/// The part of the spec that a comparison was made with.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ComparedTo {
    /// Source.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub source: Option<ApplicationSource>,
    /// Sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::any_objects")]
    pub sources: Vec<ApplicationSource>,
    /// Destination.
    pub destination: ApplicationDestination,
    /// Differences that did not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::any_objects")]
    pub ignore_differences: Vec<ResourceIgnoreDifferences>,
}

/// Result of a comparison.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum SyncStatusCode {
    /// The cluster is as wanted.
    Synced,
    /// The cluster differs.
    OutOfSync,
    /// The comparison failed or was not made yet.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Health of a resource or an application.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthStatus {
    /// `Healthy`, `Suspended`, `Progressing`, `Missing`, `Degraded` or `Unknown`.
    pub status: HealthStatusCode,
    /// Why.
    pub message: Option<String>,
    /// When the status last changed.
    pub last_transition_time: Option<Time>,
}

/// Health, from best to worst as Argo CD orders it for the worst-of rule.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum HealthStatusCode {
    /// All is well.
    Healthy,
    /// Waits for somebody, such as a paused Rollout.
    Suspended,
    /// On its way.
    Progressing,
    /// Not in the cluster.
    Missing,
    /// Failed, or not on its way in time.
    Degraded,
    /// Nobody knows.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One resource of the application.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceStatus {
    /// API group; empty is the core group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped resources.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whether it is as wanted; absent for hooks.
    pub status: Option<SyncStatusCode>,
    /// Its health, where its kind has one.
    pub health: Option<HealthStatus>,
    /// Whether it is a hook.
    pub hook: Option<bool>,
    /// Whether it left the source and awaits deletion.
    pub requires_pruning: Option<bool>,
    /// Whether its deletion awaits an approval.
    pub requires_deletion_confirmation: Option<bool>,
    /// Its sync wave.
    pub sync_wave: Option<i64>,
}

/// A sync that succeeded.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RevisionHistory {
    /// Number, counted up by one.
    pub id: i64,
    /// Commit.
    pub revision: Option<String>,
    /// Commits, for several sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<String>,
    /// When the sync ended.
    pub deployed_at: Option<Time>,
    /// When the sync began.
    pub deploy_started_at: Option<Time>,
    /// Source as it was then.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub source: Option<ApplicationSource>,
    /// Sources as they were then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::any_objects")]
    pub sources: Vec<ApplicationSource>,
    /// Who asked.
    pub initiated_by: Option<OperationInitiator>,
}

/// A problem of the application. Types that end in `Error` stop automated syncs.
#[skip_serializing_none]
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationCondition {
    /// Which problem, such as `ComparisonError` or `RevisionRejected`.
    #[serde(rename = "type")]
    pub condition_type: String,
    /// What failed, on what, and what to do.
    pub message: String,
    /// Since when.
    pub last_transition_time: Option<Time>,
}

/// The running or last operation.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationState {
    /// What was asked for.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub operation: Operation,
    /// How far it is. A retry that waits is `Running` with `finishedAt` set.
    pub phase: OperationPhase,
    /// What it waits for, or why it failed.
    pub message: Option<String>,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
    /// Number of retries so far.
    pub retry_count: Option<i64>,
    /// What the sync did.
    pub sync_result: Option<SyncOperationResult>,
}

/// How far an operation is.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum OperationPhase {
    /// On its way.
    Running,
    /// Asked to stop.
    Terminating,
    /// Ended: an object or hook failed.
    Failed,
    /// Ended: it could not be carried out.
    Error,
    /// Ended well.
    Succeeded,
    /// A phase that this version does not know, or none; counts as ended.
    #[default]
    #[serde(other)]
    Unknown,
}

impl OperationPhase {
    /// Returns whether the operation has ended.
    pub fn is_completed(self) -> bool {
        match self {
            Self::Running | Self::Terminating => false,
            Self::Failed | Self::Error | Self::Succeeded | Self::Unknown => true,
        }
    }
}

/// What a sync did.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncOperationResult {
    /// Commit.
    pub revision: String,
    /// Commits, for several sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<String>,
    /// Source that was used.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub source: Option<ApplicationSource>,
    /// Sources that were used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::any_objects")]
    pub sources: Vec<ApplicationSource>,
    /// Labels and annotations given to the namespace.
    pub managed_namespace_metadata: Option<NamespaceMetadata>,
    /// What happened to each resource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceResult>,
}

/// What a sync did to one resource.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceResult {
    /// API group; empty is the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped resources.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `Synced`, `SyncFailed`, `Pruned` or `PruneSkipped`.
    pub status: Option<String>,
    /// What the API server said.
    pub message: Option<String>,
    /// Kind of hook.
    pub hook_type: Option<String>,
    /// How far the hook is.
    pub hook_phase: Option<String>,
    /// Part of the sync: `PreSync`, `Sync`, `PostSync` or `SyncFail`.
    pub sync_phase: Option<String>,
    /// Images in the resource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

/// What the resources say at a glance.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSummary {
    /// URLs under which the application can be reached.
    #[serde(rename = "externalURLs", skip_serializing_if = "Vec::is_empty")]
    pub external_urls: Vec<String>,
    /// Images in use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Whether it holds Applications.
    pub is_app_of_apps: Option<bool>,
}

/// State of the rendered-manifests pattern.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceHydratorStatus {
    /// The last hydration that succeeded.
    pub last_successful_operation: Option<HydrateOperation>,
    /// The running or last hydration.
    pub current_operation: Option<HydrateOperation>,
    /// The last dry commit that was compared.
    pub last_compared_dry_revision: Option<String>,
}

/// One hydration: rendering the dry source and committing the result.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HydrateOperation {
    /// When it began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
    /// `Hydrating`, `Hydrated` or `Failed`.
    pub phase: Option<String>,
    /// Why it failed.
    pub message: Option<String>,
    /// Dry commit.
    #[serde(rename = "drySHA")]
    pub dry_sha: Option<String>,
    /// Commit of the rendered manifests.
    #[serde(rename = "hydratedSHA")]
    pub hydrated_sha: Option<String>,
    /// What was asked for.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub source_hydrator: Option<SourceHydrator>,
}
