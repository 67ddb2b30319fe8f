//! How large each ReplicaSet should be now, and which may go (`spec-rollouts` 3.4, 3.7).

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use sluice_crds::labels;

use super::abort::Abort;
use super::action::{Action, Target};
use super::contention::{self, Field, Fight, Urgency};
use super::replicas::{
    Basic, Bounds, Size, basic_sizes, explicit_scale, routed_size, share, total, weight_at,
};
use super::routes::Traffic;
use super::situation::{Set, Situation};
use crate::plan::{Wake, WakeReason};

/// Changes of size, apart by direction: capacity is added before traffic moves and removed after it is gone.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Capacity {
    /// Sets that grow.
    pub(crate) up: Vec<Action>,
    /// Sets that shrink.
    pub(crate) down: Vec<Action>,
    /// Deadlines written on sets that are to go, or taken off sets that are needed again.
    pub(crate) deadlines: Vec<Action>,
    /// Next moment at which a set may shrink.
    pub(crate) wake: Option<Wake>,
    /// What shrinking waits for.
    pub(crate) waits: Vec<(String, DateTime<Utc>)>,
    /// Sets whose size somebody else keeps changing.
    pub(crate) fights: Vec<Fight>,
    /// Whether one of them should grow: what needs its Pods must wait.
    pub(crate) lacks: bool,
}

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
            s.n
        };
        resize(s, stable, size, false, out);
    }
    if let Some(current) = s.current {
        if abort.is_on() {
            retire_aborted(s, traffic, current, out);
        } else {
            let size = current_size(s, traffic, current);
            let shrinks = size < current.replicas;
            if !shrinks || s.is_promoted() || settled(s, traffic, s.scale_down_delay(), out) {
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
            continue;
        }
        waiting += 1;
        let at_once = waiting > limit || seeded!(OldSetsWithoutDelay);
        retire_older(s, traffic, older, at_once, out);
    }
}

/// Size of the current set: by its step, and never less than its live weight needs.
fn current_size(s: &Situation<'_>, traffic: &Traffic<'_>, current: Set<'_>) -> u32 {
    if s.is_promoted() || s.is_first() {
        return s.n;
    }
    let carried = routed_size(s.canary, s.n, traffic.weight_of(&s.hash));
    let carried = if seeded!(SizeBelowWeight) { 0 } else { carried };
    if s.is_changed() {
        if seeded!(ChangedTemplateShrinks) {
            return carried;
        }
        return current.replicas.max(carried);
    }
    if s.is_paused_by_user() || s.has_pause("InconclusiveAnalysisRun") {
        let floor = explicit_scale(s.canary, s.steps, s.index(), s.n).map_or(carried, |_| 0);
        return current.replicas.max(floor);
    }
    let index = if s.skips_steps() { s.steps.len() } else { s.index() };
    match explicit_scale(s.canary, s.steps, index, s.n) {
        Some(size) => size,
        None => routed_size(s.canary, s.n, weight_at(s.steps, index)).max(carried),
    }
}

/// An aborted canary stays until its traffic is gone, the stable set is whole, and the delay has passed.
fn retire_aborted(s: &Situation<'_>, traffic: &Traffic<'_>, set: Set<'_>, out: &mut Capacity) {
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
    let Some(at) = traffic.still_at(s.view, delay) else { return true };
    if s.now() >= at || seeded!(ScaleDownAtOnce) {
        return true;
    }
    out.wake =
        Wake::earliest(out.wake.take(), Some(Wake { at, reason: WakeReason::RouteConfirmed }));
    out.waits.push(("proxies to follow the last change of traffic".to_owned(), at));
    false
}

fn named_by_service(s: &Situation<'_>, hash: &str) -> bool {
    s.view
        .services
        .values()
        .filter_map(|lookup| lookup.present())
        .any(|service| service.hash() == Some(hash))
}

fn wait_for(set: Set<'_>, at: DateTime<Utc>, out: &mut Capacity) {
    out.wake =
        Wake::earliest(out.wake.take(), Some(Wake { at, reason: WakeReason::ScaleDownDelay }));
    out.waits.push((format!("the scale-down delay of {}", set.object()), at));
}

/// Returns the instant after which the set may be scaled to 0.
pub(crate) fn deadline_of(set: Set<'_>) -> Option<DateTime<Utc>> {
    let text = set.meta.annotations.get(labels::SCALE_DOWN_DEADLINE)?;
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc))
}

fn set_deadline(s: &Situation<'_>, set: Set<'_>, at: DateTime<Utc>) -> Action {
    // Whole seconds, rounded up: a deadline must not come early.
    let at = if at.timestamp_subsec_nanos() > 0 { at + Duration::seconds(1) } else { at };
    let at = if seeded!(DeadlineEarly) { at - Duration::seconds(1) } else { at };
    let text = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Action::Annotate {
        target: Target::of(s.view, set.object(), &set.meta),
        annotations: BTreeMap::from([(labels::SCALE_DOWN_DEADLINE.to_owned(), Some(text))]),
    }
}

/// Adds the change of size, if there is one. `keep` says that the set is wanted, so a deadline on it goes.
fn resize(s: &Situation<'_>, set: Set<'_>, to: u32, keep: bool, out: &mut Capacity) {
    let has_deadline = set.meta.annotations.contains_key(labels::SCALE_DOWN_DEADLINE);
    let mut annotations = BTreeMap::new();
    if has_deadline && (keep || to == 0) && !seeded!(DeadlineStays) {
        annotations.insert(labels::SCALE_DOWN_DEADLINE.to_owned(), None);
    }
    let target = Target::of(s.view, set.object(), &set.meta);
    if to == set.replicas {
        if has_deadline && keep && !seeded!(DeadlineStays) {
            out.deadlines.push(Action::Annotate { target, annotations });
        }
        return;
    }
    let (object, value) = (set.object(), to.to_string());
    match contention::note(s, Field::Size, &object, &set.meta, &value, Urgency::Usual) {
        Ok(note) => annotations.extend(note.into_iter().map(|(key, value)| (key, Some(value)))),
        Err(fight) => {
            out.fights.push(*fight);
            out.lacks |= to > set.replicas;
            return;
        }
    }
    annotations.insert(labels::DESIRED_REPLICAS.to_owned(), Some(s.n.to_string()));
    let hash = set.hash().unwrap_or_default().to_owned();
    let scale = Action::Scale { target, hash, from: set.replicas, to, annotations };
    if to > set.replicas {
        out.up.push(scale);
    } else {
        out.down.push(scale);
    }
}

fn basic(s: &Situation<'_>, abort: &Abort, out: &mut Capacity) {
    let Some(current) = s.current else { return };
    let frozen = s.is_paused_by_user() || s.has_pause("InconclusiveAnalysisRun") || s.is_changed();
    if frozen && !s.is_promoted() && !s.is_first() && !abort.is_on() {
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
