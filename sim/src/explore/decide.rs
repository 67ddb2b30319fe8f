//! The real decision on what a leader sees, computed once for each sight.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sluice_crds::analysis::AnalysisTemplateRecord;
use sluice_crds::rollout::steps::TemplateRef;
use sluice_engine::config::EngineConfig;
use sluice_engine::fence::{EpochView, Term};
use sluice_engine::plan::{Lower, Reconciler};
use sluice_engine::rollout::RolloutReconciler;
use sluice_engine::view::{AnalysisRunView, ExperimentSight, Lookup, RolloutView};

use super::catalog::{
    CANARY_SERVICE, Catalog, Content, REPLICA_SETS, ROLLOUT, ROUTE, RUNS, SLOTS, STABLE_SERVICE,
    WriteId, now,
};
use super::facts::Record;
use super::laws::sight;
use super::laws::{Broken, Facets};
use super::runs;
use super::state::Leader;
use super::table::FastMap;

/// Everything that a decision depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Sight {
    term: u8,
    n: u8,
    needed: [u8; SLOTS],
    contents: [Content; SLOTS],
    endpoints: [u16; 2],
}

/// A decision: its writes in order, the status last.
pub(super) struct Decided {
    pub(super) writes: Vec<WriteId>,
    pub(super) broken: Option<Broken>,
}

/// Number of a decision.
pub(super) type DecisionId = u32;

/// One in so many new sights is decided on twice, to see that equal views have equal decisions (S25).
const TWICE: usize = 32;

/// Decides, and remembers.
pub(super) struct Decider {
    config: Arc<EngineConfig>,
    templates: BTreeMap<TemplateRef, Lookup<Arc<AnalysisTemplateRecord>>>,
    known: FastMap<Sight, DecisionId>,
    all: Vec<Decided>,
}

impl Decider {
    pub(super) fn new(config: EngineConfig) -> Self {
        Self {
            config: Arc::new(config),
            templates: runs::templates(),
            known: FastMap::default(),
            all: Vec::new(),
        }
    }

    /// Returns how many different sights were decided on.
    pub(super) fn sights(&self) -> usize {
        self.known.len()
    }

    /// Bytes that what is remembered takes, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.known.capacity() * (size_of::<Sight>() + 5)
            + self.all.capacity() * size_of::<Decided>()
            + self.all.iter().map(|decided| decided.writes.capacity() * 4).sum::<usize>()
    }

    pub(super) fn decided(&self, id: DecisionId) -> &Decided {
        &self.all[id as usize]
    }

    pub(super) fn decide(&mut self, catalog: &mut Catalog, leader: &Leader) -> DecisionId {
        let sight = Sight {
            term: leader.term,
            n: leader.n,
            needed: leader.needed,
            contents: leader.cache.content,
            endpoints: leader.endpoints,
        };
        if let Some(known) = self.known.get(&sight) {
            return *known;
        }
        let decided = self.fresh(catalog, &sight);
        let id = DecisionId::try_from(self.all.len()).expect("fewer decisions than states");
        self.all.push(decided);
        self.known.insert(sight, id);
        id
    }

    fn fresh(&self, catalog: &mut Catalog, sight: &Sight) -> Decided {
        let Some(view) = self.view(catalog, sight) else {
            return Decided { writes: Vec::new(), broken: None };
        };
        let decided = catch_unwind(AssertUnwindSafe(|| RolloutReconciler::decide(&view)));
        let Ok(decision) = decided else {
            let detail = "the decision panics".to_owned();
            return Decided { writes: Vec::new(), broken: Some(Broken { law: "S25", detail }) };
        };
        let audited = RolloutReconciler::audit(&view, &decision).into_iter().next();
        let actions: Vec<_> = decision.plan.actions().collect();
        let mut writes: Vec<WriteId> = actions
            .iter()
            .map(|action| catalog.intern_write(&action.lower(), action.is_touch()))
            .collect();
        writes.extend(decision.status_write.iter().map(|write| catalog.intern_write(write, false)));
        let differs = self.all.len().is_multiple_of(TWICE) && {
            let again = RolloutReconciler::decide(&view);
            again.plan != decision.plan || again.status_write != decision.status_write
        };
        let broken = audited
            .map(|violation| Broken { law: violation.id, detail: violation.detail })
            .or_else(|| raises(catalog, sight, &writes))
            .or_else(|| stays(catalog, sight, &writes))
            .or_else(|| {
                let detail = "the same view is decided in two ways".to_owned();
                differs.then_some(Broken { law: "S25", detail })
            });
        Decided { writes, broken }
    }

    fn view(&self, catalog: &Catalog, sight: &Sight) -> Option<RolloutView> {
        let record = |slot: usize| {
            let content = sight.contents[slot];
            (content != 0).then(|| &catalog.entries[content as usize].record)
        };
        let Some(Record::Rollout(rollout)) = record(ROLLOUT) else { return None };
        let replica_sets = REPLICA_SETS.filter_map(|slot| match record(slot) {
            Some(Record::ReplicaSet(set)) => Some(Arc::clone(set)),
            _ => None,
        });
        let mut replica_sets: Vec<_> = replica_sets.collect();
        replica_sets.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
        let mut services = BTreeMap::new();
        let mut endpoints = BTreeMap::new();
        for (index, slot) in [STABLE_SERVICE, CANARY_SERVICE].into_iter().enumerate() {
            if let Some(Record::Service(service)) = record(slot) {
                let name = service.meta.name.clone();
                let counts = &catalog.endpoints[usize::from(sight.endpoints[index])];
                endpoints.insert(name.clone(), counts.clone());
                services.insert(name, Lookup::Present(Arc::clone(service)));
            }
        }
        let mut routes = BTreeMap::new();
        for slot in [ROUTE, STABLE_SERVICE] {
            if let Some(Record::Route(route)) = record(slot) {
                routes.insert(route.object.clone(), Lookup::Present(Arc::clone(route)));
            }
        }
        for host in sluice_engine::rollout::hosts(&routes, "default") {
            endpoints.insert(host, catalog.endpoints[usize::from(sight.endpoints[0])].clone());
        }
        let analysis_runs = RUNS.filter_map(|slot| match record(slot) {
            Some(Record::Run(run)) => Some(AnalysisRunView {
                run: Arc::clone(run),
                facts: Vec::new(),
                jobs: Vec::new(),
                secrets: BTreeMap::new(),
            }),
            _ => None,
        });
        let mut analysis_runs: Vec<_> = analysis_runs.collect();
        analysis_runs.sort_by(|a, b| a.run.meta.name.cmp(&b.run.meta.name));
        let experiments = RUNS.filter_map(|slot| match record(slot) {
            Some(Record::Experiment(experiment)) => Some(ExperimentSight {
                experiment: Arc::clone(experiment),
                replica_sets: Vec::new(),
                services: BTreeMap::new(),
            }),
            _ => None,
        });
        let mut experiments: Vec<_> = experiments.collect();
        experiments.sort_by(|a, b| a.experiment.meta.name.cmp(&b.experiment.meta.name));
        Some(RolloutView {
            now: now(),
            config: Arc::clone(&self.config),
            epoch: self.epoch(catalog, sight),
            rollout: Arc::clone(rollout),
            replica_sets,
            services,
            endpoints,
            routes,
            templates: self.templates.clone(),
            analysis_runs,
            experiments: Lookup::Present(experiments),
            workload: None,
            pods: None,
            refused_evictions: BTreeMap::new(),
            former_services: Vec::new(),
            confirmations: BTreeMap::new(),
            claims: BTreeMap::new(),
            taken: BTreeSet::new(),
            quarantined: BTreeMap::new(),
        })
    }

    fn epoch(&self, catalog: &Catalog, sight: &Sight) -> EpochView {
        let needed = sight.needed.iter().enumerate().filter(|(_, needed)| **needed > 0);
        EpochView {
            term: Term {
                lease: "sluice".into(),
                lease_uid: "lease".into(),
                acquired: u64::from(sight.term).into(),
            },
            n: u64::from(sight.n),
            needed: needed
                .filter_map(|(slot, needed)| {
                    Some((catalog.object(slot)?.clone(), u64::from(*needed)))
                })
                .collect(),
            disowned: BTreeSet::new(),
            rules: self.config.fence,
        }
    }
}

/// S3 on what the leader sees.
fn raises(catalog: &mut Catalog, sight: &Sight, writes: &[WriteId]) -> Option<Broken> {
    let route = writes.iter().copied().find(|id| catalog.writes[*id as usize].slot == ROUTE)?;
    let after = catalog.apply(sight.contents[ROUTE], route)?;
    let mut routed = sight.contents;
    routed[ROUTE] = after;
    let (seen, routed) = (Facets::new(catalog, sight.contents), Facets::new(catalog, routed));
    sight::raise(&seen, &routed).or_else(|| sight::endpoints_first(&seen, &routed, sight.endpoints))
}

/// S4 on what the leader sees, unless it sees that it does not lead any more.
fn stays(catalog: &Catalog, sight: &Sight, writes: &[WriteId]) -> Option<Broken> {
    if sight.contents.iter().any(|content| catalog.facts(*content).term > sight.term) {
        return None;
    }
    let seen = Facets::new(catalog, sight.contents);
    writes.is_empty().then(|| sight::stays(&seen, sight.endpoints)).flatten()
}
