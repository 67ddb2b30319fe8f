//! Builds the view of an Experiment.

use std::collections::BTreeSet;
use std::sync::Arc;

use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_engine::analysis::arguments::template_of;
use sluice_engine::config::EngineConfig;
use sluice_engine::experiment::ExperimentReconciler;
use sluice_engine::fence::EpochView;
use sluice_engine::plan::Reconciler;
use sluice_engine::rollout::RolloutReconciler;
use sluice_engine::traffic::LiveRoutes;
use sluice_engine::view::{ExperimentView, Lookup};

use super::refusals::Refusals;
use super::rollout::{run_view, templates};
use super::{Found, Observer, Sight, Work, subject};
use crate::clock::Clock;
use crate::execute::Outcome;
use crate::facts::Facts;
use crate::queue::Key;
use crate::secrets::Secrets;
use crate::stores::{Stores, by_name, records};

/// Sees Experiments.
pub(crate) struct ExperimentObserver {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) refusals: Refusals,
}

impl Observer for ExperimentObserver {
    type R = ExperimentReconciler;

    const SEES_REFUSALS: bool = true;

    fn observe(&self, key: &Key, epoch: EpochView) -> Sight<ExperimentView> {
        let Some(experiment) = self.stores.experiments.get(&key.namespace, &key.name) else {
            return Sight::Gone;
        };
        if experiment.meta.deletion_timestamp.is_some() {
            return Sight::Gone;
        }
        let mut objects = ExperimentReconciler::reads(&experiment).objects;
        let named = experiment.spec.analyses.iter().map(template_of).collect();
        let templates = templates(&self.stores, &key.namespace, named, &mut objects);
        let services: BTreeSet<String> = objects
            .iter()
            .filter(|object| object.kind == Kind::SERVICE)
            .map(|object| object.name.clone())
            .collect();
        let routes = self.routes_of_owner(&experiment);
        objects.extend(routes.keys().cloned());
        self.stores.reads(key, objects);
        let owned = records::owned_by(&experiment.meta.uid);
        let mut analysis_runs = Vec::new();
        for run in self.stores.runs.indexed(&owned) {
            let jobs = self.stores.jobs_of(&run).present().cloned().unwrap_or_default();
            match run_view(&self.facts, &self.secrets, key, run, jobs) {
                Some(view) => analysis_runs.push(view),
                None => return Sight::Waits("a Secret that an AnalysisRun names".into()),
            }
        }
        let mut replica_sets = self.stores.replica_sets.indexed(&owned);
        replica_sets.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
        let view = ExperimentView {
            now: self.clock.now(),
            config: Arc::clone(&self.config),
            epoch,
            replica_sets,
            services: by_name(&self.stores.services, &key.namespace, services),
            routes,
            templates,
            analysis_runs,
            refused: self.refusals.of(key),
            experiment: Arc::clone(&experiment),
        };
        let subject = subject(Kind::EXPERIMENT, &experiment.meta);
        Sight::Found(Box::new(Found { view, subject }))
    }

    fn metas(view: &ExperimentView) -> Vec<&Meta> {
        let sets = view.replica_sets.iter().map(|set| &set.meta);
        let services = view.services.values().filter_map(Lookup::present).map(|s| &s.meta);
        let routes = view.routes.values().filter_map(Lookup::present).map(|route| &route.meta);
        let own = std::iter::once(&view.experiment.meta);
        own.chain(sets).chain(services).chain(routes).collect()
    }

    fn run(
        &self,
        _: &Key,
        _: &ExperimentView,
        task: &<ExperimentReconciler as Reconciler>::Task,
    ) -> Work {
        match *task {}
    }

    fn forget(&self, key: &Key) {
        self.stores.reads(key, BTreeSet::new());
        self.refusals.forget(key);
    }

    fn wrote(&self, key: &Key, object: &ObjectRef, outcome: &Outcome) {
        self.refusals.wrote(key, object, outcome);
    }
}

impl ExperimentObserver {
    /// The router objects of the Rollout that owns the Experiment: they may send traffic to its versions.
    fn routes_of_owner(&self, experiment: &ExperimentRecord) -> LiveRoutes {
        let owner = experiment.meta.owner.as_ref().filter(|owner| owner.kind == "Rollout");
        let namespace = &experiment.meta.namespace;
        let rollout = owner.and_then(|owner| self.stores.rollouts.get(namespace, &owner.name));
        let reads = rollout.map(|rollout| RolloutReconciler::reads(&rollout).objects);
        let looked_up = |object: ObjectRef| {
            let store = self.stores.routes_of(&object.kind)?;
            let namespace = object.namespace.as_deref().unwrap_or_default();
            let found = store.lookup(namespace, &object.name);
            Some((object, found))
        };
        reads.into_iter().flatten().filter_map(looked_up).collect()
    }
}
