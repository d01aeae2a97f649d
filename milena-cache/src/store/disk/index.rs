//! The index: where the newest record of each key lies.
//!
//! It holds no keys, only 38 bits of their hashes, so several keys may share a hash: whoever looks
//! up gets every candidate and compares keys in the records. A slot takes 16 bytes, and the table
//! around it at most as much again and a little (a table is between 7/16 and 7/8 full, one byte a place).
//!
//! Invariant: every key of which a record is in the log that is not dead has a slot, also while
//! its newest record is a tombstone, expired or damaged: such a slot is *retired*. It answers a miss
//! without a read, and goes on hiding what is older. A slot may outlive its segment for a while
//! (`forget.rs`): whoever finds one skips it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;

use super::format::SegmentId;

const SHARD_BITS: u32 = 6;

/// Set in a slot's length when the record is not to be served.
const RETIRED_BIT: u32 = 1 << 31;

/// Set in a slot's length when the record was read since it was written.
const HOT_BIT: u32 = 1 << 30;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: SegmentId,
    pub(super) offset: u32,
    /// The length of the whole record; less than 2³⁰.
    pub(super) bytes: u32,
}

/// A record that may be that of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) location: Location,
    /// A tombstone, expired or damaged: a miss if it is the key's.
    pub(super) is_retired: bool,
    /// It was read since it was written.
    pub(super) is_hot: bool,
}

impl Candidate {
    /// A record that nobody has read yet.
    pub(super) fn new(location: Location, is_retired: bool) -> Self {
        Self {
            location,
            is_retired,
            is_hot: false,
        }
    }

    /// Its bytes, if it is to be served.
    pub(super) fn live_bytes(&self) -> u64 {
        if self.is_retired {
            0
        } else {
            u64::from(self.location.bytes)
        }
    }
}

/// Almost always there is one, which then takes no allocation.
pub(super) type Candidates = SmallVec<[Candidate; 1]>;

#[derive(Clone, Copy)]
struct Slot {
    tag: u32,
    segment: SegmentId,
    offset: u32,
    bytes_and_bits: u32,
}

impl Slot {
    fn new(hash: u64, candidate: Candidate) -> Self {
        let retired = if candidate.is_retired { RETIRED_BIT } else { 0 };
        let hot = if candidate.is_hot { HOT_BIT } else { 0 };
        Self {
            tag: tag_of(hash),
            segment: candidate.location.segment,
            offset: candidate.location.offset,
            bytes_and_bits: candidate.location.bytes | retired | hot,
        }
    }

    fn candidate(self) -> Candidate {
        Candidate {
            location: Location {
                segment: self.segment,
                offset: self.offset,
                bytes: self.bytes_and_bits & !(RETIRED_BIT | HOT_BIT),
            },
            is_retired: self.bytes_and_bits & RETIRED_BIT != 0,
            is_hot: self.bytes_and_bits & HOT_BIT != 0,
        }
    }

    fn is_at(self, location: Location) -> bool {
        self.segment == location.segment && self.offset == location.offset
    }
}

#[derive(Default)]
struct Shard {
    slots: HashTable<Slot>,
    /// Slots that are not retired.
    entries: u64,
}

/// See the file's head.
pub(super) struct Index {
    shards: Box<[Mutex<Shard>]>,
}

impl Index {
    pub(super) fn new() -> Self {
        let shards = (0..1 << SHARD_BITS).map(|_| Mutex::default());
        Self {
            shards: shards.collect(),
        }
    }

    /// Every record that may be that of a key with this hash.
    pub(super) fn candidates(&self, hash: u64) -> Candidates {
        let shard = self.shard(hash);
        let same_tag = shard.slots.iter_hash(spread(tag_of(hash)));
        same_tag
            .filter(|slot| slot.tag == tag_of(hash))
            .map(|slot| slot.candidate())
            .collect()
    }

    /// Adds a slot, in place of the one at `superseded`, which is given back. Readers see the one or the
    /// other.
    pub(super) fn insert(
        &self,
        hash: u64,
        new: Candidate,
        superseded: Option<Location>,
    ) -> Option<Candidate> {
        let mut shard = self.shard(hash);
        shard.entries += u64::from(!new.is_retired);
        let slot = Slot::new(hash, new);
        if let Some(old) = superseded
            && let Some(found) = shard.find(hash, old)
        {
            let old = std::mem::replace(found, slot).candidate();
            shard.entries -= u64::from(!old.is_retired);
            return Some(old);
        }
        let hash_of = |slot: &Slot| spread(slot.tag);
        shard.slots.insert_unique(spread(slot.tag), slot, hash_of);
        None
    }

    /// Adds a slot if there is none yet of a key that may be the same: `false` if there is.
    pub(super) fn insert_first(&self, hash: u64, new: Candidate) -> bool {
        let mut shard = self.shard(hash);
        let (tag, slot) = (tag_of(hash), Slot::new(hash, new));
        let entry = shard
            .slots
            .entry(spread(tag), |slot| slot.tag == tag, |slot| spread(slot.tag));
        let Entry::Vacant(vacant) = entry else {
            return false;
        };
        vacant.insert(slot);
        shard.entries += u64::from(!new.is_retired);
        true
    }

    /// Says that the record at `location` was read.
    pub(super) fn mark_hot(&self, hash: u64, location: Location) {
        if let Some(found) = self.shard(hash).find(hash, location) {
            found.bytes_and_bits |= HOT_BIT;
        }
    }

    /// Retires the slot at `location`. `false` if it is retired already, or no longer there.
    pub(super) fn retire(&self, hash: u64, location: Location) -> bool {
        let mut shard = self.shard(hash);
        let Some(found) = shard.find(hash, location) else {
            return false;
        };
        if found.candidate().is_retired {
            return false;
        }
        found.bytes_and_bits |= RETIRED_BIT;
        shard.entries -= 1;
        true
    }

    /// Removes the slot at `location`. `true` if it was there and not retired.
    pub(super) fn remove(&self, hash: u64, location: Location) -> bool {
        let mut shard = self.shard(hash);
        let tag = tag_of(hash);
        let is_it = |slot: &Slot| slot.tag == tag && slot.is_at(location);
        let Ok(found) = shard.slots.find_entry(spread(tag), is_it) else {
            return false;
        };
        let (slot, _) = found.remove();
        let is_entry = !slot.candidate().is_retired;
        shard.entries -= u64::from(is_entry);
        is_entry
    }

    /// How many shards there are.
    pub(super) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Removes the slots of this segment from one shard, and gives the number of entries that went.
    pub(super) fn remove_segment_from_shard(&self, segment: SegmentId, shard: usize) -> u64 {
        let mut shard = lock(&self.shards[shard]);
        let mut removed = 0;
        shard.slots.retain(|slot| {
            let stays = slot.segment != segment;
            removed += u64::from(!stays && !slot.candidate().is_retired);
            stays
        });
        shard.entries -= removed;
        removed
    }

    /// Removes every slot.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            *lock(shard) = Shard::default();
        }
    }

    /// How many slots are not retired.
    pub(super) fn entries(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).entries).sum()
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[(hash >> (u64::BITS - SHARD_BITS)) as usize])
    }
}

impl Shard {
    fn find(&mut self, hash: u64, location: Location) -> Option<&mut Slot> {
        let tag = tag_of(hash);
        self.slots
            .find_mut(spread(tag), |slot| slot.tag == tag && slot.is_at(location))
    }
}

/// The low half of the hash; the shard is chosen by its highest bits.
#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
fn tag_of(hash: u64) -> u32 {
    hash as u32
}

/// The table wants its entropy in the lowest and in the highest bits.
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u32, offset: u32) -> Candidate {
        let location = Location {
            segment: SegmentId(segment),
            offset,
            bytes: 100,
        };
        Candidate::new(location, false)
    }

    #[test]
    fn a_slot_takes_sixteen_bytes() {
        assert_eq!(size_of::<Slot>(), 16);
    }

    #[test]
    fn the_newer_location_takes_the_place_of_the_older() {
        let index = Index::new();
        index.insert(7, at(1, 64), None);
        index.insert(7, at(2, 64), Some(at(1, 64).location));
        assert_eq!(index.candidates(7).as_slice(), [at(2, 64)]);
        assert_eq!(index.entries(), 1);
    }

    #[test]
    fn keys_that_share_a_hash_have_a_slot_each() {
        let index = Index::new();
        index.insert(7, at(1, 64), None);
        index.insert(7, at(1, 164), None);
        assert_eq!(index.candidates(7).len(), 2);
        index.insert(7, at(2, 64), Some(at(1, 164).location));
        let found = index.candidates(7);
        assert!(found.len() == 2 && found.contains(&at(1, 64)) && found.contains(&at(2, 64)));
        assert!(index.candidates(8).is_empty());
    }

    #[test]
    fn the_first_of_a_hash_is_added_and_a_second_is_not() {
        let index = Index::new();
        assert!(index.insert_first(7, at(2, 64)));
        assert!(!index.insert_first(7, at(1, 64)));
        assert_eq!(index.candidates(7).as_slice(), [at(2, 64)]);
        assert_eq!(index.entries(), 1);
        assert!(index.insert_first(8, Candidate::new(at(1, 64).location, true)));
        assert_eq!(index.entries(), 1);
    }

    #[test]
    fn a_retired_slot_stays_but_is_no_entry() {
        let index = Index::new();
        index.insert(7, at(1, 64), None);
        assert!(index.retire(7, at(1, 64).location));
        assert!(!index.retire(7, at(1, 64).location), "only once");
        assert!(
            !index.retire(7, at(1, 65).location),
            "not what is not there"
        );
        assert_eq!(index.entries(), 0);
        assert!(index.candidates(7)[0].is_retired);
        index.insert(7, at(2, 64), Some(at(1, 64).location));
        assert_eq!(index.entries(), 1);
    }

    #[test]
    fn a_record_is_hot_until_it_is_written_anew() {
        let index = Index::new();
        index.insert(7, at(1, 64), None);
        index.mark_hot(7, at(1, 65).location);
        assert!(!index.candidates(7)[0].is_hot);
        index.mark_hot(7, at(1, 64).location);
        let hot = index.candidates(7)[0];
        assert!(hot.is_hot && hot.location == at(1, 64).location);
        let replaced = index.insert(7, at(2, 64), Some(at(1, 64).location));
        assert_eq!(replaced, Some(hot));
        assert_eq!(index.candidates(7).as_slice(), [at(2, 64)]);
    }

    #[test]
    fn a_slot_is_removed_once_and_counted_if_it_was_an_entry() {
        let index = Index::new();
        index.insert(7, at(1, 64), None);
        index.insert(7, at(1, 164), None);
        index.retire(7, at(1, 164).location);
        assert!(
            !index.remove(7, at(2, 64).location),
            "not what is not there"
        );
        assert!(!index.remove(7, at(1, 164).location), "it was no entry");
        assert!(index.remove(7, at(1, 64).location));
        assert!(!index.remove(7, at(1, 64).location));
        assert_eq!(index.entries(), 0);
        assert!(index.candidates(7).is_empty());
    }
}
