//! What can happen next.

use super::Explorer;
use super::catalog::{Answer, CANARY_SERVICE, REPLICA_SETS, ROLLOUT, ROUTE, RUNS, STABLE_SERVICE};
use super::laws::{self, Broken, Facets};
use super::state::{Flight, Leader, State};

mod world;

use world::Change;

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// The state is the n-th of the undisturbed run.
    Seed(u16),
    /// A leader decides; the first write of its plan departs.
    Decide(u8),
    /// The write of a leader arrives, and the reply too.
    Land(u8),
    /// The write of a leader arrives, and a copy of it is still under way.
    Duplicate(u8),
    /// A leader gives up on its write, which may still arrive.
    Unknown(u8),
    /// A leader's watch of one kind catches up.
    Deliver(u8, u8),
    /// A leader's watch of one kind stands still, or goes on.
    Hold(u8, u8),
    /// A leader's process stands still, or goes on.
    Stall(u8),
    /// A leader's process ends; another takes its place, with a new term and a fresh list.
    Crash(u8),
    /// A second process takes the lease; the first does not know.
    TakeOver,
    /// A write that its sender gave up on arrives.
    Late(u8),
    /// The Pods of a ReplicaSet become what it wants.
    Pods(u8),
    /// One more Pod of a ReplicaSet becomes available, and not all of them.
    Pod(u8),
    /// An available Pod fails.
    PodFails(u8),
    /// The endpoints of a Service follow its Pods.
    Endpoints(u8),
    /// More time passes than any delay lasts.
    Tick,
    /// The user does something.
    User(u8),
    /// Somebody else writes what is ours.
    Foreign(u8),
    /// The metrics server answers an AnalysisRun, or does not.
    Answer(u8, Answer),
    /// Somebody deletes an AnalysisRun that is not over.
    Vanish(u8),
}

/// Objects of one watch.
const KINDS: [&[usize]; 5] =
    [&[ROLLOUT], &[1, 2, 3], &[STABLE_SERVICE, CANARY_SERVICE], &[ROUTE], &[7, 8, 9, 10, 11]];
pub(super) const ENDPOINTS: u8 = 5;
const ANALYSIS_RUNS: u8 = 4;
const SETS: [u8; 3] = [1, 2, 3];

fn run_slots() -> impl Iterator<Item = u8> {
    RUNS.filter_map(|slot| u8::try_from(slot).ok())
}

/// A law that was broken on the way; `None` outside if the move is not possible or changes nothing.
pub(super) type Step = Option<Option<Broken>>;

impl Explorer {
    /// Collects the moves that nobody has to cause, in the order in which they happen when nothing disturbs: what has changed
    /// is seen, writes arrive, leaders decide, Pods and endpoints follow, and time passes when nothing else does.
    pub(super) fn calm_moves(&self, state: &State, moves: &mut Vec<Move>) {
        for (l, leader) in [0_u8, 1].into_iter().zip(&state.leaders) {
            if leader.term == 0 || leader.stalled {
                continue;
            }
            let seen = (0..=ENDPOINTS).filter(|kind| leader.held & (1 << kind) == 0);
            moves.extend(seen.map(|kind| Move::Deliver(l, kind)));
            moves.push(if leader.plan.is_empty() { Move::Decide(l) } else { Move::Land(l) });
        }
        moves.extend(SETS.map(Move::Pods));
        if self.limits.is_routed {
            moves.extend([Move::Endpoints(0), Move::Endpoints(1)]);
        }
        if self.bounds.is_judged() {
            moves.extend(run_slots().map(|slot| Move::Answer(slot, Answer::Good)));
        }
        moves.push(Move::Tick);
    }

    /// Collects what has to be caused, besides: faults, and what people and others do.
    pub(super) fn faults(&self, state: &State, moves: &mut Vec<Move>) {
        for (l, leader) in [0_u8, 1].into_iter().zip(&state.leaders) {
            if leader.term == 0 {
                continue;
            }
            if leader.stalled || leader.held != 0 {
                // What the calm course leaves out may happen all the same: somebody goes on for a moment.
                moves.extend((0..=ENDPOINTS).map(|kind| Move::Deliver(l, kind)));
                moves.push(if leader.plan.is_empty() { Move::Decide(l) } else { Move::Land(l) });
            }
            moves.extend([Move::Unknown(l), Move::Duplicate(l), Move::Crash(l)]);
        }
        for slot in SETS {
            if self.bounds.one_by_one {
                moves.push(Move::Pod(slot));
            }
            moves.push(Move::PodFails(slot));
        }
        moves.push(Move::TakeOver);
        moves.extend((0..state.late.len()).map(Move::Late));
        let count = |len: usize| u8::try_from(len).unwrap_or(u8::MAX);
        moves.extend((0..count(self.toggle_writes.len())).map(Move::User));
        moves.extend((0..count(self.foreign_writes.len())).map(Move::Foreign));
        if self.bounds.is_judged() {
            for slot in run_slots() {
                moves.push(Move::Answer(slot, Answer::Bad));
                moves.push(Move::Answer(slot, Answer::Unreachable));
                moves.push(Move::Vanish(slot));
            }
        }
    }

    /// Collects the watches and processes that may stand still, or go on.
    pub(super) fn halts(&self, state: &State, moves: &mut Vec<Move>) {
        for (l, leader) in [0_u8, 1].into_iter().zip(&state.leaders) {
            if leader.term > 0 && self.bounds.stalls {
                let judged = self.bounds.is_judged();
                let kinds = (0..=ENDPOINTS).filter(|kind| judged || *kind != ANALYSIS_RUNS);
                moves.extend(kinds.map(|kind| Move::Hold(l, kind)));
                moves.push(Move::Stall(l));
            }
        }
    }

    /// Makes the move on `next`, which is a copy of the state. Returns `None` if it is not possible or changes nothing; then
    /// `next` is of no use.
    pub(super) fn make(&mut self, next: &mut State, chosen: Move) -> Step {
        if !self.may(next, chosen) {
            return None;
        }
        let before = next.truth.content;
        let broken = match chosen {
            Move::Seed(_) => return None,
            Move::Decide(l) => self.decide(next, l)?,
            Move::Land(l) => self.land(next, usize::from(l))?,
            Move::Duplicate(l) => self.duplicate(next, usize::from(l))?,
            Move::Unknown(l) => {
                next.spent.unknown += 1;
                self.time_out(next, usize::from(l));
                None
            }
            Move::Deliver(l, kind) => deliver(next, usize::from(l), kind)?,
            Move::Hold(l, kind) => {
                next.leaders[usize::from(l)].held ^= 1 << kind;
                None
            }
            Move::Stall(l) => {
                next.leaders[usize::from(l)].stalled ^= true;
                None
            }
            Move::Crash(l) => crash(next, usize::from(l))?,
            Move::TakeOver => {
                next.spent.takeovers += 1;
                start(next, 1);
                None
            }
            Move::Late(index) => {
                let flight = next.late.remove(usize::from(index));
                self.arrive(next, flight)?.1
            }
            Move::Pods(slot) => self.pods(next, usize::from(slot), Change::All)?,
            Move::Pod(slot) => self.pods(next, usize::from(slot), Change::More)?,
            Move::PodFails(slot) => {
                next.spent.pod_failures += 1;
                self.pods(next, usize::from(slot), Change::Less)?
            }
            Move::Endpoints(index) => self.endpoints(next, usize::from(index))?,
            Move::Tick => self.tick(next)?,
            Move::User(index) => self.toggle(next, index)?,
            Move::Foreign(index) => self.foreign(next, index)?,
            Move::Answer(slot, answer) => self.answer(next, usize::from(slot), answer)?,
            Move::Vanish(slot) => {
                next.spent.vanished += 1;
                next.truth.put(usize::from(slot), 0);
                None
            }
        };
        if broken.is_some() || next.truth.content == before {
            return Some(broken);
        }
        laws::count(&self.catalog, next, self.limits.is_routed);
        Some(laws::state(&self.catalog, next, self.limits.is_routed))
    }

    /// A cheap look at what is plainly impossible, before anything is computed.
    pub(super) fn may(&self, state: &State, chosen: Move) -> bool {
        let leader = |l: u8| &state.leaders[usize::from(l)];
        let (spent, bounds) = (&state.spent, &self.bounds);
        match chosen {
            Move::Seed(_) => false,
            Move::Land(l) => !leader(l).plan.is_empty(),
            Move::Decide(l) => {
                let behind = leader(l).awaited.iter().any(|awaited| *awaited > 0);
                leader(l).plan.is_empty() && !(behind && self.rules.read_your_writes)
            }
            Move::Unknown(l) => !leader(l).plan.is_empty() && spent.unknown < bounds.unknown,
            Move::Duplicate(l) => {
                !leader(l).plan.is_empty() && spent.duplicates < bounds.duplicates
            }
            Move::Deliver(l, ENDPOINTS) => leader(l).endpoints != state.endpoints,
            Move::Deliver(l, kind) => {
                let mut slots = KINDS[usize::from(kind)].iter();
                slots.any(|slot| !leader(l).cache.same(&state.truth, *slot))
            }
            Move::Crash(_) => spent.crashes < bounds.crashes,
            Move::TakeOver => spent.takeovers < bounds.takeovers && state.leaders[1].term == 0,
            Move::Pods(slot) | Move::Pod(slot) => state.truth.content[usize::from(slot)] != 0,
            Move::PodFails(slot) => {
                state.truth.content[usize::from(slot)] != 0
                    && spent.pod_failures < bounds.pod_failures
            }
            Move::User(index) => spent.toggles & (1 << index) == 0,
            Move::Foreign(index) => spent.foreign & (1 << index) == 0,
            Move::Answer(slot, answer) => {
                let answers = bounds.answers;
                let left = match answer {
                    Answer::Good => true,
                    Answer::Bad => spent.bad_answers < answers.bad,
                    Answer::Unreachable => spent.silences < answers.unreachable,
                };
                left && self.is_open(state, usize::from(slot))
            }
            Move::Vanish(slot) => {
                let answers = bounds.answers;
                spent.vanished < answers.vanished && self.is_open(state, usize::from(slot))
            }
            Move::Tick => {
                state.leaders.iter().all(|leader| leader.stalled || leader.plan.is_empty())
            }
            Move::Hold(..) | Move::Stall(_) | Move::Late(_) | Move::Endpoints(_) => true,
        }
    }

    /// Whether there is an AnalysisRun that is not over.
    fn is_open(&self, state: &State, slot: usize) -> bool {
        let content = state.truth.content[slot];
        let phase = self.catalog.facts(content).phase;
        content != 0 && !phase.is_some_and(sluice_crds::analysis::AnalysisPhase::is_completed)
    }

    fn decide(&mut self, next: &mut State, l: u8) -> Step {
        let leader = &mut next.leaders[usize::from(l)];
        let id = self.decider.decide(&mut self.catalog, leader);
        let decided = self.decider.decided(id);
        if decided.broken.is_some() {
            return Some(decided.broken.clone());
        }
        for write in &decided.writes {
            let info = &self.catalog.writes[*write as usize];
            let version = if info.has_version { leader.cache.version[info.slot] } else { 0 };
            let slot = u8::try_from(info.slot).unwrap_or(u8::MAX);
            leader.plan.push(Flight { slot, version, term: leader.term, write: *write });
        }
        (!leader.plan.is_empty()).then_some(None)
    }

    fn land(&mut self, next: &mut State, l: usize) -> Step {
        let flight = next.leaders[l].plan.first()?;
        let Some((version, broken)) = self.arrive(next, flight) else {
            // Refused: the world moved, the plan ends.
            next.leaders[l].plan.clear();
            return Some(None);
        };
        let leader = &mut next.leaders[l];
        leader.plan.remove(0);
        let awaited = &mut leader.awaited[usize::from(flight.slot)];
        *awaited = version.max(*awaited);
        Some(broken)
    }

    fn duplicate(&mut self, next: &mut State, l: usize) -> Step {
        let flight = next.leaders[l].plan.first()?;
        next.spent.duplicates += 1;
        let broken = self.land(next, l)?;
        next.late.push_or_lose(flight);
        Some(broken)
    }

    /// Lets a write arrive. Returns the version that the reply names, or `None` if the server refuses it.
    fn arrive(&mut self, next: &mut State, flight: Flight) -> Option<(u8, Option<Broken>)> {
        let slot = usize::from(flight.slot);
        let is_create = self.catalog.writes[flight.write as usize].is_create;
        let (target, version) = (next.truth.content[slot], next.truth.version[slot]);
        if is_create && target != 0 {
            // It exists and is ours: that is success, and the reply names no version.
            return Some((0, None));
        }
        if flight.version != 0 && flight.version != version {
            return None;
        }
        let content = self.catalog.apply(target, flight.write)?;
        if content == target {
            return Some((version, None));
        }
        let before = *next;
        next.truth.put(slot, content);
        self.remember_weights(next);
        let landing = laws::Landing { slot, term: flight.term, before: &before, after: next };
        let broken = laws::landed(&self.catalog, &landing, &self.limits, self.rules.fence.epoch);
        Some((next.truth.version[slot], broken))
    }

    fn remember_weights(&self, next: &mut State) {
        let facts = Facets::truth(&self.catalog, next);
        let mut recent = next.recent_weight;
        for (slot, recent) in REPLICA_SETS.zip(&mut recent) {
            let weight = facts.weight(facts.of(slot).hash).min(100);
            *recent = (*recent).max(u8::try_from(weight).unwrap_or(100));
        }
        next.recent_weight = recent;
    }

    fn time_out(&self, next: &mut State, l: usize) {
        let leader = &mut next.leaders[l];
        let Some(flight) = leader.plan.first() else { return };
        leader.plan.clear();
        let info = &self.catalog.writes[flight.write as usize];
        if !info.is_touch && !info.is_create {
            leader.n += 1;
            leader.needed[info.slot] = leader.n;
        }
        next.late.push_or_lose(flight);
    }
}

/// Starts a process with a new term and a fresh list.
pub(super) fn start(next: &mut State, l: usize) {
    let term = next.leaders.iter().map(|leader| leader.term).max().unwrap_or(0) + 1;
    next.leaders[l] =
        Leader { term, n: 1, cache: next.truth, endpoints: next.endpoints, ..Leader::default() };
}

fn crash(next: &mut State, l: usize) -> Step {
    next.spent.crashes += 1;
    if let Some(flight) = next.leaders[l].plan.first() {
        next.late.push_or_lose(flight);
    }
    start(next, l);
    Some(None)
}

fn deliver(next: &mut State, l: usize, kind: u8) -> Step {
    let leader = &mut next.leaders[l];
    if kind == ENDPOINTS {
        leader.endpoints = next.endpoints;
    } else {
        for slot in KINDS[usize::from(kind)] {
            leader.cache.take(&next.truth, *slot);
        }
    }
    Some(None)
}
