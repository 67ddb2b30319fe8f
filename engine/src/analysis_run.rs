//! The AnalysisRun's reconciler: take the measurements that are due, record what they mean, delete what has outlived its time.
//! A measurement is a task of the shell, or, of the provider `job`, a Job that the plan creates and the view shows.
//!
//! A run owns no traffic, so its status is not fenced: it is written with the resourceVersion that was read, and a late writer
//! loses. AnalysisRuns have no status subresource; the status is merged into the main object.

use std::collections::BTreeSet;

use serde_json::Value;
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunRecord, AnalysisRunStatus};
use sluice_crds::labels::{MANAGER_ROLLOUT, MANAGER_STATUS};
use sluice_crds::object::{
    Change, Kind, Meta, ObjectRef, Preconditions, Propagation, Write, merge_patch,
};

pub use crate::analysis::judge::Measure;
use crate::analysis::{jobs, judge};
use crate::plan::{Decision, Lower, Plan, Reads, Reconciler, Violation, Wake, WakeReason};
use crate::report::Report;
use crate::view::{JobSight, RunView};

/// The AnalysisRun's reconciler.
#[derive(Debug)]
pub enum AnalysisRunReconciler {}

/// What is done to a run, besides writing its status.
#[derive(Clone, PartialEq, Debug)]
pub enum RunAction {
    /// Deletes a finished run whose time is over.
    Delete {
        /// The run.
        object: ObjectRef,
        /// Incarnation and version that were seen.
        preconditions: Preconditions,
    },
    /// Creates the Job that is a measurement.
    CreateJob {
        /// The Job.
        object: ObjectRef,
        /// Whole object.
        body: JobBody,
    },
    /// Deletes a Job: with its Pods if it still runs, else one that is beyond what is kept.
    DeleteJob {
        /// The Job.
        object: ObjectRef,
        /// Incarnation and version that were seen.
        preconditions: Preconditions,
        /// Whether its Pods go first.
        propagation: Propagation,
    },
}

/// A Job with its arguments filled in. Values of Secrets may be in it: it is never printed.
#[derive(Clone, PartialEq)]
pub struct JobBody(Value);

impl std::fmt::Debug for JobBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JobBody(..)")
    }
}

/// One line for people: reports, transcripts and traces.
impl std::fmt::Display for RunAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Delete { object, .. } | Self::DeleteJob { object, .. } => {
                write!(f, "delete {object}")
            }
            Self::CreateJob { object, .. } => write!(f, "create {object}"),
        }
    }
}

impl Lower for RunAction {
    fn lower(&self) -> Write {
        let (object, preconditions, manager, change) = match self {
            Self::Delete { object, preconditions } => {
                let change = Change::Delete { propagation: Propagation::Background };
                (object, preconditions.clone(), MANAGER_STATUS, change)
            }
            Self::CreateJob { object, body: JobBody(body) } => {
                let change = Change::Create { body: body.clone() };
                (object, Preconditions::default(), MANAGER_ROLLOUT, change)
            }
            Self::DeleteJob { object, preconditions, propagation } => {
                let change = Change::Delete { propagation: *propagation };
                (object, preconditions.clone(), MANAGER_ROLLOUT, change)
            }
        };
        Write { object: object.clone(), preconditions, manager: manager.into(), change }
    }
}

impl Reconciler for AnalysisRunReconciler {
    type Object = AnalysisRunRecord;
    type View = RunView;
    type Status = AnalysisRunStatus;
    type Action = RunAction;
    type Task = Measure;

    /// The Secrets of its arguments.
    fn reads(run: &AnalysisRunRecord) -> Reads {
        let secrets = run.spec.args.iter().flatten().filter_map(|argument| {
            let secret = argument.value_from.as_ref()?.secret_key_ref.as_ref()?;
            Some(ObjectRef::namespaced(Kind::SECRET, &run.meta.namespace, &secret.name))
        });
        Reads { objects: secrets.collect() }
    }

    fn decide(view: &RunView) -> Decision<Self> {
        let run = &view.run.run;
        if run.meta.deletion_timestamp.is_some() {
            return settled(run.status.clone());
        }
        if run.status.phase.is_some_and(AnalysisPhase::is_completed) {
            return retired(view);
        }
        let verdict = judge::next_status(view);
        let mut report = verdict.report;
        let (by_jobs, tasks): (BTreeSet<Measure>, BTreeSet<Measure>) =
            verdict.due.into_iter().partition(|measure| measure.provider.job.is_some());
        let mut plan = Plan::empty();
        plan.then(creations(view, &by_jobs));
        let mut gone = if verdict.ending { open_jobs(view) } else { Vec::new() };
        let beyond = verdict.kept.iter();
        gone.extend(beyond.flat_map(|(metric, keep)| beyond_history(view, metric, *keep)));
        plan.then(gone);
        report.decided.extend(plan.actions().map(ToString::to_string));
        let status_write = status_write(&run.meta, &run.status, &verdict.status);
        if status_write.is_some() {
            let phase = verdict.status.phase.map_or("Pending", AnalysisPhase::as_str);
            report.decided.push(format!("records phase {phase}"));
        }
        // The end of a run starts the clock of its deletion.
        let wake = Wake::earliest(verdict.wake, expiry(run, &verdict.status));
        Decision {
            plan,
            tasks,
            status_write,
            status: verdict.status,
            notices: verdict.notices,
            wake,
            report,
        }
    }

    fn audit(view: &RunView, decision: &Decision<Self>) -> Vec<Violation> {
        audit(view, decision)
    }
}

/// The Jobs that are due and not there yet.
fn creations(view: &RunView, due: &BTreeSet<Measure>) -> Vec<RunAction> {
    let run = &view.run.run;
    let missing = due
        .iter()
        .filter(|measure| jobs::find(&view.run, &measure.metric, measure.sequence).is_none());
    missing
        .filter_map(|measure| {
            let job = measure.provider.job.as_ref()?;
            let body = jobs::body(run, &measure.metric, measure.sequence, job);
            Some(RunAction::CreateJob {
                object: jobs::object(run, &measure.metric, measure.sequence),
                body: JobBody(body),
            })
        })
        .collect()
}

/// Deletions of the Jobs that still run, with their Pods: nobody waits for them any more.
fn open_jobs(view: &RunView) -> Vec<RunAction> {
    let open = view
        .run
        .jobs
        .iter()
        .filter(|sight| sight.job.end.is_none() && sight.job.meta.deletion_timestamp.is_none());
    open.map(|sight| deletion(sight, Propagation::Foreground)).collect()
}

fn beyond_history(view: &RunView, metric: &str, keep: usize) -> Vec<RunAction> {
    let beyond = jobs::beyond(&view.run, metric, keep).into_iter();
    beyond.map(|sight| deletion(sight, Propagation::Background)).collect()
}

fn deletion(sight: &JobSight, propagation: Propagation) -> RunAction {
    let meta = &sight.job.meta;
    RunAction::DeleteJob {
        object: meta.object(Kind::JOB),
        preconditions: Preconditions::of(meta),
        propagation,
    }
}

fn settled(status: AnalysisRunStatus) -> Decision<AnalysisRunReconciler> {
    Decision {
        plan: Plan::empty(),
        tasks: BTreeSet::new(),
        status_write: None,
        status,
        notices: Vec::new(),
        wake: None,
        report: Report::default(),
    }
}

/// A finished run waits for its deletion, if `ttlStrategy` asks for one.
fn retired(view: &RunView) -> Decision<AnalysisRunReconciler> {
    let run = &view.run.run;
    let mut decision = settled(run.status.clone());
    decision.plan.then(open_jobs(view));
    let Some(wake) = expiry(run, &run.status) else { return decision };
    if wake.at > view.now {
        decision.report.waits("deletion of the finished run (`ttlStrategy`)", Some(wake.at));
        decision.wake = Some(wake);
        return decision;
    }
    decision.report.decided.push("deletes the run: its time to live is over".into());
    decision.plan = Plan::empty();
    decision.plan.then(vec![RunAction::Delete {
        object: run.meta.object(Kind::ANALYSIS_RUN),
        preconditions: Preconditions::of(&run.meta),
    }]);
    decision
}

fn expiry(run: &AnalysisRunRecord, status: &AnalysisRunStatus) -> Option<Wake> {
    let ttl = run.spec.ttl_strategy.as_ref()?;
    let completed = status.completed_at?;
    let special = match status.phase? {
        AnalysisPhase::Successful => ttl.seconds_after_success,
        AnalysisPhase::Failed => ttl.seconds_after_failure,
        AnalysisPhase::Error | AnalysisPhase::Inconclusive => None,
        AnalysisPhase::Pending | AnalysisPhase::Running => return None,
    };
    let seconds = special.or(ttl.seconds_after_completion)?;
    let at = completed.at() + chrono::Duration::seconds(seconds.max(0).into());
    Some(Wake { at, reason: WakeReason::TimeToLive })
}

fn status_write(
    meta: &Meta,
    before: &AnalysisRunStatus,
    after: &AnalysisRunStatus,
) -> Option<Write> {
    let json = |status: &AnalysisRunStatus| serde_json::to_value(status).unwrap_or(Value::Null);
    let body = merge_patch(&json(before), &json(after))?;
    Some(Write {
        object: meta.object(Kind::ANALYSIS_RUN),
        preconditions: Preconditions::of(meta),
        manager: MANAGER_STATUS.into(),
        change: Change::Status { body },
    })
}

/// The laws of a run: an end is final (L), and Success has evidence (S12).
fn audit(view: &RunView, decision: &Decision<AnalysisRunReconciler>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let run = &view.run.run;
    let (before, after) = (&run.status, &decision.status);
    let ended = before.phase.is_some_and(AnalysisPhase::is_completed);
    if ended && (before != after || decision.status_write.is_some() || !decision.tasks.is_empty()) {
        violations.push(Violation {
            id: "S12",
            detail: format!("run {} had ended and is changed or measured again", run.meta.name),
        });
    }
    for action in decision.plan.actions() {
        let known = |object: &ObjectRef| {
            view.run.jobs.iter().find(|sight| sight.job.meta.name == object.name)
        };
        match action {
            RunAction::CreateJob { object, .. } if ended || known(object).is_some() => {
                violations.push(Violation {
                    id: "S20",
                    detail: format!("{object} is created again, or for a run that has ended"),
                });
            }
            RunAction::DeleteJob { object, .. } if known(object).is_none() => {
                let detail = format!("{object} is not of run {}", run.meta.name);
                violations.push(Violation { id: "S16", detail });
            }
            RunAction::Delete { .. }
            | RunAction::CreateJob { .. }
            | RunAction::DeleteJob { .. } => {}
        }
    }
    if !ended && after.phase == Some(AnalysisPhase::Successful) {
        for result in after.metric_results.iter().flatten() {
            let counts = result.dry_run != Some(true);
            if counts && result.successful.unwrap_or(0) < 1 {
                violations.push(Violation {
                    id: "S12",
                    detail: format!(
                        "run {} is Successful, and metric `{}` has no successful measurement",
                        run.meta.name, result.name
                    ),
                });
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests;
