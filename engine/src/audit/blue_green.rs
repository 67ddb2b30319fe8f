//! Laws over one decision about a blue-green Rollout: its active Service is the destination of all traffic.

use chrono::DateTime;
use sluice_crds::labels::{MANAGED_BY, SWITCHED_AT};
use sluice_crds::rollout::status::RolloutStatus;

use super::decision::{Audit, violation};
use super::law::{Lanes, replicas};
use crate::plan::Violation;
use crate::rollout::Action;
use crate::view::{Lookup, ServiceRecord};

impl Audit<'_> {
    /// S3–S7, S10–S12: switches and sizes.
    pub(super) fn blue_green(&self, found: &mut Vec<Violation>) {
        let Some(lanes) = Lanes::of(&self.rollout.spec) else { return };
        let Some(active) = self.service(lanes.active) else { return };
        for action in self.actions() {
            match action {
                Action::SelectPods { target, to, .. } if target.object == active.object() => {
                    self.users(lanes, active, to, found);
                }
                Action::Scale { hash, from, to, .. } if to < from => {
                    self.shrinking(active, hash, *to, found);
                }
                _ => {}
            }
        }
        self.abort_is_first(lanes, active, found);
    }

    fn service(&self, name: &str) -> Option<&ServiceRecord> {
        self.view.services.get(name).and_then(Lookup::present).map(AsRef::as_ref)
    }

    /// Where users would go.
    fn users(
        &self,
        lanes: Lanes<'_>,
        active: &ServiceRecord,
        to: &str,
        found: &mut Vec<Violation>,
    ) {
        let n = replicas(&self.rollout.spec);
        let (size, available) = (self.size(to), self.available(to));
        let adopted = active.hash().is_some() || active.meta.annotations.contains_key(MANAGED_BY);
        if self.stable() == Some(to) && adopted {
            let left = active.hash().map_or(u32::MAX, |from| self.available(from));
            if !lanes.may_take_back(n, available, left) {
                let detail = format!("users would go back to {to} with {available} available Pods");
                found.push(violation("S3", detail));
            }
            return;
        }
        if size < n || available < n {
            let detail = format!(
                "users would go to {to}, which wants {size} of {n} Pods and has {available}"
            );
            found.push(violation("S3", detail));
        }
        if self.stable() != Some(to) {
            self.forward(lanes, to, found);
        }
    }

    fn forward(&self, lanes: Lanes<'_>, to: &str, found: &mut Vec<Violation>) {
        let status = self.status_now();
        if self.candidate() != Some(to) {
            found.push(violation("S10", format!("users would go to {to}, no side of the update")));
            return;
        }
        if status.abort == Some(true) {
            found.push(violation("S7", format!("users would go to aborted {to}")));
        }
        let preview = lanes
            .preview
            .filter(|name| self.service(name).is_some_and(|service| service.hash() == Some(to)));
        let listed = preview.map(|name| self.view.endpoints.get(name).map_or(0, |of| of.of(to)));
        let n = replicas(&self.rollout.spec);
        if listed.is_some_and(|listed| listed < n) {
            let detail = format!("users would go to {to}, of which not all Pods are listed");
            found.push(violation("S3", detail));
        }
        if self.skips() {
            return;
        }
        if let Err(why) = lanes.pause_is_over(status, self.view.now) {
            found.push(violation("S11", format!("users would go to {to} {why}")));
        }
        let passed = status.blue_green.as_ref().and_then(|own| own.scale_up_preview_check_point);
        let judged = lanes.strategy.pre_promotion_analysis.is_none()
            || passed == Some(true)
            || self.has_evidence("PrePromotion", None);
        if !judged {
            found.push(violation("S12", format!("users would go to {to} without evidence")));
        }
    }

    /// S4, S5, S7: sizes.
    fn shrinking(&self, active: &ServiceRecord, hash: &str, to: u32, found: &mut Vec<Violation>) {
        let n = replicas(&self.rollout.spec);
        if to >= n {
            return;
        }
        if active.hash() == Some(hash) {
            let id = if self.status_now().abort == Some(true) { "S7" } else { "S5" };
            found.push(violation(id, format!("{hash} has all users and would shrink to {to}")));
        }
        if self.stable() == Some(hash) {
            found.push(violation("S4", format!("stable {hash} would shrink to {to}, below {n}")));
        }
        let switched = active.meta.annotations.get(SWITCHED_AT);
        let switched = switched.and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        let fresh = switched
            .is_some_and(|at| self.view.now - at.to_utc() < self.view.config.route_confirmation);
        if fresh {
            found.push(violation(
                "S5",
                format!("{hash} would shrink to {to} before proxies follow"),
            ));
        }
    }

    /// S7: the plan of a recorded abort begins with the users.
    fn abort_is_first(&self, lanes: Lanes<'_>, active: &ServiceRecord, found: &mut Vec<Violation>) {
        let recorded =
            |status: &RolloutStatus| status.abort == Some(true) && status.aborted_at.is_some();
        let records = self.decision.status_write.is_some()
            && recorded(&self.decision.status)
            && !recorded(self.status_now());
        let Some(stable) = self.stable() else { return };
        let n = replicas(&self.rollout.spec);
        let concerned = active.hash() != Some(stable) && active.hash() == self.candidate();
        let able = self.available(stable) >= lanes.least(n);
        let first = self.decision.plan.stages.first();
        let begins = first.is_some_and(|stage| {
            stage.iter().any(|action| {
                matches!(action, Action::SelectPods { target, to, .. }
                    if target.object == active.object() && to == stable)
            })
        });
        if records && concerned && able && !begins {
            found.push(violation(
                "S7",
                "an abort is recorded, and its plan does not begin with the users",
            ));
        }
    }

    /// S9, S12: what becomes stable has all users, and its last verdict is good.
    pub(super) fn served_before_stable(&self, to: &str, found: &mut Vec<Violation>) {
        let Some(lanes) = Lanes::of(&self.rollout.spec) else { return };
        let reached = self.service(lanes.active).and_then(ServiceRecord::hash);
        if reached != Some(to) {
            found.push(violation("S9", format!("{to} would become stable before users reach it")));
        }
        let judged = lanes.strategy.post_promotion_analysis.is_none()
            || self.skips()
            || self.has_evidence("PostPromotion", None);
        if !judged {
            found.push(violation("S12", format!("{to} would become stable without evidence")));
        }
    }

    fn skips(&self) -> bool {
        let status = self.status_now();
        status.promote_full == Some(true)
            || self.rollout.spec.rollback_window.is_some()
            || status.sluice.as_ref().and_then(|own| own.fast_rollback) == Some(true)
    }
}
