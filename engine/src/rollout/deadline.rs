//! The progress deadline (`spec-rollouts` 3.13). It also runs while old sets wait for their scale-down delay.

use chrono::{DateTime, Duration, Utc};
use sluice_crds::rollout::CanaryStep;

use super::blue_green::BlueGreen;
use super::situation::{Chosen, Roles};
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
pub(crate) fn state(s: &Roles<'_>) -> Deadline {
    if !expects_progress(s) {
        return Deadline::Idle;
    }
    let condition = s.status().conditions.iter().flatten().find(|c| c.kind == "Progressing");
    let Some(condition) = condition else { return Deadline::Idle };
    match condition.reason.as_str() {
        "ProgressDeadlineExceeded" => return Deadline::Passed,
        // A pause that just ended was no progress, and no lack of it: the next status starts the clock anew.
        "RolloutAborted" | "NewReplicaSetAvailable" | "RolloutPaused" => return Deadline::Idle,
        _ => {}
    }
    let Some(since) = condition.last_update_time else { return Deadline::Idle };
    let at = since.at() + Duration::seconds(i64::from(seconds(s)));
    if s.now() >= at { Deadline::Passed } else { Deadline::Running(at) }
}

/// Returns when the deadline passes, if it runs.
pub(crate) fn wake(s: &Roles<'_>) -> Option<Wake> {
    match state(s) {
        Deadline::Running(at) => Some(Wake { at, reason: WakeReason::ProgressDeadline }),
        Deadline::Idle | Deadline::Passed => None,
    }
}

fn expects_progress(s: &Roles<'_>) -> bool {
    let paused = s.status().pause_conditions.iter().flatten().next().is_some();
    if paused || s.is_paused_by_user() || s.is_aborted() || s.is_changed() {
        return false;
    }
    if s.is_promoted() {
        return s.current_available() < s.n;
    }
    match s.chosen {
        Chosen::Canary(_) => {
            let has_time = |step: &CanaryStep| {
                step.pause.is_some() || step.analysis.is_some() || step.experiment.is_some()
            };
            s.skips_steps() || !s.step().is_some_and(has_time)
        }
        Chosen::BlueGreen(strategy) => !BlueGreen::of(s, strategy).awaits_judgement(),
    }
}

fn seconds(s: &Roles<'_>) -> i32 {
    s.rollout.spec.progress_deadline_seconds.unwrap_or(600).max(0)
}

/// Returns Argo's message for a deadline that passed.
pub(crate) fn message(s: &Roles<'_>) -> String {
    let name = s
        .current
        .map_or_else(|| format!("{}-{}", s.rollout.meta.name, s.hash), |rs| rs.meta.name.clone());
    format!("ReplicaSet \"{name}\" has timed out progressing.")
}
