//! One state of the world: the truth, two leaders with their caches, writes under way.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::catalog::{Content, SLOTS, WriteId};

/// An object in one place: which content, and which of its versions. Versions are counted for each object apart and only
/// compared; they are renumbered in every state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Copy {
    pub(super) content: Content,
    pub(super) version: u16,
}

/// A write on its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Flight {
    pub(super) write: WriteId,
    /// The version that it demands; 0 if it demands none.
    pub(super) version: u16,
    /// Term of its sender.
    pub(super) term: u8,
}

/// A process that believes to lead.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Leader {
    /// Its term; 0 while it does not run.
    pub(super) term: u8,
    pub(super) cache: [Copy; SLOTS],
    pub(super) endpoints: [u16; 2],
    /// Versions that its cache must reach before it decides again.
    pub(super) awaited: [u16; SLOTS],
    /// Least number that the stamp of an object must show.
    pub(super) needed: [u8; SLOTS],
    /// Number on its stamps.
    pub(super) n: u8,
    /// Watches that stand still, one bit for each kind; only the search by disturbances uses it.
    pub(super) held: u8,
    /// Whether the process stands still, likewise.
    pub(super) stalled: bool,
    /// The rest of its plan; the first write is on its way.
    pub(super) plan: Vec<Flight>,
}

/// Faults and toggles spent so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Spent {
    pub(super) unknown: u8,
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
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct State {
    pub(super) truth: [Copy; SLOTS],
    pub(super) endpoints: [u16; 2],
    pub(super) leaders: [Leader; 2],
    /// Writes whose senders gave up on them.
    pub(super) late: Vec<Flight>,
    /// Greatest weight of each ReplicaSet since the last tick.
    pub(super) recent_weight: [u8; 3],
    pub(super) spent: Spent,
}

impl State {
    /// Makes equal situations equal: renumbers versions, drops writes that can no longer land. Returns the fingerprint.
    pub(super) fn settle(&mut self, slot_of: impl Fn(WriteId) -> usize) -> u64 {
        let truth = self.truth;
        self.late.retain(|flight| {
            flight.version == 0 || truth[slot_of(flight.write)].version == flight.version
        });
        for slot in 0..SLOTS {
            self.renumber(slot, &slot_of);
        }
        self.late.sort_unstable();
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn renumber(&mut self, slot: usize, slot_of: &impl Fn(WriteId) -> usize) {
        for leader in &mut self.leaders {
            if leader.awaited[slot] <= leader.cache[slot].version {
                leader.awaited[slot] = 0;
            }
        }
        let mut versions: Vec<&mut u16> = vec![&mut self.truth[slot].version];
        for leader in &mut self.leaders {
            versions.push(&mut leader.cache[slot].version);
            versions.push(&mut leader.awaited[slot]);
            let mine = leader.plan.iter_mut().filter(|flight| slot_of(flight.write) == slot);
            versions.extend(mine.map(|flight| &mut flight.version));
        }
        let late = self.late.iter_mut().filter(|flight| slot_of(flight.write) == slot);
        versions.extend(late.map(|flight| &mut flight.version));
        let mut known: Vec<u16> = versions.iter().map(|version| **version).collect();
        known.push(0);
        known.sort_unstable();
        known.dedup();
        for version in versions {
            let rank = known.binary_search(version).unwrap_or(0);
            *version = u16::try_from(rank).unwrap_or(u16::MAX);
        }
    }
}
