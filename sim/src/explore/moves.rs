//! What can happen next.

use super::catalog::{
    Answer, CANARY_SERVICE, REPLICA_SETS, ROLLOUT, ROUTE, RUNS, STABLE_SERVICE, WriteId,
};
use super::laws::{self, Broken, Facets};
use super::state::{Flight, Leader, State};
use super::{Explorer, Foreign, Toggle};

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// The state is the n-th of the undisturbed run.
    Seed(u16),
    /// A leader decides; the first write of its plan departs.
    Decide(u8),
    /// The write of a leader arrives, and the reply too.
    Land(u8),
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

const KINDS: [&[usize]; 5] =
    [&[ROLLOUT], &[1, 2, 3], &[STABLE_SERVICE, CANARY_SERVICE], &[ROUTE], &[7, 8, 9]];
const ENDPOINTS: u8 = 5;
const WATCHES: [&str; 6] =
    ["Rollout", "ReplicaSets", "Services", "route", "AnalysisRuns", "endpoints"];

fn run_slots() -> impl Iterator<Item = u8> {
    RUNS.filter_map(|slot| u8::try_from(slot).ok())
}

/// A state that a move leads to, and a law that was broken on the way.
pub(super) type Step = (State, Option<Broken>);

impl Explorer {
    /// Returns all moves that may be possible; [`Explorer::make`] finds out.
    pub(super) fn moves(&self, state: &State) -> Vec<Move> {
        let mut moves = Vec::with_capacity(40);
        for (l, leader) in [0_u8, 1].into_iter().zip(&state.leaders) {
            if leader.term > 0 {
                moves.extend((0..=ENDPOINTS).map(|kind| Move::Deliver(l, kind)));
                moves.push(if leader.plan.is_empty() { Move::Decide(l) } else { Move::Land(l) });
                moves.extend([Move::Unknown(l), Move::Crash(l)]);
            }
        }
        for slot in [1, 2, 3] {
            moves.extend([Move::Pods(slot), Move::PodFails(slot)]);
        }
        moves.extend([Move::Endpoints(0), Move::Endpoints(1), Move::Tick, Move::TakeOver]);
        let late = u8::try_from(state.late.len()).unwrap_or(u8::MAX);
        moves.extend((0..late).map(Move::Late));
        let toggles = u8::try_from(self.bounds.toggles.len()).unwrap_or(u8::MAX);
        moves.extend((0..toggles).map(Move::User));
        let foreign = u8::try_from(self.foreign_writes.len()).unwrap_or(u8::MAX);
        moves.extend((0..foreign).map(Move::Foreign));
        if self.bounds.answers.is_some() {
            for slot in run_slots() {
                let answers = [Answer::Good, Answer::Bad, Answer::Unreachable];
                moves.extend(answers.map(|answer| Move::Answer(slot, answer)));
                moves.push(Move::Vanish(slot));
            }
        }
        moves
    }

    /// Returns the moves that nobody has to cause, in the order in which they happen when nothing disturbs: what has changed
    /// is seen, writes arrive, leaders decide, Pods and endpoints follow, and time passes when nothing else does.
    pub(super) fn calm_moves(state: &State) -> Vec<Move> {
        let mut moves = Vec::with_capacity(20);
        for (l, leader) in [0_u8, 1].into_iter().zip(&state.leaders) {
            if leader.term == 0 || leader.stalled {
                continue;
            }
            let seen = (0..=ENDPOINTS).filter(|kind| leader.held & (1 << kind) == 0);
            moves.extend(seen.map(|kind| Move::Deliver(l, kind)));
            moves.push(if leader.plan.is_empty() { Move::Decide(l) } else { Move::Land(l) });
        }
        moves.extend([1, 2, 3].map(Move::Pods));
        moves.extend([Move::Endpoints(0), Move::Endpoints(1)]);
        moves.extend(run_slots().map(|slot| Move::Answer(slot, Answer::Good)));
        moves.push(Move::Tick);
        moves
    }

    /// Returns the moves that somebody has to cause, and calm ones out of their order.
    pub(super) fn disturbances(&self, state: &State) -> Vec<Move> {
        let mut moves = self.moves(state);
        for (l, leader) in [0_u8, 1].into_iter().zip(&state.leaders) {
            if leader.term > 0 && self.bounds.stalls {
                let judged = self.bounds.answers.is_some();
                let kinds = (0..=ENDPOINTS).filter(|kind| judged || *kind != 4);
                moves.extend(kinds.map(|kind| Move::Hold(l, kind)));
                moves.push(Move::Stall(l));
            }
        }
        moves
    }

    /// Makes the move, or returns `None` if it is not possible or changes nothing.
    pub(super) fn make(&mut self, state: &State, chosen: Move) -> Option<Step> {
        if !self.may(state, chosen) {
            return None;
        }
        let mut next = state.clone();
        let broken = match chosen {
            Move::Seed(_) => return None,
            Move::Decide(l) => self.decide(&mut next, l)?,
            Move::Land(l) => self.land(&mut next, usize::from(l))?,
            Move::Unknown(l) => self.give_up(&mut next, usize::from(l))?,
            Move::Deliver(l, kind) => deliver(&mut next, usize::from(l), kind)?,
            Move::Hold(l, kind) => {
                next.leaders[usize::from(l)].held ^= 1 << kind;
                None
            }
            Move::Stall(l) => {
                next.leaders[usize::from(l)].stalled ^= true;
                None
            }
            Move::Crash(l) => self.crash(&mut next, usize::from(l))?,
            Move::TakeOver => self.take_over(&mut next)?,
            Move::Late(index) => {
                let flight = next.late.remove(usize::from(index));
                self.arrive(&mut next, flight)?.1
            }
            Move::Pods(slot) => self.pods(&mut next, usize::from(slot), 0)?,
            Move::PodFails(slot) => {
                next.spent.pod_failures += 1;
                if next.spent.pod_failures > self.bounds.pod_failures {
                    return None;
                }
                self.pods(&mut next, usize::from(slot), 1)?
            }
            Move::Endpoints(index) => self.endpoints(&mut next, usize::from(index))?,
            Move::Tick => self.tick(&mut next, state)?,
            Move::User(index) => self.toggle(&mut next, index)?,
            Move::Foreign(index) => self.foreign(&mut next, index)?,
            Move::Answer(slot, answer) => self.answer(&mut next, usize::from(slot), answer)?,
            Move::Vanish(slot) => {
                next.spent.vanished += 1;
                let copy = &mut next.truth[usize::from(slot)];
                copy.content = 0;
                copy.version += 1;
                None
            }
        };
        let broken = broken.or_else(|| laws::state(&self.catalog, &next));
        Some((next, broken))
    }

    /// A cheap look at what is plainly impossible, before the state is copied.
    fn may(&self, state: &State, chosen: Move) -> bool {
        let leader = |l: u8| &state.leaders[usize::from(l)];
        match chosen {
            Move::Seed(_) => false,
            Move::Land(l) => !leader(l).plan.is_empty(),
            Move::Unknown(l) => {
                !leader(l).plan.is_empty() && state.spent.unknown < self.bounds.unknown
            }
            Move::Deliver(l, ENDPOINTS) => leader(l).endpoints != state.endpoints,
            Move::Deliver(l, kind) => {
                let mut slots = KINDS[usize::from(kind)].iter();
                slots.any(|slot| leader(l).cache[*slot] != state.truth[*slot])
            }
            Move::Crash(_) => state.spent.crashes < self.bounds.crashes,
            Move::TakeOver => state.spent.takeovers < self.bounds.takeovers,
            Move::Pods(slot) => state.truth[usize::from(slot)].content != 0,
            Move::PodFails(slot) => {
                state.truth[usize::from(slot)].content != 0
                    && state.spent.pod_failures < self.bounds.pod_failures
            }
            Move::User(index) => state.spent.toggles & (1 << index) == 0,
            Move::Foreign(index) => state.spent.foreign & (1 << index) == 0,
            Move::Answer(slot, answer) => {
                let answers = self.bounds.answers.unwrap_or_default();
                let left = match answer {
                    Answer::Good => true,
                    Answer::Bad => state.spent.bad_answers < answers.bad,
                    Answer::Unreachable => state.spent.silences < answers.unreachable,
                };
                left && self.is_open(state, usize::from(slot))
            }
            Move::Vanish(slot) => {
                let answers = self.bounds.answers.unwrap_or_default();
                state.spent.vanished < answers.vanished && self.is_open(state, usize::from(slot))
            }
            Move::Tick => {
                state.leaders.iter().all(|leader| leader.stalled || leader.plan.is_empty())
            }
            Move::Decide(_)
            | Move::Hold(..)
            | Move::Stall(_)
            | Move::Late(_)
            | Move::Endpoints(_) => true,
        }
    }

    /// Whether there is an AnalysisRun that is not over.
    fn is_open(&self, state: &State, slot: usize) -> bool {
        let content = state.truth[slot].content;
        let phase = self.catalog.facts(content).phase;
        content != 0 && !phase.is_some_and(sluice_crds::analysis::AnalysisPhase::is_completed)
    }

    fn decide(&mut self, next: &mut State, l: u8) -> Option<Option<Broken>> {
        let leader = &mut next.leaders[usize::from(l)];
        let behind = leader.awaited.iter().any(|awaited| *awaited > 0);
        if !leader.plan.is_empty() || (behind && self.rules.read_your_writes) {
            return None;
        }
        let decided = self.decider.decide(&mut self.catalog, leader);
        if decided.broken.is_some() {
            return Some(decided.broken.clone());
        }
        let flight = |id: &WriteId| {
            let info = &self.catalog.writes[*id as usize];
            let version = if info.has_version { leader.cache[info.slot].version } else { 0 };
            Flight { write: *id, version, term: leader.term }
        };
        leader.plan = decided.writes.iter().map(flight).collect();
        (!leader.plan.is_empty()).then_some(None)
    }

    fn land(&mut self, next: &mut State, l: usize) -> Option<Option<Broken>> {
        let flight = *next.leaders[l].plan.first()?;
        let slot = self.catalog.writes[flight.write as usize].slot;
        let Some((version, broken)) = self.arrive(next, flight) else {
            // Refused: the world moved, the plan ends.
            next.leaders[l].plan.clear();
            return Some(None);
        };
        let leader = &mut next.leaders[l];
        leader.plan.remove(0);
        leader.awaited[slot] = leader.awaited[slot].max(version);
        Some(broken)
    }

    /// Lets a write arrive. Returns the version that the reply names, or `None` if the server refuses it.
    fn arrive(&mut self, next: &mut State, flight: Flight) -> Option<(u16, Option<Broken>)> {
        let info = &self.catalog.writes[flight.write as usize];
        let (slot, is_create) = (info.slot, info.is_create);
        let target = next.truth[slot];
        if is_create && target.content != 0 {
            // It exists and is ours: that is success, and the reply names no version.
            return Some((0, None));
        }
        if flight.version != 0 && flight.version != target.version {
            return None;
        }
        let content = self.catalog.apply(target.content, flight.write)?;
        if content == target.content {
            return Some((target.version, None));
        }
        let before = next.clone();
        next.truth[slot].content = content;
        next.truth[slot].version += 1;
        self.remember_weights(next);
        let fenced = self.rules.fence.epoch;
        let broken = laws::landed(&self.catalog, &before, next, slot, flight.term, fenced);
        Some((next.truth[slot].version, broken))
    }

    fn remember_weights(&self, next: &mut State) {
        let facts = Facets::truth(&self.catalog, next);
        let mut recent = next.recent_weight;
        for (slot, recent) in REPLICA_SETS.zip(&mut recent) {
            let weight = facts.weight(&facts.of(slot).hash).min(100);
            *recent = (*recent).max(u8::try_from(weight).unwrap_or(100));
        }
        next.recent_weight = recent;
    }

    fn give_up(&self, next: &mut State, l: usize) -> Option<Option<Broken>> {
        next.spent.unknown += 1;
        if next.spent.unknown > self.bounds.unknown {
            return None;
        }
        if next.leaders[l].plan.is_empty() {
            return None;
        }
        self.time_out(next, l);
        Some(None)
    }

    fn time_out(&self, next: &mut State, l: usize) {
        let leader = &mut next.leaders[l];
        let Some(flight) = leader.plan.first().copied() else { return };
        leader.plan.clear();
        let info = &self.catalog.writes[flight.write as usize];
        if !info.is_touch && !info.is_create {
            leader.n += 1;
            leader.needed[info.slot] = leader.n;
        }
        next.late.push(flight);
    }

    fn crash(&self, next: &mut State, l: usize) -> Option<Option<Broken>> {
        next.spent.crashes += 1;
        if next.spent.crashes > self.bounds.crashes {
            return None;
        }
        let flight = next.leaders[l].plan.first().copied();
        next.late.extend(flight);
        start(next, l);
        Some(None)
    }

    fn take_over(&self, next: &mut State) -> Option<Option<Broken>> {
        next.spent.takeovers += 1;
        if next.spent.takeovers > self.bounds.takeovers || next.leaders[1].term != 0 {
            return None;
        }
        start(next, 1);
        Some(None)
    }

    fn pods(&mut self, next: &mut State, slot: usize, failing: u32) -> Option<Option<Broken>> {
        let content = next.truth[slot].content;
        let facts = self.catalog.facts(content);
        let (exist, available) = (facts.desired, facts.available);
        if content == 0 || available < failing {
            return None;
        }
        let available = if failing > 0 { available - failing } else { exist };
        let after = self.catalog.with_pods(content, exist, available);
        if after == content {
            return None;
        }
        next.truth[slot].content = after;
        next.truth[slot].version += 1;
        Some(None)
    }

    fn endpoints(&mut self, next: &mut State, index: usize) -> Option<Option<Broken>> {
        let facts = Facets::truth(&self.catalog, next);
        let slot = [STABLE_SERVICE, CANARY_SERVICE][index];
        // The subsets of a rule divide the endpoints of one Service, which selects all.
        let by_subset = facts.of(STABLE_SERVICE).canary_hash.is_some();
        if by_subset && slot == CANARY_SERVICE {
            return None;
        }
        let hash = if by_subset { "" } else { facts.of(slot).hash.as_str() };
        let sets = REPLICA_SETS.map(|slot| facts.of(slot));
        let listed = sets.filter(|set| set.available > 0 && (hash.is_empty() || set.hash == hash));
        let ready = listed.map(|set| (set.hash.clone(), set.available)).collect();
        let after = self.catalog.intern_endpoints(ready);
        if after == next.endpoints[index] {
            return None;
        }
        next.endpoints[index] = after;
        Some(None)
    }

    /// A request has a timeout far below a tick: no write of a running process is under way across one. A process that stands
    /// still finds its write timed out when it goes on.
    fn tick(&mut self, next: &mut State, before: &State) -> Option<Option<Broken>> {
        for l in [0, 1] {
            let leader = &next.leaders[l];
            if leader.plan.is_empty() {
                continue;
            }
            if !leader.stalled {
                return None;
            }
            self.time_out(next, l);
        }
        let catalog = &mut self.catalog;
        let leaders = next.leaders.iter_mut();
        let flights = leaders.flat_map(|leader| {
            leader.cache.iter_mut().for_each(|copy| copy.content = catalog.ticked(copy.content));
            leader.plan.iter_mut()
        });
        let flights: Vec<&mut Flight> = flights.chain(&mut next.late).collect();
        for flight in flights {
            flight.write = catalog.ticked_write(flight.write);
        }
        for copy in &mut next.truth {
            copy.content = catalog.ticked(copy.content);
        }
        next.recent_weight = [0; 3];
        self.remember_weights(next);
        (next != before).then_some(None)
    }

    fn toggle(&mut self, next: &mut State, index: u8) -> Option<Option<Broken>> {
        let bit = 1 << index;
        if next.spent.toggles & bit != 0 {
            return None;
        }
        next.spent.toggles |= bit;
        let write = self.toggle_writes[usize::from(index)];
        let content = self.catalog.apply(next.truth[ROLLOUT].content, write)?;
        if content == next.truth[ROLLOUT].content {
            return None;
        }
        next.truth[ROLLOUT].content = content;
        next.truth[ROLLOUT].version += 1;
        Some(None)
    }

    /// Somebody else writes, without regard for anybody.
    fn foreign(&mut self, next: &mut State, index: u8) -> Option<Option<Broken>> {
        next.spent.foreign |= 1 << index;
        let write = self.foreign_writes[usize::from(index)];
        let slot = self.catalog.writes[write as usize].slot;
        let target = next.truth[slot];
        let content = self.catalog.apply(target.content, write)?;
        if content == target.content {
            return None;
        }
        next.truth[slot].content = content;
        next.truth[slot].version += 1;
        self.remember_weights(next);
        Some(None)
    }

    fn answer(&mut self, next: &mut State, slot: usize, answer: Answer) -> Option<Option<Broken>> {
        match answer {
            Answer::Good => {}
            Answer::Bad => next.spent.bad_answers += 1,
            Answer::Unreachable => next.spent.silences += 1,
        }
        let content = next.truth[slot].content;
        let after = self.catalog.judged(content, answer);
        if after == content {
            return None;
        }
        next.truth[slot].content = after;
        next.truth[slot].version += 1;
        Some(None)
    }

    /// Describes a move for people.
    pub(super) fn describe(&self, state: &State, chosen: Move) -> String {
        let name = |l: u8| format!("leader {}", ["A", "B"][usize::from(l)]);
        let text = |flight: Option<&Flight>| {
            flight.map_or("", |flight| self.catalog.writes[flight.write as usize].text.as_str())
        };
        let set = |slot: u8| &self.catalog.facts(state.truth[usize::from(slot)].content).hash;
        match chosen {
            Move::Seed(index) => format!("step {index} of the undisturbed run"),
            Move::Decide(l) => format!("{} decides", name(l)),
            Move::Land(l) => {
                let first = state.leaders[usize::from(l)].plan.first();
                format!("write of {} arrives: {}", name(l), text(first))
            }
            Move::Unknown(l) => format!("{} gives up on its write", name(l)),
            Move::Deliver(l, kind) => {
                format!("{} sees the {}", name(l), WATCHES[usize::from(kind)])
            }
            Move::Hold(l, kind) => {
                let held = state.leaders[usize::from(l)].held & (1 << kind) != 0;
                let verb = if held { "goes on" } else { "stands still" };
                format!("{}'s watch of the {} {verb}", name(l), WATCHES[usize::from(kind)])
            }
            Move::Stall(l) => {
                let verb =
                    if state.leaders[usize::from(l)].stalled { "goes on" } else { "stands still" };
                format!("{} {verb}", name(l))
            }
            Move::Crash(l) => format!("{} crashes and starts anew", name(l)),
            Move::TakeOver => "leader B takes the lease".to_owned(),
            Move::Late(index) => {
                format!("late write arrives: {}", text(state.late.get(usize::from(index))))
            }
            Move::Pods(slot) => format!("Pods of {} follow", set(slot)),
            Move::PodFails(slot) => format!("a Pod of {} fails", set(slot)),
            Move::Endpoints(index) => {
                format!(
                    "endpoints of the {} Service follow",
                    ["stable", "canary"][usize::from(index)]
                )
            }
            Move::Tick => "time passes".to_owned(),
            Move::User(index) => {
                let toggle: Toggle = self.bounds.toggles[usize::from(index)];
                format!("the user asks: {toggle:?}")
            }
            Move::Foreign(index) => {
                let foreign: Foreign = self.bounds.foreign[usize::from(index)];
                format!("somebody else writes: {foreign:?}")
            }
            Move::Answer(slot, answer) => format!("the analysis of {} gets: {answer:?}", set(slot)),
            Move::Vanish(slot) => format!("the AnalysisRun of {} is deleted", set(slot)),
        }
    }
}

/// Starts a process with a new term and a fresh list.
pub(super) fn start(next: &mut State, l: usize) {
    let term = next.leaders.iter().map(|leader| leader.term).max().unwrap_or(0) + 1;
    next.leaders[l] =
        Leader { term, n: 1, cache: next.truth, endpoints: next.endpoints, ..Leader::default() };
}

fn deliver(next: &mut State, l: usize, kind: u8) -> Option<Option<Broken>> {
    let leader = &mut next.leaders[l];
    let changed = if kind == ENDPOINTS {
        std::mem::replace(&mut leader.endpoints, next.endpoints) != next.endpoints
    } else {
        let slots = KINDS[usize::from(kind)].iter().copied();
        let mut changed = false;
        for slot in slots {
            changed |= leader.cache[slot] != next.truth[slot];
            leader.cache[slot] = next.truth[slot];
        }
        changed
    };
    changed.then_some(None)
}
