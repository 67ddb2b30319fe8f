//! What the benchmark `neighbours` measures: observing and deciding one Rollout, from stores that hold many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_crds::object::{Meta, ObjectRef, ResourceVersion};
use sluice_crds::rollout::RolloutRecord;
use sluice_engine::config::EngineConfig;
use sluice_engine::fence::{EpochView, FenceRules, Term};
use sluice_engine::plan::Reconciler;
use sluice_engine::rollout::RolloutReconciler;
use sluice_engine::view::{ReplicaSetRecord, RouteRecord, ServiceRecord};

use crate::clock::SystemClock;
use crate::config::Role;
use crate::facts::Facts;
use crate::mesh::Confirmations;
use crate::queue::{Key, Queue};
use crate::reconcile::rollout::{Quarantine, RefusedEvictions, RolloutObserver, Taken};
use crate::reconcile::{Observer, Sight};
use crate::secrets::Secrets;
use crate::stores::Stores;
use crate::stores::store::Observed;
use crate::telemetry::Telemetry;

/// Stores with one Rollout that is looked at, and others in its namespace.
pub struct Neighbourhood {
    observer: RolloutObserver,
    key: Key,
    epoch: EpochView,
}

struct NoQuarantine;

impl Quarantine for NoQuarantine {
    fn of(&self, _: &RolloutRecord) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

impl Neighbourhood {
    /// Returns stores with so many other Rollouts, each with two ReplicaSets, two Services and a VirtualService.
    ///
    /// # Panics
    /// If the objects that it makes cannot be read.
    pub fn of(others: usize) -> Self {
        let stores = Stores::new(Arc::new(Queue::default()));
        fill(&stores, others);
        let unreachable = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no server"))
        });
        let client = kube::Client::new(unreachable, "default");
        let queue = Arc::clone(&stores.queue);
        let observer = RolloutObserver {
            clock: Arc::new(SystemClock),
            config: Arc::new(EngineConfig::default()),
            facts: Arc::new(Facts::default()),
            secrets: Secrets::new(client, queue, Duration::from_secs(1)),
            quarantine: Arc::new(NoQuarantine),
            taken: Taken::default(),
            confirmations: Arc::new(Confirmations::default()),
            refused: RefusedEvictions::default(),
            telemetry: Arc::new(Telemetry::new()),
            stores,
        };
        for number in 0..=others {
            // Everybody has been looked at once, so that it is known who reads what.
            let key = Key::new(Role::Rollouts, "shop", format!("web-{number}"));
            drop(observer.observe(&key, epoch()));
        }
        Self { observer, key: Key::new(Role::Rollouts, "shop", "web-0"), epoch: epoch() }
    }

    /// Observes, decides and audits so often, and returns how long that took.
    ///
    /// # Panics
    /// If the Rollout is not found, or a decision is not lawful.
    pub fn reconciles(&self, runs: u32) -> Duration {
        let start = Instant::now();
        for _ in 0..runs {
            let Sight::Found(found) = self.observer.observe(&self.key, self.epoch.clone()) else {
                panic!("the Rollout is in the store");
            };
            let decision = RolloutReconciler::decide(&found.view);
            let violations = RolloutReconciler::audit(&found.view, &decision);
            assert!(violations.is_empty(), "{violations:?}");
        }
        start.elapsed()
    }
}

fn epoch() -> EpochView {
    EpochView {
        term: Term { lease: "sluice".into(), lease_uid: "lease".into(), acquired: 1.into() },
        n: 1,
        needed: BTreeMap::new(),
        disowned: BTreeSet::new(),
        rules: FenceRules::ALL,
    }
}

fn fill(stores: &Stores, others: usize) {
    let version = ResourceVersion::from(1_000);
    let every = |make: fn(usize) -> Vec<Value>| (0..=others).flat_map(make);
    let rollouts = every(|n| vec![rollout(n)]).map(read::<RolloutRecord>);
    stores.rollouts.replace(rollouts.collect(), &version);
    let sets = every(|n| vec![set(n, "aaaa"), set(n, "bbbb")]).map(read::<ReplicaSetRecord>);
    stores.replica_sets.replace(sets.collect(), &version);
    let services = every(|n| vec![service(n, "stable", "aaaa"), service(n, "canary", "bbbb")]);
    stores.services.replace(services.map(read::<ServiceRecord>).collect(), &version);
    stores.virtual_services.replace((0..=others).map(route).collect(), &version);
    stores.destination_rules.replace(Vec::new(), &version);
    stores.slices.replace(Vec::new(), &version);
    stores.pods.replace(Vec::new(), &version);
    stores.runs.replace(Vec::new(), &version);
    stores.experiments.replace(Vec::new(), &version);
    stores.jobs.replace(Vec::new(), &version);
    stores.job_pods.replace(Vec::new(), &version);
    stores.templates.replace(Vec::new(), &version);
    stores.cluster_templates.replace(Vec::new(), &version);
}

fn read<T: serde::de::DeserializeOwned>(object: Value) -> Observed<T> {
    Observed::Whole(
        serde_json::from_value(object).expect("the objects have the form of their kind"),
    )
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "namespace": "shop",
        "uid": format!("uid-{name}"),
        "resourceVersion": "7",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "annotations": { "epoch.sluice.dev/sluice": "lease:1:1" },
    })
}

fn template(number: usize, image: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": format!("web-{number}") } },
        "spec": { "containers": [{ "name": "web", "image": image }] },
    })
}

fn rollout(number: usize) -> Value {
    let name = format!("web-{number}");
    json!({
        "metadata": metadata(&name),
        "spec": {
            "replicas": 5,
            "selector": { "matchLabels": { "app": name } },
            "template": template(number, "demo:2"),
            "strategy": { "canary": {
                "canaryService": format!("{name}-canary"),
                "stableService": format!("{name}-stable"),
                "trafficRouting": { "istio": { "virtualService": { "name": name } } },
                "steps": [{ "setWeight": 20 }, { "pause": {} }],
            } },
        },
        "status": { "stableRS": "aaaa", "currentPodHash": "bbbb", "phase": "Paused" },
    })
}

fn set(number: usize, hash: &str) -> Value {
    let owner = format!("web-{number}");
    let mut metadata = metadata(&format!("{owner}-{hash}"));
    metadata["labels"] = json!({ "app": owner, "rollouts-pod-template-hash": hash });
    metadata["ownerReferences"] = json!([{
        "kind": "Rollout", "name": owner, "uid": format!("uid-{owner}"), "controller": true,
    }]);
    json!({
        "metadata": metadata,
        "spec": { "replicas": 5, "template": template(number, &format!("demo:{hash}")) },
        "status": { "replicas": 5, "availableReplicas": 5, "readyReplicas": 5, "observedGeneration": 1 },
    })
}

fn service(number: usize, role: &str, hash: &str) -> Value {
    json!({
        "metadata": metadata(&format!("web-{number}-{role}")),
        "spec": {
            "selector": { "app": format!("web-{number}"), "rollouts-pod-template-hash": hash },
            "ports": [{ "port": 80 }],
        },
    })
}

fn route(number: usize) -> Observed<RouteRecord> {
    let name = format!("web-{number}");
    let to = |role: &str, weight: u32| json!({ "destination": { "host": format!("{name}-{role}") }, "weight": weight });
    let spec =
        json!({ "hosts": [name], "http": [{ "route": [to("stable", 80), to("canary", 20)] }] });
    let meta: Meta =
        serde_json::from_value(metadata(&name)).expect("metadata has the form of metadata");
    Observed::Whole(RouteRecord {
        object: ObjectRef::namespaced(sluice_crds::object::Kind::VIRTUAL_SERVICE, "shop", name),
        meta,
        spec: Arc::new(spec),
    })
}
