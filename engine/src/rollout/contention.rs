//! Others who undo what the engine writes (F13): it is put right at once, then after a wait, then left alone for a while.
//!
//! Every write of an owned field leaves a note on its object, in the same patch: for which Rollout, what was written, and how
//! often in a row. Who wants to write the same again, and finds something else there, knows that somebody changed it since. The
//! note is as true as the write itself: a write that was lost left none.
//!
//! Not seen: a writer who replaces the whole object, notes included, which costs a touch of the fence each time; and the other
//! writer of a VirtualService whose routes several Rollouts weigh in turns, each over the note of the one before.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use sluice_crds::labels;
use sluice_crds::object::{Meta, ObjectRef};

use super::fencing::is_made_up;
use super::routes::{instant, instant_of};
use super::situation::Roles;
use crate::plan::{Wake, WakeReason};

/// Writes of one value in a row after which the field is left alone.
const LIMIT: u32 = 3;
/// How long it is left alone, and how long a note counts.
const WINDOW: Duration = Duration::minutes(5);
/// How long weight on a failed canary is left alone: who puts it back there hurts users.
const WINDOW_OF_RETREAT: Duration = Duration::seconds(30);
/// Wait before the third write.
const PATIENCE: Duration = Duration::seconds(2);

/// How much a write is worth fighting for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Urgency {
    /// It may wait for as long as somebody else insists.
    Usual,
    /// It takes weight from a failed canary.
    Retreat,
    /// It does so for the first time.
    FirstRetreat,
}

/// Which of our annotations says when the object was last written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Field {
    /// Weights of a route.
    Weights,
    /// What a Service or subset selects.
    Selector,
    /// Size of a ReplicaSet.
    Size,
}

impl Field {
    fn instant(self) -> &'static str {
        match self {
            Self::Weights => labels::ROUTED_AT,
            Self::Selector => labels::SWITCHED_AT,
            Self::Size => labels::SCALED_AT,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Weights => "the weights",
            Self::Selector => "the revision that it selects",
            Self::Size => "spec.replicas",
        }
    }
}

/// A field that somebody else keeps changing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fight {
    pub(crate) object: ObjectRef,
    field: Field,
    until: DateTime<Utc>,
    /// Whether it is left alone; else it only waits a moment.
    pub(crate) given_up: bool,
}

impl Fight {
    /// Says it to people.
    pub(crate) fn message(&self) -> String {
        format!(
            "{}: somebody undoes our writes of {}; the field is left alone until {} after {LIMIT} attempts: \
             find the writer in metadata.managedFields",
            self.object,
            self.field.words(),
            self.until.to_rfc3339_opts(SecondsFormat::Secs, true)
        )
    }

    pub(crate) fn wait(&self) -> (String, DateTime<Utc>) {
        let what =
            format!("the next attempt to put right {} of {}", self.field.words(), self.object);
        (what, self.until)
    }

    pub(crate) fn wake(&self) -> Wake {
        Wake { at: self.until, reason: WakeReason::Contention }
    }
}

/// Returns the annotations that a write of the value leaves, or the fight that keeps it from being written now.
pub(crate) fn note(
    s: &Roles<'_>,
    field: Field,
    object: &ObjectRef,
    meta: &Meta,
    value: &str,
    urgency: Urgency,
) -> Result<BTreeMap<String, String>, Box<Fight>> {
    let times = match last(s, field, meta).filter(|(wrote, _, _)| *wrote == value) {
        None => 0,
        Some((_, times, at)) => {
            let again = match urgency {
                Urgency::FirstRetreat => at,
                _ if times < 2 => at,
                _ if times < LIMIT => at + PATIENCE,
                Urgency::Retreat => at + WINDOW_OF_RETREAT,
                Urgency::Usual => at + WINDOW,
            };
            if s.now() < again && !seeded!(FightForever) {
                let (object, until) = (object.clone(), again);
                let given_up = times >= LIMIT;
                return Err(Box::new(Fight { object, field, until, given_up }));
            }
            // Another round after a long wait is a fresh one; a retreat is never given up for good.
            if times < LIMIT { times } else { 0 }
        }
    };
    let wrote = format!("{} {value} {}", s.rollout.meta.name, times + 1);
    Ok(BTreeMap::from([
        (labels::WROTE.to_owned(), wrote),
        (field.instant().to_owned(), instant(s.now())),
    ]))
}

/// What this Rollout wrote last, how often in a row, and when, if that is not long ago.
fn last<'a>(s: &Roles<'_>, field: Field, meta: &'a Meta) -> Option<(&'a str, u32, DateTime<Utc>)> {
    let mut parts = meta.annotations.get(labels::WROTE)?.splitn(3, ' ');
    let (rollout, value, times) = (parts.next()?, parts.next()?, parts.next()?);
    let at = instant_of(meta, field.instant())?;
    let is_recent = s.now() < at + WINDOW && !is_made_up(at, s.now());
    (rollout == s.rollout.meta.name && is_recent).then_some((value, times.parse().ok()?, at))
}
