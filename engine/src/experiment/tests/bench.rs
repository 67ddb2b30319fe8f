//! One Experiment and what it owns, in a map: writes with preconditions, Pods that come up at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, Value, json};
use sluice_crds::object::{Change, Kind, ObjectRef, ResourceVersion, Write};
use sluice_crds::rollout::steps::TemplateRef;

use crate::config::EngineConfig;
use crate::experiment::ExperimentReconciler;
use crate::fence::{EpochView, FenceRules, Term};
use crate::plan::{Decision, Lower, Reconciler};
use crate::view::{AnalysisRunView, ExperimentView, Lookup, Refusal, RouteRecord};

pub(super) type Decided = Decision<ExperimentReconciler>;

/// A cluster with one Experiment, `exp`.
pub(super) struct Bench {
    pub(super) now: DateTime<Utc>,
    pub(super) objects: BTreeMap<ObjectRef, Value>,
    /// Pods that can become available, by ReplicaSet; all without an entry.
    pub(super) healthy: BTreeMap<String, u64>,
    pub(super) refused: BTreeMap<ObjectRef, Refusal>,
    /// Every write in words, touches apart, and every notice.
    pub(super) log: Vec<String>,
    pub(super) touches: usize,
    pub(super) term: u64,
    version: u64,
    n: u64,
}

pub(super) fn shop(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef::namespaced(kind, "shop", name)
}

impl Bench {
    /// An Experiment with this spec in YAML.
    pub(super) fn new(spec: &str) -> Self {
        let mut bench = Self {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            objects: BTreeMap::new(),
            healthy: BTreeMap::new(),
            refused: BTreeMap::new(),
            log: Vec::new(),
            touches: 0,
            term: 7,
            version: 100,
            n: 0,
        };
        let spec: Value = serde_saphyr::from_str(spec).unwrap();
        bench.put(shop(Kind::EXPERIMENT, "exp"), json!({ "spec": spec }));
        bench
    }

    /// An AnalysisTemplate with one metric, and the arguments.
    pub(super) fn given_template(&mut self, name: &str, args: &str) {
        let spec: Value = serde_saphyr::from_str(&format!(
            "args: {args}\nmetrics: [{{name: errors, interval: 10s, count: 3, provider: {{prometheus: {{query: q}}}}}}]"
        ))
        .unwrap();
        self.put(shop(Kind::ANALYSIS_TEMPLATE, name), json!({ "spec": spec, "status": null }));
    }

    /// Stores an object as the API server would.
    pub(super) fn put(&mut self, object: ObjectRef, mut body: Value) {
        self.version += 1;
        let old = self.objects.get(&object);
        let generation = old.map_or(0, |old| old["metadata"]["generation"].as_i64().unwrap());
        let uid = old.map_or_else(
            || json!(format!("uid-{}", object.name)),
            |old| old["metadata"]["uid"].clone(),
        );
        let changed = old.is_none_or(|old| old["spec"] != body["spec"]);
        let metadata = &mut body["metadata"];
        metadata["name"] = json!(object.name);
        metadata["namespace"] = json!("shop");
        metadata["uid"] = uid;
        metadata["resourceVersion"] = json!(self.version.to_string());
        metadata["generation"] = json!(generation + i64::from(changed));
        self.objects.insert(object, body);
    }

    pub(super) fn edit(&mut self, kind: Kind, name: &str, edit: impl FnOnce(&mut Value)) {
        let object = shop(kind, name);
        let mut body = self.objects[&object].clone();
        edit(&mut body);
        self.put(object, body);
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> &Value {
        self.objects.get(&shop(kind, name)).unwrap_or(&Value::Null)
    }

    pub(super) fn status(&self) -> &Value {
        &self.get(Kind::EXPERIMENT, "exp")["status"]
    }

    pub(super) fn phase(&self) -> &str {
        self.status()["phase"].as_str().unwrap_or_default()
    }

    pub(super) fn message(&self) -> &str {
        self.status()["message"].as_str().unwrap_or_default()
    }

    /// States of the versions, in order.
    pub(super) fn states(&self) -> Vec<&str> {
        let versions = self.status()["templateStatuses"].as_array().into_iter().flatten();
        versions.map(|version| version["status"].as_str().unwrap_or_default()).collect()
    }

    /// Sizes of the ReplicaSets, by name.
    pub(super) fn sizes(&self) -> BTreeMap<String, i64> {
        let sets = self.of(Kind::REPLICA_SET);
        sets.map(|(name, set)| (name, set["spec"]["replicas"].as_i64().unwrap())).collect()
    }

    pub(super) fn names(&self, kind: &Kind) -> Vec<String> {
        self.of(kind.clone()).map(|(name, _)| name).collect()
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = (String, &Value)> {
        let all = self.objects.iter().filter(move |(object, _)| object.kind == kind);
        all.map(|(object, body)| (object.name.clone(), body))
    }

    /// Records how a run ended.
    pub(super) fn judge(&mut self, run: &str, phase: &str) {
        self.edit(Kind::ANALYSIS_RUN, run, |run| {
            run["status"] = json!({ "phase": phase, "message": "said so" });
        });
    }

    pub(super) fn view(&mut self) -> ExperimentView {
        self.n += 1;
        fn parsed<T: serde::de::DeserializeOwned>(body: &Value) -> Arc<T> {
            Arc::new(serde_json::from_value(body.clone()).unwrap())
        }
        let experiment = parsed(self.get(Kind::EXPERIMENT, "exp"));
        let reads = ExperimentReconciler::reads(&experiment).objects;
        let services = reads.iter().filter(|object| object.kind == Kind::SERVICE);
        let services = services.map(|object| {
            let found = self.objects.get(object);
            (object.name.clone(), found.map_or(Lookup::Absent, |s| Lookup::Present(parsed(s))))
        });
        let templates = reads.iter().filter(|object| object.kind == Kind::ANALYSIS_TEMPLATE);
        let templates = templates.map(|object| {
            let key = TemplateRef { template_name: object.name.clone(), cluster_scope: None };
            let found = self.objects.get(object);
            (key, found.map_or(Lookup::Absent, |t| Lookup::Present(parsed(t))))
        });
        let runs = self.of(Kind::ANALYSIS_RUN).map(|(_, run)| AnalysisRunView {
            run: parsed(run),
            facts: Vec::new(),
            jobs: Vec::new(),
            secrets: BTreeMap::new(),
        });
        ExperimentView {
            now: self.now,
            config: Arc::new(EngineConfig::default()),
            epoch: EpochView {
                term: Term {
                    lease: "sluice".into(),
                    lease_uid: "lease".into(),
                    acquired: ResourceVersion::from(self.term),
                },
                n: self.n,
                needed: BTreeMap::new(),
                disowned: Default::default(),
                rules: FenceRules::ALL,
            },
            replica_sets: self.of(Kind::REPLICA_SET).map(|(_, set)| parsed(set)).collect(),
            services: services.collect(),
            routes: self.routes(),
            templates: templates.collect(),
            analysis_runs: runs.collect(),
            refused: self.refused.clone(),
            experiment,
        }
    }

    fn routes(&self) -> crate::traffic::LiveRoutes {
        let all = self.objects.iter().filter(|(object, _)| object.kind == Kind::VIRTUAL_SERVICE);
        let record = |(object, body): (&ObjectRef, &Value)| {
            let record = RouteRecord {
                object: object.clone(),
                meta: serde_json::from_value(body["metadata"].clone()).unwrap(),
                spec: Arc::new(body["spec"].clone()),
            };
            (object.clone(), Lookup::Present(Arc::new(record)))
        };
        all.map(record).collect()
    }

    /// Decides once and executes; returns whether anything was written.
    pub(super) fn decide(&mut self) -> (bool, Decided) {
        let view = self.view();
        let decision = ExperimentReconciler::decide(&view);
        let violations = ExperimentReconciler::audit(&view, &decision);
        assert!(violations.is_empty(), "{violations:#?}\n{:#?}", decision.plan);
        let mut wrote = false;
        for action in decision.plan.actions() {
            if action.is_touch() {
                self.touches += 1;
            } else {
                self.log.push(action.to_string());
            }
            self.apply(&action.lower());
            wrote = true;
        }
        if let Some(write) = &decision.status_write {
            self.apply(write);
            for notice in &decision.notices {
                self.log.push(format!("{}: {}", notice.reason, notice.message));
            }
            wrote = true;
        }
        (wrote, decision)
    }

    /// Runs until nothing is written and nothing moves.
    pub(super) fn settle(&mut self) -> Decided {
        for _ in 0..40 {
            let (wrote, decision) = self.decide();
            if !self.pods() && !wrote {
                return decision;
            }
        }
        panic!("no end in 40 rounds:\n{}", self.log.join("\n"));
    }

    /// Runs until no deadline is left within the time.
    pub(super) fn pass(&mut self, seconds: i64) -> Decided {
        let end = self.now + Duration::seconds(seconds);
        loop {
            let decision = self.settle();
            match &decision.wake {
                Some(wake) if wake.at <= end => self.now = self.now.max(wake.at),
                Some(_) | None => {
                    self.now = end;
                    return decision;
                }
            }
        }
    }

    fn pods(&mut self) -> bool {
        let mut moved = false;
        for name in self.names(&Kind::REPLICA_SET) {
            let mut set = self.get(Kind::REPLICA_SET, &name).clone();
            let wanted = set["spec"]["replicas"].as_u64().unwrap();
            let available = self.healthy.get(&name).map_or(wanted, |most| wanted.min(*most));
            let status = json!({
                "replicas": wanted,
                "readyReplicas": available,
                "availableReplicas": available,
                "observedGeneration": set["metadata"]["generation"],
            });
            if set["status"] != status {
                set["status"] = status;
                self.put(shop(Kind::REPLICA_SET, &name), set);
                moved = true;
            }
        }
        moved
    }

    fn apply(&mut self, write: &Write) {
        let object = &write.object;
        if let Change::Create { body } = &write.change {
            assert!(!self.objects.contains_key(object), "{object} exists");
            return self.put(object.clone(), body.clone());
        }
        let mut body = self.objects[object].clone();
        let version = write.preconditions.resource_version.as_ref().unwrap();
        assert_eq!(body["metadata"]["resourceVersion"], json!(version), "{object}");
        match &write.change {
            Change::MergePatch { body: patch } => merge(&mut body, patch),
            Change::Status { body: patch } => merge(&mut body, &json!({ "status": patch })),
            Change::Delete { .. } => {
                self.objects.remove(object);
                return;
            }
            Change::Create { .. }
            | Change::Apply { .. }
            | Change::JsonPatch { .. }
            | Change::Evict => {
                unreachable!("{object}")
            }
        }
        self.put(object.clone(), body);
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let object = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
