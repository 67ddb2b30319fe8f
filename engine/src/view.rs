//! Everything that a decision may look at, as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunRecord, AnalysisTemplateRecord};
use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::labels;
use sluice_crds::object::{Meta, ObjectRef};
use sluice_crds::rollout::RolloutRecord;
use sluice_crds::rollout::steps::TemplateRef;

use crate::config::EngineConfig;
use crate::fence::{EpochView, Led};

mod experiment;
mod jobs;
mod pods;
mod records;
mod workload;

pub use experiment::{ExperimentView, Refusal};
pub use jobs::{JobEnd, JobRecord, JobSight};
pub use pods::{PodRecord, RefusedEviction, wants_pods};
pub use records::{EndpointCounts, ReplicaSetRecord, RouteRecord, ServiceRecord};
pub use workload::{ScaleDown, WorkloadRecord, WorkloadView, workload_of};

/// The result of slow work outside the cluster.
#[derive(Clone, PartialEq, Debug)]
pub enum Fact<T> {
    /// Not known yet.
    Pending,
    /// Known since the instant.
    Known(T, DateTime<Utc>),
    /// Could not be found out, with the reason and since when.
    Failed(String, DateTime<Utc>),
}

/// What a store says about an address. *Absent* is proved, by a synced store or a live 404; *unknown* is not.
#[derive(Clone, PartialEq, Debug)]
pub enum Lookup<T> {
    /// The store has not been filled yet, or may not be read (403).
    Unknown,
    /// There is no such object.
    Absent,
    /// The kind itself is not installed.
    NoKind,
    /// The object.
    Present(T),
}

impl<T> Lookup<T> {
    /// Returns the object, if it is there.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Unknown | Self::Absent | Self::NoKind => None,
        }
    }
}

/// Everything that a decision about one Rollout may look at.
#[derive(Clone, Debug)]
pub struct RolloutView {
    /// The instant of the observation.
    pub now: DateTime<Utc>,
    /// Configuration.
    pub config: Arc<EngineConfig>,
    /// Leadership: term, numbers, rules.
    pub epoch: EpochView,
    /// The Rollout.
    pub rollout: Arc<RolloutRecord>,
    /// ReplicaSets that the Rollout owns, and unowned ones that its selector matches; sorted by name.
    pub replica_sets: Vec<Arc<ReplicaSetRecord>>,
    /// The workload that `spec.workloadRef` names.
    pub workload: Option<WorkloadView>,
    /// Pods of those ReplicaSets, where [`wants_pods`] says that a decision looks at them; `None` while they are not known.
    pub pods: Option<Vec<Arc<PodRecord>>>,
    /// Pods, by name, whose eviction was refused, mostly by a PodDisruptionBudget.
    pub refused_evictions: BTreeMap<String, RefusedEviction>,
    /// The Services that the spec names, by name.
    pub services: BTreeMap<String, Lookup<Arc<ServiceRecord>>>,
    /// Services that are marked as managed by this Rollout, and that its spec does not name; sorted by name.
    pub former_services: Vec<Arc<ServiceRecord>>,
    /// Ready endpoints of those Services, of the hosts of DestinationRules
    /// ([`hosts`](crate::rollout::hosts)), and of the Services of `experiments`, by Service name: how many Pods of which hash EndpointSlices list as ready.
    pub endpoints: BTreeMap<String, EndpointCounts>,
    /// The router objects that the spec names: VirtualServices and DestinationRules.
    pub routes: BTreeMap<ObjectRef, Lookup<Arc<RouteRecord>>>,
    /// AnalysisTemplates that the spec names, also through other templates.
    pub templates: BTreeMap<TemplateRef, Lookup<Arc<AnalysisTemplateRecord>>>,
    /// AnalysisRuns that the Rollout owns, with measurements that are not yet in their status; sorted by name.
    pub analysis_runs: Vec<AnalysisRunView>,
    /// Experiments of the namespace that the Rollout owns, with the ReplicaSets of their versions; sorted by name.
    pub experiments: Lookup<Vec<ExperimentSight>>,
    /// What observers of the data plane say about a route object: the version that proxies use. Without an entry the
    /// configured delay decides.
    pub confirmations: BTreeMap<ObjectRef, Fact<String>>,
    /// Other Rollouts that name one of our Services or routes (F30): `Service shop/web` → `shop/other`.
    pub claims: BTreeMap<ObjectRef, String>,
    /// Names of ReplicaSets and Experiments of others, as far as known: a create of one of our own met them. Empty almost
    /// always.
    pub taken: BTreeSet<String>,
    /// Template hashes that the Application managing this Rollout holds in quarantine.
    pub quarantined: BTreeMap<String, String>,
}

/// An Experiment of a Rollout.
#[derive(Clone, Debug)]
pub struct ExperimentSight {
    /// The Experiment.
    pub experiment: Arc<ExperimentRecord>,
    /// The ReplicaSets of its versions; sorted by name.
    pub replica_sets: Vec<Arc<ReplicaSetRecord>>,
    /// The Services that its versions want or had, by name
    /// ([`ExperimentReconciler::reads`](crate::experiment::ExperimentReconciler)). Their endpoints are with the others, in
    /// [`RolloutView::endpoints`].
    pub services: BTreeMap<String, Lookup<Arc<ServiceRecord>>>,
}

/// An AnalysisRun and the measurements taken since its status was written.
#[derive(Clone, Debug)]
pub struct AnalysisRunView {
    /// The run.
    pub run: Arc<AnalysisRunRecord>,
    /// Measurements that are not in its status yet, in the order in which they ended.
    pub facts: Vec<MeasurementFact>,
    /// Jobs of its metrics.
    pub jobs: Vec<JobSight>,
    /// Values of the run's arguments that come from Secrets, by argument name; a missing Secret or key is an error text.
    pub secrets: BTreeMap<String, Result<String, String>>,
}

/// One measurement as a provider gave it; judging it is the engine's.
#[derive(Clone, PartialEq, Debug)]
pub struct MeasurementFact {
    /// Metric of the run.
    pub metric: String,
    /// Which measurement of the metric this is, counted from 0 over everything ever measured in this run, errors
    /// included: a fact whose number is not above what the status records is already there.
    pub sequence: u32,
    /// Start.
    pub started_at: DateTime<Utc>,
    /// End.
    pub finished_at: DateTime<Utc>,
    /// Value, or why there is none.
    pub outcome: Result<MeasuredValue, MeasurementFailure>,
    /// What the provider says about it (`measurement.metadata`).
    pub metadata: BTreeMap<String, String>,
}

/// A measured value. JSON has no NaN and no infinity, and a metric may be either.
#[derive(Clone, PartialEq, Debug)]
pub enum MeasuredValue {
    /// Nothing.
    Nil,
    /// Truth value.
    Bool(bool),
    /// Number, also NaN and infinite.
    Number(f64),
    /// Text.
    Text(String),
    /// Several values.
    List(Vec<MeasuredValue>),
    /// Named values.
    Map(BTreeMap<String, MeasuredValue>),
    /// No value: what was asked judges itself, as a Job does by its end. Conditions are not looked at.
    Verdict {
        /// `Successful`, `Failed` or `Inconclusive`.
        phase: AnalysisPhase,
        /// Why; empty if there is nothing to say.
        message: String,
    },
}

/// Why a measurement gave no value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MeasurementFailure {
    /// Whether it counts at once, or only after the outage budget.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
}

/// Whether a failed measurement counts at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FailureKind {
    /// The server cannot be reached (connect, timeout, 5xx): holds the weight for the outage budget, then counts.
    Unreachable,
    /// The question or the answer is bad: counts at once towards `consecutiveErrorLimit`, as in Argo.
    Bad,
}

/// Everything that a decision about one AnalysisRun may look at.
#[derive(Clone, Debug)]
pub struct RunView {
    /// The instant of the observation.
    pub now: DateTime<Utc>,
    /// Configuration.
    pub config: Arc<EngineConfig>,
    /// The run and what was measured since its status was written.
    pub run: AnalysisRunView,
}

impl Led for RolloutView {
    fn epoch(&self) -> &EpochView {
        &self.epoch
    }
}

impl RolloutView {
    /// Returns the address of the Rollout.
    pub fn object(&self) -> ObjectRef {
        self.rollout.meta.object(sluice_crds::object::Kind::ROLLOUT)
    }

    /// Returns `spec.replicas`, by default 1.
    pub fn replicas(&self) -> u32 {
        u32::try_from(self.rollout.spec.replicas.unwrap_or(1)).unwrap_or(0)
    }

    /// Returns the ReplicaSet with the hash that the Rollout owns.
    pub fn owned(&self, hash: &str) -> Option<&Arc<ReplicaSetRecord>> {
        let uid = &self.rollout.meta.uid;
        self.replica_sets.iter().find(|rs| rs.meta.is_owned_by(uid) && rs.hash() == Some(hash))
    }
}

/// Returns the pod-template-hash among labels.
pub(crate) fn hash_of(meta: &Meta) -> Option<&str> {
    meta.labels.get(labels::POD_TEMPLATE_HASH).map(String::as_str)
}
