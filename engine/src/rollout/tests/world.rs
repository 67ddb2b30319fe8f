//! A cluster in a few maps, enough to run decisions in a row: writes with preconditions, ReplicaSets whose Pods come up at
//! once, endpoints that follow. The real simulator is the crate `sim`; this one exists so that the engine's own tests need
//! nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, Value, json};
use sluice_crds::analysis::{AnalysisRunRecord, AnalysisTemplateRecord};
use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::labels::{MANAGED_BY, POD_TEMPLATE_HASH};
use sluice_crds::object::{Change, Kind, Meta, ObjectRef, ResourceVersion, Write};
use sluice_crds::rollout::RolloutRecord;
use sluice_crds::rollout::steps::TemplateRef;

use crate::audit::{HistoryRevision, check_history};
use crate::config::EngineConfig;
use crate::fence::{EpochView, FenceRules, Term};
use crate::plan::{Decision, Lower, Reconciler};
use crate::rollout::RolloutReconciler;
use crate::view::{
    AnalysisRunView, EndpointCounts, ExperimentSight, Lookup, RefusedEviction, ReplicaSetRecord,
    RolloutView, RouteRecord, ServiceRecord, WorkloadView, wants_pods,
};

/// A cluster with one Rollout in it.
pub(super) struct World {
    pub(super) now: DateTime<Utc>,
    pub(super) objects: BTreeMap<ObjectRef, Value>,
    /// Pods that can become available, by hash; all without an entry.
    pub(super) healthy: BTreeMap<String, u32>,
    /// Pods that endpoints list as ready, by hash; all ready ones without an entry.
    pub(super) listed: BTreeMap<String, u32>,
    /// Names of ReplicaSets of others.
    pub(super) taken: BTreeSet<String>,
    pub(super) quarantined: BTreeMap<String, String>,
    pub(super) claims: BTreeMap<ObjectRef, String>,
    /// Whether ReplicaSets make Pods that can be looked at one by one.
    pub(super) with_pods: bool,
    /// Pods that a budget keeps, by name.
    pub(super) refused: BTreeMap<String, RefusedEviction>,
    pub(super) config: Arc<EngineConfig>,
    /// Every write in words, touches apart.
    pub(super) log: Vec<String>,
    pub(super) touches: usize,
    pub(super) history: Vec<HistoryRevision>,
    version: u64,
    n: u64,
    pub(super) term: u64,
}

/// Decisions in a row after which something counts as not settling: 20 steps take some.
const ROUNDS: usize = 300;

fn kind_of(name: &str) -> Kind {
    match name {
        "Rollout" => Kind::ROLLOUT,
        "Service" => Kind::SERVICE,
        "VirtualService" => Kind::VIRTUAL_SERVICE,
        "DestinationRule" => Kind::DESTINATION_RULE,
        "AnalysisTemplate" => Kind::ANALYSIS_TEMPLATE,
        "AnalysisRun" => Kind::ANALYSIS_RUN,
        "ReplicaSet" => Kind::REPLICA_SET,
        "Experiment" => Kind::EXPERIMENT,
        "Deployment" => Kind::DEPLOYMENT,
        "PodTemplate" => Kind::POD_TEMPLATE,
        "Pod" => Kind::POD,
        other => panic!("the world has no kind {other}"),
    }
}

impl World {
    /// Makes a world from YAML documents.
    pub(super) fn new(yaml: &str) -> Self {
        let mut world = Self {
            now: DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc(),
            objects: BTreeMap::new(),
            healthy: BTreeMap::new(),
            listed: BTreeMap::new(),
            taken: BTreeSet::new(),
            quarantined: BTreeMap::new(),
            claims: BTreeMap::new(),
            with_pods: false,
            refused: BTreeMap::new(),
            config: Arc::new(EngineConfig::default()),
            log: Vec::new(),
            touches: 0,
            history: Vec::new(),
            version: 100,
            n: 0,
            term: 7,
        };
        for document in yaml.split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document).unwrap();
            world.put(object, None);
        }
        world
    }

    fn address(object: &Value) -> ObjectRef {
        let kind = kind_of(object["kind"].as_str().unwrap());
        ObjectRef::namespaced(kind, "shop", object["metadata"]["name"].as_str().unwrap())
    }

    /// Stores an object as the API server would: uid, version, generation, creation time.
    fn put(&mut self, mut object: Value, writer: Option<&str>) {
        let address = Self::address(&object);
        self.version += 1;
        let old = self.objects.get(&address);
        let spec_changed = old.is_none_or(|old| old.get("spec") != object.get("spec"));
        let generation = old.map_or(0, |old| old["metadata"]["generation"].as_i64().unwrap());
        let uid = old.map_or_else(
            || json!(format!("uid-{}", self.version)),
            |old| old["metadata"]["uid"].clone(),
        );
        let created = old.map_or_else(
            || json!(self.now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
            |old| old["metadata"]["creationTimestamp"].clone(),
        );
        let metadata = &mut object["metadata"];
        metadata["namespace"] = json!("shop");
        metadata["uid"] = uid;
        metadata["creationTimestamp"] = created;
        metadata["resourceVersion"] = json!(self.version.to_string());
        metadata["generation"] = json!(generation + i64::from(spec_changed));
        self.record(&address, &object, false, writer);
        self.objects.insert(address, object);
    }

    fn record(&mut self, address: &ObjectRef, object: &Value, deleted: bool, writer: Option<&str>) {
        self.history.push(HistoryRevision {
            kind: address.kind.clone(),
            object: object.clone(),
            deleted,
            at: self.now,
            writer: writer.map(str::to_owned),
        });
    }

    /// Changes an object as a person would.
    pub(super) fn edit(&mut self, kind: Kind, name: &str, edit: impl FnOnce(&mut Value)) {
        let address = ObjectRef::namespaced(kind, "shop", name);
        let mut object = self.objects[&address].clone();
        edit(&mut object);
        self.put(object, None);
    }

    /// Returns an object as it is.
    pub(super) fn see(&self, kind: Kind, name: &str) -> Value {
        self.objects[&ObjectRef::namespaced(kind, "shop", name)].clone()
    }

    pub(super) fn edit_rollout(&mut self, edit: impl FnOnce(&mut Value)) {
        self.edit(Kind::ROLLOUT, "web", edit);
    }

    pub(super) fn set_image(&mut self, image: &str) {
        self.edit_rollout(|rollout| {
            rollout["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        });
    }

    /// Creates an object as a person would: a new incarnation.
    pub(super) fn create(&mut self, object: Value) {
        self.put(object, None);
    }

    pub(super) fn phase(&self) -> String {
        self.rollout().status.phase.unwrap_or_default()
    }

    /// Hash of the template with another image.
    pub(super) fn hash_of(&self, image: &str) -> String {
        let of_workload = || self.of(&Kind::DEPLOYMENT).next().unwrap()["spec"]["template"].clone();
        let mut template = self.rollout().spec.template.unwrap_or_else(of_workload);
        template["spec"]["containers"][0]["image"] = json!(image);
        crate::rollout::template_hash::template_hash(&template, None)
    }

    /// Names of AnalysisRuns, oldest first.
    pub(super) fn runs(&self) -> Vec<String> {
        let kind = Kind::ANALYSIS_RUN;
        self.of(&kind).map(|run| run["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) fn names(&self, kind: &Kind) -> Vec<String> {
        self.of(kind)
            .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &str) {
        let address = ObjectRef::namespaced(kind, "shop", name);
        let object = self.objects.remove(&address).unwrap();
        self.record(&address, &object, true, None);
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> &Value {
        &self.objects[&ObjectRef::namespaced(kind, "shop", name)]
    }

    pub(super) fn rollout(&self) -> RolloutRecord {
        serde_json::from_value(self.get(Kind::ROLLOUT, "web").clone()).unwrap()
    }

    /// Whether a VirtualService splits traffic.
    pub(super) fn is_routed(&self) -> bool {
        self.of(&Kind::VIRTUAL_SERVICE).next().is_some()
    }

    /// Canary weight of the first route of `web`.
    pub(super) fn weight(&self) -> i64 {
        let http = self.get(Kind::VIRTUAL_SERVICE, "web")["spec"]["http"].as_array().unwrap();
        http.last().unwrap()["route"]
            .as_array()
            .unwrap()
            .iter()
            .find(|to| {
                to["destination"]["host"] == "web-canary" || to["destination"]["subset"] == "canary"
            })
            .map_or(0, |to| to["weight"].as_i64().unwrap_or(0))
    }

    /// `spec.replicas` of each ReplicaSet, by its position in time.
    pub(super) fn sizes(&self) -> Vec<i64> {
        let mut sets: Vec<&Value> = self.of(&Kind::REPLICA_SET).collect();
        sets.sort_by_key(|rs| {
            rs["metadata"]["uid"].as_str().map(|uid| (uid.len(), uid.to_owned()))
        });
        sets.into_iter().map(|rs| rs["spec"]["replicas"].as_i64().unwrap()).collect()
    }

    fn of(&self, kind: &Kind) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |(address, _)| address.kind == *kind).map(|(_, o)| o)
    }

    /// What the controller sees.
    pub(super) fn view(&mut self) -> RolloutView {
        self.n += 1;
        let records = |kind: &Kind| self.of(kind).cloned().collect::<Vec<_>>();
        let replica_sets: Vec<Arc<ReplicaSetRecord>> = records(&Kind::REPLICA_SET)
            .into_iter()
            .map(|rs| Arc::new(serde_json::from_value(rs).unwrap()))
            .collect();
        let services: Vec<Arc<ServiceRecord>> = records(&Kind::SERVICE)
            .into_iter()
            .map(|service| Arc::new(serde_json::from_value(service).unwrap()))
            .collect();
        let rollout = self.rollout();
        let reads = RolloutReconciler::reads(&rollout);
        let workload = WorkloadView::of(&rollout, |object| {
            let record = |found: &Value| Arc::new(serde_json::from_value(found.clone()).unwrap());
            self.objects.get(object).map_or(Lookup::Absent, |found| Lookup::Present(record(found)))
        });
        let pods = wants_pods(&rollout, &replica_sets, self.now).then(|| {
            let pods = records(&Kind::POD).into_iter();
            pods.map(|pod| Arc::new(serde_json::from_value(pod).unwrap())).collect()
        });
        let mut view = RolloutView {
            now: self.now,
            config: self.config.clone(),
            epoch: EpochView {
                term: Term {
                    lease: "sluice".into(),
                    lease_uid: "lease".into(),
                    acquired: ResourceVersion::from(self.term),
                },
                n: self.n,
                needed: BTreeMap::new(),
                disowned: BTreeSet::new(),
                rules: FenceRules::ALL,
            },
            rollout: Arc::new(rollout),
            endpoints: endpoints(&services, &replica_sets, &self.listed),
            replica_sets: replica_sets.into_iter().filter(|set| !is_trials(set)).collect(),
            workload,
            pods,
            refused_evictions: self.refused.clone(),
            former_services: {
                let named =
                    |service: &&Arc<ServiceRecord>| reads.objects.contains(&service.object());
                let ours = |service: &&Arc<ServiceRecord>| {
                    service.meta.annotations.get(MANAGED_BY).is_some_and(|name| name == "web")
                };
                services.iter().filter(ours).filter(|s| !named(s)).cloned().collect()
            },
            services: BTreeMap::new(),
            routes: BTreeMap::new(),
            templates: BTreeMap::new(),
            analysis_runs: records(&Kind::ANALYSIS_RUN)
                .into_iter()
                .map(|run| AnalysisRunView {
                    run: Arc::new(serde_json::from_value::<AnalysisRunRecord>(run).unwrap()),
                    facts: Vec::new(),
                    jobs: Vec::new(),
                    secrets: BTreeMap::new(),
                })
                .collect(),
            experiments: self.experiments(&services),
            confirmations: BTreeMap::new(),
            claims: self.claims.clone(),
            taken: self.taken.clone(),
            quarantined: self.quarantined.clone(),
        };
        for address in reads.objects {
            self.look_up(&address, &services, &mut view);
        }
        view
    }

    fn experiments(&self, services: &[Arc<ServiceRecord>]) -> Lookup<Vec<ExperimentSight>> {
        let sight = |experiment: &Value| {
            let experiment: ExperimentRecord = serde_json::from_value(experiment.clone()).unwrap();
            let owned = |meta: &Meta| meta.is_owned_by(&experiment.meta.uid);
            let kind = Kind::REPLICA_SET;
            let sets = self.of(&kind).cloned().map(serde_json::from_value);
            let sets = sets.map(|set| Arc::<ReplicaSetRecord>::new(set.unwrap()));
            let sets = sets.filter(|set| owned(&set.meta)).collect();
            let services = services.iter().filter(|service| owned(&service.meta));
            ExperimentSight {
                replica_sets: sets,
                services: services
                    .map(|s| (s.meta.name.clone(), Lookup::Present(Arc::clone(s))))
                    .collect(),
                experiment: Arc::new(experiment),
            }
        };
        Lookup::Present(self.of(&Kind::EXPERIMENT).map(sight).collect())
    }

    fn look_up(
        &self,
        address: &ObjectRef,
        services: &[Arc<ServiceRecord>],
        view: &mut RolloutView,
    ) {
        let found = self.objects.get(address);
        if [Kind::DEPLOYMENT, Kind::REPLICA_SET, Kind::POD_TEMPLATE].contains(&address.kind) {
            return;
        }
        if address.kind == Kind::SERVICE {
            let service = services.iter().find(|s| s.meta.name == address.name).cloned();
            let lookup = service.map_or(Lookup::Absent, Lookup::Present);
            view.services.insert(address.name.clone(), lookup);
        } else if address.kind == Kind::ANALYSIS_TEMPLATE {
            let key = TemplateRef { template_name: address.name.clone(), cluster_scope: None };
            let lookup = found.map_or(Lookup::Absent, |found| {
                let record: AnalysisTemplateRecord =
                    serde_json::from_value(template_record(found)).unwrap();
                Lookup::Present(Arc::new(record))
            });
            view.templates.insert(key, lookup);
        } else {
            let lookup = found.map_or(Lookup::Absent, |found| {
                Lookup::Present(Arc::new(RouteRecord {
                    object: address.clone(),
                    meta: serde_json::from_value::<Meta>(found["metadata"].clone()).unwrap(),
                    spec: Arc::new(found["spec"].clone()),
                }))
            });
            view.routes.insert(address.clone(), lookup);
        }
    }

    /// Decides once and executes; returns whether anything was written.
    pub(super) fn decide(&mut self) -> (bool, Decision<RolloutReconciler>) {
        let view = self.view();
        let decision = RolloutReconciler::decide(&view);
        let violations = RolloutReconciler::audit(&view, &decision);
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
            let status = &decision.status;
            self.log.push(format!(
                "status: {} step {} {}",
                status.phase.clone().unwrap_or_default(),
                status.current_step_index.unwrap_or(-1),
                status.message.clone().unwrap_or_default()
            ));
            self.apply(write);
            wrote = true;
        }
        (wrote, decision)
    }

    /// Runs until nothing is written and nothing moves; does not wait for deadlines.
    pub(super) fn settle(&mut self) -> Decision<RolloutReconciler> {
        for _ in 0..ROUNDS {
            let (wrote, decision) = self.decide();
            let moved = self.workloads();
            if !wrote && !moved {
                return decision;
            }
        }
        panic!("no end in {ROUNDS} rounds:\n{}", self.log.join("\n"));
    }

    /// Lets Pods follow, and nothing be decided.
    pub(super) fn settle_pods(&mut self) {
        while self.workloads() {}
    }

    /// Runs until nothing is written and no deadline is left before `limit`.
    pub(super) fn run(&mut self, limit: Duration) -> Decision<RolloutReconciler> {
        let end = self.now + limit;
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

    /// The ReplicaSet controller: every healthy Pod becomes available at once.
    fn workloads(&mut self) -> bool {
        let mut moved = false;
        let addresses: Vec<ObjectRef> =
            self.objects.keys().filter(|a| a.kind == Kind::REPLICA_SET).cloned().collect();
        for address in addresses {
            let mut object = self.objects[&address].clone();
            let wanted = object["spec"]["replicas"].as_u64().unwrap();
            let hash = object["metadata"]["labels"][POD_TEMPLATE_HASH].as_str().unwrap_or("");
            moved |= self.with_pods && self.pods_of(&object, wanted);
            let available =
                self.healthy.get(hash).map_or(wanted, |most| wanted.min(u64::from(*most)));
            let status = json!({
                "replicas": wanted,
                "readyReplicas": available,
                "availableReplicas": available,
                "observedGeneration": object["metadata"]["generation"],
            });
            if object.get("status") != Some(&status) {
                object["status"] = status;
                self.put(object, Some("kube-controller-manager"));
                moved = true;
            }
        }
        moved
    }

    /// Makes the Pods of a ReplicaSet, ready at once, and takes those that are too many.
    fn pods_of(&mut self, set: &Value, wanted: u64) -> bool {
        let (name, uid) = (set["metadata"]["name"].as_str().unwrap(), &set["metadata"]["uid"]);
        let owned = |pod: &Value| pod["metadata"]["ownerReferences"][0]["uid"] == *uid;
        let present: Vec<String> = self
            .of(&Kind::POD)
            .filter(|pod| owned(pod))
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        let wanted = usize::try_from(wanted).unwrap();
        for extra in present.iter().skip(wanted) {
            self.remove(Kind::POD, extra);
        }
        for _ in present.len()..wanted {
            let metadata = &set["spec"]["template"]["metadata"];
            let since = self.now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            let owner = json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": uid, "controller": true,
            });
            let pod = json!({
                "kind": "Pod",
                "metadata": {
                    "name": format!("{name}-{}", self.version),
                    "labels": metadata["labels"],
                    "annotations": metadata["annotations"],
                    "ownerReferences": [owner],
                },
                "status": { "conditions": [
                    { "type": "Ready", "status": "True", "lastTransitionTime": since },
                ] },
            });
            self.put(pod, Some("kube-controller-manager"));
        }
        present.len() != wanted
    }

    /// Returns the metadata of the Pods of a ReplicaSet, by name.
    pub(super) fn pods(&self, prefix: &str) -> Vec<&Value> {
        let named = |pod: &&Value| {
            pod["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(prefix))
        };
        self.of(&Kind::POD).filter(named).map(|pod| &pod["metadata"]).collect()
    }

    /// Executes a write as the API server would; panics on a conflict, which a single writer cannot have.
    fn apply(&mut self, write: &Write) {
        let address = &write.object;
        let manager = write.manager.to_string();
        if let Change::Create { body } = &write.change {
            assert!(!self.objects.contains_key(address), "{address} exists");
            self.put(body.clone(), Some(&manager));
            return;
        }
        let mut object = self.objects[address].clone();
        if let Some(uid) = &write.preconditions.uid {
            assert_eq!(object["metadata"]["uid"], json!(uid), "{address}");
        }
        if let Some(version) = &write.preconditions.resource_version {
            assert_eq!(object["metadata"]["resourceVersion"], json!(version), "{address}");
        }
        match &write.change {
            Change::MergePatch { body } => merge(&mut object, body),
            Change::Status { body } => {
                merge(&mut object, &json!({ "status": body }));
            }
            Change::JsonPatch { operations } => patch(&mut object, operations),
            Change::Delete { .. } | Change::Evict => {
                self.objects.remove(address);
                self.record(address, &object, true, Some(&manager));
                return;
            }
            Change::Create { .. } | Change::Apply { .. } => unreachable!(),
        }
        self.put(object, Some(&manager));
    }

    /// Checks the laws over everything that ever was.
    pub(super) fn check_history(&self) {
        let violations = check_history(&self.history);
        assert!(violations.is_empty(), "{violations:#?}\n{}", self.log.join("\n"));
    }
}

/// Whether the ReplicaSet is that of a version of an Experiment.
fn is_trials(set: &ReplicaSetRecord) -> bool {
    set.meta.owner.as_ref().is_some_and(|owner| owner.kind == "Experiment")
}

fn template_record(found: &Value) -> Value {
    json!({ "metadata": found["metadata"], "spec": found["spec"], "status": null })
}

fn endpoints(
    services: &[Arc<ServiceRecord>],
    sets: &[Arc<ReplicaSetRecord>],
    listed: &BTreeMap<String, u32>,
) -> BTreeMap<String, EndpointCounts> {
    let mut all = BTreeMap::new();
    for service in services {
        let mut counts = EndpointCounts::default();
        for set in sets {
            let Some(hash) = set.hash() else { continue };
            if service.hash().is_none_or(|selected| selected == hash) {
                let most = listed.get(hash).copied().unwrap_or(u32::MAX);
                counts.ready.insert(hash.to_owned(), set.ready.min(most));
            }
        }
        all.insert(service.meta.name.clone(), counts);
    }
    all
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

fn patch(target: &mut Value, operations: &[Value]) {
    for operation in operations {
        let path = operation["path"].as_str().unwrap();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let key = key.replace("~1", "/").replace("~0", "~");
        let value = operation["value"].clone();
        let parent = target.pointer_mut(parent).unwrap_or_else(|| panic!("no path {path}"));
        match operation["op"].as_str().unwrap() {
            "test" => {
                let found = match parent {
                    Value::Array(list) => list[key.parse::<usize>().unwrap()].clone(),
                    other => other[&key].clone(),
                };
                assert_eq!(found, value, "test of {path}");
            }
            "add" => match parent {
                Value::Array(list) if key == "-" => list.push(value),
                Value::Array(list) => list.insert(key.parse().unwrap(), value),
                other => other[&key] = value,
            },
            "remove" => match parent {
                Value::Array(list) => drop(list.remove(key.parse().unwrap())),
                other => drop(other.as_object_mut().unwrap().remove(&key)),
            },
            other => panic!("operation {other}"),
        }
    }
}
