//! Changes of size, and the deadlines of sets that are to go (`spec-rollouts` 3.4, 3.7), whatever the strategy.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use sluice_crds::labels;

use super::action::{Action, Target};
use super::contention::{self, Field, Fight, Urgency};
use super::situation::{Roles, Set};
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

/// Adds the change of size, if there is one. `keep` says that the set is wanted, so a deadline on it goes.
pub(crate) fn resize(s: &Roles<'_>, set: Set<'_>, to: u32, keep: bool, out: &mut Capacity) {
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

/// Notes that shrinking waits for proxies to follow the last change of traffic, until the instant.
pub(crate) fn wait_for_proxies(at: DateTime<Utc>, out: &mut Capacity) {
    out.wake =
        Wake::earliest(out.wake.take(), Some(Wake { at, reason: WakeReason::RouteConfirmed }));
    out.waits.push(("proxies to follow the last change of traffic".to_owned(), at));
}

/// Notes that the set stays until its deadline.
pub(crate) fn wait_for(set: Set<'_>, at: DateTime<Utc>, out: &mut Capacity) {
    out.wake =
        Wake::earliest(out.wake.take(), Some(Wake { at, reason: WakeReason::ScaleDownDelay }));
    out.waits.push((format!("the scale-down delay of {}", set.object()), at));
}

/// Returns the instant after which the set may be scaled to 0.
pub(crate) fn deadline_of(set: Set<'_>) -> Option<DateTime<Utc>> {
    let text = set.meta.annotations.get(labels::SCALE_DOWN_DEADLINE)?;
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc))
}

/// Returns the write of the deadline.
pub(crate) fn set_deadline(s: &Roles<'_>, set: Set<'_>, at: DateTime<Utc>) -> Action {
    // Whole seconds, rounded up: a deadline must not come early.
    let at = if at.timestamp_subsec_nanos() > 0 { at + Duration::seconds(1) } else { at };
    let at = if seeded!(DeadlineEarly) { at - Duration::seconds(1) } else { at };
    let text = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Action::Annotate {
        target: Target::of(s.view, set.object(), &set.meta),
        annotations: BTreeMap::from([(labels::SCALE_DOWN_DEADLINE.to_owned(), Some(text))]),
    }
}

/// Whether a Service of the Rollout selects the revision.
pub(crate) fn named_by_service(s: &Roles<'_>, hash: &str) -> bool {
    s.view
        .services
        .values()
        .filter_map(|lookup| lookup.present())
        .any(|service| service.hash() == Some(hash))
}
