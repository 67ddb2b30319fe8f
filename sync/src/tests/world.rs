//! A cluster, a repository and an Application in a value. It applies writes the way the API server does, as far as these
//! tests look at it, and checks every decision with the audit.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use sluice_crds::application::ApplicationRecord;
use sluice_crds::object::{Change, Kind, ObjectRef, Write};
use sluice_engine::plan::{Lower, Reconciler};
use sluice_engine::rollout::template_hash::template_hash;
use sluice_engine::view::{Fact, Lookup};

use crate::key::{Discovery, KindInfo, ResourceKey};
use crate::view::{
    ApplicationView, LiveObject, Refusal, RenderKey, Rendered, Revision, RevisionKey, SyncConfig,
    Task,
};
use crate::{ApplicationReconciler, hold, target_keys};

pub(crate) const V1: &str = "1111111111111111111111111111111111111111";
pub(crate) const V2: &str = "2222222222222222222222222222222222222222";
pub(crate) const V3: &str = "3333333333333333333333333333333333333333";
pub(crate) const V4: &str = "4444444444444444444444444444444444444444";

/// An Application that is synced by itself.
pub(crate) const APPLICATION: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: shop, namespace: argocd}
spec:
  project: default
  source: {repoURL: 'https://git.example.com/shop', path: deploy}
  destination: {name: in-cluster, namespace: shop}
  syncPolicy: {automated: {prune: true, selfHeal: true}}
";

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: DateTime<Utc>,
    pub(crate) application: Value,
    pub(crate) objects: BTreeMap<ResourceKey, Value>,
    /// Manifests by commit; `Err` does not render.
    pub(crate) commits: BTreeMap<String, Result<Vec<Value>, String>>,
    /// What the branch is at.
    pub(crate) head: Result<String, String>,
    /// What the cache of facts has.
    revision: Option<(DateTime<Utc>, Result<String, String>)>,
    rendered: BTreeMap<RenderKey, DateTime<Utc>>,
    /// Keys that the API server refuses, with its words.
    pub(crate) refuses: BTreeMap<ResourceKey, String>,
    refusals: BTreeMap<ResourceKey, Refusal>,
    pub(crate) project: Value,
    pub(crate) unlisted: bool,
    version: u64,
    /// What happened, a line each.
    pub(crate) log: Vec<String>,
}

pub(crate) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

pub(crate) fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n").map(yaml).collect()
}

fn kinds() -> Vec<(Kind, bool)> {
    let plain = |group: &'static str, kind: &'static str, plural: &'static str| Kind {
        group: group.into(),
        version: "v1".into(),
        kind: kind.into(),
        plural: plural.into(),
        status_subresource: true,
    };
    vec![
        (Kind::ROLLOUT, true),
        (Kind::ANALYSIS_TEMPLATE, true),
        (Kind::SERVICE, true),
        (Kind::CONFIG_MAP, true),
        (Kind::SECRET, true),
        (Kind::VIRTUAL_SERVICE, true),
        (Kind::DESTINATION_RULE, true),
        (Kind::DEPLOYMENT, true),
        (Kind::NAMESPACE, false),
        (plain("rbac.authorization.k8s.io", "ClusterRole", "clusterroles"), false),
    ]
}

impl World {
    pub(crate) fn new(application: &str) -> Self {
        let mut application = yaml(application);
        application["metadata"]["uid"] = json!("app");
        application["metadata"]["resourceVersion"] = json!("1");
        let mut world = Self {
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
            application,
            objects: BTreeMap::new(),
            commits: BTreeMap::new(),
            head: Ok(V1.to_owned()),
            revision: None,
            rendered: BTreeMap::new(),
            refuses: BTreeMap::new(),
            refusals: BTreeMap::new(),
            project: yaml(
                "
metadata: {name: default, namespace: argocd}
spec:
  sourceRepos: ['*']
  destinations: [{server: '*', namespace: '*'}]
  clusterResourceWhitelist: [{group: '*', kind: '*'}]
",
            ),
            unlisted: false,
            version: 1,
            log: Vec::new(),
        };
        world.put("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
        world
    }

    /// Pushes a commit.
    pub(crate) fn push(&mut self, commit: &str, manifests: &str) {
        self.commits.insert(commit.to_owned(), Ok(documents(manifests)));
        self.head = Ok(commit.to_owned());
        self.log.push(format!("# push {}", &commit[..2]));
        self.poll();
    }

    /// Lets the polling interval pass.
    pub(crate) fn poll(&mut self) {
        self.now += Duration::seconds(200);
    }

    /// A new process: facts are gone, the cluster is as it is.
    pub(crate) fn restart(&mut self) {
        self.log.push("# restart".to_owned());
        self.revision = None;
        self.rendered.clear();
        self.refusals.clear();
    }

    pub(crate) fn key(&self, kind: &str, name: &str) -> ResourceKey {
        let (kind, namespaced) =
            kinds().into_iter().find(|(k, _)| k.kind == kind).unwrap_or_else(|| panic!("{kind}"));
        let namespace = namespaced.then(|| "shop".to_owned());
        ResourceKey::of(&ObjectRef { kind, namespace, name: name.to_owned() })
    }

    pub(crate) fn object(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.get(&self.key(kind, name))
    }

    pub(crate) fn edit(&mut self, kind: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let key = self.key(kind, name);
        self.log.push(format!("# edit {key}"));
        let mut body = self.objects[&key].clone();
        change(&mut body);
        self.store(key, body, true);
    }

    pub(crate) fn delete(&mut self, kind: &str, name: &str) {
        let key = self.key(kind, name);
        self.log.push(format!("# delete {key}"));
        self.objects.remove(&key);
    }

    pub(crate) fn put(&mut self, text: &str) {
        let body = yaml(text);
        let (kind, name) =
            (body["kind"].as_str().unwrap(), body["metadata"]["name"].as_str().unwrap());
        let key = self.key(kind, name);
        self.store(key, body, true);
    }

    pub(crate) fn annotate(&mut self, key: &str, value: &str) {
        self.log.push(format!("# annotate {key}"));
        self.application["metadata"]["annotations"][key] = json!(value);
        self.touch_application();
    }

    fn touch_application(&mut self) {
        self.version += 1;
        self.application["metadata"]["resourceVersion"] = json!(self.version.to_string());
    }

    fn store(&mut self, key: ResourceKey, mut body: Value, bumps: bool) {
        self.version += 1;
        let metadata = &mut body["metadata"];
        metadata["resourceVersion"] = json!(self.version.to_string());
        if metadata.get("uid").is_none() {
            metadata["uid"] = json!(format!("u{}", self.version));
            metadata["generation"] = json!(1);
        } else if bumps && self.objects.get(&key).is_some_and(|old| old["spec"] != body["spec"]) {
            body["metadata"]["generation"] =
                json!(body["metadata"]["generation"].as_i64().unwrap() + 1);
        }
        self.objects.insert(key, body);
    }

    fn hash(&self, name: &str) -> String {
        template_hash(&self.object("Rollout", name).unwrap()["spec"]["template"], None)
    }

    /// The engine promotes the Rollout's present template.
    pub(crate) fn promote(&mut self, name: &str) {
        let hash = self.hash(name);
        self.status(name, json!({ "phase": "Healthy", "currentPodHash": hash, "stableRS": hash }));
        self.log.push(format!("# Rollout {name} is promoted"));
    }

    /// The engine starts a canary of the present template.
    pub(crate) fn canary(&mut self, name: &str) {
        let hash = self.hash(name);
        let stable = self.object("Rollout", name).unwrap()["status"]["stableRS"].clone();
        let status = json!({ "phase": "Progressing", "currentPodHash": hash, "stableRS": stable });
        self.status(name, status);
    }

    /// The engine takes the present template back.
    pub(crate) fn abort(&mut self, name: &str) {
        let hash = self.hash(name);
        let stable = self.object("Rollout", name).unwrap()["status"]["stableRS"].clone();
        let at = self.now.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let status = json!({
            "phase": "Degraded", "currentPodHash": hash, "stableRS": stable, "abort": true, "abortedAt": at,
            "canary": {"currentStepAnalysisRunStatus": {"name": "web-1", "status": "Failed"}},
            "sluice": {"abortCause": "metric `errors`: 0.21 is not below 0.05 (1 of 1 failed)"},
        });
        self.status(name, status);
        self.log.push(format!("# Rollout {name} is aborted"));
    }

    fn status(&mut self, name: &str, mut status: Value) {
        let key = self.key("Rollout", name);
        let mut body = self.objects[&key].clone();
        status["observedGeneration"] = json!(body["metadata"]["generation"].to_string());
        body["status"] = status;
        self.store(key, body, false);
    }

    pub(crate) fn view(&self) -> ApplicationView {
        let application: ApplicationRecord =
            serde_json::from_value(self.application.clone()).unwrap();
        let config = SyncConfig::default();
        let live = |key: &ResourceKey| -> Option<Arc<LiveObject>> {
            let (kind, _) = kinds().into_iter().find(|(k, _)| key.is(&k.group, &k.kind))?;
            let namespace = (!key.namespace.is_empty()).then(|| key.namespace.clone());
            let object = ObjectRef { kind, namespace, name: key.name.clone() };
            LiveObject::new(object, self.objects.get(key)?.clone()).map(Arc::new)
        };
        let lookup = |key: &ResourceKey| match live(key) {
            Some(live) => Lookup::Present(live),
            None => Lookup::Absent,
        };
        let record = hold::record_object(&application, &config);
        let rollouts = self.objects.iter().filter(|(key, _)| key.is_rollout());
        let mut view = ApplicationView {
            now: self.now,
            config: Arc::new(config),
            epoch: None,
            project: Lookup::Present(Arc::new(
                serde_json::from_value(self.project.clone()).unwrap(),
            )),
            record: lookup(&ResourceKey::of(&record)),
            revisions: self.revisions(),
            refresh_seen_at: None,
            jitter: Duration::zero(),
            rendered: self.rendered(),
            live: BTreeMap::new(),
            tracked: if self.unlisted {
                Lookup::Unknown
            } else {
                Lookup::Present(self.objects.keys().filter_map(live).collect())
            },
            rollouts: rollouts
                .map(|(_, body)| Arc::new(serde_json::from_value(body.clone()).unwrap()))
                .collect(),
            discovery: Arc::new(Discovery {
                kinds: kinds()
                    .into_iter()
                    .map(|(k, namespaced)| {
                        let info = KindInfo {
                            plural: k.plural.to_string(),
                            namespaced,
                            status_subresource: k.status_subresource,
                        };
                        ((k.group.to_string(), k.kind.to_string()), info)
                    })
                    .collect(),
                failed: None,
            }),
            refusals: self.refusals.clone(),
            foreign_controller: None,
            application: Arc::new(application),
        };
        view.live = target_keys(&view).into_iter().map(|key| (key.clone(), lookup(&key))).collect();
        if let Lookup::Present(tracked) = &mut view.tracked {
            tracked.retain(|live| {
                live.meta.annotations.contains_key("argocd.argoproj.io/tracking-id")
            });
        }
        view
    }

    fn revisions(&self) -> BTreeMap<RevisionKey, Fact<Revision>> {
        let fact = match &self.revision {
            None => Fact::Pending,
            Some((at, Ok(commit))) => Fact::Known(Revision { commit: commit.clone() }, *at),
            Some((at, Err(error))) => Fact::Failed(error.clone(), *at),
        };
        let url = self.application["spec"]["source"]["repoURL"].as_str().unwrap().to_owned();
        BTreeMap::from([(RevisionKey { url, revision: "HEAD".to_owned() }, fact)])
    }

    fn rendered(&self) -> BTreeMap<RenderKey, Fact<Arc<Rendered>>> {
        let fact = |key: &RenderKey, at: &DateTime<Utc>| match self.commits.get(&key.commit) {
            Some(Ok(manifests)) => {
                let rendered =
                    Rendered { source_type: "Directory".to_owned(), manifests: manifests.clone() };
                Fact::Known(Arc::new(rendered), *at)
            }
            Some(Err(error)) => Fact::Failed(error.clone(), *at),
            None => Fact::Failed("no such commit".to_owned(), *at),
        };
        self.rendered.iter().map(|(key, at)| (key.clone(), fact(key, at))).collect()
    }

    /// Decides and writes until nothing happens any more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..40 {
            if !self.step() {
                return;
            }
        }
        panic!("does not settle:\n{}", self.log.join("\n"));
    }

    /// One decision and its writes. Returns whether something happened.
    pub(crate) fn step(&mut self) -> bool {
        let view = self.view();
        let decision = ApplicationReconciler::decide(&view);
        let violations = ApplicationReconciler::audit(&view, &decision);
        assert!(violations.is_empty(), "{violations:?}\n{}", self.log.join("\n"));
        let mut happened = false;
        for task in &decision.tasks {
            happened = true;
            match task {
                Task::FetchRevision(_) => self.revision = Some((self.now, self.head.clone())),
                Task::Render(key) => {
                    self.rendered.insert(key.clone(), self.now);
                }
            }
        }
        for stage in &decision.plan.stages {
            happened = true;
            let mut failed = false;
            for action in stage {
                let commit = action.commit.get(..2).unwrap_or("--");
                self.log.push(format!("{} {} [{commit}]", action.verb.as_str(), action.key));
                failed |= !self.write(&action.lower());
            }
            if failed {
                return true;
            }
        }
        for notice in &decision.notices {
            self.log.push(format!("  ! {}: {}", notice.reason, notice.message));
        }
        if let Some(write) = &decision.status_write {
            happened = true;
            assert!(self.write(write));
        }
        happened
    }

    fn write(&mut self, write: &Write) -> bool {
        let key = ResourceKey::of(&write.object);
        if let Some(message) = self.refuses.get(&key) {
            self.refusals.insert(key, Refusal { message: message.clone(), at: self.now });
            return false;
        }
        self.refusals.remove(&key);
        if key.is("argoproj.io", "Application") {
            let Change::MergePatch { body } = &write.change else { panic!("{write:?}") };
            json_patch::merge(&mut self.application, body);
            self.touch_application();
            return true;
        }
        let live = self.objects.get(&key).cloned();
        if let (Some(live), Some(version)) = (&live, &write.preconditions.resource_version) {
            assert_eq!(live["metadata"]["resourceVersion"], json!(version), "stale write of {key}");
        }
        match (&write.change, live) {
            (Change::Create { body }, None) => self.store(key, body.clone(), true),
            (Change::Create { .. }, Some(_)) => panic!("{key} exists"),
            (Change::Apply { body } | Change::MergePatch { body }, Some(mut live)) => {
                json_patch::merge(&mut live, body);
                self.store(key, live, true);
            }
            (Change::JsonPatch { operations }, Some(mut live)) => {
                let patch: json_patch::Patch = serde_json::from_value(json!(operations)).unwrap();
                json_patch::patch(&mut live, &patch).unwrap();
                self.store(key, live, true);
            }
            (Change::Delete { .. }, Some(_)) => {
                self.objects.remove(&key);
            }
            (change, live) => panic!("{key}: {change:?} on {live:?}"),
        }
        true
    }

    /// What people see: the log since the last call, and the status without instants.
    pub(crate) fn story(&mut self) -> Value {
        let status = &self.application["status"];
        let pick = |pointer: &str| status.pointer(pointer).cloned().unwrap_or_default();
        let conditions: Vec<String> = status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|c| {
                let text = |field: &str| c[field].as_str().unwrap_or_default().to_owned();
                format!("{}: {}", text("type"), text("message"))
            })
            .collect();
        let rows: Vec<String> = status["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| {
                let text =
                    |pointer: &str| row.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
                let prune = if row["requiresPruning"] == true { " (prune)" } else { "" };
                let (kind, name) = (text("/kind"), text("/name"));
                format!("{kind} {name}: {} {}{prune}", text("/status"), text("/health/status"))
            })
            .collect();
        json!({
            "log": std::mem::take(&mut self.log),
            "sync": pick("/sync/status"),
            "health": pick("/health/status"),
            "operation": [pick("/operationState/phase"), pick("/operationState/message")],
            "revisions": {
                "desired": short(pick("/sluice/desired")),
                "admitted": short(pick("/sluice/admitted")),
                "effective": short(pick("/sluice/effective")),
                "lastHealthy": short(pick("/sluice/lastHealthy/revision")),
            },
            "conditions": conditions,
            "resources": rows,
        })
    }

    /// The image that the Rollout's Pods have, and so which version would be served.
    pub(crate) fn image(&self, name: &str) -> Option<String> {
        let rollout = self.object("Rollout", name)?;
        let image = rollout.pointer("/spec/template/spec/containers/0/image")?;
        image.as_str().map(str::to_owned)
    }
}

fn short(commit: Value) -> Value {
    commit.as_str().map_or(Value::Null, |commit| json!(&commit[..2]))
}
