//! The vocabulary that the engine, sync, the simulator and the shell share: views in, decisions out.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sluice_crds::object::{ObjectRef, Write};

use crate::report::Report;

/// One reconciled kind. Implemented by empty enums: it is a bundle of pure functions, never a value.
pub trait Reconciler: Sized {
    /// The object that is reconciled, as stores keep it.
    type Object;
    /// Everything that a decision may look at, including the time.
    type View;
    /// The whole status that a decision wants.
    type Status;
    /// A domain action; each is exactly one write.
    type Action: Lower + std::fmt::Debug;
    /// Slow work outside the cluster, such as taking a measurement.
    type Task: Ord + Clone + std::fmt::Debug;

    /// Returns which further objects the view of this object must contain.
    fn reads(object: &Self::Object) -> Reads;

    /// Decides. Total, synchronous, deterministic: bad input becomes status and report, never an error or a panic.
    fn decide(view: &Self::View) -> Decision<Self>;

    /// Checks a decision against the invariants (S1–S25), knowing the laws and not the algorithm.
    fn audit(view: &Self::View, decision: &Decision<Self>) -> Vec<Violation>;
}

/// What to do now.
#[derive(Debug)]
pub struct Decision<R: Reconciler> {
    /// What to write, in which order.
    pub plan: Plan<R::Action>,
    /// Slow work that should be running now; the shell starts and cancels to match.
    pub tasks: BTreeSet<R::Task>,
    /// The write that brings the status to the wanted value; `None` if it is there already, or if the fence forbids it.
    pub status_write: Option<Write>,
    /// The whole next status, never a patch.
    pub status: R::Status,
    /// Transitions that people should hear of, in order. Published only after the status write succeeded.
    pub notices: Vec<Notice>,
    /// When to decide again if nothing happens until then.
    pub wake: Option<Wake>,
    /// What it waits for and why.
    pub report: Report,
}

/// Writes in stages. Inside a stage they touch different objects and do not depend on each other; a stage begins when every
/// write of the one before it was acknowledged; the first write that does not succeed ends the plan.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan<A> {
    /// Stages in order; none is empty.
    pub stages: Vec<Vec<A>>,
}

impl<A> Plan<A> {
    /// Returns the plan that writes nothing.
    pub fn empty() -> Self {
        Self { stages: Vec::new() }
    }

    /// Returns whether the plan writes nothing.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Appends a stage, unless it is empty.
    pub fn then(&mut self, stage: Vec<A>) {
        if !stage.is_empty() {
            self.stages.push(stage);
        }
    }

    /// Returns all actions in order.
    pub fn actions(&self) -> impl Iterator<Item = &A> {
        self.stages.iter().flatten()
    }
}

/// Turns a domain action into its one write.
pub trait Lower {
    /// Returns the write, with preconditions and fence stamp.
    fn lower(&self) -> Write;

    /// Returns what people hear of the write once it is done.
    fn notices(&self) -> Vec<Notice> {
        Vec::new()
    }

    /// Returns whether the write is a mere fence touch: an unknown outcome then needs no new number.
    fn is_touch(&self) -> bool {
        false
    }
}

/// The next deadline of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wake {
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: WakeReason,
}

impl Wake {
    /// Returns the earlier of two deadlines.
    pub fn earliest(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

/// Why an object wants to be decided again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WakeReason {
    /// A timed pause ends.
    PauseEnds,
    /// A route or switch counts as confirmed.
    RouteConfirmed,
    /// An old or aborted ReplicaSet may be scaled down.
    ScaleDownDelay,
    /// The progress deadline passes.
    ProgressDeadline,
    /// A measurement is due.
    MeasurementDue,
    /// A metrics server has been out of reach for its budget.
    OutageBudget,
    /// The time of an experiment is over.
    ExperimentEnds,
    /// A finished run is to be deleted.
    TimeToLive,
    /// Git is polled.
    Poll,
    /// A failed sync is tried again.
    Retry,
    /// Self-heal may act again.
    SelfHeal,
    /// A Pod becomes available (`minReadySeconds`).
    MinReady,
    /// Counts that waited for company are written to the status.
    StatusDue,
    /// A field that somebody else keeps changing may be put right again.
    Contention,
    /// A restart begins, or an eviction may be asked for again.
    Restart,
}

impl WakeReason {
    /// Returns the reason in snake case, for logs and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PauseEnds => "pause_ends",
            Self::RouteConfirmed => "route_confirmed",
            Self::ScaleDownDelay => "scale_down_delay",
            Self::ProgressDeadline => "progress_deadline",
            Self::MeasurementDue => "measurement_due",
            Self::OutageBudget => "outage_budget",
            Self::ExperimentEnds => "experiment_ends",
            Self::TimeToLive => "time_to_live",
            Self::Poll => "poll",
            Self::Retry => "retry",
            Self::SelfHeal => "self_heal",
            Self::MinReady => "min_ready",
            Self::StatusDue => "status_due",
            Self::Contention => "contention",
            Self::Restart => "restart",
        }
    }
}

/// Objects, besides the reconciled one and what it owns, that a view must contain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reads {
    /// By address.
    pub objects: BTreeSet<ObjectRef>,
}

/// A transition that people should hear of: a Kubernetes Event, and a trigger of notifications.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Whether something went wrong.
    pub severity: Severity,
    /// Reason in one word, Argo's where Argo has the event (`spec-rollouts` 8.3).
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Type of a Kubernetes Event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// As planned.
    Normal,
    /// Somebody may have to act.
    Warning,
}

/// A broken law: a bug of ours. The decision is not executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Identifier of the invariant, such as `S2`.
    pub id: &'static str,
    /// What was found.
    pub detail: String,
}
