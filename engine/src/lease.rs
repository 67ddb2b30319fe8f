//! Leader election as a value: who may write, and until when.
//!
//! The rules are client-go's, minus its trust in clocks: a record counts as abandoned when it has not been *seen to change* for
//! the lease duration on the local monotonic clock, so skewed clocks cannot elect two; only clocks whose *rates* differ by
//! more than `lease_duration / renew_deadline` could. Every write of the Lease carries the resourceVersion that was read. Permission
//! to write ends a renew deadline after the last successful renewal was *sent*. What permission cannot stop, a packet that is late
//! in the network, the fence stops: the term is the resourceVersion that the acquiring write returned.
//!
//! The machine does no IO. The shell sends the request that a step asks for, reports its end as the next event, and steps again
//! at `wake` at the latest. One request is under way at a time; a reply that comes after its time limit was reported as
//! [`LeaseEvent::Failed`] is dropped. Source: `reliability` H25.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::json;
use sluice_crds::object::{Change, Meta, ObjectRef, Preconditions, ResourceVersion, Write};

use crate::fence::Term;

/// Field manager of the Lease.
const MANAGER: &str = "sluice-leader-election";

/// Times of leader election, on the monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeaseTimes {
    /// How long a record must be seen unchanged before another may take the Lease. Default 15 s.
    pub lease_duration: Duration,
    /// How long a leader may write after it sent its last successful renewal. Default 10 s.
    pub renew_deadline: Duration,
    /// Time between tries. Default 2 s.
    pub retry_period: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

impl LeaseTimes {
    /// Returns whether the times keep two from leading: each must be longer than the next.
    pub fn is_sound(&self) -> bool {
        self.lease_duration > self.renew_deadline
            && self.renew_deadline > self.retry_period
            && !self.retry_period.is_zero()
    }
}

/// The Lease as the API server returned it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeaseRecord {
    /// Uid.
    pub uid: String,
    /// Version.
    pub resource_version: ResourceVersion,
    /// `spec.holderIdentity`; empty: nobody.
    pub holder: String,
    /// `spec.leaseDurationSeconds`.
    pub duration: Duration,
    /// `spec.leaseTransitions`.
    pub transitions: u32,
}

impl LeaseRecord {
    /// Reads a Lease from its JSON.
    ///
    /// # Errors
    ///
    /// The text is no Lease.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Wire {
            metadata: Meta,
            #[serde(default)]
            spec: WireSpec,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct WireSpec {
            holder_identity: Option<String>,
            lease_duration_seconds: Option<u32>,
            lease_transitions: Option<u32>,
        }
        let wire: Wire = serde_json::from_slice(json)?;
        Ok(Self {
            uid: wire.metadata.uid,
            resource_version: wire.metadata.resource_version,
            holder: wire.spec.holder_identity.unwrap_or_default(),
            duration: Duration::from_secs(wire.spec.lease_duration_seconds.unwrap_or(0).into()),
            transitions: wire.spec.lease_transitions.unwrap_or(0),
        })
    }
}

/// What happened since the last step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseEvent {
    /// Time passed.
    Tick,
    /// The read answered; `None`: there is no Lease (404).
    Read(Option<LeaseRecord>),
    /// The write was acknowledged with this record.
    Written(LeaseRecord),
    /// The write was refused because the Lease has changed (409), or exists already.
    Conflict,
    /// The request failed in any other way, or took too long: a write may still land.
    Failed,
    /// The process ends: give the Lease back.
    Release,
}

/// What the shell should send.
#[derive(Clone, PartialEq, Debug)]
pub struct LeaseRequest {
    /// `None`: read the Lease; else write it.
    pub write: Option<Write>,
    /// Time limit; after it the shell reports [`LeaseEvent::Failed`].
    pub limit: Duration,
}

/// The right to write, to be compared with the monotonic clock immediately before each request is sent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Permission {
    /// The term, for stamps.
    pub term: Term,
    /// End, on the monotonic clock; requests must be given up by then too.
    pub until: Duration,
}

/// The result of a step.
#[derive(Clone, PartialEq, Debug)]
pub struct LeaseOutput {
    /// What to send now.
    pub request: Option<LeaseRequest>,
    /// Whether this process may write.
    pub permission: Option<Permission>,
    /// When to step again at the latest, on the monotonic clock; `None`: the election is over for this process.
    pub wake: Option<Duration>,
    /// Why it is over, if the Lease was lost: the process must stop.
    pub lost: Option<&'static str>,
}

/// One candidate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Elector {
    lease: ObjectRef,
    identity: String,
    times: LeaseTimes,
    state: State,
    flight: Option<Flight>,
    /// Earliest instant of the next try.
    next_at: Duration,
    releasing: bool,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum State {
    Standby {
        /// The last record read, and since when it has been the same.
        seen: Option<(LeaseRecord, Duration)>,
    },
    Leading {
        term: Term,
        record: LeaseRecord,
        /// When the last successful renewal was sent.
        renewed: Duration,
        /// Whether the record must be read again after a conflict.
        stale: bool,
    },
    Stopped,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Flight {
    Read,
    Acquire { sent: Duration },
    Renew { sent: Duration },
    Release,
}

impl Elector {
    /// Returns a candidate that has not looked yet. `identity` must be unique to this start of the process: a record with it
    /// counts as its own.
    pub fn new(lease: ObjectRef, identity: impl Into<String>, times: LeaseTimes) -> Self {
        Self {
            lease,
            identity: identity.into(),
            times,
            state: State::Standby { seen: None },
            flight: None,
            next_at: Duration::ZERO,
            releasing: false,
        }
    }

    /// Returns the right to write at `now`, if there is one.
    pub fn permission(&self, now: Duration) -> Option<Permission> {
        match &self.state {
            State::Leading { term, renewed, .. }
                if !self.releasing || seeded!(LeaseReleasedTooLate) =>
            {
                let until = *renewed + self.times.renew_deadline;
                (now < until || seeded!(LeaseOutlived))
                    .then(|| Permission { term: term.clone(), until })
            }
            State::Leading { .. } | State::Standby { .. } | State::Stopped => None,
        }
    }

    /// Takes note of an event and returns what to do. `now` is the monotonic clock; `wall` is only written into the record for
    /// people.
    pub fn step(&mut self, now: Duration, wall: DateTime<Utc>, event: LeaseEvent) -> LeaseOutput {
        let mut lost = None;
        let acquire = self.learn(now, event, &mut lost);
        if let State::Leading { renewed, .. } = &self.state
            && now >= *renewed + self.times.renew_deadline
            && !seeded!(LeaseOutlived)
        {
            lost = lost.or(Some("the Lease was not renewed within the renew deadline"));
            self.state = State::Stopped;
        }
        let request = match acquire {
            Some(record) => Some(self.acquire(now, wall, record.as_ref())),
            None => self.next_request(now, wall),
        };
        let wake = match (&self.state, self.flight) {
            (State::Stopped, None) => None,
            (State::Leading { renewed, .. }, flight) => {
                let deadline = *renewed + self.times.renew_deadline;
                Some(if flight.is_some() { deadline } else { self.next_at.min(deadline) })
            }
            (State::Standby { .. } | State::Stopped, Some(_)) => Some(now + self.limit(now)),
            (State::Standby { .. }, None) => Some(self.next_at),
        };
        LeaseOutput { request, permission: self.permission(now), wake, lost }
    }

    /// Takes note of an event. Returns the record to take the Lease from, if it is to be taken (`Some(None)`: there is none).
    fn learn(
        &mut self,
        now: Duration,
        event: LeaseEvent,
        lost: &mut Option<&'static str>,
    ) -> Option<Option<LeaseRecord>> {
        let flight = match event {
            LeaseEvent::Tick | LeaseEvent::Release => None,
            _ => self.flight.take(),
        };
        match (event, flight) {
            (LeaseEvent::Tick, _) => {}
            (LeaseEvent::Release, _) => {
                self.releasing = true;
                if matches!(self.state, State::Standby { .. }) {
                    self.state = State::Stopped;
                }
            }
            (LeaseEvent::Read(record), _) => return self.read(now, record, lost),
            (LeaseEvent::Written(record), Some(Flight::Acquire { sent })) => {
                self.take_office(record, sent);
            }
            (LeaseEvent::Written(written), Some(Flight::Renew { sent })) => {
                if let State::Leading { record, renewed, .. } = &mut self.state {
                    let since = if seeded!(LeaseFromReply) { now } else { sent };
                    (*record, *renewed) = (written, since);
                }
            }
            (_, Some(Flight::Release)) => self.state = State::Stopped,
            (LeaseEvent::Conflict, Some(Flight::Renew { .. })) => {
                if let State::Leading { stale, .. } = &mut self.state {
                    *stale = true;
                    self.next_at = now;
                }
            }
            // Whatever else ended is tried again after the retry period, from a new read.
            (LeaseEvent::Written(_) | LeaseEvent::Conflict | LeaseEvent::Failed, _) => {
                self.next_at = self.next_at.max(now + self.times.retry_period);
            }
        }
        None
    }

    fn take_office(&mut self, record: LeaseRecord, sent: Duration) {
        if !matches!(self.state, State::Standby { .. }) {
            return;
        }
        let term = Term {
            lease: self.lease.name.clone(),
            lease_uid: record.uid.clone(),
            acquired: record.resource_version.clone(),
        };
        self.state = State::Leading { term, record, renewed: sent, stale: false };
        self.next_at = sent + self.times.retry_period;
    }

    fn read(
        &mut self,
        now: Duration,
        found: Option<LeaseRecord>,
        lost: &mut Option<&'static str>,
    ) -> Option<Option<LeaseRecord>> {
        match &mut self.state {
            State::Stopped => None,
            State::Leading { term, record, stale, .. } => {
                match found {
                    Some(found) if found.holder == self.identity && found.uid == term.lease_uid => {
                        // A renewal of ours landed after all. It extends nothing: only an acknowledged one does.
                        (*record, *stale) = (found, false);
                        self.next_at = now;
                    }
                    Some(_) => {
                        *lost = Some("another process holds the Lease");
                        self.state = State::Stopped;
                    }
                    None => {
                        *lost = Some("the Lease was deleted");
                        self.state = State::Stopped;
                    }
                }
                None
            }
            State::Standby { seen } => {
                let Some(found) = found else {
                    *seen = None;
                    return Some(None);
                };
                let since = match seen {
                    Some((known, since)) if *known == found => *since,
                    Some(_) | None => now,
                };
                *seen = Some((found.clone(), since));
                let duration = found.duration.max(self.times.lease_duration);
                let free = found.holder.is_empty() || found.holder == self.identity;
                let duration = if seeded!(LeaseExpiresEarly) { duration / 2 } else { duration };
                if free || now >= since + duration {
                    return Some(Some(found));
                }
                self.next_at = now + self.times.retry_period;
                None
            }
        }
    }

    fn next_request(&mut self, now: Duration, wall: DateTime<Utc>) -> Option<LeaseRequest> {
        if self.flight.is_some() {
            return None;
        }
        let limit = self.limit(now);
        let (flight, write) = match &self.state {
            State::Stopped => return None,
            State::Leading { record, .. } if self.releasing => {
                let spec = json!({ "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": time(wall) });
                (Flight::Release, Some(self.patch(record, spec)))
            }
            State::Standby { .. } | State::Leading { .. } if now < self.next_at => return None,
            State::Standby { .. } | State::Leading { stale: true, .. } => (Flight::Read, None),
            State::Leading { record, .. } => {
                let spec = json!({
                    "holderIdentity": self.identity,
                    "leaseDurationSeconds": self.seconds(),
                    "renewTime": time(wall),
                });
                (Flight::Renew { sent: now }, Some(self.patch(record, spec)))
            }
        };
        self.flight = Some(flight);
        self.next_at = now + self.times.retry_period;
        Some(LeaseRequest { write, limit })
    }

    fn acquire(
        &mut self,
        now: Duration,
        wall: DateTime<Utc>,
        record: Option<&LeaseRecord>,
    ) -> LeaseRequest {
        let transitions = record.map_or(0, |record| record.transitions.saturating_add(1));
        let spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.seconds(),
            "acquireTime": time(wall),
            "renewTime": time(wall),
            "leaseTransitions": transitions,
        });
        let write = match record {
            Some(record) => self.patch(record, spec),
            None => self.create(spec),
        };
        self.flight = Some(Flight::Acquire { sent: now });
        self.next_at = now + self.times.retry_period;
        LeaseRequest { write: Some(write), limit: self.limit(now) }
    }

    /// Several tries fit into the renew deadline; none outlives it.
    fn limit(&self, now: Duration) -> Duration {
        let part = self.times.renew_deadline / 2;
        match &self.state {
            State::Leading { renewed, .. } => {
                part.min((*renewed + self.times.renew_deadline).saturating_sub(now))
            }
            State::Standby { .. } | State::Stopped => part,
        }
    }

    /// Whole seconds, rounded up: others must not wait for less than this process counts on.
    fn seconds(&self) -> u64 {
        let whole = self.times.lease_duration.as_secs();
        if self.times.lease_duration.subsec_nanos() > 0 { whole + 1 } else { whole }
    }

    fn patch(&self, record: &LeaseRecord, spec: serde_json::Value) -> Write {
        Write {
            object: self.lease.clone(),
            preconditions: Preconditions {
                uid: Some(record.uid.clone()),
                resource_version: (!seeded!(LeaseWithoutVersion))
                    .then(|| record.resource_version.clone()),
            },
            manager: MANAGER.into(),
            change: Change::MergePatch { body: json!({ "spec": spec }) },
        }
    }

    fn create(&self, spec: serde_json::Value) -> Write {
        let body = json!({
            "apiVersion": self.lease.kind.api_version(),
            "kind": self.lease.kind.kind,
            "metadata": { "name": self.lease.name, "namespace": self.lease.namespace },
            "spec": spec,
        });
        Write {
            object: self.lease.clone(),
            preconditions: Preconditions::default(),
            manager: MANAGER.into(),
            change: Change::Create { body },
        }
    }
}

fn time(wall: DateTime<Utc>) -> String {
    wall.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests;
