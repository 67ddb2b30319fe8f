//! `dynamicStableScale`: the stable set follows its share of traffic (`spec-rollouts` 3.4, 3.5).
//!
//! Down: traffic leaves, proxies follow, then Pods go. Up: Pods come, then traffic. An abort walks back in the steps of the
//! canary, so that both sets together stay about as large as `spec.replicas`: the stable set grows to the next lower step, weight
//! returns as far as its Pods carry it, the canary shrinks to what is left, and so on.
//!
//! Deliberate difference from Argo: weight returns with each Pod that is available, not only when a whole step is reached.

use sluice_crds::rollout::CanaryStep;

use super::abort::Abort;
use super::replicas::{routed_size, share, weight_at};
use super::routes::Traffic;
use super::situation::{Set, Situation};
use super::split;

/// Whether the stable set follows its share.
pub(crate) fn is_on(s: &Situation<'_>) -> bool {
    s.canary.dynamic_stable_scale == Some(true) && s.is_routed()
}

/// Returns how large the stable set should be: for what it carries, and for what it is to carry.
pub(crate) fn stable_size(
    s: &Situation<'_>,
    traffic: &Traffic<'_>,
    abort: &Abort,
    stable: Set<'_>,
) -> u32 {
    let reached = s.stable_hash.is_some() && traffic.stable.hash.as_deref() == s.stable_hash;
    if !is_on(s) || s.is_promoted() || !reached {
        return s.n;
    }
    let hash = s.stable_hash.unwrap_or_default();
    // What does not tell revisions apart may reach it, too.
    let blind = if traffic.canary.hash.is_none() { traffic.canary.weight } else { 0 };
    let carried = traffic.weight_of(hash).saturating_add(blind).min(100);
    let to_carry = 100 - goal(s, traffic, abort).min(100);
    let share = match () {
        () if seeded!(StableForgetsPresent) => to_carry,
        () if seeded!(StableForgetsGoal) => carried,
        () => carried.max(to_carry),
    };
    let size = routed_size(s.canary, s.n, share);
    let size = size.saturating_sub(u32::from(seeded!(StableOneLess)));
    let still = s.is_changed() || s.is_paused_by_user() || s.has_pause(super::pause::INCONCLUSIVE);
    // On its way back the stable set only grows: what a lost Pod would take from the aim is no reason to end others.
    if still || abort.is_on() { size.max(stable.replicas.min(s.n)) } else { size }
}

/// Returns the canary's share that is aimed at, whatever the stable set can carry now.
fn goal(s: &Situation<'_>, traffic: &Traffic<'_>, abort: &Abort) -> u32 {
    let present = traffic.canary.weight;
    if traffic.canary.hash.as_deref() != Some(s.hash.as_str()) || split::is_dead(s) {
        return 0;
    }
    if abort.is_on() && !seeded!(WayBackInOne) {
        return rung(&Ladder {
            steps: s.steps,
            n: s.n,
            present,
            stable_available: s.stable.map_or(0, |rs| rs.last_available()),
            canary_available: s.current.map_or(0, |rs| rs.last_available()),
            canary_size: routed_size(s.canary, s.n, present),
            keeps_canary: s.canary.abort_scale_down_delay_seconds.is_some(),
        });
    }
    let index = if s.skips_steps() { s.steps.len() } else { s.index() };
    let wanted = weight_at(s.steps, index);
    split::left(s, present).map_or(wanted, |left| left.min(wanted))
}

/// What the way back of an abort is found from.
pub(crate) struct Ladder<'a> {
    pub(crate) steps: &'a [CanaryStep],
    /// `spec.replicas`.
    pub(crate) n: u32,
    /// The canary's weight.
    pub(crate) present: u32,
    pub(crate) stable_available: u32,
    pub(crate) canary_available: u32,
    /// Size of a canary of the present weight.
    pub(crate) canary_size: u32,
    /// Whether the canary keeps its Pods for a delay after the abort.
    pub(crate) keeps_canary: bool,
}

/// Returns the weight to which an aborted canary goes back next: of the steps, from the last one, the first `setWeight` that
/// needs fewer Pods than the stable set lacks, or than the canary has; 0 if there is none.
///
/// The canary's Pods count so that the next rung waits until those of the last one are gone. Argo stays at a rung whose canary
/// never gets smaller (`minPodsPerReplicaSet`); here it goes on once both sets have the size of the rung.
pub(crate) fn rung(ladder: &Ladder<'_>) -> u32 {
    let lacking = ladder.n.saturating_sub(ladder.stable_available);
    let bound = if ladder.keeps_canary { lacking } else { lacking.max(ladder.canary_available) };
    let weights = || {
        let weights = ladder.steps.iter().rev().filter_map(|step| step.set_weight);
        weights.map(|weight| u32::try_from(weight).unwrap_or(0).min(100))
    };
    let found = weights().find(|weight| share(ladder.n, *weight) < bound).unwrap_or(0);
    let arrived = found >= ladder.present
        && ladder.canary_available <= ladder.canary_size
        && ladder.stable_available >= share(ladder.n, 100 - ladder.present.min(100));
    if arrived { weights().find(|weight| *weight < ladder.present).unwrap_or(0) } else { found }
}

/// Returns how large an aborted canary should be while its traffic goes back; `None` if it keeps its Pods for a delay.
pub(crate) fn aborted_size(s: &Situation<'_>, traffic: &Traffic<'_>) -> Option<u32> {
    let drains = is_on(s)
        && !seeded!(AbortedNeverDrains)
        && s.canary.abort_scale_down_delay_seconds.is_none();
    drains.then(|| routed_size(s.canary, s.n, traffic.weight_of(&s.hash)).max(least(s, traffic)))
}

/// The least size of the current set while a route of ours leads to it.
pub(crate) fn least(s: &Situation<'_>, traffic: &Traffic<'_>) -> u32 {
    let exposed = traffic.is_exposed(&s.hash);
    if exposed && !seeded!(RuleWithoutPods) { routed_size(s.canary, s.n, 1) } else { 0 }
}
