//! Everything that a decision about one Application may look at, as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;
use sluice_crds::app_project::AppProjectRecord;
use sluice_crds::application::{ApplicationRecord, ApplicationSource};
use sluice_crds::labels::MANAGER_SYNC;
use sluice_crds::object::{Meta, ObjectRef};
use sluice_crds::rollout::RolloutRecord;
use sluice_engine::fence::EpochView;
use sluice_engine::view::{Fact, Lookup};

use crate::key::{Discovery, ResourceKey};

/// Configuration of sync.
#[derive(Clone, PartialEq, Debug)]
pub struct SyncConfig {
    /// Namespace of the control plane: Applications live here, and so do the records of what is quarantined. Default `argocd`.
    pub control_namespace: String,
    /// Time between two looks at Git, without jitter. Default 120 s (Argo's `timeout.reconciliation`).
    pub poll_interval: Duration,
    /// Self-heal attempts for one object in [`SyncConfig::heal_window`] before it is left alone. Default 5 (G9).
    pub heal_limit: u32,
    /// See [`SyncConfig::heal_limit`]. Default 10 min.
    pub heal_window: Duration,
    /// First wait between self-heals of one object; each further one is three times as long, up to 300 s. Default 2 s.
    pub heal_backoff: Duration,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            control_namespace: "argocd".to_owned(),
            poll_interval: Duration::seconds(120),
            heal_limit: 5,
            heal_window: Duration::minutes(10),
            heal_backoff: Duration::seconds(2),
        }
    }
}

/// Everything that a decision about one Application may look at. Build it in this order: `application`, `project` and `record`
/// (see [`crate::ApplicationReconciler`]'s `reads`), `revisions` (for [`crate::revision_keys`]), `rendered` (for
/// [`crate::render_keys`]), `live` (for [`crate::target_keys`]), the rest.
#[derive(Clone, Debug)]
pub struct ApplicationView {
    /// The instant of the observation.
    pub now: DateTime<Utc>,
    /// Configuration.
    pub config: Arc<SyncConfig>,
    /// Leadership. `None`: writes carry no stamp (the CLI's local comparison).
    pub epoch: Option<EpochView>,
    /// The Application.
    pub application: Arc<ApplicationRecord>,
    /// The project that it names.
    pub project: Lookup<Arc<AppProjectRecord>>,
    /// The ConfigMap that keeps what is quarantined; named by [`crate::hold::record_object`].
    pub record: Lookup<Arc<LiveObject>>,
    /// What revisions resolve to, for each of [`crate::revision_keys`].
    pub revisions: BTreeMap<RevisionKey, Fact<Revision>>,
    /// When the shell first saw the refresh annotation that the Application carries; `None` without annotation.
    pub refresh_seen_at: Option<DateTime<Utc>>,
    /// Random share of the polling interval, drawn by the shell once for each application. Argo: 0 to 60 s.
    pub jitter: Duration,
    /// What sources rendered to, for each of [`crate::render_keys`].
    pub rendered: BTreeMap<RenderKey, Fact<Arc<Rendered>>>,
    /// Live objects at the addresses of [`crate::target_keys`].
    pub live: BTreeMap<ResourceKey, Lookup<Arc<LiveObject>>>,
    /// All live objects that carry a tracking id of this application, whatever it says about themselves. `Unknown` while a
    /// store is not filled: "could not list" is never "empty" (G3).
    pub tracked: Lookup<Vec<Arc<LiveObject>>>,
    /// All Rollouts in the namespaces of the application's objects: their fields are theirs, whoever manages them.
    pub rollouts: Vec<Arc<RolloutRecord>>,
    /// Kinds that the API server serves.
    pub discovery: Arc<Discovery>,
    /// Writes that the API server refused, with its words; kept until a write to the object succeeds.
    pub refusals: BTreeMap<ResourceKey, Refusal>,
    /// Evidence that another GitOps controller acts on this application, such as [`crate::foreign_writer`] finds.
    pub foreign_controller: Option<String>,
}

/// A write that the API server refused for good (403, 422, webhook, quota, unknown field).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The API server's words.
    pub message: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Which revision: a repository and a name in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RevisionKey {
    /// Repository.
    pub url: String,
    /// Branch, tag, commit or `HEAD`.
    pub revision: String,
}

/// What a revision of a source resolves to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revision {
    /// Full commit id.
    pub commit: String,
}

/// Which rendering: a source at a commit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RenderKey {
    /// Full commit id.
    pub commit: String,
    /// The source as compact JSON; see [`RenderKey::source`].
    pub source: String,
}

impl RenderKey {
    /// Returns the key of a source at a commit.
    pub fn new(commit: &str, source: &ApplicationSource) -> Self {
        let source = serde_json::to_string(source).expect("a source has only string keys");
        Self { commit: commit.to_owned(), source }
    }

    /// Returns the source; `None` if the key was not made by [`RenderKey::new`].
    pub fn source(&self) -> Option<ApplicationSource> {
        serde_json::from_str(&self.source).ok()
    }
}

/// What a source rendered to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Rendered {
    /// `Directory`, `Kustomize`, `Helm` or `Plugin`.
    pub source_type: String,
    /// The manifests in order.
    pub manifests: Vec<Value>,
}

/// Slow work that a decision wants to be going on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Task {
    /// Ask the repository what the revision resolves to. The result is a new entry of `ApplicationView.revisions`, whether or
    /// not it changed: its younger instant ends the task.
    FetchRevision(RevisionKey),
    /// Render a source at a commit. The result is a new entry of `ApplicationView.rendered`.
    Render(RenderKey),
}

/// A live object, whole except for `managedFields`, of which only our own part is kept.
#[derive(Clone, PartialEq, Debug)]
pub struct LiveObject {
    /// Address, in the version in which it was read.
    pub object: ObjectRef,
    /// Pruned metadata.
    pub meta: Meta,
    /// The object without `metadata.managedFields`.
    pub body: Value,
    /// Fields that we declared (`fieldsV1` of manager `sluice-sync`, operation `Apply`).
    pub ours: Vec<Value>,
    /// Whether we created it and have declared nothing yet: a create makes us the owner of everything that the API server
    /// filled in, so it does not tell what Git declares. One apply does.
    pub is_undeclared: bool,
}

impl LiveObject {
    /// Reads an object as the API server returned it. Returns `None` if it has no usable metadata.
    pub fn new(object: ObjectRef, mut body: Value) -> Option<Self> {
        let meta: Meta = serde_json::from_value(body.get("metadata")?.clone()).ok()?;
        let managed = body.get_mut("metadata")?.as_object_mut()?.remove("managedFields");
        let entries = match managed {
            Some(Value::Array(entries)) => entries,
            Some(_) | None => Vec::new(),
        };
        let (applied, written): (Vec<Value>, Vec<Value>) = entries
            .into_iter()
            .filter(|e| e["manager"] == MANAGER_SYNC && e.get("subresource").is_none())
            .partition(|e| e["operation"] == "Apply");
        let is_undeclared = applied.is_empty() && !written.is_empty();
        let ours = applied.into_iter().map(|mut entry| entry["fieldsV1"].take()).collect();
        Some(Self { object, meta, body, ours, is_undeclared })
    }

    /// Returns the key.
    pub fn key(&self) -> ResourceKey {
        ResourceKey::of(&self.object)
    }
}

impl ApplicationView {
    /// Returns the live object at a key, if it is known to be there.
    pub fn live(&self, key: &ResourceKey) -> Option<&Arc<LiveObject>> {
        self.live.get(key).and_then(Lookup::present)
    }

    /// Returns the Rollout at a key.
    pub fn rollout(&self, key: &ResourceKey) -> Option<&Arc<RolloutRecord>> {
        let found =
            |r: &&Arc<RolloutRecord>| r.meta.namespace == key.namespace && r.meta.name == key.name;
        if key.is_rollout() { self.rollouts.iter().find(found) } else { None }
    }

    /// Returns the namespaces that the application's objects are in.
    pub fn namespaces(&self) -> BTreeSet<String> {
        self.live.keys().filter(|k| !k.namespace.is_empty()).map(|k| k.namespace.clone()).collect()
    }
}
