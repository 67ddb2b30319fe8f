//! How large each ReplicaSet should be now, and which may go (`spec-rollouts` 3.4, 3.7).

use chrono::{DateTime, Duration, Utc};

use super::abort::Abort;
use super::capacity::{
    Capacity, deadline_of, named_by_service, resize, set_deadline, wait_for, wait_for_proxies,
};
use super::dynamic;
use super::replicas::{
    Basic, Bounds, Size, basic_sizes, explicit_scale, routed_size, share, total, weight_at,
};
use super::routes::Traffic;
use super::situation::{Set, Situation};

/// Decides sizes.
pub(crate) fn capacity(
    s: &Situation<'_>,
    traffic: Option<&Traffic<'_>>,
    abort: &Abort,
) -> Capacity {
    let mut capacity = Capacity::default();
    match traffic {
        Some(traffic) => routed(s, traffic, abort, &mut capacity),
        None => basic(s, abort, &mut capacity),
    }
    capacity
}

fn routed(s: &Situation<'_>, traffic: &Traffic<'_>, abort: &Abort, out: &mut Capacity) {
    if let Some(stable) = s.stable.filter(|_| !s.is_promoted()) {
        let size = if seeded!(StableShrinksAlong) {
            s.n.saturating_sub(s.current_available())
        } else {
            dynamic::stable_size(s, traffic, abort, stable)
        };
        let shrinks = size < stable.replicas && dynamic::is_on(s);
        let at_once = !shrinks || seeded!(StableShrinksAtOnce);
        if at_once || settled(s, traffic, s.view.config.route_confirmation, out) {
            resize(s, stable, size, false, out);
        }
    }
    if let Some(current) = s.current {
        if abort.is_on() {
            retire_aborted(s, traffic, current, out);
        } else {
            let size = current_size(s, traffic, current);
            let shrinks = size < current.replicas;
            if !shrinks || s.is_promoted() || settled_canary(s, traffic, current, out) {
                resize(s, current, size, true, out);
            }
        }
    }
    let mut waiting = 0_usize;
    let limit = s.canary.scale_down_delay_revision_limit;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(0));
    for older in s.older.iter().filter(|rs| rs.replicas > 0) {
        let hash = older.hash().unwrap_or_default();
        // With no replicas there is nothing to serve: what a destination still reaches goes too.
        let reached = s.n > 0 && (traffic.reaches(hash) || named_by_service(s, hash));
        if reached && !seeded!(ReachedSetRetired) {
            drain_older(s, traffic, older, out);
            continue;
        }
        waiting += 1;
        let at_once = waiting > limit || seeded!(OldSetsWithoutDelay);
        retire_older(s, traffic, older, at_once, out);
    }
}

/// With `dynamicStableScale` a set that still serves gives Pods back as its traffic leaves, so that others can come up.
fn drain_older(s: &Situation<'_>, traffic: &Traffic<'_>, set: Set<'_>, out: &mut Capacity) {
    let hash = set.hash().unwrap_or_default();
    let weight = traffic.weight_of(hash);
    let size = if seeded!(FormerDrainsDry) { 0 } else { routed_size(s.canary, s.n, weight) };
    // Until the new revision is on record, the superseded one has the size that its step declares.
    let drains = dynamic::is_on(s) && !s.is_changed() && weight > 0 && size < set.replicas;
    if drains && settled(s, traffic, s.view.config.route_confirmation, out) {
        resize(s, set, size, false, out);
    }
}

/// Size of the current set: by its step, and never less than its live weight and routes of its own need.
fn current_size(s: &Situation<'_>, traffic: &Traffic<'_>, current: Set<'_>) -> u32 {
    if s.is_promoted() || s.is_first() {
        return s.n;
    }
    let carried = routed_size(s.canary, s.n, traffic.weight_of(&s.hash));
    let carried = if seeded!(SizeBelowWeight) { 0 } else { carried };
    let least = dynamic::least(s, traffic);
    if s.is_changed() {
        if seeded!(ChangedTemplateShrinks) {
            return carried;
        }
        return current.replicas.max(carried);
    }
    if s.is_paused_by_user() || s.has_pause("InconclusiveAnalysisRun") {
        let floor = explicit_scale(s.canary, s.steps, s.index(), s.n).map_or(carried, |_| 0);
        return current.replicas.max(floor).max(least);
    }
    let index = if s.skips_steps() { s.steps.len() } else { s.index() };
    match explicit_scale(s.canary, s.steps, index, s.n) {
        // Requests need somebody to go to, whatever the step declares.
        Some(size) => {
            let serves = s.n > 0 && (weight_at(s.steps, index) > 0 || carried > 0);
            size.max(least).max(u32::from(serves))
        }
        None => routed_size(s.canary, s.n, weight_at(s.steps, index)).max(carried).max(least),
    }
}

/// An aborted canary stays until its traffic is gone, the stable set is whole, and the delay has passed.
fn retire_aborted(s: &Situation<'_>, traffic: &Traffic<'_>, set: Set<'_>, out: &mut Capacity) {
    if let Some(size) = dynamic::aborted_size(s, traffic) {
        let shrinks = size < set.replicas;
        if !shrinks || settled(s, traffic, s.view.config.route_confirmation, out) {
            resize(s, set, size, false, out);
        }
        return;
    }
    let delay = s.canary.abort_scale_down_delay_seconds.unwrap_or(30);
    let carried = share(s.n, traffic.weight_of(&s.hash));
    if carried > set.replicas {
        resize(s, set, carried, false, out);
        return;
    }
    let served = traffic.reaches_with_weight(&s.hash) && !seeded!(AbortedGoesWithWeight);
    if set.replicas == 0 || delay <= 0 || served {
        return;
    }
    match deadline_of(set) {
        None if s.stable_available() >= s.n || seeded!(AbortedGoesBeforeStable) => {
            let at = s.now() + Duration::seconds(i64::from(delay));
            out.deadlines.push(set_deadline(s, set, at));
        }
        None => {}
        Some(at) if s.now() < at => wait_for(set, at, out),
        Some(_) if settled(s, traffic, s.view.config.route_confirmation, out) => {
            resize(s, set, 0, false, out);
        }
        Some(_) => {}
    }
}

/// An older set that nothing reaches any more goes after the delay.
fn retire_older(
    s: &Situation<'_>,
    traffic: &Traffic<'_>,
    set: Set<'_>,
    at_once: bool,
    out: &mut Capacity,
) {
    if dynamic::is_on(s) {
        if settled(s, traffic, s.view.config.route_confirmation, out) && spares(s) {
            resize(s, set, 0, false, out);
        }
        return;
    }
    let Some(at) = deadline_of(set) else {
        if !at_once {
            out.deadlines.push(set_deadline(s, set, s.now() + s.scale_down_delay()));
            return;
        }
        if settled(s, traffic, s.scale_down_delay(), out) && spares(s) {
            resize(s, set, 0, false, out);
        }
        return;
    };
    if s.now() < at && !at_once {
        wait_for(set, at, out);
    } else if settled(s, traffic, s.view.config.route_confirmation, out) && spares(s) {
        resize(s, set, 0, false, out);
    }
}

/// Whether Pods may go at all: more are available than must be.
fn spares(s: &Situation<'_>) -> bool {
    let available = total(s.owned().map(|rs| rs.available()));
    let must = s.n.saturating_sub(Bounds::of(s.canary, s.n).unavailable);
    available > must || s.n == 0 || seeded!(SparesEverything)
}

/// Whether routes and switches have been still for `delay`, so that no proxy sends to where traffic was before.
fn settled(s: &Situation<'_>, traffic: &Traffic<'_>, delay: Duration, out: &mut Capacity) -> bool {
    let delay = delay.max(s.view.config.route_confirmation);
    passed(s, traffic.still_at(s.view, delay), out)
}

fn settled_canary(
    s: &Situation<'_>,
    traffic: &Traffic<'_>,
    current: Set<'_>,
    out: &mut Capacity,
) -> bool {
    passed(s, canary_still_at(s, traffic, current), out)
}

/// Since when no more traffic than now came to the current set within the scale-down delay (S5).
fn canary_still_at(
    s: &Situation<'_>,
    traffic: &Traffic<'_>,
    current: Set<'_>,
) -> Option<DateTime<Utc>> {
    let delay = s.scale_down_delay().max(s.view.config.route_confirmation);
    traffic.still_for_canary_at(s.view, delay, &current.meta)
}

/// The size to which the current set of a routed canary is to shrink now; `None` if it is small enough, or has to wait for
/// traffic that it had.
pub(crate) fn shrinks_to(
    s: &Situation<'_>,
    traffic: &Traffic<'_>,
    current: Set<'_>,
) -> Option<u32> {
    let size = current_size(s, traffic, current);
    let still = canary_still_at(s, traffic, current).is_none_or(|at| s.now() >= at);
    (size < current.replicas && still).then_some(size)
}

fn passed(s: &Situation<'_>, at: Option<DateTime<Utc>>, out: &mut Capacity) -> bool {
    let Some(at) = at else { return true };
    if s.now() >= at || seeded!(ScaleDownAtOnce) {
        return true;
    }
    wait_for_proxies(at, out);
    false
}

fn basic(s: &Situation<'_>, abort: &Abort, out: &mut Capacity) {
    let Some(current) = s.current else { return };
    let held = s.is_paused_by_user() || s.has_pause("InconclusiveAnalysisRun");
    if (held || s.is_changed()) && !s.is_promoted() && !s.is_first() && !abort.is_on() {
        if !s.is_changed() {
            follow_replicas(s, current, out);
        }
        return;
    }
    let index = if s.skips_steps() { s.steps.len() } else { s.index() };
    let weight = if abort.is_on() { 0 } else { weight_at(s.steps, index) };
    let size = |rs: Set<'_>| Size {
        spec: rs.replicas,
        available: rs.available(),
        observed: rs.observed_generation >= rs.meta.generation,
    };
    let stable = s.stable.filter(|_| !s.is_promoted());
    let sizes = basic_sizes(&Basic {
        n: s.n,
        weight,
        bounds: Bounds::of(s.canary, s.n),
        current: Some(size(current)),
        stable: stable.map(size),
        older: s.older.iter().copied().map(size).collect(),
    });
    resize(s, current, sizes.current, true, out);
    if let Some(stable) = stable {
        resize(s, stable, sizes.stable, true, out);
    }
    for (older, to) in s.older.iter().zip(sizes.older) {
        resize(s, older, to, false, out);
    }
}

/// A paused canary without router keeps its Pods; the stable set follows `spec.replicas`, so that an autoscaler is heard while
/// people think (Argo scales nothing then).
///
/// Example: 2 canary and 3 stable Pods; `replicas` goes from 5 to 9: 7 stable ones, and back to 5: 3.
fn follow_replicas(s: &Situation<'_>, current: Set<'_>, out: &mut Capacity) {
    let Some(stable) = s.stable.filter(|_| !s.is_promoted()) else { return };
    let others = || s.older.iter().copied().chain([current]);
    let wanted = s.n.saturating_sub(total(others().map(|rs| rs.replicas)));
    let bounds = Bounds::of(s.canary, s.n);
    let to = if stable.replicas <= wanted.saturating_add(bounds.surge) {
        stable.replicas.max(wanted)
    } else {
        // As many stay as must be available beside those of the others that are.
        let must = s.n.saturating_sub(bounds.unavailable);
        let least = must.saturating_sub(total(others().map(|rs| rs.available())));
        wanted.max(least).min(stable.replicas)
    };
    resize(s, stable, to, true, out);
}
