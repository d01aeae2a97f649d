//! [`Ghosts`]: keys that were evicted, remembered by their hashes, the latest so many.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::slots::KeyHash;

/// Hashes in the order in which they came, each at most once.
#[derive(Debug)]
pub(super) struct Ghosts {
    /// The oldest first. What was forgotten keeps its place.
    hashes: VecDeque<KeyHash>,
    /// The number of `hashes[0]`; they are counted from the first that ever came, and around.
    first: u32,
    /// The numbers of those that are remembered.
    index: HashTable<u32>,
}

impl Ghosts {
    /// None, with room for `len` before it has to grow.
    pub(super) fn with_capacity(len: usize) -> Self {
        Self {
            hashes: VecDeque::with_capacity(len),
            first: 0,
            index: HashTable::with_capacity(len),
        }
    }

    /// Remembers `hash`, and no more than the latest `len_max`.
    pub(super) fn remember(&mut self, hash: KeyHash, len_max: u64) {
        self.forget(hash);
        while self.hashes.len() as u64 >= len_max {
            let Some(oldest) = self.hashes.pop_front() else {
                return;
            };
            let first = self.first;
            let is_first = |number: &u32| *number == first;
            if let Ok(found) = self.index.find_entry(oldest.spread(), is_first) {
                found.remove();
            }
            self.first = first.wrapping_add(1);
        }
        let len = u32::try_from(self.hashes.len()).expect("there are no more ghosts than slots");
        let number = self.first.wrapping_add(len);
        self.hashes.push_back(hash);
        let hash_of = |number: &u32| hash_of(&self.hashes, self.first, *number).spread();
        self.index.insert_unique(hash.spread(), number, hash_of);
    }

    /// Whether `hash` was remembered. It is not any more.
    pub(super) fn forget(&mut self, hash: KeyHash) -> bool {
        let is_it = |number: &u32| hash_of(&self.hashes, self.first, *number) == hash;
        match self.index.find_entry(hash.spread(), is_it) {
            Ok(found) => {
                found.remove();
                true
            }
            Err(_) => false,
        }
    }
}

fn hash_of(hashes: &VecDeque<KeyHash>, first: u32, number: u32) -> KeyHash {
    hashes[number.wrapping_sub(first) as usize]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list of what came, in which what was forgotten keeps its place.
        #[test]
        fn the_latest_are_remembered_and_each_only_once(
            first in prop_oneof![Just(0), Just(u32::MAX - 3)],
            steps in prop::collection::vec((any::<bool>(), 0..12_u32, 1..6_u64), 1..200),
        ) {
            let mut ghosts = Ghosts { first, ..Ghosts::with_capacity(0) };
            let mut model: Vec<Option<u32>> = Vec::new();
            for (remembers, hash, len_max) in steps {
                let known = model.iter_mut().find(|known| **known == Some(hash));
                let was_known = known.map(Option::take).is_some();
                if remembers {
                    ghosts.remember(KeyHash(hash), len_max);
                    model.push(Some(hash));
                    let excess = model.len().saturating_sub(usize::try_from(len_max).unwrap());
                    model.drain(..excess);
                } else {
                    prop_assert_eq!(ghosts.forget(KeyHash(hash)), was_known);
                }
                prop_assert_eq!(ghosts.hashes.len(), model.len());
                prop_assert_eq!(ghosts.index.len(), model.iter().flatten().count());
            }
        }
    }
}
