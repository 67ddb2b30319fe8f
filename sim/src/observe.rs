//! From the objects on a simulated API server to what a decision may look at. The controller's own `observe` reads from its
//! stores; here nothing lags, and nothing is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_crds::analysis::{AnalysisRunRecord, AnalysisTemplateRecord};
use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::labels;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_crds::rollout::RolloutRecord;
use sluice_crds::rollout::steps::TemplateRef;
use sluice_engine::config::EngineConfig;
use sluice_engine::experiment::ExperimentReconciler;
use sluice_engine::fence::EpochView;
use sluice_engine::plan::Reconciler;
use sluice_engine::rollout::RolloutReconciler;
use sluice_engine::traffic::LiveRoutes;
use sluice_engine::view::{
    AnalysisRunView, EndpointCounts, ExperimentSight, ExperimentView, JobRecord, JobSight, Lookup,
    MeasurementFact, PodRecord, Refusal, RefusedEviction, ReplicaSetRecord, RolloutView,
    RouteRecord, ServiceRecord, WorkloadView, wants_pods,
};

use crate::api_server::ApiServer;

/// What the process adds to the objects.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The instant.
    pub now: DateTime<Utc>,
    /// Configuration.
    pub config: Arc<EngineConfig>,
    /// Leadership.
    pub epoch: EpochView,
    /// Pods, by name, whose eviction was refused.
    pub refused_evictions: BTreeMap<String, RefusedEviction>,
    /// Measurements that are not in the status of their AnalysisRun yet, by the run's namespace and name.
    pub facts: BTreeMap<(String, String), Vec<MeasurementFact>>,
}

fn parsed<T: DeserializeOwned>(object: &Value) -> Option<T> {
    serde_json::from_value(object.clone()).ok()
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn lookup<T>(
    api: &ApiServer,
    object: &ObjectRef,
    read: impl Fn(&Value) -> Option<T>,
) -> Lookup<Arc<T>> {
    if !api.serves(&object.kind) {
        return Lookup::NoKind;
    }
    match api.get(object).and_then(|value| read(&value)) {
        Some(value) => Lookup::Present(Arc::new(value)),
        None => Lookup::Absent,
    }
}

/// Returns the view of a Rollout, or `None` if it is not there or cannot be read.
pub fn rollout(api: &ApiServer, object: &ObjectRef, around: &Surroundings) -> Option<RolloutView> {
    let rollout: RolloutRecord = parsed(&*api.get(object)?)?;
    let namespace = rollout.meta.namespace.clone();
    let reads = RolloutReconciler::reads(&rollout).objects;
    let mut services = BTreeMap::new();
    let mut endpoints = BTreeMap::new();
    let mut routes = BTreeMap::new();
    let mut templates = BTreeMap::new();
    for object in reads {
        match &*object.kind.kind {
            "Service" => {
                endpoints.insert(object.name.clone(), endpoint_counts(api, &object));
                services.insert(object.name.clone(), lookup(api, &object, parsed));
            }
            "AnalysisTemplate" | "ClusterAnalysisTemplate" => follow(api, object, &mut templates),
            "Deployment" | "ReplicaSet" | "PodTemplate" => {}
            _ => {
                let found = lookup(api, &object, |value| route(&object, value));
                routes.insert(object, found);
            }
        }
    }
    for host in sluice_engine::rollout::hosts(&routes, &namespace) {
        let service = ObjectRef::namespaced(Kind::SERVICE, &namespace, &host);
        if api.get(&service).is_some() {
            endpoints.insert(host, endpoint_counts(api, &service));
        }
    }
    let runs = api.objects(&Kind::ANALYSIS_RUN, Some(&namespace)).into_iter();
    let runs = runs.filter_map(|run| parsed::<AnalysisRunRecord>(&run));
    let owned = runs.filter(|run| run.meta.is_owned_by(&rollout.meta.uid));
    let analysis_runs = owned.map(|run| run_view(api, run, around)).collect();
    let workload = WorkloadView::of(&rollout, |object| lookup(api, object, parsed));
    let replica_sets = replica_sets(api, &rollout, workload.as_ref());
    let experiments = experiments(api, &rollout);
    for name in experiments.iter().flat_map(|sight| sight.services.keys()) {
        let service = ObjectRef::namespaced(Kind::SERVICE, &namespace, name);
        endpoints.insert(name.clone(), endpoint_counts(api, &service));
    }
    Some(RolloutView {
        now: around.now,
        config: Arc::clone(&around.config),
        epoch: around.epoch.clone(),
        taken: taken(api, &rollout, &replica_sets),
        pods: wants_pods(&rollout, &replica_sets, around.now).then(|| pods(api, &replica_sets)),
        refused_evictions: around.refused_evictions.clone(),
        former_services: former_services(api, &rollout, &services),
        workload,
        replica_sets,
        rollout: Arc::new(rollout),
        services,
        endpoints,
        routes,
        templates,
        analysis_runs,
        experiments: Lookup::Present(experiments),
        confirmations: BTreeMap::new(),
        claims: BTreeMap::new(),
        quarantined: BTreeMap::new(),
    })
}

fn experiments(api: &ApiServer, rollout: &RolloutRecord) -> Vec<ExperimentSight> {
    let all = api.objects(&Kind::EXPERIMENT, Some(&rollout.meta.namespace)).into_iter();
    let all = all.filter_map(|experiment| parsed::<ExperimentRecord>(&experiment));
    let owned = all.filter(|experiment| experiment.meta.is_owned_by(&rollout.meta.uid));
    let sight = |experiment: ExperimentRecord| ExperimentSight {
        replica_sets: sets_of(api, &experiment.meta),
        services: services_of(api, &experiment),
        experiment: Arc::new(experiment),
    };
    owned.map(sight).collect()
}

/// The Services that the versions of an Experiment want or had.
fn services_of(
    api: &ApiServer,
    experiment: &ExperimentRecord,
) -> BTreeMap<String, Lookup<Arc<ServiceRecord>>> {
    let reads = ExperimentReconciler::reads(experiment).objects.into_iter();
    let services = reads.filter(|object| object.kind == Kind::SERVICE);
    services.map(|object| (object.name.clone(), lookup(api, &object, parsed))).collect()
}

fn sets_of(api: &ApiServer, owner: &Meta) -> Vec<Arc<ReplicaSetRecord>> {
    let all = api.objects(&Kind::REPLICA_SET, Some(&owner.namespace)).into_iter();
    let all = all.filter_map(|set| parsed::<ReplicaSetRecord>(&set));
    all.filter(|set| set.meta.is_owned_by(&owner.uid)).map(Arc::new).collect()
}

/// Returns the view of an Experiment, or `None` if it is not there or cannot be read.
pub fn experiment(
    api: &ApiServer,
    object: &ObjectRef,
    around: &Surroundings,
) -> Option<ExperimentView> {
    let experiment: ExperimentRecord = parsed(&*api.get(object)?)?;
    let namespace = experiment.meta.namespace.clone();
    let mut services = BTreeMap::new();
    let mut templates = BTreeMap::new();
    for object in ExperimentReconciler::reads(&experiment).objects {
        if object.kind == Kind::SERVICE {
            services.insert(object.name.clone(), lookup(api, &object, parsed));
        } else {
            follow(api, object, &mut templates);
        }
    }
    let runs = api.objects(&Kind::ANALYSIS_RUN, Some(&namespace)).into_iter();
    let runs = runs.filter_map(|run| parsed::<AnalysisRunRecord>(&run));
    let owned = runs.filter(|run| run.meta.is_owned_by(&experiment.meta.uid));
    let prefix = format!("{}-", experiment.meta.name);
    let foreign = api.objects(&Kind::REPLICA_SET, Some(&namespace)).into_iter();
    let foreign = foreign.filter_map(|set| parsed::<ReplicaSetRecord>(&set)).filter(|set| {
        set.meta.name.starts_with(&prefix) && !set.meta.is_owned_by(&experiment.meta.uid)
    });
    Some(ExperimentView {
        now: around.now,
        config: Arc::clone(&around.config),
        epoch: around.epoch.clone(),
        replica_sets: sets_of(api, &experiment.meta),
        services,
        routes: routes_of_owner(api, &experiment),
        templates,
        analysis_runs: owned.map(|run| run_view(api, run, around)).collect(),
        refused: foreign.map(|set| (set.object(), Refusal::Taken)).collect(),
        experiment: Arc::new(experiment),
    })
}

/// The router objects of the Rollout that owns the Experiment.
fn routes_of_owner(api: &ApiServer, experiment: &ExperimentRecord) -> LiveRoutes {
    let owner = experiment.meta.owner.as_ref().filter(|owner| owner.kind == "Rollout");
    let namespace = experiment.meta.namespace.as_str();
    let owner = owner.map(|owner| ObjectRef::namespaced(Kind::ROLLOUT, namespace, &owner.name));
    let rollout = owner.and_then(|owner| parsed::<RolloutRecord>(&*api.get(&owner)?));
    let reads = rollout.map(|rollout| RolloutReconciler::reads(&rollout).objects);
    let routes = reads
        .into_iter()
        .flatten()
        .filter(|object| [Kind::VIRTUAL_SERVICE, Kind::DESTINATION_RULE].contains(&object.kind));
    let looked_up = |object: ObjectRef| {
        let found = lookup(api, &object, |value| route(&object, value));
        (object, found)
    };
    routes.map(looked_up).collect()
}

/// The Jobs of a run, and the images that their Pods cannot have.
fn jobs(api: &ApiServer, run: &AnalysisRunRecord) -> Vec<JobSight> {
    let namespace = Some(run.meta.namespace.as_str());
    let all = api.objects(&Kind::JOB, namespace).into_iter();
    let owned = all
        .filter_map(|job| parsed::<JobRecord>(&job))
        .filter(|job| job.meta.is_owned_by(&run.meta.uid));
    let stuck = |job: &JobRecord| {
        api.objects(&Kind::POD, namespace).into_iter().find_map(|pod| {
            let meta: Meta = parsed(&pod["metadata"])?;
            let reason = text(&pod, "/status/containerStatuses/0/state/waiting/reason").to_owned();
            (meta.is_owned_by(&job.meta.uid) && reason.contains("ImagePull")).then_some(reason)
        })
    };
    owned.map(|job| JobSight { stuck: stuck(&job), job: Arc::new(job) }).collect()
}

/// Returns the run with its measurements and its Jobs.
pub fn run_view(api: &ApiServer, run: AnalysisRunRecord, around: &Surroundings) -> AnalysisRunView {
    let key = (run.meta.namespace.clone(), run.meta.name.clone());
    let facts = around.facts.get(&key).cloned().unwrap_or_default();
    let jobs = jobs(api, &run);
    AnalysisRunView { run: Arc::new(run), facts, jobs, secrets: BTreeMap::new() }
}

fn route(object: &ObjectRef, value: &Value) -> Option<RouteRecord> {
    Some(RouteRecord {
        object: object.clone(),
        meta: parsed(&value["metadata"])?,
        spec: Arc::new(value["spec"].clone()),
    })
}

/// ReplicaSets that the Rollout owns, and unowned ones that its selector matches.
fn replica_sets(
    api: &ApiServer,
    rollout: &RolloutRecord,
    workload: Option<&WorkloadView>,
) -> Vec<Arc<ReplicaSetRecord>> {
    let of_workload = workload.and_then(|w| w.found.present()?.selector.as_ref());
    let selector = rollout.spec.selector.as_ref().or(of_workload);
    let selector = selector.and_then(|s| s.match_labels.clone());
    let matches = |set: &ReplicaSetRecord| {
        selector.iter().flatten().all(|(key, value)| set.meta.labels.get(key) == Some(value))
    };
    let all = api.objects(&Kind::REPLICA_SET, Some(&rollout.meta.namespace)).into_iter();
    let all = all.filter_map(|set| parsed::<ReplicaSetRecord>(&set));
    let ours = all.filter(|set| {
        let ours = set.meta.is_owned_by(&rollout.meta.uid);
        ours || (set.meta.owner.is_none() && selector.is_some() && matches(set))
    });
    ours.map(Arc::new).collect()
}

/// Services that say that the Rollout manages them, and that it does not name.
fn former_services(
    api: &ApiServer,
    rollout: &RolloutRecord,
    named: &BTreeMap<String, Lookup<Arc<ServiceRecord>>>,
) -> Vec<Arc<ServiceRecord>> {
    let all = api.objects(&Kind::SERVICE, Some(&rollout.meta.namespace)).into_iter();
    let all = all.filter_map(|service| parsed::<ServiceRecord>(&service));
    let ours = all.filter(|service| {
        service.meta.annotations.get(labels::MANAGED_BY) == Some(&rollout.meta.name)
    });
    ours.filter(|service| !named.contains_key(&service.meta.name)).map(Arc::new).collect()
}

/// Names of ReplicaSets of others that the Rollout could want for one of its own.
fn taken(
    api: &ApiServer,
    rollout: &RolloutRecord,
    ours: &[Arc<ReplicaSetRecord>],
) -> BTreeSet<String> {
    let prefix = format!("{}-", rollout.meta.name);
    let all = api.objects(&Kind::REPLICA_SET, Some(&rollout.meta.namespace)).into_iter();
    let names = all.map(|set| text(&set, "/metadata/name").to_owned());
    let others = names.filter(|name| !ours.iter().any(|set| set.meta.name == *name));
    others.filter(|name| name.starts_with(&prefix)).collect()
}

/// Pods that the ReplicaSets own.
fn pods(api: &ApiServer, sets: &[Arc<ReplicaSetRecord>]) -> Vec<Arc<PodRecord>> {
    let namespace = sets.first().map(|set| set.meta.namespace.as_str());
    let all = api.objects(&Kind::POD, namespace).into_iter();
    let all = all.filter_map(|pod| parsed::<PodRecord>(&pod));
    let ours = all.filter(|pod| sets.iter().any(|set| pod.meta.is_owned_by(&set.meta.uid)));
    ours.map(Arc::new).collect()
}

fn endpoint_counts(api: &ApiServer, service: &ObjectRef) -> EndpointCounts {
    let namespace = service.namespace.as_deref();
    let mut counts = EndpointCounts::default();
    for slice in api.objects(&Kind::ENDPOINT_SLICE, namespace) {
        let of = &slice["metadata"]["labels"]["kubernetes.io/service-name"];
        if *of != *service.name {
            continue;
        }
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            let pod = text(endpoint, "/targetRef/name");
            let pod = ObjectRef {
                kind: Kind::POD,
                namespace: service.namespace.clone(),
                name: pod.into(),
            };
            let Some(pod) = api.get(&pod) else { continue };
            let hash = pod["metadata"]["labels"][labels::POD_TEMPLATE_HASH].as_str();
            if let (Some(hash), true) = (hash, endpoint["conditions"]["ready"] == true) {
                *counts.ready.entry(hash.to_owned()).or_default() += 1;
            }
        }
    }
    counts
}

/// Looks up a template and the templates that it names.
fn follow(
    api: &ApiServer,
    first: ObjectRef,
    templates: &mut BTreeMap<TemplateRef, Lookup<Arc<AnalysisTemplateRecord>>>,
) {
    let mut open = BTreeSet::from([first]);
    while let Some(object) = open.pop_first() {
        let cluster = object.namespace.is_none();
        let key = TemplateRef {
            template_name: object.name.clone(),
            cluster_scope: cluster.then_some(true),
        };
        if templates.contains_key(&key) {
            continue;
        }
        let found = lookup::<AnalysisTemplateRecord>(api, &object, parsed);
        for named in found.present().iter().flat_map(|t| t.spec.templates.iter().flatten()) {
            let name = named.template_name.clone();
            open.insert(if named.cluster_scope == Some(true) {
                ObjectRef::cluster(Kind::CLUSTER_ANALYSIS_TEMPLATE, name)
            } else {
                ObjectRef {
                    kind: Kind::ANALYSIS_TEMPLATE,
                    namespace: object.namespace.clone(),
                    name,
                }
            });
        }
        if !cluster {
            // A reference may say `clusterScope: false` or nothing.
            let said = TemplateRef { cluster_scope: Some(false), ..key.clone() };
            templates.insert(said, found.clone());
        }
        templates.insert(key, found);
    }
}
