//! Laws about what is not the Rollout's own: the Deployment that gives way to it (S5, S16), and single Pods (S16).

use sluice_crds::object::Kind;

use super::decision::{Audit, violation};
use super::law::replicas;
use crate::plan::Violation;
use crate::rollout::Action;
use crate::view::ScaleDown;

impl Audit<'_> {
    /// Only the Deployment that `workloadRef` names is scaled, only where it says so, and never below what available Pods of
    /// the Rollout do not replace yet.
    pub(super) fn workload(&self, found: &mut Vec<Violation>) {
        for action in self.decision.plan.actions() {
            let Action::ScaleWorkload { target, from, to, .. } = action else { continue };
            let object = &target.object;
            let workload = self.view.workload.as_ref().filter(|workload| {
                workload.object == *object
                    && object.kind == Kind::DEPLOYMENT
                    && workload.scale_down != ScaleDown::Never
            });
            if workload.is_none() {
                found.push(violation("S16", format!("{object} is not ours to scale")));
            }
            let uid = &self.rollout.meta.uid;
            let sets = self.view.replica_sets.iter().filter(|rs| rs.meta.is_owned_by(uid));
            let available: u64 = sets.map(|rs| u64::from(rs.available())).sum();
            let n = u64::from(replicas(&self.rollout.spec));
            let missing = n.saturating_sub(available);
            // The share of its Pods that stays is at least the share of ours that is missing.
            let short = u64::from(*to) * n < u64::from(*from) * missing;
            if to < from && (n == 0 || short) {
                found.push(violation(
                    "S5",
                    format!(
                        "{object} would shrink to {to} with {available} of {n} Pods to take its place"
                    ),
                ));
            }
        }
    }

    /// Pods are labelled and evicted only if a ReplicaSet of ours owns them.
    pub(super) fn pods(&self, found: &mut Vec<Violation>) {
        for action in self.decision.plan.actions() {
            let (Action::Evict { target } | Action::LabelPod { target, .. }) = action else {
                continue;
            };
            let uid = &self.rollout.meta.uid;
            let ours = self.view.pods.iter().flatten().any(|pod| {
                let of = |rs: &&std::sync::Arc<crate::view::ReplicaSetRecord>| {
                    rs.meta.is_owned_by(uid) && pod.meta.is_owned_by(&rs.meta.uid)
                };
                pod.object() == target.object
                    && target.preconditions.uid.as_ref() == Some(&pod.meta.uid)
                    && self.view.replica_sets.iter().any(|rs| of(&rs))
            });
            if !ours {
                found.push(violation("S16", format!("{} is not ours", target.object)));
            }
        }
    }
}
