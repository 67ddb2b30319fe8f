//! What a search remembers of each state: a fingerprint, where it came from, and where it calmly goes.

use std::hash::{BuildHasherDefault, Hasher};

use super::moves::Move;

/// A map whose keys are small and made by us.
pub(super) type FastMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Mixer>>;

const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xe703_7ed1_a0b4_28db;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let bytes = product.to_le_bytes();
    let half = |from: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[from..from + 8]);
        u64::from_le_bytes(eight)
    };
    half(0) ^ half(8)
}

fn word(bytes: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(eight)
}

/// Returns 64 bits of the bytes. Among 10⁸ states two of the same bits are met with a chance of 0.03 %.
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    let mut mixed = fold(FIRST ^ bytes.len() as u64, SECOND);
    let mut pairs = bytes.chunks_exact(16);
    for pair in &mut pairs {
        mixed = fold(word(&pair[..8]) ^ FIRST, word(&pair[8..]) ^ mixed);
    }
    let rest = pairs.remainder();
    let (low, high) = rest.split_at(rest.len().min(8));
    mixed = fold(word(low) ^ FIRST, word(high) ^ mixed);
    fold(mixed ^ SECOND, FIRST)
}

/// Hashes keys of a few words.
#[derive(Clone, Copy, Default)]
pub(super) struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            self.write_u64(word(chunk));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = fold(self.0 ^ number ^ FIRST, SECOND);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// Number of a state, in the order in which states were met.
pub(super) type Index = u32;

/// There is none.
pub(super) const NONE: Index = Index::MAX;

/// All states met so far.
#[derive(Default)]
pub(super) struct Table {
    fingerprints: Vec<u64>,
    parents: Vec<Index>,
    moves: Vec<Move>,
    /// Where the calm course leads from each state.
    calm: Vec<Index>,
    /// Open addressing: numbers of states, [`NONE`] where free; the length is a power of two.
    places: Vec<Index>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// Bytes that the table takes.
    pub(super) fn bytes(&self) -> usize {
        let of = |count: usize, size: usize| count * size;
        of(self.fingerprints.capacity(), 8)
            + of(self.parents.capacity(), 4)
            + of(self.moves.capacity(), size_of::<Move>())
            + of(self.calm.capacity(), 4)
            + of(self.places.capacity(), 4)
    }

    /// Returns the number of the state, and whether it is new.
    pub(super) fn meet(&mut self, fingerprint: u64, parent: Index, by: Move) -> (Index, bool) {
        if self.places.len() * 3 <= self.fingerprints.len() * 4 {
            self.grow();
        }
        let mask = self.places.len() - 1;
        let mut place = spot(fingerprint, mask);
        loop {
            let found = self.places[place];
            if found == NONE {
                break;
            }
            if self.fingerprints[found as usize] == fingerprint {
                return (found, false);
            }
            place = (place + 1) & mask;
        }
        let index = Index::try_from(self.fingerprints.len()).expect("fewer than 2^32 states");
        self.places[place] = index;
        self.fingerprints.push(fingerprint);
        self.parents.push(parent);
        self.moves.push(by);
        self.calm.push(NONE);
        (index, true)
    }

    fn grow(&mut self) {
        let len = (self.places.len() * 2).max(1024);
        self.places = vec![NONE; len];
        for (index, fingerprint) in self.fingerprints.iter().enumerate() {
            let mut place = spot(*fingerprint, len - 1);
            while self.places[place] != NONE {
                place = (place + 1) & (len - 1);
            }
            self.places[place] = Index::try_from(index).unwrap_or(NONE);
        }
    }

    pub(super) fn calms(&mut self, from: Index, to: Index) {
        self.calm[from as usize] = to;
    }

    /// Returns where a state came from.
    pub(super) fn origin(&self, index: Index) -> (Index, Move) {
        (self.parents[index as usize], self.moves[index as usize])
    }

    /// Follows the calm course from every state. Returns the length of the longest, or a state on a course without end.
    ///
    /// Each state has at most one calm successor, so every course is walked once: from a state whose length is not known to
    /// one whose length is, and back.
    pub(super) fn longest_course(&self) -> Result<u32, Index> {
        const WALKED: u32 = u32::MAX - 1;
        let mut lengths = vec![NONE; self.len()];
        let mut longest = 0;
        let mut way = Vec::new();
        for start in 0..self.len() {
            let mut at = start;
            let mut length = loop {
                match lengths[at] {
                    NONE => {}
                    WALKED => return Err(Index::try_from(at).unwrap_or(NONE)),
                    known => break known,
                }
                lengths[at] = WALKED;
                way.push(at);
                match self.calm[at] {
                    NONE => break 0,
                    next => at = next as usize,
                }
            };
            // The last of the way is at rest itself if the walk ended there.
            let mut ends = way.last().is_some_and(|last| self.calm[*last] == NONE);
            while let Some(at) = way.pop() {
                length += u32::from(!ends);
                ends = false;
                lengths[at] = length;
                longest = longest.max(length);
            }
        }
        Ok(longest)
    }
}

fn spot(fingerprint: u64, mask: usize) -> usize {
    usize::try_from(fingerprint).unwrap_or(usize::MAX) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(edges: &[Option<Index>]) -> Table {
        let mut table = Table::default();
        for (index, to) in edges.iter().enumerate() {
            let (index, new) = table.meet(index as u64 + 77, NONE, Move::Tick);
            assert!(new);
            if let Some(to) = to {
                table.calms(index, *to);
            }
        }
        table
    }

    #[test]
    fn the_longest_calm_course_is_found_and_so_is_one_without_end() {
        assert_eq!(chain(&[Some(1), Some(2), None, Some(0), None]).longest_course(), Ok(3));
        assert!(chain(&[Some(1), Some(2), Some(1), None]).longest_course().is_err());
        assert_eq!(chain(&[None]).longest_course(), Ok(0));
    }

    #[test]
    fn a_state_is_met_once_however_many_there_are() {
        let mut table = Table::default();
        for round in 0..2 {
            for number in 0..5_000_u32 {
                let fingerprint = fingerprint(&number.to_le_bytes());
                assert_eq!(table.meet(fingerprint, NONE, Move::Tick), (number, round == 0));
            }
        }
        assert!(table.bytes() / table.len() < 80);
    }

    #[test]
    fn fingerprints_differ_where_bytes_do() {
        let mut seen = std::collections::BTreeSet::new();
        for length in 0..40 {
            for at in 0..length {
                let mut bytes = vec![7; length];
                bytes[at] = 8;
                assert!(seen.insert(fingerprint(&bytes)), "{length} {at}");
            }
        }
    }
}
