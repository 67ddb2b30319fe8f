//! Builds the view of a Rollout.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use sluice_crds::analysis::{AnalysisRunRecord, AnalysisTemplateRecord};
use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_crds::rollout::steps::TemplateRef;
use sluice_crds::rollout::{LabelSelector, RolloutAnalysis, RolloutRecord};
use sluice_engine::config::EngineConfig;
use sluice_engine::experiment::ExperimentReconciler;
use sluice_engine::fence::EpochView;
use sluice_engine::plan::{Decision, Reconciler};
use sluice_engine::rollout::{RolloutReconciler, ended};
use sluice_engine::view::{
    AnalysisRunView, ExperimentSight, JobSight, Lookup, PodRecord, RefusedEviction,
    ReplicaSetRecord, RolloutView, ServiceRecord, WorkloadView, wants_pods,
};

use super::{Found, Observer, Sight, Work, subject};
use crate::clock::Clock;
use crate::config::Role;
use crate::execute::{NOT_OURS, Outcome};
use crate::facts::Facts;
use crate::mesh::Confirmations;
use crate::queue::Key;
use crate::secrets::Secrets;
use crate::stores::store::Availability;
use crate::stores::{Stores, by_name, records};
use crate::telemetry::Telemetry;

mod claims;
mod selector;

/// Sees Rollouts.
pub(crate) struct RolloutObserver {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) quarantine: Arc<dyn Quarantine>,
    pub(crate) taken: Taken,
    pub(crate) confirmations: Arc<Confirmations>,
    pub(crate) refused: RefusedEvictions,
    pub(crate) telemetry: Arc<Telemetry>,
}

/// Names of ReplicaSets and Experiments of others that a create of ours met, by Rollout. Forgotten with the process: the next create meets them
/// again.
#[derive(Default)]
pub(crate) struct Taken(Mutex<BTreeMap<Key, BTreeSet<String>>>);

impl Taken {
    fn known(&self) -> MutexGuard<'_, BTreeMap<Key, BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, key: &Key) -> BTreeSet<String> {
        self.known().get(key).cloned().unwrap_or_default()
    }
}

/// Evictions that were refused, by Rollout and name of the Pod. Forgotten with the process, and with the restart.
#[derive(Default)]
pub(crate) struct RefusedEvictions(Mutex<BTreeMap<Key, BTreeMap<String, RefusedEviction>>>);

impl RefusedEvictions {
    fn known(&self) -> MutexGuard<'_, BTreeMap<Key, BTreeMap<String, RefusedEviction>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells which content of a Rollout the Application that manages it holds in quarantine.
pub(crate) trait Quarantine: Send + Sync {
    /// Returns the reason by template hash.
    fn of(&self, rollout: &RolloutRecord) -> BTreeMap<String, String>;
}

impl Observer for RolloutObserver {
    type R = RolloutReconciler;

    fn observe(&self, key: &Key, epoch: EpochView) -> Sight<RolloutView> {
        let Some(rollout) = self.stores.rollouts.get(&key.namespace, &key.name) else {
            return Sight::Gone;
        };
        if rollout.meta.deletion_timestamp.is_some() {
            return Sight::Gone;
        }
        let mut objects = RolloutReconciler::reads(&rollout).objects;
        let named = named_templates(&rollout);
        let templates = templates(&self.stores, &key.namespace, named, &mut objects);
        let routes = self.routes(&objects);
        let services: BTreeSet<String> = objects
            .iter()
            .filter(|object| object.kind == Kind::SERVICE)
            .map(|object| object.name.clone())
            .collect();
        let mut hosts = sluice_engine::rollout::hosts(&routes, &key.namespace);
        let experiments = self.experiments(&rollout);
        let of_trials = experiments.present().into_iter().flatten();
        let of_trials: Vec<String> =
            of_trials.flat_map(|sight| sight.services.keys().cloned()).collect();
        let named = hosts.iter().chain(&of_trials);
        let named = named.map(|name| ObjectRef::namespaced(Kind::SERVICE, &*key.namespace, name));
        self.stores.reads(key, objects.iter().cloned().chain(named).collect());
        hosts.retain(|host| self.stores.services.get(&key.namespace, host).is_some());
        hosts.extend(of_trials);
        let workload = WorkloadView::of(&rollout, |object| self.stores.workload(object));
        let replica_sets = self.replica_sets(&rollout, workload.as_ref());
        let now = self.clock.now();
        let pods = self.pods(key, &rollout, &replica_sets, now);
        let mut analysis_runs = Vec::new();
        for run in self.stores.runs.indexed(&records::owned_by(&rollout.meta.uid)) {
            // Jobs that may not be read keep no update from being taken back.
            let jobs = self.stores.jobs_of(&run).present().cloned().unwrap_or_default();
            match run_view(&self.facts, &self.secrets, key, run, jobs) {
                Some(view) => analysis_runs.push(view),
                None => return Sight::Waits("a Secret that an AnalysisRun names".into()),
            }
        }
        let endpoints = services
            .iter()
            .chain(&hosts)
            .map(|name| (name.clone(), self.stores.endpoints(&key.namespace, name)))
            .collect();
        let view = RolloutView {
            now,
            config: Arc::clone(&self.config),
            epoch,
            replica_sets,
            workload,
            pods,
            former_services: self.former_services(key, &services),
            refused_evictions: self.refused.known().get(key).cloned().unwrap_or_default(),
            services: by_name(&self.stores.services, &key.namespace, services),
            endpoints,
            confirmations: self.confirmations.of(routes.keys()),
            routes,
            templates,
            analysis_runs,
            experiments,
            taken: self.taken.of(key),
            claims: claims::of(&self.stores, key, &rollout, &objects),
            quarantined: self.quarantine.of(&rollout),
            rollout: Arc::clone(&rollout),
        };
        Sight::Found(Box::new(Found { view, subject: subject(Kind::ROLLOUT, &rollout.meta) }))
    }

    fn metas(view: &RolloutView) -> Vec<&Meta> {
        let sets = view.replica_sets.iter().map(|set| &set.meta);
        let services = view.services.values().filter_map(Lookup::present).map(|s| &s.meta);
        let routes = view.routes.values().filter_map(Lookup::present).map(|route| &route.meta);
        let workload = view.workload.iter().filter_map(|w| w.found.present()).map(|w| &w.meta);
        let trials = view.experiments.present().into_iter().flatten().flat_map(metas_of);
        let own = std::iter::once(&view.rollout.meta);
        own.chain(sets).chain(services).chain(routes).chain(workload).chain(trials).collect()
    }

    fn run(
        &self,
        _: &Key,
        _: &RolloutView,
        task: &<RolloutReconciler as Reconciler>::Task,
    ) -> Work {
        match *task {}
    }

    fn forget(&self, key: &Key) {
        self.stores.reads(key, BTreeSet::new());
        self.stores.queue.calm(key);
        self.taken.known().remove(key);
        self.stores.leave_pods(key);
        self.refused.known().remove(key);
    }

    fn wrote(&self, key: &Key, object: &ObjectRef, outcome: &Outcome) {
        if [Kind::REPLICA_SET, Kind::EXPERIMENT].contains(&object.kind)
            && matches!(outcome, Outcome::Refused(words) if words.ends_with(NOT_OURS))
        {
            self.taken.known().entry(key.clone()).or_default().insert(object.name.clone());
        }
        if let Outcome::NotEvicted(why) = outcome {
            let refused = RefusedEviction { at: self.clock.now(), why: why.clone() };
            let mut known = self.refused.known();
            known.entry(key.clone()).or_default().insert(object.name.clone(), refused);
        }
    }

    /// Runs whose failure was acted on may be recorded now.
    fn carried_out(&self, view: &RolloutView, decision: &Decision<RolloutReconciler>) {
        if decision.status_write.is_some() {
            let ended = ended(&view.rollout.status, &decision.status, view.now);
            ended.iter().for_each(|ended| self.telemetry.ended(ended));
        }
        for AnalysisRunView { run, facts, .. } in &view.analysis_runs {
            if !facts.is_empty() && self.facts.acted_on(&run.meta.uid, facts) {
                let key = Key::new(Role::Analysis, &*run.meta.namespace, &*run.meta.name);
                self.stores.queue.wake(key);
            }
        }
        let waits = |run: &AnalysisRunView| self.facts.fatal_since(&run.run.meta.uid).is_some();
        if !view.analysis_runs.iter().any(waits) {
            let meta = &view.rollout.meta;
            self.stores.queue.calm(&Key::new(Role::Rollouts, &*meta.namespace, &*meta.name));
        }
    }
}

impl RolloutObserver {
    fn former_services(&self, key: &Key, named: &BTreeSet<String>) -> Vec<Arc<ServiceRecord>> {
        let managed = records::managed_by(&key.namespace, &key.name);
        let services = self.stores.services.indexed(&managed).into_iter();
        services.filter(|service| !named.contains(&service.meta.name)).collect()
    }

    /// Returns the Pods of the ReplicaSets where a decision looks at them; they are watched as long as it does.
    fn pods(
        &self,
        key: &Key,
        rollout: &RolloutRecord,
        sets: &[Arc<ReplicaSetRecord>],
        now: DateTime<Utc>,
    ) -> Option<Vec<Arc<PodRecord>>> {
        if wants_pods(rollout, sets, now) {
            return self.stores.pods_of(key, sets);
        }
        self.stores.leave_pods(key);
        self.refused.known().remove(key);
        None
    }

    fn replica_sets(
        &self,
        rollout: &RolloutRecord,
        workload: Option<&WorkloadView>,
    ) -> Vec<Arc<ReplicaSetRecord>> {
        let store = &self.stores.replica_sets;
        let mut sets = store.indexed(&records::owned_by(&rollout.meta.uid));
        let of_workload = workload.and_then(|w| w.found.present()?.selector.as_ref());
        let wanted: &LabelSelector = match rollout.spec.selector.as_ref().or(of_workload) {
            Some(selector) => selector,
            None => return sets,
        };
        let orphans = store.indexed(&records::unowned_in(&rollout.meta.namespace));
        sets.extend(orphans.into_iter().filter(|set| selector::selects(wanted, &set.meta.labels)));
        sets.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
        sets
    }

    fn experiments(&self, rollout: &RolloutRecord) -> Lookup<Vec<ExperimentSight>> {
        let store = &self.stores.experiments;
        match store.availability() {
            Availability::Pending | Availability::Forbidden(_) => return Lookup::Unknown,
            Availability::NoKind => return Lookup::NoKind,
            Availability::Synced => {}
        }
        let sight = |experiment: Arc<ExperimentRecord>| {
            let owned = records::owned_by(&experiment.meta.uid);
            let mut replica_sets = self.stores.replica_sets.indexed(&owned);
            replica_sets.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
            let reads = ExperimentReconciler::reads(&experiment).objects.into_iter();
            let services = reads.filter(|object| object.kind == Kind::SERVICE);
            let services: BTreeSet<String> = services.map(|object| object.name).collect();
            let services = by_name(&self.stores.services, &experiment.meta.namespace, services);
            ExperimentSight { experiment, replica_sets, services }
        };
        let owned = store.indexed(&records::owned_by(&rollout.meta.uid));
        Lookup::Present(owned.into_iter().map(sight).collect())
    }

    fn routes(
        &self,
        objects: &BTreeSet<ObjectRef>,
    ) -> BTreeMap<ObjectRef, Lookup<Arc<sluice_engine::view::RouteRecord>>> {
        let lookup = |object: &ObjectRef| {
            let namespace = object.namespace.as_deref().unwrap_or_default();
            Some((
                object.clone(),
                self.stores.routes_of(&object.kind)?.lookup(namespace, &object.name),
            ))
        };
        objects.iter().filter_map(lookup).collect()
    }
}

/// Everything of an Experiment that a Rollout's traffic may depend on.
fn metas_of(sight: &ExperimentSight) -> Vec<&Meta> {
    let sets = sight.replica_sets.iter().map(|set| &set.meta);
    let services = sight.services.values().filter_map(Lookup::present).map(|s| &s.meta);
    std::iter::once(&sight.experiment.meta).chain(sets).chain(services).collect()
}

/// Returns the templates with these names and those that they name, and adds them to what the key reads.
pub(crate) fn templates(
    stores: &Stores,
    namespace: &str,
    mut open: Vec<TemplateRef>,
    objects: &mut BTreeSet<ObjectRef>,
) -> BTreeMap<TemplateRef, Lookup<Arc<AnalysisTemplateRecord>>> {
    let mut found = BTreeMap::new();
    while let Some(reference) = open.pop() {
        if found.contains_key(&reference) {
            continue;
        }
        let name = &reference.template_name;
        let lookup = if reference.cluster_scope == Some(true) {
            objects.insert(ObjectRef::cluster(Kind::CLUSTER_ANALYSIS_TEMPLATE, &**name));
            stores.cluster_templates.lookup("", name)
        } else {
            objects.insert(ObjectRef::namespaced(Kind::ANALYSIS_TEMPLATE, namespace, &**name));
            stores.templates.lookup(namespace, name)
        };
        if let Some(record) = lookup.present() {
            open.extend(record.spec.templates.iter().flatten().cloned());
        }
        found.insert(reference, lookup);
    }
    found
}

/// Returns the templates that a spec names itself.
fn named_templates(rollout: &RolloutRecord) -> Vec<TemplateRef> {
    let strategy = &rollout.spec.strategy;
    let canary = strategy.canary.iter();
    let steps = canary
        .clone()
        .flat_map(|c| c.steps.iter().flatten())
        .filter_map(|step| step.analysis.as_ref());
    let background = canary.filter_map(|canary| canary.analysis.as_ref()).map(|b| &b.analysis);
    let blue_green = strategy.blue_green.iter();
    let promotion = blue_green
        .flat_map(|bg| bg.pre_promotion_analysis.iter().chain(&bg.post_promotion_analysis));
    let trials =
        strategy.canary.iter().flat_map(|canary| sluice_engine::rollout::trial_templates(canary));
    let all: Vec<&RolloutAnalysis> = steps.chain(background).chain(promotion).collect();
    let named = all.into_iter().flat_map(|analysis| analysis.templates.iter().flatten()).cloned();
    named.chain(trials).collect()
}

/// Returns a run with its facts and the values of its arguments; `None` while a Secret is being read.
pub(crate) fn run_view(
    facts: &Facts,
    secrets: &Arc<Secrets>,
    reader: &Key,
    run: Arc<AnalysisRunRecord>,
    jobs: Vec<JobSight>,
) -> Option<AnalysisRunView> {
    let mut values = BTreeMap::new();
    let over = run.status.phase.is_some_and(|phase| phase.is_completed());
    for argument in run.spec.args.iter().flatten().filter(|_| !over) {
        let source = argument.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
        if let Some(secret) = source {
            let value = secrets.value(reader, &secret.name, &secret.key)?;
            values.insert(argument.name.clone(), value);
        }
    }
    let facts = facts.of(&run.meta.uid);
    Some(AnalysisRunView { run, facts, jobs, secrets: values })
}

/// Returns the key of the Rollout or Experiment that owns a run.
pub(crate) fn owner_of(run: &AnalysisRunRecord) -> Option<Key> {
    let owner = run.meta.owner.as_ref()?;
    let role = match owner.kind.as_str() {
        "Rollout" => Role::Rollouts,
        "Experiment" => Role::Experiments,
        _ => return None,
    };
    Some(Key::new(role, &*run.meta.namespace, &*owner.name))
}
