//! The two orders in which states are searched.

use super::laws::{self, Broken};
use super::moves::Move;
use super::state::{Leader, State};
use super::table::{Index, NONE};
use super::{Explorer, Outcome, Violation};

/// States that are to be searched, as bytes, in the order in which they were met: their numbers follow each other.
#[derive(Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    /// Where each state ends.
    ends: Vec<usize>,
}

impl Queue {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> State {
        let from = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        State::unpack(&self.bytes[from..self.ends[index]])
    }

    fn push(&mut self, state: &[u8]) {
        self.bytes.extend_from_slice(state);
        self.ends.push(self.bytes.len());
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn size(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

/// Where a search is.
struct Front<'a> {
    seeds: &'a [State],
    /// States of this level, the number of the first of them, and those of the next level.
    level: Queue,
    first: Index,
    next: Queue,
    /// Room for the bytes of one state.
    bytes: Vec<u8>,
    moves: Vec<Move>,
}

impl Front<'_> {
    fn number(&self, index: usize) -> Index {
        self.first + Index::try_from(index).unwrap_or(NONE)
    }

    /// Goes on to the next level.
    fn advance(&mut self) {
        self.first = self.number(self.level.len());
        std::mem::swap(&mut self.level, &mut self.next);
        self.next.clear();
    }
}

/// Whether a watch or a process stands still.
fn is_halted(state: &State) -> bool {
    state.leaders.iter().any(|leader: &Leader| leader.stalled || leader.held != 0)
}

impl Explorer {
    /// Plants the states of the undisturbed run.
    fn planted<'a>(&mut self, seeds: &'a [State]) -> Front<'a> {
        let mut front = Front {
            seeds,
            level: Queue::default(),
            first: 0,
            next: Queue::default(),
            bytes: Vec::with_capacity(512),
            moves: Vec::with_capacity(64),
        };
        for (index, seed) in seeds.iter().enumerate() {
            let mut seed = *seed;
            front.bytes.clear();
            let fingerprint = seed.settle(&mut front.bytes);
            let by = Move::Seed(u16::try_from(index).unwrap_or(u16::MAX));
            if self.table.meet(fingerprint, NONE, by).1 {
                front.level.push(&front.bytes);
            }
        }
        front
    }

    /// Makes a move from a state. Returns the number of the state that it leads to, or the violation that it is; `None` if
    /// the move is not possible. New states go to the next level, or to this one.
    fn step(
        &mut self,
        front: &mut Front<'_>,
        (from, state): (Index, &State),
        chosen: Move,
        is_calm: bool,
    ) -> Option<Result<Index, Violation>> {
        if !self.may(state, chosen) {
            return None;
        }
        let mut next = *state;
        let broken = self.make(&mut next, chosen)?;
        self.moves_made += 1;
        if let Some(broken) = broken {
            return Some(Err(self.violation(front.seeds, broken, from, Some(chosen))));
        }
        front.bytes.clear();
        let fingerprint = next.settle(&mut front.bytes);
        let (index, is_new) = self.table.meet(fingerprint, from, chosen);
        if is_new {
            let queue = if is_calm { &mut front.level } else { &mut front.next };
            queue.push(&front.bytes);
        }
        Some(Ok(index))
    }

    /// Makes the next move of the calm course, or judges the rest that the state is.
    fn calm(&mut self, front: &mut Front<'_>, at: (Index, &State)) -> Result<(), Violation> {
        let mut moves = std::mem::take(&mut front.moves);
        moves.clear();
        self.calm_moves(at.1, &mut moves);
        let step = moves.iter().find_map(|chosen| self.step(front, at, *chosen, true));
        front.moves = moves;
        match step {
            Some(Ok(index)) => {
                // Who decides while his watches stand still may decide the same again and again.
                if !is_halted(at.1) {
                    self.table.calms(at.0, index);
                }
                Ok(())
            }
            Some(Err(violation)) => Err(violation),
            None => self.rested(front.seeds, at),
        }
    }

    /// Judges the end of a calm course, unless somebody still stands still.
    fn rested(&mut self, seeds: &[State], (at, state): (Index, &State)) -> Result<(), Violation> {
        if is_halted(state) {
            return Ok(());
        }
        self.rests += 1;
        match laws::rest(&self.catalog, state, &self.limits) {
            Some(broken) => Err(self.violation(seeds, broken, at, None)),
            None => Ok(()),
        }
    }

    /// After a search: a calm course without end is a livelock (S21).
    fn ends(&mut self, seeds: &[State]) -> Option<Violation> {
        let at = self.table.longest_course().err()?;
        let detail = "the calm course from here never comes to a rest".to_owned();
        Some(self.violation(seeds, Broken { law: "S21", detail }, at, None))
    }

    fn remember_size(&mut self, front: &Front<'_>) {
        let now = self.table.bytes() + front.level.size() + front.next.size();
        self.state_bytes = self.state_bytes.max(now);
    }

    pub(super) fn by_events(&mut self, seeds: &[State]) -> Outcome {
        let mut front = self.planted(seeds);
        let mut depth = 0;
        while front.level.len() > 0 {
            depth += 1;
            for index in 0..front.level.len() {
                let at = (front.number(index), &front.level.get(index));
                if let Err(violation) = self.all_moves(&mut front, at) {
                    return self.outcome(depth, seeds.len(), false, Some(violation));
                }
                if self.table.len() >= self.bounds.max_states {
                    self.remember_size(&front);
                    return self.outcome(depth, seeds.len(), false, None);
                }
            }
            self.remember_size(&front);
            front.advance();
        }
        let endless = self.ends(seeds);
        self.outcome(depth, seeds.len(), endless.is_none(), endless)
    }

    /// Every move from a state: the first calm one that is possible is its calm course.
    fn all_moves(&mut self, front: &mut Front<'_>, at: (Index, &State)) -> Result<(), Violation> {
        let mut moves = Vec::with_capacity(64);
        self.calm_moves(at.1, &mut moves);
        let calm = moves.len();
        self.faults(at.1, &mut moves);
        let mut is_at_rest = true;
        for (index, chosen) in moves.into_iter().enumerate() {
            match self.step(front, at, chosen, false) {
                Some(Ok(next)) if index < calm && is_at_rest => {
                    is_at_rest = false;
                    self.table.calms(at.0, next);
                }
                Some(Ok(_)) | None => {}
                Some(Err(violation)) => return Err(violation),
            }
        }
        if is_at_rest { self.rested(front.seeds, at) } else { Ok(()) }
    }

    pub(super) fn by_disturbances(&mut self, seeds: &[State], limit: usize) -> Outcome {
        let mut front = self.planted(seeds);
        for count in 0..=limit {
            // First everything that follows by itself, so that a state is counted with its least number of disturbances.
            let mut index = 0;
            while index < front.level.len() {
                if self.table.len() >= self.bounds.max_states {
                    self.remember_size(&front);
                    return self.outcome(count, seeds.len(), false, None);
                }
                let at = (front.number(index), &front.level.get(index));
                if let Err(violation) = self.calm(&mut front, at) {
                    return self.outcome(count, seeds.len(), false, Some(violation));
                }
                index += 1;
            }
            self.remember_size(&front);
            if count == limit {
                break;
            }
            for index in 0..front.level.len() {
                let at = (front.number(index), &front.level.get(index));
                if let Err(violation) = self.disturb(&mut front, at) {
                    return self.outcome(count + 1, seeds.len(), false, Some(violation));
                }
                if self.table.len() >= self.bounds.max_states {
                    self.remember_size(&front);
                    return self.outcome(count + 1, seeds.len(), false, None);
                }
            }
            self.remember_size(&front);
            front.advance();
        }
        let endless = self.ends(seeds);
        self.outcome(limit, seeds.len(), endless.is_none(), endless)
    }

    /// The moves that somebody has to cause, and calm ones out of their order.
    fn disturb(&mut self, front: &mut Front<'_>, at: (Index, &State)) -> Result<(), Violation> {
        let mut moves = Vec::with_capacity(96);
        self.calm_moves(at.1, &mut moves);
        self.faults(at.1, &mut moves);
        self.halts(at.1, &mut moves);
        for chosen in moves {
            if let Some(Err(violation)) = self.step(front, at, chosen, false) {
                return Err(violation);
            }
        }
        Ok(())
    }

    /// Tells how the search came to a state, and from there to a broken law, by making the moves again.
    fn violation(
        &mut self,
        seeds: &[State],
        broken: Broken,
        end: Index,
        last: Option<Move>,
    ) -> Violation {
        let mut chosen: Vec<Move> = last.into_iter().collect();
        let mut at = end;
        while at != NONE {
            let (before, by) = self.table.origin(at);
            chosen.push(by);
            at = before;
        }
        chosen.reverse();
        let mut trace = Vec::new();
        let mut state = State::default();
        let mut steps = Vec::new();
        let mut seed = None;
        for chosen in chosen {
            trace.push(self.describe(&state, chosen));
            if let Move::Seed(index) = chosen {
                state = seeds[usize::from(index)];
                seed = Some(usize::from(index) + 1);
            } else {
                steps.push((state, chosen));
                let made = self.make(&mut state, chosen);
                assert!(made.is_some(), "the move was made before: {chosen:?}");
            }
            state.settle(&mut Vec::new());
        }
        let scenario = self.scenario(&broken, (self.first_part, seed), &steps);
        Violation { broken, trace, scenario }
    }
}
