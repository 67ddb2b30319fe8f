//! Runs the real elector through every order of events: candidates, one server, clocks that run at different rates, requests
//! and replies that are lost, writes that are given up and land late, processes that stand still for as long as they like,
//! leaders that give the Lease back. Two never lead at once, and once nothing goes wrong any more somebody leads.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sluice_crds::object::{Change, Kind, ObjectRef, ResourceVersion};
use sluice_engine::lease::{Elector, LeaseEvent, LeaseOutput, LeaseRecord, LeaseTimes};

use super::table::Mixer;

/// A search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseBounds {
    /// Its name.
    pub name: &'static str,
    /// Local units that each candidate's clock gains in one tick of real time; a nominal clock gains 5. A lease lasts 10
    /// units, a leader renews within 7.
    pub rates: &'static [u64],
    /// Ticks of real time.
    pub ticks: u64,
    /// Requests and replies that are lost or given up.
    pub faults: u8,
    /// Times that a candidate gives up.
    pub releases: u8,
    /// Whether the search takes long.
    pub is_deep: bool,
}

/// What is searched: every row completely.
pub const LEASES: &[LeaseBounds] = &[
    row("three candidates", &[5, 5, 5], 3, 0, 0),
    row("three candidates, one slow clock", &[4, 5, 5], 2, 0, 0),
    row("slow and nominal clock, one fault", &[4, 5], 4, 1, 0),
    row("nominal and slow clock, two faults", &[5, 4], 3, 2, 0),
    row("two candidates, one fault, one gives the Lease back", &[5, 5], 4, 1, 1),
    deep("three candidates, one fault", &[5, 5, 5], 2, 1, 0),
    deep("three candidates, one gives the Lease back", &[5, 5, 5], 3, 0, 1),
    deep("two candidates, two faults", &[5, 4], 5, 2, 0),
];

const fn row(
    name: &'static str,
    rates: &'static [u64],
    ticks: u64,
    faults: u8,
    releases: u8,
) -> LeaseBounds {
    LeaseBounds { name, rates, ticks, faults, releases, is_deep: false }
}

const fn deep(
    name: &'static str,
    rates: &'static [u64],
    ticks: u64,
    faults: u8,
    releases: u8,
) -> LeaseBounds {
    LeaseBounds { is_deep: true, ..row(name, rates, ticks, faults, releases) }
}

/// The result of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseOutcome {
    /// Different states met.
    pub states: usize,
    /// What went wrong, and the state in which it did.
    pub violation: Option<String>,
}

/// A request on its way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Packet {
    /// Whether it creates, the precondition, and the holder that it writes.
    Write(bool, Option<ResourceVersion>, String),
    Read,
}

/// What a candidate's network holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Network {
    Idle,
    Asked(Packet),
    Answered(Reply),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Reply {
    Read(Option<LeaseRecord>),
    Written(LeaseRecord),
    Conflict,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Candidate {
    elector: Elector,
    network: Network,
    /// A write that was given up and may still land.
    zombie: Option<Packet>,
    /// Whether its election is over.
    is_over: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    tick: u64,
    lease: Option<LeaseRecord>,
    version: u64,
    candidates: Vec<Candidate>,
    faults: u8,
    releases: u8,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Time,
    Step(usize),
    Release(usize),
    Serve(usize),
    Deliver(usize),
    LoseRequest(usize),
    LoseReply(usize),
    GiveUp(usize),
    Land(usize),
    DropZombie(usize),
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn wall() -> DateTime<Utc> {
    super::catalog::now()
}

impl World {
    fn new(bounds: &LeaseBounds) -> Self {
        let times =
            LeaseTimes { lease_duration: secs(10), renew_deadline: secs(7), retry_period: secs(4) };
        let lease = ObjectRef::namespaced(Kind::LEASE, "sluice", "leader");
        let candidate = |identity: &str| Candidate {
            elector: Elector::new(lease.clone(), identity, times),
            network: Network::Idle,
            zombie: None,
            is_over: false,
        };
        let candidates = bounds.rates.iter().zip(["a", "b", "c"]);
        Self {
            tick: 0,
            lease: None,
            version: 0,
            candidates: candidates.map(|(_, identity)| candidate(identity)).collect(),
            faults: bounds.faults,
            releases: bounds.releases,
        }
    }

    fn now(&self, rates: &[u64], index: usize) -> Duration {
        // Clocks begin at different values: only rates may matter.
        secs(self.tick * rates[index] + 100 * index as u64)
    }

    fn leaders(&self, rates: &[u64]) -> usize {
        let candidates = self.candidates.iter().enumerate();
        candidates
            .filter(|(index, candidate)| {
                candidate.elector.permission(self.now(rates, *index)).is_some()
            })
            .count()
    }

    fn moves(&self, ticks: u64) -> Vec<Move> {
        let mut moves = Vec::with_capacity(16);
        if self.tick < ticks {
            moves.push(Move::Time);
        }
        for (index, candidate) in self.candidates.iter().enumerate() {
            if self.releases > 0 && !candidate.is_over {
                moves.push(Move::Release(index));
            }
            match &candidate.network {
                Network::Idle => moves.push(Move::Step(index)),
                Network::Asked(_) => {
                    moves.push(Move::Serve(index));
                    if self.faults > 0 {
                        moves.push(Move::LoseRequest(index));
                        if candidate.zombie.is_none() {
                            moves.push(Move::GiveUp(index));
                        }
                    }
                }
                Network::Answered(_) => {
                    moves.push(Move::Deliver(index));
                    if self.faults > 0 {
                        moves.push(Move::LoseReply(index));
                    }
                }
            }
            if candidate.zombie.is_some() {
                moves.extend([Move::Land(index), Move::DropZombie(index)]);
            }
        }
        moves
    }

    fn apply(&mut self, rates: &[u64], step: Move) {
        let take = |world: &mut Self, index: usize| {
            std::mem::replace(&mut world.candidates[index].network, Network::Idle)
        };
        match step {
            Move::Time => self.tick += 1,
            Move::Step(index) => self.event(rates, index, LeaseEvent::Tick),
            Move::Release(index) => {
                self.releases -= 1;
                self.event(rates, index, LeaseEvent::Release);
            }
            Move::Serve(index) => {
                if let Network::Asked(packet) = take(self, index) {
                    let reply = self.serve(&packet);
                    self.candidates[index].network = Network::Answered(reply);
                }
            }
            Move::Deliver(index) => {
                if let Network::Answered(reply) = take(self, index) {
                    let event = match reply {
                        Reply::Read(record) => LeaseEvent::Read(record),
                        Reply::Written(record) => LeaseEvent::Written(record),
                        Reply::Conflict => LeaseEvent::Conflict,
                    };
                    self.event(rates, index, event);
                }
            }
            Move::LoseRequest(index) | Move::LoseReply(index) => {
                self.faults -= 1;
                take(self, index);
                self.event(rates, index, LeaseEvent::Failed);
            }
            Move::GiveUp(index) => {
                self.faults -= 1;
                if let Network::Asked(packet @ Packet::Write(..)) = take(self, index) {
                    self.candidates[index].zombie = Some(packet);
                }
                self.event(rates, index, LeaseEvent::Failed);
            }
            Move::Land(index) => {
                if let Some(packet) = self.candidates[index].zombie.take() {
                    self.serve(&packet);
                }
            }
            Move::DropZombie(index) => self.candidates[index].zombie = None,
        }
    }

    fn event(&mut self, rates: &[u64], index: usize, event: LeaseEvent) {
        let now = self.now(rates, index);
        let candidate = &mut self.candidates[index];
        let LeaseOutput { request, wake, .. } = candidate.elector.step(now, wall(), event);
        candidate.is_over |= wake.is_none();
        let Some(request) = request else { return };
        let packet = request.write.map_or(Packet::Read, |write| {
            let creates = matches!(write.change, Change::Create { .. });
            let version = write.preconditions.resource_version.clone();
            let (Change::MergePatch { body } | Change::Create { body }) = write.change else {
                return Packet::Read;
            };
            let holder = body["spec"]["holderIdentity"].as_str().unwrap_or_default();
            Packet::Write(creates, version, holder.to_owned())
        });
        // When a read is served matters only by when it is asked and when its answer comes.
        self.candidates[index].network = match packet {
            Packet::Read => Network::Answered(self.serve(&packet)),
            Packet::Write(..) => Network::Asked(packet),
        };
    }

    fn serve(&mut self, packet: &Packet) -> Reply {
        let Packet::Write(creates, version, holder) = packet else {
            return Reply::Read(self.lease.clone());
        };
        let fits = match (&self.lease, version) {
            (None, _) => *creates,
            (Some(_), None) => !creates,
            (Some(lease), Some(version)) => !creates && lease.resource_version == *version,
        };
        if !fits {
            return Reply::Conflict;
        }
        self.version += 1;
        let written = LeaseRecord {
            uid: "u".into(),
            resource_version: ResourceVersion::from(self.version),
            holder: holder.clone(),
            duration: secs(10),
            transitions: 0,
        };
        self.lease = Some(written.clone());
        Reply::Written(written)
    }

    /// No more faults, everybody is scheduled: somebody leads, or everybody's election is over, and a real one would have been
    /// started anew.
    fn settles(&self, rates: &[u64]) -> bool {
        let mut world = self.clone();
        for candidate in &mut world.candidates {
            candidate.zombie = None;
        }
        for _ in 0..24 {
            for index in 0..world.candidates.len() {
                for _ in 0..4 {
                    let step = match &world.candidates[index].network {
                        Network::Idle => Move::Step(index),
                        Network::Asked(_) => Move::Serve(index),
                        Network::Answered(_) => Move::Deliver(index),
                    };
                    world.apply(rates, step);
                }
            }
            if world.leaders(rates) == 1 {
                return true;
            }
            world.apply(rates, Move::Time);
        }
        world.candidates.iter().all(|candidate| candidate.is_over)
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = Mixer::default();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// One in so many states is settled: each takes a hundred events.
const SETTLED: usize = 97;

/// Visits every state within the bounds, breadth first.
pub fn explore(bounds: &LeaseBounds) -> LeaseOutcome {
    let first = World::new(bounds);
    let mut known: HashSet<u64, BuildHasherDefault<Mixer>> = HashSet::default();
    known.insert(first.fingerprint());
    let mut waiting = VecDeque::from([first]);
    let failed = |states: usize, what: &str, step: Move, world: &World| LeaseOutcome {
        states,
        violation: Some(format!("{what} after {step:?}: {world:#?}")),
    };
    while let Some(world) = waiting.pop_front() {
        for step in world.moves(bounds.ticks) {
            let mut next = world.clone();
            next.apply(bounds.rates, step);
            if !known.insert(next.fingerprint()) {
                continue;
            }
            if next.leaders(bounds.rates) > 1 {
                return failed(known.len(), "two lead", step, &next);
            }
            if known.len().is_multiple_of(SETTLED) && !next.settles(bounds.rates) {
                return failed(known.len(), "nobody ever leads", step, &next);
            }
            waiting.push_back(next);
        }
    }
    LeaseOutcome { states: known.len(), violation: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_never_lead_at_once_whatever_is_lost_late_or_slow() {
        let bounds = row("test", &[4, 5], 4, 1, 0);
        let outcome = explore(&bounds);
        assert_eq!(outcome.violation, None);
        assert!(outcome.states >= 50_000, "{} states: the bounds hold too little", outcome.states);
    }

    #[test]
    fn clocks_whose_rates_differ_by_more_than_the_times_allow_can_elect_two() {
        // 7 units of a clock of rate 3 are 2.3 ticks; 10 units of one of rate 5 are 2. The explorer looks where it matters.
        let outcome = explore(&row("test", &[3, 5], 6, 0, 0));
        assert!(outcome.violation.is_some_and(|what| what.starts_with("two lead")));
    }
}
