//! [`Slots`]: every entry in a slot of its own, found by key, in one of the queues of the eviction policy.
//!
//! Knows no limits and no policy. A slot takes 76 bytes: one cache line with the entry, and 12 bytes of links, which
//! lie apart, so that moving an entry within its queue touches no other entry. Invariants: a key has one slot at
//! most; a slot with an entry is in the index and in one queue, any other is in the chain of the vacant.

use std::mem;

use hashbrown::HashTable;
use milena_cluster::key::EntryKey;

use super::stored::Stored;
#[cfg(test)]
use crate::store::Entry;
use crate::store::chunks::Chunks;

/// The number of no slot.
const NONE: u32 = u32::MAX;

/// Entries that there can be at once.
pub(super) const ENTRIES_MAX: usize = NONE as usize;

/// The number of a slot that holds an entry.
pub(super) type Slot = u32;

/// What the index knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyHash(u32);

impl KeyHash {
    /// The others are the standing's.
    const BITS: u32 = 29;

    /// Of a hash of which all bits are as good.
    pub(super) const fn new(hash: u32) -> Self {
        Self(hash & ((1 << Self::BITS) - 1))
    }

    /// As a hash table takes it: low bits for the place, high bits to tell apart what is near.
    fn spread(self) -> u64 {
        u64::from(self.0) << (u64::BITS - Self::BITS) | u64::from(self.0)
    }

    /// Its low bits, and its high ones.
    pub(super) const fn split(self) -> (u16, u16) {
        let [low, lower, ..] = self.0.to_le_bytes();
        let [.., high, higher] = (self.0 << (u32::BITS - Self::BITS)).to_le_bytes();
        let (low, high) = ([low, lower], [high, higher]);
        (u16::from_le_bytes(low), u16::from_le_bytes(high))
    }
}

/// The number of a queue; what it is for is the policy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueId(pub(super) u8);

/// Queues that there are; a bit tells them apart.
const QUEUES: usize = 2;

/// Entries from the oldest to the newest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    oldest: u32,
    newest: u32,
    /// Entries in it.
    pub(super) entries: u64,
    /// The sum of their charges.
    pub(super) bytes: u64,
}

impl Queue {
    fn count_in(&mut self, charge: u64) {
        self.entries += 1;
        self.bytes += charge;
    }

    fn count_out(&mut self, charge: u64) {
        self.entries -= 1;
        self.bytes -= charge;
    }
}

#[derive(Clone, Copy, Debug)]
struct Links {
    older: u32,
    newer: u32,
    tag: Tag,
}

/// Where the policy has put an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    queue: QueueId,
    uses: u8,
}

impl Standing {
    /// Uses that can be counted.
    pub(super) const USES_MAX: u8 = 3;

    /// In `queue`, and not used yet.
    pub(super) const fn new(queue: QueueId) -> Self {
        Self { queue, uses: 0 }
    }
}

/// The hash of an entry's key and, above it, where it stands: the queue, and two bits of uses.
#[derive(Clone, Copy, Debug)]
struct Tag(u32);

impl Tag {
    fn new(hash: KeyHash, standing: Standing) -> Self {
        let Standing { queue, uses } = standing;
        debug_assert!(usize::from(queue.0) < QUEUES && uses <= Standing::USES_MAX);
        Self(u32::from(queue.0 << 2 | uses) << KeyHash::BITS | hash.0)
    }

    fn hash(self) -> KeyHash {
        KeyHash::new(self.0)
    }

    fn standing(self) -> Standing {
        let bits = (self.0 >> KeyHash::BITS) as u8;
        Standing {
            queue: QueueId(bits >> 2),
            uses: bits & Standing::USES_MAX,
        }
    }

    fn set(&mut self, standing: Standing) {
        *self = Self::new(self.hash(), standing);
    }
}

/// Every entry, found by key, in a queue.
#[derive(Debug)]
pub(super) struct Slots {
    index: HashTable<Slot>,
    links: Chunks<Links>,
    stored: Chunks<Option<Stored>>,
    queues: [Queue; QUEUES],
    /// The first vacant slot; the next is its `newer`.
    vacant: u32,
}

impl Slots {
    /// Without entries, and with an index that need not grow for the first `entries`.
    pub(super) fn with_capacity(entries: usize) -> Self {
        let empty = Queue {
            oldest: NONE,
            newest: NONE,
            entries: 0,
            bytes: 0,
        };
        Self {
            index: HashTable::with_capacity(entries),
            links: Chunks::new(),
            stored: Chunks::new(),
            queues: [empty; QUEUES],
            vacant: NONE,
        }
    }

    /// The slot of `key`, whose hash is `hash`.
    pub(super) fn find(&self, hash: KeyHash, key: &EntryKey) -> Option<Slot> {
        let is_of = |slot: &Slot| self.links[*slot].tag.hash() == hash && self[*slot].is_of(key);
        self.index.find(hash.spread(), is_of).copied()
    }

    /// Gives `stored`, whose key has no slot yet, a slot: the newest of the queue where it stands.
    pub(super) fn insert(&mut self, hash: KeyHash, stored: Stored, standing: Standing) -> Slot {
        let links = Links {
            older: NONE,
            newer: NONE,
            tag: Tag::new(hash, standing),
        };
        let slot = if self.vacant == NONE {
            self.links.push(links);
            self.stored.push(Some(stored));
            self.links.len() - 1
        } else {
            let slot = self.vacant;
            self.vacant = mem::replace(&mut self.links[slot], links).newer;
            self.stored[slot] = Some(stored);
            slot
        };
        let links = &self.links;
        self.index
            .insert_unique(hash.spread(), slot, |slot| links[*slot].tag.hash().spread());
        let charge = self[slot].charge();
        self.queue_mut(standing.queue).count_in(charge);
        self.link(slot, standing.queue);
        slot
    }

    /// Empties `slot`; gives what was in it.
    pub(super) fn remove(&mut self, slot: Slot) -> Stored {
        let hash = self.hash(slot);
        self.index
            .find_entry(hash.spread(), |indexed| *indexed == slot)
            .expect("a slot with an entry is in the index")
            .remove();
        self.unlink(slot);
        let stored = self.stored[slot].take().expect(HELD);
        let links = &mut self.links[slot];
        links.newer = mem::replace(&mut self.vacant, slot);
        let queue = links.tag.standing().queue;
        self.queue_mut(queue).count_out(stored.charge());
        stored
    }

    /// Makes `slot` the newest of `queue`.
    pub(super) fn move_to(&mut self, slot: Slot, queue: QueueId) {
        let from = self.standing(slot).queue;
        if from != queue {
            let charge = self[slot].charge();
            self.queue_mut(from).count_out(charge);
            self.queue_mut(queue).count_in(charge);
        } else if self.queue(queue).newest == slot {
            return;
        }
        self.unlink(slot);
        self.link(slot, queue);
    }

    /// The slot that has been in `queue` for longest.
    pub(super) fn oldest(&self, queue: QueueId) -> Option<Slot> {
        let oldest = self.queue(queue).oldest;
        (oldest != NONE).then_some(oldest)
    }

    pub(super) fn queue(&self, queue: QueueId) -> &Queue {
        &self.queues[usize::from(queue.0)]
    }

    pub(super) fn hash(&self, slot: Slot) -> KeyHash {
        self.links[slot].tag.hash()
    }

    pub(super) fn standing(&self, slot: Slot) -> Standing {
        self.links[slot].tag.standing()
    }

    /// A count that is the policy's.
    pub(super) fn uses(&self, slot: Slot) -> u8 {
        self.standing(slot).uses
    }

    /// At most [`Standing::USES_MAX`].
    pub(super) fn set_uses(&mut self, slot: Slot, uses: u8) {
        let tag = &mut self.links[slot].tag;
        let queue = tag.standing().queue;
        tag.set(Standing { queue, uses });
    }

    /// Entries held.
    pub(super) fn entries(&self) -> u64 {
        self.queues.iter().map(|queue| queue.entries).sum()
    }

    /// The sum of their charges.
    pub(super) fn bytes(&self) -> u64 {
        self.queues.iter().map(|queue| queue.bytes).sum()
    }

    /// Slots that there are, the vacant ones too; each has a number below.
    pub(super) fn places(&self) -> u32 {
        self.stored.len()
    }

    /// What is in the slot with this number.
    pub(super) fn at(&self, place: u32) -> Option<&Stored> {
        self.stored[place].as_ref()
    }

    /// What `queue` holds, the oldest first.
    #[cfg(test)]
    pub(super) fn in_order(&self, queue: QueueId) -> Vec<(EntryKey, Entry)> {
        let newer = |slot: &Slot| Some(self.links[*slot].newer).filter(|newer| *newer != NONE);
        std::iter::successors(self.oldest(queue), newer)
            .map(|slot| (self[slot].key(), self[slot].entry()))
            .collect()
    }

    fn queue_mut(&mut self, queue: QueueId) -> &mut Queue {
        &mut self.queues[usize::from(queue.0)]
    }

    fn link(&mut self, slot: Slot, queue: QueueId) {
        let ends = self.queue_mut(queue);
        let older = mem::replace(&mut ends.newest, slot);
        if older == NONE {
            ends.oldest = slot;
        } else {
            self.links[older].newer = slot;
        }
        let links = &mut self.links[slot];
        (links.older, links.newer) = (older, NONE);
        let uses = links.tag.standing().uses;
        links.tag.set(Standing { queue, uses });
    }

    fn unlink(&mut self, slot: Slot) {
        let Links { older, newer, tag } = self.links[slot];
        let queue = tag.standing().queue;
        if older == NONE {
            self.queue_mut(queue).oldest = newer;
        } else {
            self.links[older].newer = newer;
        }
        if newer == NONE {
            self.queue_mut(queue).newest = older;
        } else {
            self.links[newer].older = older;
        }
    }
}

const HELD: &str = "whoever has a slot's number knows that it holds an entry";

impl std::ops::Index<Slot> for Slots {
    type Output = Stored;

    fn index(&self, slot: Slot) -> &Stored {
        self.stored[slot].as_ref().expect(HELD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_take_twelve_bytes() {
        assert_eq!(size_of::<Links>(), 12);
    }

    #[test]
    fn a_hash_and_where_an_entry_stands_do_not_touch_each_other() {
        for hash in [0, 1, (1 << KeyHash::BITS) - 1].map(KeyHash::new) {
            let mut tag = Tag::new(hash, Standing::new(QueueId(0)));
            for queue in [QueueId(1), QueueId(0)] {
                for uses in [Standing::USES_MAX, 0] {
                    tag.set(Standing { queue, uses });
                    assert_eq!(tag.standing(), Standing { queue, uses });
                    assert_eq!(tag.hash(), hash);
                }
            }
        }
    }
}
