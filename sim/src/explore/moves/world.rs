//! What happens outside the leaders: Pods and endpoints follow, time passes, users and others write, analyses end.

use super::super::Explorer;
use super::super::catalog::{
    Answer, CANARY_SERVICE, REPLICA_SETS, ROLLOUT, STABLE_SERVICE, WriteId,
};
use super::super::facts;
use super::super::laws::Facets;
use super::super::state::State;
use super::Step;

/// How the available Pods of a ReplicaSet change.
#[derive(Clone, Copy)]
pub(super) enum Change {
    All,
    More,
    Less,
}

impl Explorer {
    pub(super) fn pods(&mut self, next: &mut State, slot: usize, change: Change) -> Step {
        let content = next.truth.content[slot];
        let facts = self.catalog.facts(content);
        let (exist, available) = (facts.desired, facts.available);
        let available = match change {
            Change::All => exist,
            Change::More if available + 1 < exist => available + 1,
            Change::Less if available > 0 => available - 1,
            Change::More | Change::Less => return None,
        };
        let after = self.catalog.with_pods(content, exist, available);
        if after == content {
            return None;
        }
        next.truth.put(slot, after);
        Some(None)
    }

    pub(super) fn endpoints(&mut self, next: &mut State, index: usize) -> Step {
        let facts = Facets::truth(&self.catalog, next);
        let slot = [STABLE_SERVICE, CANARY_SERVICE][index];
        if next.truth.content[slot] == 0 {
            return None;
        }
        // The subsets of a rule divide the endpoints of one Service, which selects all.
        let by_subset = facts.of(STABLE_SERVICE).canary_hash.is_some();
        if by_subset && slot == CANARY_SERVICE {
            return None;
        }
        let selected = if by_subset { 0 } else { facts.of(slot).hash };
        let sets = REPLICA_SETS.map(|slot| facts.of(slot));
        let listed = sets.filter(|set| set.available > 0 && [0, set.hash].contains(&selected));
        let mut listed: Vec<(facts::Revision, u32)> =
            listed.map(|set| (set.hash, set.available)).collect();
        listed.sort_unstable();
        let after = self.catalog.intern_endpoints(listed);
        if after == next.endpoints[index] {
            return None;
        }
        next.endpoints[index] = after;
        Some(None)
    }

    /// A request has a timeout far below a tick: no write of a running process is under way across one. A process that stands
    /// still finds its write timed out when it goes on.
    pub(super) fn tick(&mut self, next: &mut State) -> Step {
        let before = *next;
        for l in [0, 1] {
            self.time_out(next, l);
        }
        let catalog = &mut self.catalog;
        for leader in &mut next.leaders {
            leader.cache.content.iter_mut().for_each(|id| *id = catalog.ticked(*id));
        }
        for flight in next.late.as_mut_slice() {
            flight.write = catalog.ticked_write(flight.write);
        }
        next.truth.content.iter_mut().for_each(|id| *id = catalog.ticked(*id));
        next.recent_weight = [0; 3];
        self.remember_weights(next);
        (*next != before).then_some(None)
    }

    pub(super) fn toggle(&mut self, next: &mut State, index: u8) -> Step {
        next.spent.toggles |= 1 << index;
        let write = self.toggle_writes[usize::from(index)];
        self.others_write(next, ROLLOUT, write)
    }

    /// Somebody else writes, without regard for anybody.
    pub(super) fn foreign(&mut self, next: &mut State, index: u8) -> Step {
        next.spent.foreign |= 1 << index;
        let write = self.foreign_writes[usize::from(index)];
        let slot = self.catalog.writes[write as usize].slot;
        let done = self.others_write(next, slot, write)?;
        self.remember_weights(next);
        Some(done)
    }

    pub(in super::super) fn others_write(
        &mut self,
        next: &mut State,
        slot: usize,
        write: WriteId,
    ) -> Step {
        let content = self.catalog.apply(next.truth.content[slot], write)?;
        if content == next.truth.content[slot] {
            return None;
        }
        next.truth.put(slot, content);
        Some(None)
    }

    pub(super) fn answer(&mut self, next: &mut State, slot: usize, answer: Answer) -> Step {
        match answer {
            Answer::Good => {}
            Answer::Bad => next.spent.bad_answers += 1,
            Answer::Unreachable => next.spent.silences += 1,
        }
        let content = next.truth.content[slot];
        let after = self.catalog.judged(content, answer);
        if after == content {
            return None;
        }
        next.truth.put(slot, after);
        Some(None)
    }
}
