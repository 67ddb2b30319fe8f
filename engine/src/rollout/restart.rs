//! `spec.restartAt`: Pods older than the instant are replaced, a few at a time (`spec-rollouts` 3.10).
//!
//! Pods are *evicted*, so that PodDisruptionBudgets hold; a refusal is a wait. How many may go at once follows from the Pods
//! themselves, seen one by one: those that are available beyond `max(R, sizes of all sets) - max(1, maxUnavailable)`.
//!
//! Example: 4 replicas and `maxUnavailable` 25 %: one Pod is evicted, and the next when its successor is available.
//!
//! **Differences from Argo.** Pods that are not available cost nothing, and go first. Of a set of several Pods one available Pod
//! stays. What a budget forbade is asked for again after 10 seconds (Argo: 30), and any change of a Pod is heard of at once.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use sluice_crds::intstr::IntOrString;
use sluice_crds::rollout::{RolloutSpec, RolloutStatus};
use sluice_crds::time::Time;

use super::action::{Action, Target};
use super::replicas::total;
use super::situation::{Roles, Set};
use crate::plan::{Wake, WakeReason};
use crate::report::Report;
use crate::view::{PodRecord, RefusedEviction};

/// How long a Pod is left alone after a PodDisruptionBudget forbade its eviction.
const PATIENCE: Duration = Duration::seconds(10);

/// Where a restart stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// None was asked for, or it is done.
    Idle,
    /// It begins at the instant.
    Scheduled(DateTime<Utc>),
    /// Pods created before the instant are to be replaced.
    Due(DateTime<Utc>),
}

fn state(s: &Roles<'_>) -> State {
    let Some(asked) = s.rollout.spec.restart_at else { return State::Idle };
    if s.status().restarted_at == Some(asked) {
        State::Idle
    } else if asked.at() <= s.now() {
        State::Due(asked.at())
    } else {
        State::Scheduled(asked.at())
    }
}

/// Returns whether a restart was asked for that is not done, also one that begins later.
pub(crate) fn is_pending(spec: &RolloutSpec, status: &RolloutStatus) -> bool {
    spec.restart_at.is_some() && spec.restart_at != status.restarted_at
}

/// Returns the evictions that may be asked for now, and says what others wait for.
pub(crate) fn evictions(
    s: &Roles<'_>,
    report: &mut Report,
    wake: &mut Option<Wake>,
) -> Vec<Action> {
    let since = match state(s) {
        State::Idle => return Vec::new(),
        State::Scheduled(at) => {
            *wake = Wake::earliest(wake.take(), Some(Wake { at, reason: WakeReason::Restart }));
            return Vec::new();
        }
        State::Due(since) => since,
    };
    let Some(pods) = &s.view.pods else {
        report.waits("the first reading of the Pods that are to be restarted", None);
        return Vec::new();
    };
    let mut budget = budget(s, pods);
    let mut actions = Vec::new();
    let mut left = 0_usize;
    for set in in_order(s) {
        let mut available =
            total(pods_of(set, pods).map(|pod| u32::from(is_available(s, set, pod))));
        let mut old: Vec<&Arc<PodRecord>> =
            pods_of(set, pods).filter(|pod| is_old(pod, since)).collect();
        // What was refused longest ago is asked for first: one that a budget keeps for good must not keep the others.
        let refused = |pod: &PodRecord| s.view.refused_evictions.get(&pod.meta.name);
        old.sort_by_key(|pod| {
            let refused_at = refused(pod).map(|refused| refused.at);
            (is_available(s, set, pod), refused_at, pod.meta.creation_timestamp)
        });
        for pod in old {
            left += 1;
            if let Some(refused) = refused(pod).filter(|refused| is_fresh(s, refused)) {
                let at = refused.at + PATIENCE;
                let what = format!("the eviction of {}, refused: {}", pod.object(), refused.why);
                report.waits(what, Some(at));
                *wake = Wake::earliest(wake.take(), Some(Wake { at, reason: WakeReason::Restart }));
                continue;
            }
            if is_available(s, set, pod) {
                let is_last = available == 1 && set.replicas > 1;
                if budget == 0 || is_last {
                    continue;
                }
                budget -= 1;
                available -= 1;
            }
            actions.push(Action::Evict { target: Target::of_pod(pod) });
        }
    }
    if left > actions.len() {
        report.waits(format!("{left} Pods created before the restart to be replaced"), None);
    }
    actions
}

/// How many available Pods may go now.
fn budget(s: &Roles<'_>, pods: &[Arc<PodRecord>]) -> u32 {
    let available = total(
        s.owned()
            .map(|set| total(pods_of(set, pods).map(|pod| u32::from(is_available(s, set, pod))))),
    );
    let sizes = total(s.owned().map(|set| set.replicas));
    let may_miss = max_unavailable(&s.rollout.spec, s.n).max(1);
    // The PodDisruptionBudget that kept a Pod a moment ago most likely keeps its siblings, too.
    let kept = pods.iter().filter(|pod| !pod.is_leaving()).filter(|pod| {
        s.view.refused_evictions.get(&pod.meta.name).is_some_and(|refused| is_fresh(s, refused))
    });
    let kept = u32::try_from(kept.count()).unwrap_or(u32::MAX);
    let missing = s.n.max(sizes).saturating_sub(may_miss);
    available.saturating_sub(missing).saturating_sub(kept)
}

/// Whether a Pod is left alone after it was refused.
fn is_fresh(s: &Roles<'_>, refused: &RefusedEviction) -> bool {
    s.now() < refused.at + PATIENCE
}

fn max_unavailable(spec: &RolloutSpec, n: u32) -> u32 {
    let canary = spec.strategy.canary.as_deref().map(|canary| canary.max_unavailable.as_ref());
    let blue_green = spec.strategy.blue_green.as_deref().map(|b| b.max_unavailable.as_ref());
    let quarter = IntOrString::String("25%".to_owned());
    let share = canary.or(blue_green).flatten().unwrap_or(&quarter);
    share.scaled(n, false).unwrap_or(0).min(n)
}

/// Stable first, then current, then older ones.
fn in_order<'a>(s: &Roles<'a>) -> Vec<Set<'a>> {
    let is_stable =
        |set: &Set<'a>| s.stable.is_some_and(|stable| stable.meta.name == set.meta.name);
    let (mut sets, others): (Vec<Set<'a>>, Vec<Set<'a>>) = s.owned().partition(is_stable);
    sets.extend(others);
    sets
}

/// Pods of the set that are not on their way out.
fn pods_of<'a>(
    set: Set<'a>,
    pods: &'a [Arc<PodRecord>],
) -> impl Iterator<Item = &'a Arc<PodRecord>> {
    let owned = move |pod: &&Arc<PodRecord>| pod.meta.is_owned_by(&set.meta.uid);
    pods.iter().filter(owned).filter(|pod| !pod.is_leaving())
}

fn is_available(s: &Roles<'_>, set: Set<'_>, pod: &PodRecord) -> bool {
    pod.is_available(set.min_ready_seconds, s.now())
}

fn is_old(pod: &PodRecord, since: DateTime<Utc>) -> bool {
    pod.meta.creation_timestamp.is_some_and(|created| created.at() < since)
}

/// Returns the restart that this view shows to be done: no Pod of before is left.
pub(crate) fn done(s: &Roles<'_>) -> Option<Time> {
    let State::Due(since) = state(s) else { return None };
    let pods = s.view.pods.as_ref()?;
    let is_left = |set: Set<'_>| pods_of(set, pods).any(|pod| is_old(pod, since));
    // A set with Pods of which none is seen yet is not known to be done.
    let unseen = |set: Set<'_>| set.existing > 0 && pods_of(set, pods).next().is_none();
    let is_done = !s.owned().any(|set| is_left(set) || unseen(set));
    s.rollout.spec.restart_at.filter(|_| is_done)
}
