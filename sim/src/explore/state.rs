//! One state of the world: the truth, two leaders with their caches, writes under way.
//!
//! A state is worked on as fixed arrays and kept as a few dozen bytes: most of a cache is what the truth is. Equal situations
//! have equal bytes, so the bytes are what a fingerprint is taken of.

use super::catalog::{Content, SLOTS, WriteId};
use super::table::fingerprint;

/// Most writes of one plan: every object once, and the status.
const PLAN: usize = SLOTS + 2;
/// Most writes that nobody waits for any more.
const LATE: usize = 6;

/// Objects in one place: which content each has, and which of its versions that is. Versions are counted for each object
/// apart and only compared; they are renumbered in every state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    pub(super) content: [Content; SLOTS],
    pub(super) version: [u8; SLOTS],
}

impl Place {
    /// Whether both hold the same version of the object.
    pub(super) fn same(&self, other: &Self, slot: usize) -> bool {
        self.content[slot] == other.content[slot] && self.version[slot] == other.version[slot]
    }

    pub(super) fn take(&mut self, from: &Self, slot: usize) {
        self.content[slot] = from.content[slot];
        self.version[slot] = from.version[slot];
    }

    /// Puts another content in place, as a new version.
    pub(super) fn put(&mut self, slot: usize, content: Content) {
        self.content[slot] = content;
        self.version[slot] += 1;
    }
}

/// A write on its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Flight {
    pub(super) slot: u8,
    /// The version that it demands; 0 if it demands none.
    pub(super) version: u8,
    /// Term of its sender.
    pub(super) term: u8,
    pub(super) write: WriteId,
}

/// A short list of writes, in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flights<const N: usize> {
    len: u8,
    items: [Flight; N],
}

impl<const N: usize> Default for Flights<N> {
    fn default() -> Self {
        Self { len: 0, items: [Flight::default(); N] }
    }
}

impl<const N: usize> Flights<N> {
    pub(super) fn as_slice(&self) -> &[Flight] {
        &self.items[..usize::from(self.len)]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [Flight] {
        &mut self.items[..usize::from(self.len)]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> u8 {
        self.len
    }

    pub(super) fn first(&self) -> Option<Flight> {
        self.as_slice().first().copied()
    }

    /// # Panics
    /// If the list is full: a plan writes no object twice.
    pub(super) fn push(&mut self, flight: Flight) {
        self.items[usize::from(self.len)] = flight;
        self.len += 1;
    }

    /// Adds the write, or loses it if there is no room: writes do get lost.
    pub(super) fn push_or_lose(&mut self, flight: Flight) {
        if usize::from(self.len) < N {
            self.push(flight);
        }
    }

    pub(super) fn remove(&mut self, index: usize) -> Flight {
        let removed = self.items[index];
        let len = usize::from(self.len);
        self.items.copy_within(index + 1..len, index);
        self.items[len - 1] = Flight::default();
        self.len -= 1;
        removed
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn retain(&mut self, mut keep: impl FnMut(&Flight) -> bool) {
        let mut index = 0;
        while index < usize::from(self.len) {
            if keep(&self.items[index]) {
                index += 1;
            } else {
                self.remove(index);
            }
        }
    }
}

/// A process that believes to lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Leader {
    /// Its term; 0 while it does not run.
    pub(super) term: u8,
    pub(super) cache: Place,
    pub(super) endpoints: [u16; 2],
    /// Versions that its cache must reach before it decides again.
    pub(super) awaited: [u8; SLOTS],
    /// Least number that the stamp of an object must show.
    pub(super) needed: [u8; SLOTS],
    /// Number on its stamps.
    pub(super) n: u8,
    /// Watches that stand still, one bit for each kind; only the search by disturbances uses it.
    pub(super) held: u8,
    /// Whether the process stands still, likewise.
    pub(super) stalled: bool,
    /// The rest of its plan; the first write is on its way.
    pub(super) plan: Flights<PLAN>,
}

/// Faults and toggles spent so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Spent {
    pub(super) unknown: u8,
    pub(super) duplicates: u8,
    pub(super) crashes: u8,
    pub(super) pod_failures: u8,
    pub(super) takeovers: u8,
    /// One bit for each toggle of the user.
    pub(super) toggles: u8,
    /// One bit for each write of somebody else.
    pub(super) foreign: u8,
    pub(super) bad_answers: u8,
    pub(super) silences: u8,
    pub(super) vanished: u8,
}

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct State {
    pub(super) truth: Place,
    pub(super) endpoints: [u16; 2],
    pub(super) leaders: [Leader; 2],
    /// Writes whose senders gave up on them.
    pub(super) late: Flights<LATE>,
    /// Greatest weight of each ReplicaSet since the last tick.
    pub(super) recent_weight: [u8; 3],
    /// The number of replicas that the laws count on: more replicas count once the stable set has grown (S14).
    pub(super) counted: u8,
    pub(super) spent: Spent,
}

impl State {
    /// Makes equal situations equal: renumbers versions, drops writes that can no longer land. Appends the state's bytes and
    /// returns their fingerprint.
    pub(super) fn settle(&mut self, bytes: &mut Vec<u8>) -> u64 {
        let truth = self.truth.version;
        self.late.retain(|flight| {
            flight.version == 0 || truth[usize::from(flight.slot)] == flight.version
        });
        self.renumber();
        self.late.as_mut_slice().sort_unstable();
        let from = bytes.len();
        self.pack(bytes);
        fingerprint(&bytes[from..])
    }

    /// Versions become their ranks among those that anybody still knows.
    fn renumber(&mut self) {
        // Version 0 is none.
        let mut known = [1_u64; SLOTS];
        for (slot, mask) in known.iter_mut().enumerate() {
            *mask |= bit(self.truth.version[slot]);
            for leader in &mut self.leaders {
                if leader.awaited[slot] <= leader.cache.version[slot] {
                    leader.awaited[slot] = 0;
                }
                *mask |= bit(leader.cache.version[slot]) | bit(leader.awaited[slot]);
            }
        }
        let plans = self.leaders.iter().flat_map(|leader| leader.plan.as_slice());
        for flight in plans.chain(self.late.as_slice()) {
            known[usize::from(flight.slot)] |= bit(flight.version);
        }
        let rank = |slot: usize, version: &mut u8| {
            let below = known[slot] & (bit(*version) - 1);
            *version = u8::try_from(below.count_ones()).unwrap_or(u8::MAX);
        };
        for slot in 0..SLOTS {
            rank(slot, &mut self.truth.version[slot]);
            for leader in &mut self.leaders {
                rank(slot, &mut leader.cache.version[slot]);
                rank(slot, &mut leader.awaited[slot]);
            }
        }
        let plans = self.leaders.iter_mut().flat_map(|leader| leader.plan.as_mut_slice());
        for flight in plans.chain(self.late.as_mut_slice()) {
            rank(usize::from(flight.slot), &mut flight.version);
        }
    }

    fn pack(&self, out: &mut Vec<u8>) {
        for slot in 0..SLOTS {
            number(self.truth.content[slot], out);
        }
        out.extend(self.truth.version);
        self.endpoints.iter().for_each(|id| out.extend(id.to_le_bytes()));
        for leader in &self.leaders {
            out.push(leader.term);
            if leader.term > 0 {
                self.pack_leader(leader, out);
            }
        }
        out.push(self.late.len());
        for flight in self.late.as_slice() {
            number(flight.write, out);
            out.extend([flight.slot, flight.version, flight.term]);
        }
        out.extend(self.recent_weight);
        let spent = &self.spent;
        out.extend([
            self.counted,
            (spent.unknown << 4) | spent.duplicates,
            (spent.crashes << 4) | spent.pod_failures,
            (spent.takeovers << 4) | spent.vanished,
            (spent.bad_answers << 4) | spent.silences,
            spent.toggles,
            spent.foreign,
        ]);
    }

    fn pack_leader(&self, leader: &Leader, out: &mut Vec<u8>) {
        let mut differs = 0_u16;
        let (mut awaits, mut needs) = (0_u16, 0_u16);
        for slot in 0..SLOTS {
            differs |= u16::from(!leader.cache.same(&self.truth, slot)) << slot;
            awaits |= u16::from(leader.awaited[slot] != 0) << slot;
            needs |= u16::from(leader.needed[slot] != 0) << slot;
        }
        // The bits above the slots say whether the endpoints differ and whether the process stands still.
        differs |= u16::from(leader.endpoints != self.endpoints) << 15;
        awaits |= u16::from(leader.stalled) << 15;
        for mask in [differs, awaits, needs] {
            out.extend(mask.to_le_bytes());
        }
        for slot in 0..SLOTS {
            if differs & (1 << slot) != 0 {
                number(leader.cache.content[slot], out);
                out.push(leader.cache.version[slot]);
            }
        }
        out.extend(leader.awaited.iter().chain(&leader.needed).filter(|number| **number != 0));
        if leader.endpoints != self.endpoints {
            leader.endpoints.iter().for_each(|id| out.extend(id.to_le_bytes()));
        }
        out.extend([leader.n, leader.held, leader.plan.len()]);
        for flight in leader.plan.as_slice() {
            number(flight.write, out);
            out.extend([flight.slot, flight.version]);
        }
    }

    /// Reads a state back from its bytes.
    pub(super) fn unpack(bytes: &[u8]) -> Self {
        let mut reader = Reader { bytes, at: 0 };
        let mut state = Self::default();
        for slot in 0..SLOTS {
            state.truth.content[slot] = reader.number();
        }
        for slot in 0..SLOTS {
            state.truth.version[slot] = reader.byte();
        }
        state.endpoints = [reader.short(), reader.short()];
        for index in 0..2 {
            let term = reader.byte();
            if term > 0 {
                state.leaders[index] = reader.leader(term, &state.truth, state.endpoints);
            }
        }
        for _ in 0..reader.byte() {
            let (write, slot, version, term) =
                (reader.number(), reader.byte(), reader.byte(), reader.byte());
            state.late.push(Flight { write, slot, version, term });
        }
        state.recent_weight = [reader.byte(), reader.byte(), reader.byte()];
        state.counted = reader.byte();
        let mut pair = || {
            let both = reader.byte();
            (both >> 4, both & 15)
        };
        let ((unknown, duplicates), (crashes, pod_failures)) = (pair(), pair());
        let ((takeovers, vanished), (bad_answers, silences)) = (pair(), pair());
        let (toggles, foreign) = (reader.byte(), reader.byte());
        state.spent = Spent {
            unknown,
            duplicates,
            crashes,
            pod_failures,
            takeovers,
            toggles,
            foreign,
            bad_answers,
            silences,
            vanished,
        };
        state
    }
}

fn bit(version: u8) -> u64 {
    1 << version
}

/// Three bytes: numbers of contents and writes stay far below.
fn number(number: u32, out: &mut Vec<u8>) {
    out.extend(&number.to_le_bytes()[..3]);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at - 1]
    }

    fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn number(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), 0])
    }

    fn leader(&mut self, term: u8, truth: &Place, endpoints: [u16; 2]) -> Leader {
        let (differs, awaits, needs) = (self.short(), self.short(), self.short());
        let mut leader = Leader { term, cache: *truth, endpoints, ..Leader::default() };
        leader.stalled = awaits & (1 << 15) != 0;
        let has = |mask: u16, slot: usize| mask & (1 << slot) != 0;
        for slot in (0..SLOTS).filter(|slot| has(differs, *slot)) {
            leader.cache.content[slot] = self.number();
            leader.cache.version[slot] = self.byte();
        }
        for slot in (0..SLOTS).filter(|slot| has(awaits, *slot)) {
            leader.awaited[slot] = self.byte();
        }
        for slot in (0..SLOTS).filter(|slot| has(needs, *slot)) {
            leader.needed[slot] = self.byte();
        }
        if differs & (1 << 15) != 0 {
            leader.endpoints = [self.short(), self.short()];
        }
        (leader.n, leader.held) = (self.byte(), self.byte());
        for _ in 0..self.byte() {
            let (write, slot, version) = (self.number(), self.byte(), self.byte());
            leader.plan.push(Flight { write, slot, version, term });
        }
        leader
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowded() -> State {
        let mut state = State { endpoints: [3, 4], counted: 2, ..State::default() };
        for slot in 0..SLOTS {
            state.truth.content[slot] = 70_000 + u32::from(bit_of(slot));
            state.truth.version[slot] = 9 + bit_of(slot);
        }
        let mut leader = Leader { term: 2, cache: state.truth, n: 3, held: 5, ..Leader::default() };
        leader.cache.content[4] = 12;
        leader.cache.version[4] = 7;
        leader.awaited[4] = 8;
        leader.needed[1] = 2;
        leader.endpoints = [1, 4];
        leader.plan.push(Flight { write: 99, slot: 4, version: 7, term: 2 });
        leader.plan.push(Flight { write: 100, slot: 0, version: 9, term: 2 });
        state.leaders[1] = Leader { stalled: true, ..leader };
        state.late.push(Flight { write: 5, slot: 1, version: state.truth.version[1], term: 1 });
        state.late.push(Flight { write: 6, slot: 1, version: 1, term: 1 });
        state.recent_weight = [1, 50, 100];
        state.spent = Spent { crashes: 1, foreign: 3, silences: 2, ..Spent::default() };
        state
    }

    fn bit_of(slot: usize) -> u8 {
        u8::try_from(slot).unwrap()
    }

    #[test]
    fn a_state_comes_back_from_its_bytes() {
        let mut state = crowded();
        let mut bytes = Vec::new();
        let fingerprint = state.settle(&mut bytes);
        assert_eq!(State::unpack(&bytes), state);
        assert_eq!(state.late.len(), 1, "a write whose version is gone is forgotten");
        assert!(bytes.len() < 160, "{} bytes", bytes.len());
        let mut again = Vec::new();
        assert_eq!(state.settle(&mut again), fingerprint, "renumbering is stable");
    }

    #[test]
    fn only_the_order_of_versions_counts() {
        let (mut a, mut b) = (crowded(), crowded());
        b.truth.version[4] += 20;
        assert_eq!(a.settle(&mut Vec::new()), b.settle(&mut Vec::new()));
        b.leaders[1].cache.version[4] = b.truth.version[4];
        assert_ne!(a.settle(&mut Vec::new()), b.settle(&mut Vec::new()));
    }
}
