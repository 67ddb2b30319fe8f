//! S3, S6, S7, S9, S11, S12 of a blue-green Rollout: where its users are.

use sluice_crds::labels::MANAGED_BY;

use super::super::law::{Lanes, replicas};
use super::super::state::State;
use super::analysis::Judge;
use super::{History, Step};

impl History {
    /// Our switches of the active Service.
    pub(super) fn users_are_safe(&mut self, step: &Step<'_>, before: &State, after: &State) {
        let Some(lanes) = Lanes::of(&after.rollout.spec) else { return };
        if !step.is("Service") || step.key.2 != lanes.active || before.stable == after.stable {
            return;
        }
        let Some(to) = after.stable.as_deref() else {
            self.fail("S6", step, "users are sent to all Pods at once");
            return;
        };
        let is_first_time = before.stable.is_none() && !was_managed(step);
        if before.stable_hash() == Some(to) && !is_first_time {
            let left = before.stable.as_deref().map_or(u32::MAX, |from| before.available(from));
            let available = self.lately(after, to, step.at());
            if !lanes.may_take_back(replicas(&after.rollout.spec), available, left) {
                let detail = format!("users go back to {to} with {available} available Pods");
                self.fail("S3", step, detail);
            }
            return;
        }
        self.goes_forward(step, before, after, lanes);
    }

    fn goes_forward(&mut self, step: &Step<'_>, before: &State, after: &State, lanes: Lanes<'_>) {
        let Some(to) = after.stable.as_deref() else { return };
        let n = replicas(&after.rollout.spec);
        let (size, available) = (after.size(to), self.lately(after, to, step.at()));
        if size < n || available < n {
            let detail =
                format!("users go to {to}, which wants {size} of {n} Pods and has {available}");
            self.fail("S3", step, detail);
        }
        if before.stable_hash().is_none() || before.stable_hash() == Some(to) {
            return;
        }
        if before.candidate() != Some(to) {
            self.fail("S10", step, format!("users go to {to}, which is no side of the update"));
            return;
        }
        if before.is_aborted() {
            self.fail("S7", step, format!("users go to aborted {to}"));
        }
        if before.skips_steps() {
            return;
        }
        if let Err(why) = lanes.pause_is_over(&before.rollout.status, step.at()) {
            self.fail("S11", step, format!("users go to {to} {why}"));
        }
        if lanes.strategy.pre_promotion_analysis.is_some() {
            self.relies_on_run(step, before, Judge::PrePromotion);
        }
    }

    /// S9, S12: what becomes stable has all users, and its last verdict is good.
    pub(super) fn served_before_stable(&mut self, step: &Step<'_>, before: &State, to: &str) {
        if before.weights.get(to) != Some(&100) {
            self.fail("S9", step, format!("{to} becomes stable before users reach it"));
        }
        let strategy = before.rollout.spec.strategy.blue_green.as_deref();
        let judged = strategy.is_some_and(|strategy| strategy.post_promotion_analysis.is_some());
        if judged && !before.skips_steps() {
            self.relies_on_run(step, before, Judge::PostPromotion);
        }
    }
}

/// Whether the object was ours before.
fn was_managed(step: &Step<'_>) -> bool {
    step.old.as_ref().is_some_and(|old| old["metadata"]["annotations"][MANAGED_BY].is_string())
}
