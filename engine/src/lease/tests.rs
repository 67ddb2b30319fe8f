use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use sluice_crds::object::Kind;

use super::*;

fn wall() -> DateTime<Utc> {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn elector(identity: &str, times: LeaseTimes) -> Elector {
    Elector::new(ObjectRef::namespaced(Kind::LEASE, "sluice", "leader"), identity, times)
}

fn record(version: u64, holder: &str) -> LeaseRecord {
    LeaseRecord {
        uid: "u".into(),
        resource_version: ResourceVersion::from(version),
        holder: holder.into(),
        duration: secs(15),
        transitions: 0,
    }
}

/// A candidate that leads since 0 s.
fn leader() -> Elector {
    let mut elector = elector("a", LeaseTimes::default());
    elector.step(secs(0), wall(), LeaseEvent::Tick);
    elector.step(secs(0), wall(), LeaseEvent::Read(None));
    let output = elector.step(secs(1), wall(), LeaseEvent::Written(record(7, "a")));
    let permission = output.permission.unwrap();
    assert_eq!(permission.term.acquired, ResourceVersion::from(7));
    assert_eq!(permission.until, secs(10), "counted from when the write was sent");
    elector
}

#[test]
fn a_lease_that_is_not_there_is_created() {
    let mut elector = elector("a", LeaseTimes::default());
    let request = elector.step(secs(0), wall(), LeaseEvent::Tick).request.unwrap();
    assert!(request.write.is_none());
    let request = elector.step(secs(0), wall(), LeaseEvent::Read(None)).request.unwrap();
    let wire = request.write.unwrap().request();
    assert_eq!(
        (wire.method, wire.path.as_str()),
        (
            "POST",
            "/apis/coordination.k8s.io/v1/namespaces/sluice/leases?fieldManager=sluice-leader-election"
        )
    );
    assert_eq!(wire.body["spec"]["acquireTime"], "2026-01-02T03:04:05.000000Z");
    assert_eq!(wire.body["spec"]["leaseDurationSeconds"], 15);
}

#[test]
fn a_held_lease_is_taken_only_after_it_was_seen_unchanged_for_its_duration() {
    let mut elector = elector("b", LeaseTimes::default());
    let mut now = 0;
    elector.step(secs(0), wall(), LeaseEvent::Tick);
    let mut seen = |now: u64, version: u64| {
        elector.step(secs(now), wall(), LeaseEvent::Tick);
        elector.step(secs(now), wall(), LeaseEvent::Read(Some(record(version, "a")))).request
    };
    assert!(seen(now, 1).is_none());
    // A renewal seen at 14 s starts the wait anew, whatever its renewTime says.
    for (at, version) in [(4, 1), (14, 2), (20, 2), (28, 2)] {
        now = at;
        assert!(seen(now, version).is_none(), "{at}");
    }
    let wire = seen(now + 1, 2).unwrap().write.unwrap().request();
    assert_eq!(wire.method, "PATCH");
    assert_eq!(wire.body["metadata"]["resourceVersion"], "2");
    assert_eq!(wire.body["spec"]["leaseTransitions"], 1);
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let mut elector = elector("b", LeaseTimes::default());
    elector.step(secs(0), wall(), LeaseEvent::Tick);
    let output = elector.step(secs(0), wall(), LeaseEvent::Read(Some(record(3, ""))));
    assert!(output.request.unwrap().write.is_some());
}

#[test]
fn permission_ends_a_renew_deadline_after_the_last_renewal_was_sent() {
    let mut elector = leader();
    let renewal = elector.step(secs(2), wall(), LeaseEvent::Tick).request.unwrap();
    assert_eq!(renewal.write.unwrap().request().body["metadata"]["resourceVersion"], "7");
    let output = elector.step(secs(5), wall(), LeaseEvent::Written(record(8, "a")));
    let permission = output.permission.unwrap();
    assert_eq!(permission.until, secs(12));
    assert_eq!(permission.term.acquired, ResourceVersion::from(7), "a renewal is no new term");
    for at in [5, 7, 9] {
        elector.step(secs(at), wall(), LeaseEvent::Tick);
        elector.step(secs(at), wall(), LeaseEvent::Failed);
    }
    assert!(elector.permission(secs(11)).is_some());
    let output = elector.step(secs(12), wall(), LeaseEvent::Tick);
    assert!(output.permission.is_none() && output.lost.is_some() && output.wake.is_none());
}

#[test]
fn after_a_conflict_the_lease_is_read_and_kept_only_if_it_is_ours() {
    for (found, keeps) in [
        (Some(record(9, "a")), true),
        (Some(record(9, "b")), false),
        (Some(record(9, "")), false),
        (Some(LeaseRecord { uid: "other".into(), ..record(9, "a") }), false),
        (None, false),
    ] {
        let mut elector = leader();
        elector.step(secs(2), wall(), LeaseEvent::Tick);
        let output = elector.step(secs(2), wall(), LeaseEvent::Conflict);
        assert!(output.request.unwrap().write.is_none());
        let output = elector.step(secs(3), wall(), LeaseEvent::Read(found));
        assert_eq!(output.permission.is_some(), keeps);
        assert_eq!(output.lost.is_some(), !keeps);
        if let Some(request) = output.request {
            let wire = request.write.unwrap().request();
            assert_eq!(wire.body["metadata"]["resourceVersion"], "9");
            assert_eq!(output.permission.unwrap().until, secs(10), "a read extends nothing");
        }
    }
}

#[test]
fn permission_is_gone_before_the_lease_is_given_back() {
    let mut elector = leader();
    let output = elector.step(secs(1), wall(), LeaseEvent::Release);
    assert!(output.permission.is_none());
    let wire = output.request.unwrap().write.unwrap().request();
    assert_eq!(wire.body["spec"]["holderIdentity"], "");
    assert_eq!(wire.body["metadata"]["resourceVersion"], "7");
    let output = elector.step(secs(1), wall(), LeaseEvent::Written(record(8, "")));
    assert!(output.wake.is_none() && output.lost.is_none());
}

#[test]
fn the_record_is_read_from_the_wire() {
    let text = br#"{"metadata": {"name": "leader", "uid": "u", "resourceVersion": "5"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.000000Z"}}"#;
    assert_eq!(LeaseRecord::parse(text).unwrap(), record(5, "a"));
    assert!(LeaseRecord::parse(b"{}").is_err());
}

// The explorer: three candidates, one server, clocks of different rates.

/// A request on its way.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Packet {
    /// The precondition (`None`: create), and the holder that it writes.
    Write(Option<ResourceVersion>, String),
    Read,
}

/// What a candidate's network holds.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Network {
    Idle,
    Asked(Packet),
    Answered(LeaseReply),
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum LeaseReply {
    Read(Option<LeaseRecord>),
    Written(LeaseRecord),
    Conflict,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Candidate {
    elector: Elector,
    network: Network,
    /// A write that was given up and may still land.
    zombie: Option<Packet>,
    /// Local units that its clock gains in one tick of real time.
    rate: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    tick: u64,
    lease: Option<LeaseRecord>,
    version: u64,
    candidates: Vec<Candidate>,
    faults: u32,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Time,
    Step(usize),
    Serve(usize),
    Deliver(usize),
    LoseRequest(usize),
    LoseReply(usize),
    GiveUp(usize),
    Land(usize),
    DropZombie(usize),
}

impl World {
    fn new(rates: &[u64], faults: u32) -> Self {
        // In local units; a nominal clock gains 5 in a tick.
        let times =
            LeaseTimes { lease_duration: secs(10), renew_deadline: secs(7), retry_period: secs(4) };
        let candidate = |(index, rate): (usize, u64)| Candidate {
            elector: elector(["a", "b", "c"][index], times),
            network: Network::Idle,
            zombie: None,
            rate,
        };
        let candidates = rates.iter().copied().enumerate().map(candidate).collect();
        Self { tick: 0, lease: None, version: 0, candidates, faults }
    }

    fn now(&self, index: usize) -> Duration {
        // Clocks begin at different values: only rates may matter.
        secs(self.tick * self.candidates[index].rate + 100 * index as u64)
    }

    fn leaders(&self) -> usize {
        (0..self.candidates.len())
            .filter(|index| self.candidates[*index].elector.permission(self.now(*index)).is_some())
            .count()
    }

    fn moves(&self, ticks: u64) -> Vec<Move> {
        let mut moves = Vec::new();
        if self.tick < ticks {
            moves.push(Move::Time);
        }
        for (index, candidate) in self.candidates.iter().enumerate() {
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
                moves.push(Move::Land(index));
                moves.push(Move::DropZombie(index));
            }
        }
        moves
    }

    fn apply(&self, step: Move) -> Self {
        let mut next = self.clone();
        match step {
            Move::Time => next.tick += 1,
            Move::Step(index) => next.event(index, LeaseEvent::Tick),
            Move::Serve(index) => {
                if let Network::Asked(packet) = next.candidates[index].network.clone() {
                    let reply = next.serve(&packet);
                    next.candidates[index].network = Network::Answered(reply);
                }
            }
            Move::Deliver(index) => {
                let network = std::mem::replace(&mut next.candidates[index].network, Network::Idle);
                if let Network::Answered(reply) = network {
                    let event = match reply {
                        LeaseReply::Read(record) => LeaseEvent::Read(record),
                        LeaseReply::Written(record) => LeaseEvent::Written(record),
                        LeaseReply::Conflict => LeaseEvent::Conflict,
                    };
                    next.event(index, event);
                }
            }
            Move::LoseRequest(index) | Move::LoseReply(index) => {
                next.faults -= 1;
                next.candidates[index].network = Network::Idle;
                next.event(index, LeaseEvent::Failed);
            }
            Move::GiveUp(index) => {
                next.faults -= 1;
                let network = std::mem::replace(&mut next.candidates[index].network, Network::Idle);
                if let Network::Asked(packet @ Packet::Write(..)) = network {
                    next.candidates[index].zombie = Some(packet);
                }
                next.event(index, LeaseEvent::Failed);
            }
            Move::Land(index) => {
                if let Some(packet) = next.candidates[index].zombie.take() {
                    next.serve(&packet);
                }
            }
            Move::DropZombie(index) => next.candidates[index].zombie = None,
        }
        next
    }

    fn event(&mut self, index: usize, event: LeaseEvent) {
        let now = self.now(index);
        let output = self.candidates[index].elector.step(now, wall(), event);
        let Some(request) = output.request else { return };
        let packet = match request.write {
            None => Packet::Read,
            Some(write) => {
                let version = write.preconditions.resource_version.clone();
                let (Change::MergePatch { body } | Change::Create { body }) = write.change else {
                    panic!("{write:?}")
                };
                Packet::Write(version, body["spec"]["holderIdentity"].as_str().unwrap().to_owned())
            }
        };
        // When a read is served matters only by when it is asked and when its answer comes.
        self.candidates[index].network = match packet {
            Packet::Read => Network::Answered(self.serve(&packet)),
            Packet::Write(..) => Network::Asked(packet),
        };
    }

    fn serve(&mut self, packet: &Packet) -> LeaseReply {
        let Packet::Write(version, holder) = packet else {
            return LeaseReply::Read(self.lease.clone());
        };
        if self.lease.as_ref().map(|lease| &lease.resource_version) != version.as_ref() {
            return LeaseReply::Conflict;
        }
        self.version += 1;
        let written = LeaseRecord { duration: secs(10), ..record(self.version, holder) };
        self.lease = Some(written.clone());
        LeaseReply::Written(written)
    }

    /// No more faults, everybody is scheduled: somebody leads.
    fn settles(&self) -> bool {
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
                    world = world.apply(step);
                }
            }
            if world.leaders() == 1 {
                return true;
            }
            world = world.apply(Move::Time);
        }
        // Everybody who led and lost has stopped; a real one would have been started anew.
        world.candidates.iter().all(|candidate| candidate.elector.state == State::Stopped)
    }
}

/// Visits every state within the bounds, breadth first. Returns how many there are, and whether two ever led at once.
fn explore(rates: &[u64], ticks: u64, faults: u32) -> (usize, bool) {
    let key = |world: &World| {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        hasher.finish()
    };
    let first = World::new(rates, faults);
    let mut known = BTreeSet::from([key(&first)]);
    let mut waiting = VecDeque::from([first]);
    while let Some(world) = waiting.pop_front() {
        for step in world.moves(ticks) {
            let next = world.apply(step);
            if !known.insert(key(&next)) {
                continue;
            }
            if next.leaders() > 1 {
                return (known.len(), true);
            }
            if known.len().is_multiple_of(499) {
                assert!(next.settles(), "nobody leads after {step:?}");
            }
            waiting.push_back(next);
        }
    }
    (known.len(), false)
}

/// A lease lasts two ticks, so each bound holds takeovers. Clocks of rates 4 and 5 are within what the times allow.
fn check_that_two_never_lead(rates: &[u64], ticks: u64, faults: u32, least: usize) {
    let (states, two) = explore(rates, ticks, faults);
    assert!(!two, "{rates:?}, {ticks} ticks, {faults} faults");
    assert!(states >= least, "{states} states: the bounds hold too little");
}

#[test]
fn of_three_candidates_two_never_lead_at_once() {
    check_that_two_never_lead(&[5, 5, 5], 3, 0, 200_000);
    check_that_two_never_lead(&[4, 5, 5], 2, 0, 30_000);
}

#[test]
fn two_never_lead_at_once_whatever_is_lost_late_or_slow() {
    check_that_two_never_lead(&[4, 5], 4, 1, 50_000);
    check_that_two_never_lead(&[5, 4], 3, 2, 50_000);
}

#[test]
fn clocks_whose_rates_differ_by_more_than_the_times_allow_can_elect_two() {
    // 7 units of a clock of rate 3 are 2.3 ticks; 10 units of one of rate 5 are 2. The explorer looks where it matters.
    assert!(explore(&[3, 5], 6, 0).1);
}
