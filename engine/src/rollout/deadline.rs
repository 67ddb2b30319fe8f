//! The progress deadline (`spec-rollouts` 3.13). It also runs while old sets wait for their scale-down delay.

use chrono::{DateTime, Duration, Utc};
use sluice_crds::rollout::CanaryStep;

use super::situation::Situation;
use crate::plan::{Wake, WakeReason};

/// Where the deadline stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deadline {
    /// No progress is expected: paused, analysing, or done.
    Idle,
    /// It passes at the instant.
    Running(DateTime<Utc>),
    /// It has passed.
    Passed,
}

impl Deadline {
    pub(crate) fn is_passed(self) -> bool {
        self == Self::Passed
    }
}

/// Returns where the deadline stands.
pub(crate) fn state(s: &Situation<'_>) -> Deadline {
    if !expects_progress(s) {
        return Deadline::Idle;
    }
    let condition = s.status().conditions.iter().flatten().find(|c| c.kind == "Progressing");
    let Some(condition) = condition else { return Deadline::Idle };
    match condition.reason.as_str() {
        "ProgressDeadlineExceeded" => return Deadline::Passed,
        "RolloutAborted" | "NewReplicaSetAvailable" => return Deadline::Idle,
        _ => {}
    }
    let Some(since) = condition.last_update_time else { return Deadline::Idle };
    let at = since.at() + Duration::seconds(i64::from(seconds(s)));
    if s.now() >= at { Deadline::Passed } else { Deadline::Running(at) }
}

/// Returns when the deadline passes, if it runs.
pub(crate) fn wake(s: &Situation<'_>) -> Option<Wake> {
    match state(s) {
        Deadline::Running(at) => Some(Wake { at, reason: WakeReason::ProgressDeadline }),
        Deadline::Idle | Deadline::Passed => None,
    }
}

fn expects_progress(s: &Situation<'_>) -> bool {
    let paused = s.status().pause_conditions.iter().flatten().next().is_some();
    if paused || s.is_paused_by_user() || s.is_aborted() || s.is_changed() {
        return false;
    }
    if s.is_promoted() {
        return s.current_available() < s.n;
    }
    let has_time = |step: &CanaryStep| {
        step.pause.is_some() || step.analysis.is_some() || step.experiment.is_some()
    };
    s.skips_steps() || !s.step().is_some_and(has_time)
}

fn seconds(s: &Situation<'_>) -> i32 {
    s.rollout.spec.progress_deadline_seconds.unwrap_or(600).max(0)
}

/// Returns Argo's message for a deadline that passed.
pub(crate) fn message(s: &Situation<'_>) -> String {
    let name = s
        .current
        .map_or_else(|| format!("{}-{}", s.rollout.meta.name, s.hash), |rs| rs.meta.name.clone());
    format!("ReplicaSet \"{name}\" has timed out progressing.")
}
