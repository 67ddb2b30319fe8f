//! One state of a recorded history, in the words of the laws.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Duration;
use sluice_crds::rollout::{BlueGreenStrategy, CanaryStep, CanaryStrategy, RolloutRecord};

use super::law::{RouteShares, least_available, need, replicas, step_index};
use crate::view::ReplicaSetRecord;

/// By then proxies have followed a change of routes, with the controller's defaults.
const CONFIRMED_SECONDS: i32 = 5;

/// What the laws speak of, at one revision.
pub(super) struct State {
    pub(super) rollout: Arc<RolloutRecord>,
    pub(super) shares: Vec<RouteShares>,
    pub(super) canary: Option<String>,
    pub(super) stable: Option<String>,
    pub(super) weights: BTreeMap<String, u32>,
    /// Whether a route of the engine's leads to the canary's destination.
    pub(super) exposed: bool,
    pub(super) sets: BTreeMap<String, Arc<ReplicaSetRecord>>,
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
        self.sets.get(hash).map_or(0, |rs| rs.available())
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
        let strategy = &self.rollout.spec.strategy;
        let (canary, blue_green) = (strategy.canary.as_deref(), strategy.blue_green.as_deref());
        let of_canary = |of: fn(&CanaryStrategy) -> Option<i32>| canary.and_then(of);
        let of_blue_green = |of: fn(&BlueGreenStrategy) -> Option<i32>| blue_green.and_then(of);
        let limit = of_canary(|c| c.scale_down_delay_revision_limit)
            .or(of_blue_green(|b| b.scale_down_delay_revision_limit));
        let delay = of_canary(|c| c.scale_down_delay_seconds)
            .or(of_blue_green(|b| b.scale_down_delay_seconds))
            .unwrap_or(30);
        let follows = self.scales_stable() && self.candidate() != Some(hash);
        let seconds = if follows || self.stable_hash() == Some(hash) {
            0
        } else if self.scales_stable() && self.is_aborted() {
            canary.and_then(|c| c.abort_scale_down_delay_seconds).unwrap_or(0)
        } else if self.candidate() == Some(hash) && self.is_aborted() {
            of_canary(|c| c.abort_scale_down_delay_seconds)
                .or(of_blue_green(|b| b.abort_scale_down_delay_seconds))
                .unwrap_or(30)
        } else if limit.is_some() && self.candidate() != Some(hash) {
            // Beyond the limit nothing is kept for a delay; proxies are waited for.
            delay.min(CONFIRMED_SECONDS)
        } else {
            delay
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
                status.blue_green.clone(),
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

    /// Attempt at the current revision.
    pub(super) fn attempt(&self) -> i64 {
        self.rollout.status.sluice.as_ref().and_then(|own| own.attempt).unwrap_or(1)
    }

    /// How often the stable revision changed.
    pub(super) fn stable_seq(&self) -> i64 {
        self.rollout.status.sluice.as_ref().and_then(|own| own.stable_seq).unwrap_or(0)
    }

    pub(super) fn steps(&self) -> &[CanaryStep] {
        let canary = self.rollout.spec.strategy.canary.as_deref();
        canary.and_then(|canary| canary.steps.as_deref()).unwrap_or_default()
    }

    /// Current step.
    pub(super) fn index(&self) -> usize {
        step_index(&self.rollout.status, self.steps())
    }

    /// Whether a rule passes over steps: full promotion, a rollback window, a version that has not been scaled down.
    pub(super) fn skips_steps(&self) -> bool {
        let status = &self.rollout.status;
        status.promote_full == Some(true)
            || self.rollout.spec.rollback_window.is_some()
            || status.sluice.as_ref().and_then(|own| own.fast_rollback) == Some(true)
    }

    /// Whether the strategy is blue-green.
    pub(super) fn is_blue_green(&self) -> bool {
        self.rollout.spec.strategy.blue_green.is_some()
    }

    /// Whether the stable set shrinks as traffic leaves it.
    pub(super) fn scales_stable(&self) -> bool {
        let canary = self.rollout.spec.strategy.canary.as_deref();
        canary.is_some_and(|canary| canary.dynamic_stable_scale == Some(true))
    }

    /// Whether a route of the engine's leads to the revision.
    pub(super) fn is_exposed(&self, hash: &str) -> bool {
        self.exposed && self.canary.as_deref() == Some(hash)
    }

    /// Whether nothing is left to do: Healthy, every set at its size, all traffic on the stable one.
    pub(super) fn is_at_rest(&self) -> bool {
        let status = &self.rollout.status;
        let Some(stable) = self.stable_hash() else { return false };
        let observed = status.observed_generation.as_deref();
        let n = replicas(&self.rollout.spec);
        let settled = |(hash, rs): (&String, &Arc<ReplicaSetRecord>)| {
            let wanted = if hash == stable { n } else { 0 };
            rs.replicas == wanted && rs.existing == wanted && rs.available() == wanted
        };
        status.phase.as_deref() == Some("Healthy")
            && observed == Some(self.rollout.meta.generation.to_string().as_str())
            && self.candidate().is_none()
            && self.sets.iter().all(settled)
            && (self.shares.is_empty() || self.weights.get(stable) == Some(&100))
    }
}
