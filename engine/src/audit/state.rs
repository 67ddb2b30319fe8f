//! One state of a recorded history, in the words of the laws.

use std::collections::BTreeMap;

use chrono::Duration;
use sluice_crds::rollout::RolloutRecord;

use super::HistoryRevision;
use super::law::{RouteShares, Routing, least_available, need};
use crate::view::ReplicaSetRecord;

/// What the laws speak of, at one revision.
pub(super) struct State {
    pub(super) rollout: RolloutRecord,
    pub(super) shares: Vec<RouteShares>,
    pub(super) canary: Option<String>,
    pub(super) stable: Option<String>,
    pub(super) weights: BTreeMap<String, u32>,
    pub(super) sets: BTreeMap<String, ReplicaSetRecord>,
}

impl State {
    pub(super) fn stable_hash(&self) -> Option<&str> {
        self.rollout.status.stable_rs.as_deref().filter(|hash| !hash.is_empty())
    }

    pub(super) fn candidate(&self) -> Option<&str> {
        let current = self.rollout.status.current_pod_hash.as_deref()?;
        (Some(current) != self.stable_hash()).then_some(current)
    }

    pub(super) fn is_aborted(&self) -> bool {
        let status = &self.rollout.status;
        status.abort == Some(true) && status.aborted_at.is_some()
    }

    pub(super) fn size(&self, hash: &str) -> u32 {
        self.sets.get(hash).map_or(0, |rs| rs.replicas)
    }

    pub(super) fn available(&self, hash: &str) -> u32 {
        self.sets.get(hash).map_or(0, ReplicaSetRecord::available)
    }

    pub(super) fn least(&self, hash: &str, weight: u32) -> u32 {
        let wanted = need(&self.rollout.spec, &self.rollout.status, hash, weight);
        least_available(&self.rollout.spec, wanted)
    }

    pub(super) fn deficit(&self, hash: &str) -> u32 {
        let weight = self.weights.get(hash).copied().unwrap_or(0);
        need(&self.rollout.spec, &self.rollout.status, hash, weight).saturating_sub(self.size(hash))
    }

    /// How long traffic must have been gone before replicas go.
    pub(super) fn window(&self, hash: &str) -> Duration {
        let canary = self.rollout.spec.strategy.canary.as_deref();
        let seconds = if self.stable_hash() == Some(hash) {
            0
        } else if self.candidate() == Some(hash) && self.is_aborted() {
            canary.and_then(|c| c.abort_scale_down_delay_seconds).unwrap_or(30)
        } else {
            canary.and_then(|c| c.scale_down_delay_seconds).unwrap_or(30)
        };
        Duration::seconds(i64::from(seconds.max(0)))
    }

    /// Whether a step, a size, a weight, a verdict, a promotion or the template moved.
    pub(super) fn differs_in_deed(&self, other: &Self) -> bool {
        let deed = |state: &Self| {
            let status = &state.rollout.status;
            (
                status.current_step_index,
                status.current_pod_hash.clone(),
                status.stable_rs.clone(),
                status.abort,
                status.pause_conditions.clone(),
                status.canary.as_ref().and_then(|c| c.current_step_analysis_run_status.clone()),
                state.rollout.meta.generation,
            )
        };
        let sizes = |state: &Self| {
            state
                .sets
                .iter()
                .map(|(hash, rs)| (hash.clone(), rs.replicas, rs.existing, rs.ready))
                .collect::<Vec<_>>()
        };
        deed(self) != deed(other) || sizes(self) != sizes(other) || self.weights != other.weights
    }

    /// Whether the revision is of the Rollout itself or of something that it owns or names.
    pub(super) fn is_touched_by(&self, revision: &HistoryRevision) -> bool {
        let name = revision.object["metadata"]["name"].as_str().unwrap_or_default();
        match revision.kind.kind.as_ref() {
            "Rollout" => name == self.rollout.meta.name,
            "ReplicaSet" => self.sets.values().any(|rs| rs.meta.name == name),
            "Service" => Routing::of(&self.rollout.spec).is_some_and(|routing| {
                let (canary, stable) = routing.services();
                canary == Some(name) || stable == Some(name)
            }),
            "VirtualService" => Routing::of(&self.rollout.spec)
                .is_some_and(|routing| routing.virtual_services().contains(&name)),
            _ => false,
        }
    }
}
