//! `app diff`: what a sync would change, rendered here and compared here, with the caller's own rights.
//!
//! Rendering and comparison are the controller's own. What Git no longer has is found among the resources of the Application's
//! status.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use chrono::{Duration, Utc};
use kube::discovery::{Discovery as ServedKinds, Scope, verbs};
use serde_json::Value;
use sluice_crds::application::ApplicationRecord;
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::RolloutRecord;
use sluice_engine::view::{Fact, Lookup};
use sluice_repo::{CommitId, GitConfig, GixGit, Limits, RenderDeps, Repo, Source};
use sluice_sync::compare::masked;
use sluice_sync::comparison::{Comparison, ItemState};
use sluice_sync::key::{Discovery, KindInfo, ResourceKey};
use sluice_sync::view::{ApplicationView, LiveObject, Rendered, Revision, SyncConfig};
use sluice_sync::{compare_view, hold, render_keys, revision_keys, target_keys, track};

use super::{address, get};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::reader::{Reader, decode, lookup};

/// Runs the command. Exits with 1 if there is a difference, as `argocd app diff` does.
pub(super) async fn run(
    connection: &Connection,
    name: &str,
    revision: Option<String>,
) -> Result<ExitCode, Failure> {
    let app = get(connection, name).await?;
    let app = serde_json::to_value(&app).map_err(|e| Failure::new(format!("{name}: {e}")))?;
    let mut application: ApplicationRecord = decode(&app)?;
    if let (Some(revision), Some(source)) = (revision, &mut application.spec.source) {
        source.target_revision = Some(revision);
    }
    let served = served(connection).await?;
    let builder = Builder { connection, reader: Reader { connection }, served };
    let view = builder.view(application).await?;
    let comparison = compare_view(&view).map_err(|why| {
        Failure::new(format!("{} cannot be compared: {why}", address(connection, name)))
            .hint(format!("kubectl sluice app get {name}"))
    })?;
    let text = shown(&comparison);
    anstream::print!("{text}");
    let held: Vec<_> = comparison.items.iter().filter(|item| item.is_held).collect();
    for item in &held {
        let named = named(&item.key);
        anstream::eprintln!(
            "note: {named} is held back from what Git wants; see `kubectl sluice app get {name}`"
        );
    }
    if text.is_empty() && held.is_empty() {
        anstream::eprintln!("application '{name}' is as Git wants it");
    }
    Ok(if text.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One block for each resource that a sync would change; values of Secrets are hidden.
fn shown(comparison: &Comparison) -> String {
    let mut text = String::new();
    for item in &comparison.items {
        let head = match &item.state {
            ItemState::Synced => continue,
            ItemState::Differs => "differs",
            ItemState::Missing => "is missing: it would be created",
            ItemState::NoNamespace => "is missing, and so is its namespace",
            ItemState::NoKind => "is of a kind that the cluster does not serve",
            ItemState::Forbidden(why) => why,
        };
        let held = if item.is_held { " (held back by quarantine)" } else { "" };
        text.push_str(&format!("{}{held} {head}\n", named(&item.key)));
        for difference in masked(&item.key, &item.differences) {
            let side = |value: &Option<Value>| match value {
                Some(value) => value.to_string(),
                None => "–".to_owned(),
            };
            let (live, wanted) = (side(&difference.live), side(&difference.wanted));
            text.push_str(&format!("  {}: {live} → {wanted}\n", difference.field()));
        }
    }
    for extra in &comparison.extras {
        text.push_str(&format!(
            "{} is not in Git: a sync with prune would delete it\n",
            named(&extra.key)
        ));
    }
    text
}

fn named(key: &ResourceKey) -> String {
    if key.namespace.is_empty() {
        return format!("{} {}", key.kind, key.name);
    }
    format!("{} {}/{}", key.kind, key.namespace, key.name)
}

struct Builder<'a> {
    connection: &'a Connection,
    reader: Reader<'a>,
    served: Served,
}

/// What the cluster serves, and in which version it prefers each kind.
#[derive(Default)]
struct Served {
    discovery: Discovery,
    versions: BTreeMap<(String, String), String>,
}

impl Builder<'_> {
    async fn view(&self, application: ApplicationRecord) -> Result<ApplicationView, Failure> {
        let config = SyncConfig {
            control_namespace: self.connection.application_namespace.clone(),
            ..SyncConfig::default()
        };
        let project = ObjectRef::namespaced(
            Kind::APP_PROJECT,
            config.control_namespace.clone(),
            application.spec.project_name(),
        );
        let record = hold::record_object(&application, &config);
        let mut view = ApplicationView {
            now: Utc::now(),
            project: lookup(self.reader.get(&project).await?)?,
            record: self.live(&record).await?,
            config: Arc::new(config),
            epoch: None,
            application: Arc::new(application),
            revisions: BTreeMap::new(),
            refresh_seen_at: None,
            jitter: Duration::zero(),
            rendered: BTreeMap::new(),
            live: BTreeMap::new(),
            tracked: Lookup::Unknown,
            rollouts: Vec::new(),
            discovery: Arc::new(self.served.discovery.clone()),
            refusals: BTreeMap::new(),
            foreign_controller: None,
        };
        self.render(&mut view).await?;
        self.fill(&mut view).await?;
        Ok(view)
    }

    /// Asks Git and renders, in a folder that is gone afterwards.
    async fn render(&self, view: &mut ApplicationView) -> Result<(), Failure> {
        let folder = tempfile::tempdir()
            .map_err(|e| Failure::new(format!("no folder for the repository: {e}")))?;
        let git = GixGit::new(GitConfig::new(folder.path().to_owned()));
        let kustomize =
            std::env::var_os("SLUICE_KUSTOMIZE").map_or_else(|| "kustomize".into(), Into::into);
        let deps = RenderDeps { kustomize: Some(kustomize), kustomize_version: "local".to_owned() };
        let repo = Repo::new(Arc::new(git), &deps, Limits::default());
        let said = |e: &dyn std::error::Error| Failure::new(crate::failure::chain(e));
        let allow_empty = true;
        for source in view.application.spec.effective_sources() {
            let source = Source::from_application(source, allow_empty).map_err(|e| said(&e))?;
            let commit = repo.resolve(&source).await.map_err(|e| said(&e))?;
            for key in revision_keys(&view.application) {
                let revision = Revision { commit: commit.as_str().to_owned() };
                view.revisions.insert(key, Fact::Known(revision, view.now));
            }
        }
        for key in render_keys(&view.application, &view.revisions, &view.record) {
            let (Some(source), Some(commit)) = (key.source(), CommitId::parse(&key.commit)) else {
                continue;
            };
            let source = Source::from_application(&source, allow_empty).map_err(|e| said(&e))?;
            let manifests = repo.render(&source, &commit).await.map_err(|e| said(&e))?;
            let rendered = Rendered {
                source_type: String::new(),
                manifests: manifests.objects.as_ref().clone(),
            };
            view.rendered.insert(key, Fact::Known(Arc::new(rendered), view.now));
        }
        Ok(())
    }

    /// Reads every object that the comparison looks at.
    async fn fill(&self, view: &mut ApplicationView) -> Result<(), Failure> {
        let namespaces: BTreeSet<String> = target_keys(view)
            .into_iter()
            .map(|key| key.namespace)
            .filter(|n| !n.is_empty())
            .collect();
        for namespace in namespaces {
            let found = self.reader.list(Kind::ROLLOUT, &namespace, "").await?;
            for rollout in &found {
                view.rollouts.push(Arc::new(decode::<RolloutRecord>(rollout)?));
            }
        }
        let mut known: BTreeSet<ResourceKey> = target_keys(view);
        let targets = known.clone();
        known.extend(view.application.status.resources.iter().map(|r| ResourceKey {
            group: r.group.clone(),
            kind: r.kind.clone(),
            namespace: r.namespace.clone(),
            name: r.name.clone(),
        }));
        let own =
            format!("{}:", track::instance(&view.application, &view.config.control_namespace));
        let mut tracked = Vec::new();
        for key in known {
            let live = match self.served.object(&key) {
                Some(object) => self.live(&object).await?,
                None => Lookup::NoKind,
            };
            let id = live
                .present()
                .and_then(|l| l.meta.annotations.get(sluice_crds::labels::TRACKING_ID));
            if id.is_some_and(|id| id.starts_with(&own)) {
                tracked.extend(live.present().cloned());
            }
            if targets.contains(&key) {
                view.live.insert(key, live);
            }
        }
        view.tracked = Lookup::Present(tracked);
        Ok(())
    }

    async fn live(&self, object: &ObjectRef) -> Result<Lookup<Arc<LiveObject>>, Failure> {
        let Some(body) = self.reader.get(object).await? else { return Ok(Lookup::Absent) };
        LiveObject::new(object.clone(), body)
            .map(|live| Lookup::Present(Arc::new(live)))
            .ok_or_else(|| Failure::new(format!("{object} has no metadata")))
    }
}

async fn served(connection: &Connection) -> Result<Served, Failure> {
    let found = ServedKinds::new(connection.client.clone())
        .run()
        .await
        .map_err(|e| Failure::new(format!("could not list what the cluster serves: {e}")))?;
    let mut served = Served::default();
    for group in found.groups() {
        for (resource, abilities) in group.recommended_resources() {
            if !abilities.supports_operation(verbs::GET) {
                continue;
            }
            let status = abilities.subresources.iter().any(|(r, _)| r.plural.ends_with("status"));
            let info = KindInfo {
                plural: resource.plural.clone(),
                namespaced: abilities.scope == Scope::Namespaced,
                status_subresource: status,
            };
            let key = (resource.group.clone(), resource.kind.clone());
            served.versions.insert(key.clone(), resource.version.clone());
            served.discovery.kinds.insert(key, info);
        }
    }
    Ok(served)
}

impl Served {
    fn object(&self, key: &ResourceKey) -> Option<ObjectRef> {
        let info = self.discovery.get(&key.group, &key.kind)?;
        let version = self.versions.get(&(key.group.clone(), key.kind.clone()))?;
        let kind = Kind {
            group: key.group.clone().into(),
            version: version.clone().into(),
            kind: key.kind.clone().into(),
            plural: info.plural.clone().into(),
            status_subresource: info.status_subresource,
        };
        let namespace = info.namespaced.then(|| key.namespace.clone());
        Some(ObjectRef { kind, namespace, name: key.name.clone() })
    }
}
