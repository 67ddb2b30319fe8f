//! Everything that a decision about an Experiment may look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sluice_crds::analysis::AnalysisTemplateRecord;
use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::steps::TemplateRef;

use super::{AnalysisRunView, Lookup, ReplicaSetRecord, ServiceRecord};
use crate::config::EngineConfig;
use crate::fence::{EpochView, Led};
use crate::traffic::LiveRoutes;

/// Everything that a decision about one Experiment may look at.
#[derive(Clone, Debug)]
pub struct ExperimentView {
    /// The instant of the observation.
    pub now: DateTime<Utc>,
    /// Configuration.
    pub config: Arc<EngineConfig>,
    /// Leadership: term, numbers, rules.
    pub epoch: EpochView,
    /// The Experiment.
    pub experiment: Arc<ExperimentRecord>,
    /// ReplicaSets that it owns; sorted by name.
    pub replica_sets: Vec<Arc<ReplicaSetRecord>>,
    /// The Services that its versions want or had, by name ([`reads`](crate::plan::Reconciler::reads)).
    pub services: BTreeMap<String, Lookup<Arc<ServiceRecord>>>,
    /// The router objects of the Rollout that owns it: they may send traffic to its versions. Empty for an Experiment of its own.
    pub routes: LiveRoutes,
    /// AnalysisTemplates that the spec names, also through other templates.
    pub templates: BTreeMap<TemplateRef, Lookup<Arc<AnalysisTemplateRecord>>>,
    /// AnalysisRuns that it owns, with measurements that are not yet in their status; sorted by name.
    pub analysis_runs: Vec<AnalysisRunView>,
    /// Creates of ours that the API server would not do, as far as known. Empty almost always.
    pub refused: BTreeMap<ObjectRef, Refusal>,
}

/// Why an object of ours could not be created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Somebody else has one of the name.
    Taken,
    /// The API server's words.
    Said(String),
}

impl Led for ExperimentView {
    fn epoch(&self) -> &EpochView {
        &self.epoch
    }
}

impl ExperimentView {
    /// Returns the address of the Experiment.
    pub fn object(&self) -> ObjectRef {
        self.experiment.meta.object(Kind::EXPERIMENT)
    }
}
