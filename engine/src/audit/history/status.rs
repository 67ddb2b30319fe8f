//! S8, S9, S11: what a Rollout's status claims.

use chrono::Duration;
use sluice_crds::intstr::IntOrString;
use sluice_crds::rollout::CanaryStep;

use super::super::law::{least_available, replicas};
use super::super::state::State;
use super::analysis::Judge;
use super::{History, Step};

/// Reason of the pause of a step.
const PAUSE_STEP: &str = "CanaryPauseStep";

impl History {
    /// S8, S9.
    pub(super) fn promotions(&mut self, step: &Step<'_>, before: &State, after: &State) {
        let (old, new) = (before.stable_hash(), after.stable_hash());
        if old == new {
            return;
        }
        let status = &after.rollout.status;
        let Some(new) = new else {
            self.fail("S9", step, "the stable revision is forgotten");
            return;
        };
        if status.current_pod_hash.as_deref() != Some(new) {
            let detail = format!("{new} becomes stable and is not the current revision");
            self.fail("S9", step, detail);
        }
        if after.stable_seq() != before.stable_seq().saturating_add(1) {
            self.fail("S9", step, "stableSeq does not count the promotion");
        }
        if old.is_none() {
            return;
        }
        let memory = self.memory.get(&after.rollout.meta.uid);
        let attempt = memory.and_then(|memory| memory.aborted.get(new));
        if attempt.is_some_and(|attempt| *attempt >= before.attempt()) {
            self.fail("S8", step, format!("aborted {new} becomes stable"));
        }
        let n = replicas(&after.rollout.spec);
        let least = least_available(&after.rollout.spec, n);
        let available = self.lately(after, new, step.at());
        if available < least {
            let detail = format!("{new} becomes stable with {available} of {least} available Pods");
            self.fail("S9", step, detail);
        }
        if before.is_blue_green() {
            self.served_before_stable(step, before, new);
        }
        if before.skips_steps() {
            return;
        }
        let (index, steps) = (before.index(), before.steps());
        if index + 1 < steps.len() {
            let detail = format!("{new} becomes stable at step {index} of {}", steps.len());
            self.fail("S9", step, detail);
        } else if let Some(last) = steps.get(index) {
            self.leaving(step, before, last, index);
        }
        self.no_bad_verdict(step, before, "S9");
    }

    /// S11, S12.
    pub(super) fn steps(&mut self, step: &Step<'_>, before: &State, after: &State) {
        let (old, new) = (&before.rollout.status, &after.rollout.status);
        let (from, to) = (before.index(), after.index());
        if is_restarted(before, after) || from == to {
            return;
        }
        if to != from + 1 {
            self.fail("S11", step, format!("the step moves from {from} to {to}"));
        } else if old.stable_rs == new.stable_rs && !before.skips_steps() {
            if let Some(left) = before.steps().get(from) {
                self.leaving(step, before, left, from);
            }
            self.no_bad_verdict(step, before, "S12");
        }
    }

    /// S11, S12: a step is left.
    fn leaving(&mut self, step: &Step<'_>, before: &State, left: &CanaryStep, index: usize) {
        if let Some(length) = pause_of(left) {
            let status = &before.rollout.status;
            let condition =
                status.pause_conditions.iter().flatten().find(|c| c.reason == PAUSE_STEP);
            match (condition, length) {
                (Some(condition), Some(length)) => {
                    let waited = step.at() - condition.start_time.at();
                    if waited < length {
                        let detail = format!("the pause of step {index} ends after {waited}");
                        self.fail("S11", step, detail);
                    }
                }
                (Some(_), None) => {
                    self.fail(
                        "S11",
                        step,
                        format!("the pause of step {index} ends without a word"),
                    );
                }
                (None, _) if status.controller_pause != Some(true) => {
                    let detail = format!("the pause of step {index} ends before it began");
                    self.fail("S11", step, detail);
                }
                (None, _) => {}
            }
        }
        if left.analysis.is_some() {
            self.relies_on_run(step, before, Judge::Step(index));
        }
    }

    /// S11: a pause without end is not ended by us while its step lasts, and no pause is moved into the past.
    pub(super) fn pauses(&mut self, step: &Step<'_>, before: &State, after: &State) {
        if is_restarted(before, after) || before.index() != after.index() || after.skips_steps() {
            return;
        }
        let pause = |state: &State| {
            let conditions = state.rollout.status.pause_conditions.iter().flatten();
            conditions.clone().find(|c| c.reason == PAUSE_STEP).map(|c| c.start_time.at())
        };
        let Some(length) = before.steps().get(before.index()).and_then(pause_of) else { return };
        let index = before.index();
        match (pause(before), pause(after)) {
            (Some(_), None) if length.is_none() => {
                self.fail("S11", step, format!("the pause of step {index} is taken off by us"));
            }
            (Some(old), Some(new)) if new < old => {
                self.fail("S11", step, format!("the pause of step {index} is moved to {new}"));
            }
            (_, _) => {}
        }
    }
}

/// Whether the steps begin anew, or the update ended.
fn is_restarted(before: &State, after: &State) -> bool {
    let (old, new) = (&before.rollout.status, &after.rollout.status);
    old.current_pod_hash != new.current_pod_hash
        || old.current_step_hash != new.current_step_hash
        || old.stable_rs != new.stable_rs
        || new.abort == Some(true)
        || (old.aborted_at.is_some() && new.aborted_at.is_none())
}

/// `None` for no pause, `Some(None)` for one without end.
fn pause_of(step: &CanaryStep) -> Option<Option<Duration>> {
    let duration = match (&step.pause, &step.duration) {
        (Some(pause), _) => pause.duration.as_ref(),
        (None, Some(duration)) => Some(duration),
        (None, None) => return None,
    };
    Some(duration.and_then(|duration| match duration {
        IntOrString::Int(seconds) => Duration::try_seconds(*seconds),
        IntOrString::String(text) => sluice_crds::duration::parse_or_seconds(text).ok(),
    }))
}
