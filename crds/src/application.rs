//! Application: what of which Git, Helm or OCI source is wanted in which cluster and namespace (Argo CD).
//!
//! A superset of Argo CD's kind: what users' documents show and Argo drops silently is stored and acted on, or reported:
//! `kustomize.images` as objects, `syncPolicy.info`, `refreshInterval`, `notifications`, `health`, `rollback`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::object::Meta;

mod operation;
mod source;
mod status;
mod sync_policy;

pub use operation::*;
pub use source::*;
pub use status::*;
pub use sync_policy::*;

/// The destination server that means the cluster in which the controller runs.
pub const IN_CLUSTER_SERVER: &str = "https://kubernetes.default.svc";
/// The destination name that means the cluster in which the controller runs.
pub const IN_CLUSTER_NAME: &str = "in-cluster";

/// One observed Application. Unlike the other kinds it has a third part beside spec and status: `operation`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct ApplicationRecord {
    /// Pruned metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// The spec as the user wrote it.
    pub spec: ApplicationSpec,
    /// The status; its default while nobody has written one.
    #[serde(default)]
    pub status: ApplicationStatus,
    /// The operation that somebody asked for and the controller has not finished.
    #[serde(default)]
    pub operation: Option<Operation>,
}

/// What is wanted where, and how it may get there.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSpec {
    /// Project that this application belongs to and whose limits apply. Empty means `default`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub project: String,
    /// Where the manifests come from. Ignored if `sources` is not empty.
    pub source: Option<ApplicationSource>,
    /// Several sources, rendered one after the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<ApplicationSource>,
    /// Rendered-manifests pattern: a dry source, and the branch to which its rendered form is written. Replaces `source` and
    /// `sources`.
    pub source_hydrator: Option<SourceHydrator>,
    /// Cluster and namespace that the manifests are applied to.
    pub destination: ApplicationDestination,
    /// Whether and how the application is synced. Absent: only on request.
    pub sync_policy: Option<SyncPolicy>,
    /// Fields whose difference does not count. Ignored fields keep their live value in a sync.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_differences: Vec<ResourceIgnoreDifferences>,
    /// Notes for people; a value that is a URL becomes a link.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub info: Vec<Info>,
    /// Number of entries kept in `status.history`. Default 10; 0 keeps none.
    pub revision_history_limit: Option<i64>,
    /// How often the source is asked for a new revision, such as `1m` (Sluice). Default: the controller's, 120 s and up to 60 s
    /// of jitter. At least `1s`.
    pub refresh_interval: Option<String>,
    /// Who is told about what (Sluice). Argo's annotations `notifications.argoproj.io/subscribe.*` work as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<Notification>,
    /// Resources that must become healthy in time after a sync (Sluice).
    pub health: Option<HealthPolicy>,
    /// What is taken back when a revision turns out bad (Sluice).
    pub rollback: Option<RollbackPolicy>,
}

impl ApplicationSpec {
    /// Returns the project's name, with Argo's default for an empty one.
    pub fn project_name(&self) -> &str {
        if self.project.is_empty() { "default" } else { &self.project }
    }

    /// Returns the sources that count: `sources` if there are any, else `source`.
    pub fn effective_sources(&self) -> &[ApplicationSource] {
        if self.sources.is_empty() { self.source.as_slice() } else { &self.sources }
    }

    /// Returns whether new commits are synced without being asked for.
    pub fn is_automated(&self) -> bool {
        let automated = self.sync_policy.as_ref().and_then(|policy| policy.automated.as_ref());
        automated.is_some_and(|automated| automated.enabled != Some(false))
    }

    /// Returns whether live changes are undone. `SelfHeal=true` among the sync options counts as the field, where Argo ignores it.
    pub fn self_heals(&self) -> bool {
        self.is_automated()
            && self.sync_policy.as_ref().is_some_and(|policy| {
                policy.automated.as_ref().is_some_and(|a| a.self_heal == Some(true))
                    || policy.option("SelfHeal") == Some("true")
            })
    }
}

/// A cluster, by server or by name, and a namespace.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationDestination {
    /// URL of the cluster's API server; `https://kubernetes.default.svc` is the controller's own. Exactly one of `server` and
    /// `name` is needed.
    pub server: Option<String>,
    /// Name of the cluster as registered; `in-cluster` is the controller's own.
    pub name: Option<String>,
    /// Namespace for namespaced objects that name none.
    pub namespace: Option<String>,
}

impl ApplicationDestination {
    /// Returns whether the destination is the cluster in which the controller runs.
    pub fn is_in_cluster(&self) -> bool {
        match (self.server.as_deref(), self.name.as_deref()) {
            (Some(server), None | Some("")) => server.trim_end_matches('/') == IN_CLUSTER_SERVER,
            (None | Some(""), Some(name)) => name == IN_CLUSTER_NAME,
            _ => false,
        }
    }
}

/// A difference that does not count, by resource and by field.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceIgnoreDifferences {
    /// API group; empty is the core group, `*` is any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind; `*` is any.
    #[schemars(extend("x-required" = true))]
    pub kind: String,
    /// Name; absent is any.
    pub name: Option<String>,
    /// Namespace; absent is any.
    pub namespace: Option<String>,
    /// JSON pointers (RFC 6901) to the fields, such as `/spec/replicas`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub json_pointers: Vec<String>,
    /// jq paths to the fields, such as `.spec.template.spec.containers[].image`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jq_path_expressions: Vec<String>,
    /// Field managers whose fields do not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub managed_fields_managers: Vec<String>,
}

/// A note for people.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Info {
    /// What it is about.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// What it says; a URL becomes a link.
    #[schemars(extend("x-required" = true))]
    pub value: String,
}

/// One subscription to what happens to this application.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Notification {
    /// Notification service, such as `slack`.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Recipient in that service, such as a channel.
    pub destination: Option<String>,
    /// What to tell about: `OutOfSync`, `Synced`, `Degraded`, `Healthy`, `SyncFailed`, `SyncSucceeded`, `RolledBack`, or the name
    /// of a trigger.
    pub on: Option<String>,
    /// The same as `on`: YAML 1.1 readers, kubectl among them, turn the unquoted key `on` into `true`.
    #[serde(rename = "true")]
    pub on_as_read_by_yaml_1_1: Option<String>,
}

impl Notification {
    /// Returns what to tell about, whichever way the key was read.
    pub fn event(&self) -> Option<&str> {
        self.on.as_deref().or(self.on_as_read_by_yaml_1_1.as_deref())
    }
}

/// Resources that must become healthy in time after a sync.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthPolicy {
    /// The resources that are watched, each with its own limit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceHealthPolicy>,
}

/// How long one resource may stay short of healthy.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceHealthPolicy {
    /// Name of the resource.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Kind of the resource.
    #[schemars(extend("x-required" = true))]
    pub kind: String,
    /// API group; absent is any.
    pub group: Option<String>,
    /// How long after a sync it may stay at `healthLevel`, such as `5m`.
    pub timeout: Option<String>,
    /// The health at which the time counts: `Progressing` (default), `Degraded`, `Missing`, `Suspended` or `Unknown`.
    pub health_level: Option<String>,
}

/// What is taken back when a revision turns out bad.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RollbackPolicy {
    /// Whether the whole application goes back to the last healthy commit. Default false: only the failed Rollout, with the
    /// ConfigMaps and Secrets of the application that its template mentions.
    pub enabled: Option<bool>,
    /// Whether a health failure after a sync counts as a failed revision, as an aborted Rollout does. Default true if `enabled`.
    pub on_health_failure: Option<bool>,
    /// How many times one failing revision may be rolled back. Default 3.
    pub max_retries: Option<u32>,
    /// What goes back: `rollout`, `application`, or `hold` for nothing: the spec stays as it is, the stable version serves, as
    /// with Argo. Default: `application` if `enabled`, else `rollout`.
    pub scope: Option<String>,
}

#[cfg(test)]
mod tests;
