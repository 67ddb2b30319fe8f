//! How large each ReplicaSet of a blue-green update should be now, and which may go (`spec-rollouts` 3.7, 5).

use chrono::Duration;
use sluice_crds::labels;

use super::BlueGreen;
use crate::rollout::abort::Abort;
use crate::rollout::capacity::{
    Capacity, deadline_of, named_by_service, resize, set_deadline, wait_for, wait_for_proxies,
};
use crate::rollout::pause;
use crate::rollout::situation::Set;

/// Decides sizes. What users reach has full size, always.
pub(super) fn capacity(s: &BlueGreen<'_>, abort: &Abort) -> Capacity {
    let mut out = Capacity::default();
    if let Some(stable) = s.stable.filter(|_| !s.is_promoted()) {
        resize(s, stable, s.n, true, &mut out);
    }
    if let Some(current) = s.current {
        if abort.is_on() {
            retire_aborted(s, current, &mut out);
        } else if s.is_changed() && !s.is_first() {
            // Its deadline stays until it is on record that the update goes back to it.
            let least = if s.is_switched() { s.n } else { 0 };
            resize(s, current, current.replicas.max(least), false, &mut out);
        } else {
            resize_current(s, current, &mut out);
        }
    }
    let limit = s.strategy.scale_down_delay_revision_limit;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(0));
    let mut waiting = 0_usize;
    for older in s.older.iter().copied().filter(|rs| rs.replicas > 0) {
        let hash = older.hash().unwrap_or_default();
        if s.reached() == Some(hash) && !seeded!(ReachedVersionGoes) {
            resize(s, older, s.n, true, &mut out);
            continue;
        }
        // An update that was taken back shows testers nothing new: what they saw before it is not kept for them either.
        let shown = named_by_service(s, hash) && s.status().aborted_at.is_none();
        if (shown && !seeded!(ReachedVersionGoes)) || holds_old(s) {
            continue;
        }
        waiting += 1;
        retire_older(s, older, waiting > limit, &mut out);
    }
    out
}

fn resize_current(s: &BlueGreen<'_>, current: Set<'_>, out: &mut Capacity) {
    let size = s.wanted_size();
    // It may have served until a moment ago: a retry of what was aborted after the switch.
    let shrinks = size < current.replicas.min(s.n);
    if !shrinks || settled(s, scale_down_delay(s), out) {
        resize(s, current, size, true, out);
    }
}

/// An aborted version stays until users are gone, the stable set is whole, and the delay has passed.
fn retire_aborted(s: &BlueGreen<'_>, set: Set<'_>, out: &mut Capacity) {
    if s.is_switched() && !seeded!(FailedVersionGoes) {
        resize(s, set, s.n, false, out);
        return;
    }
    let delay = s.strategy.abort_scale_down_delay_seconds.unwrap_or(30);
    if set.replicas == 0 || delay <= 0 {
        return;
    }
    match deadline_of(set) {
        None if s.stable_available() >= s.n => {
            let at = s.now() + Duration::seconds(i64::from(delay));
            out.deadlines.push(set_deadline(s, set, at));
        }
        None => {}
        Some(at) if s.now() < at => wait_for(set, at, out),
        Some(_) if settled(s, s.view.config.route_confirmation, out) => {
            resize(s, set, 0, false, out);
        }
        Some(_) => {}
    }
}

/// Argo leaves older sets alone while a verdict is missing, and while the old version may be needed again.
fn holds_old(s: &BlueGreen<'_>) -> bool {
    let judged_after = s.strategy.post_promotion_analysis.is_some()
        && s.strategy.scale_down_delay_seconds.is_none()
        && s.is_switched()
        && !s.is_promoted();
    s.has_pause(pause::INCONCLUSIVE) || judged_after
}

/// A former version goes after the delay, or at once if more of them wait than may. Until then it follows `spec.replicas`, so
/// that going back to it is a switch and nothing else.
fn retire_older(s: &BlueGreen<'_>, set: Set<'_>, at_once: bool, out: &mut Capacity) {
    let delay = scale_down_delay(s);
    let (goes, at) = match deadline_of(set) {
        _ if at_once || delay.is_zero() || seeded!(FormerGoesAtOnce) => (true, None),
        None => {
            out.deadlines.push(set_deadline(s, set, s.now() + delay));
            (false, None)
        }
        Some(at) => (s.now() >= at, Some(at)),
    };
    if goes {
        if settled(s, s.view.config.route_confirmation, out) {
            resize(s, set, 0, false, out);
        }
        return;
    }
    if let Some(at) = at {
        wait_for(set, at, out);
        if was_whole(set) {
            let lacks = out.lacks;
            resize(s, set, s.n, false, out);
            // Nobody needs its Pods now.
            out.lacks = lacks;
        }
    }
}

/// Whether the set had the full size when it was last scaled; a preview that was superseded had not.
fn was_whole(set: Set<'_>) -> bool {
    let wanted = set.meta.annotations.get(labels::DESIRED_REPLICAS);
    wanted.and_then(|wanted| wanted.parse::<u32>().ok()) == Some(set.replicas)
}

fn scale_down_delay(s: &BlueGreen<'_>) -> Duration {
    let seconds = s.strategy.scale_down_delay_seconds.unwrap_or(30);
    Duration::seconds(i64::from(seconds.max(0)))
}

/// Whether users have been where they are for `delay`, so that no proxy sends to where they were before.
fn settled(s: &BlueGreen<'_>, delay: Duration, out: &mut Capacity) -> bool {
    let delay = delay.max(s.view.config.route_confirmation);
    let at = s.active.and_then(|lane| lane.switched_at()).map(|at| at + delay);
    match at.filter(|at| s.now() < *at && !seeded!(FormerGoesUnsettled)) {
        Some(at) => {
            wait_for_proxies(at, out);
            false
        }
        None => true,
    }
}
