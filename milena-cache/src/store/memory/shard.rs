//! [`Shard`]: the part of the memory tier that one lock protects: every key whose hash chose it.

use milena_cluster::key::EntryKey;
use milena_server::clock::UnixMillis;

use super::policy::{EvictionPolicy, Excess, Policy};
use super::room::Room;
use super::slots::{KeyHash, Slot, Slots, Standing};
use super::stored::Stored;
use crate::store::{Entry, StoreStats};

/// Entries that one hold of the lock evicts at most.
const EVICTIONS_MAX: usize = 16;

/// A sweep passes over so many places at most for each entry that it was asked to look at.
const SWEPT_PLACES: usize = 8;

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) slots: Slots,
    policy: Box<dyn Policy>,
    /// What went; what is there, the room knows.
    gone: StoreStats,
    /// Where the next sweep begins.
    swept: u32,
}

/// An entry that is to come in.
#[derive(Debug)]
pub(super) struct Newcomer {
    hash: KeyHash,
    stored: Stored,
    /// That of the entry that it replaces.
    standing: Option<Standing>,
}

impl Newcomer {
    pub(super) fn new(hash: KeyHash, stored: Stored) -> Self {
        Self {
            hash,
            stored,
            standing: None,
        }
    }

    pub(super) fn charge(&self) -> u64 {
        self.stored.charge()
    }
}

impl Shard {
    /// Without entries, and ready for so many.
    pub(super) fn new(policy: EvictionPolicy, entries: usize) -> Self {
        Self {
            slots: Slots::with_capacity(entries),
            policy: policy.begin(),
            gone: StoreStats::default(),
            swept: 0,
        }
    }

    /// The entry of `key`, or, as an error, what has expired and was removed.
    pub(super) fn get(
        &mut self,
        room: &Room,
        hash: KeyHash,
        key: &EntryKey,
        now: UnixMillis,
    ) -> Option<Result<Entry, Stored>> {
        let slot = self.slots.find(hash, key)?;
        if !self.slots[slot].is_live(now) {
            return Some(Err(self.expire(room, slot)));
        }
        self.policy.used(&mut self.slots, slot);
        Some(Ok(self.slots[slot].entry()))
    }

    /// Removes what `key` has, and lets `newcomer` in if there is room, or can be made within one hold of the lock.
    /// Else it comes back, with what there is too much of. `freed` is given what there is to free.
    pub(super) fn insert(
        &mut self,
        room: &Room,
        key: &EntryKey,
        mut newcomer: Newcomer,
        freed: &mut Vec<Stored>,
    ) -> Option<(Newcomer, Excess)> {
        if let Some(slot) = self.slots.find(newcomer.hash, key) {
            newcomer.standing = Some(self.slots.standing(slot));
            freed.push(self.remove_slot(room, slot));
        }
        let mut evictions = 0;
        while let Err(excess) = room.take(newcomer.charge()) {
            if evictions == EVICTIONS_MAX || !self.evict(room, excess, freed) {
                return Some((newcomer, excess));
            }
            evictions += 1;
        }
        let Newcomer {
            hash,
            stored,
            standing,
        } = newcomer;
        if let Some(standing) = standing {
            let slot = self.slots.insert(hash, stored, standing);
            self.policy.used(&mut self.slots, slot);
        } else {
            let queue = self.policy.admit(hash);
            self.slots.insert(hash, stored, Standing::new(queue));
        }
        None
    }

    pub(super) fn remove(&mut self, room: &Room, hash: KeyHash, key: &EntryKey) -> Option<Stored> {
        let slot = self.slots.find(hash, key)?;
        Some(self.remove_slot(room, slot))
    }

    /// Looks at the next `entries` entries; gives those that have expired, and whether it came to the end.
    pub(super) fn sweep(
        &mut self,
        room: &Room,
        entries: usize,
        now: UnixMillis,
    ) -> (Vec<Stored>, bool) {
        let mut expired = Vec::new();
        let mut looked_at = 0;
        for _ in 0..entries.saturating_mul(SWEPT_PLACES) {
            if looked_at == entries || self.swept == self.slots.places() {
                break;
            }
            if let Some(stored) = self.slots.at(self.swept) {
                looked_at += 1;
                if !stored.is_live(now) {
                    expired.push(self.expire(room, self.swept));
                }
            }
            self.swept += 1;
        }
        let has_ended = self.swept == self.slots.places();
        if has_ended {
            self.swept = 0;
        }
        (expired, has_ended)
    }

    /// What went.
    pub(super) fn gone(&self) -> &StoreStats {
        &self.gone
    }

    /// Makes room, also for what is to come into another shard; says whether there was an entry to evict.
    pub(super) fn evict(&mut self, room: &Room, excess: Excess, freed: &mut Vec<Stored>) -> bool {
        let Some(slot) = self.policy.victim(&mut self.slots, excess) else {
            return false;
        };
        match excess {
            Excess::Entries => self.gone.evicted_for_entries += 1,
            Excess::Bytes => self.gone.evicted_for_bytes += 1,
        }
        freed.push(self.remove_slot(room, slot));
        true
    }

    fn expire(&mut self, room: &Room, slot: Slot) -> Stored {
        self.gone.expired += 1;
        self.remove_slot(room, slot)
    }

    fn remove_slot(&mut self, room: &Room, slot: Slot) -> Stored {
        let stored = self.slots.remove(slot);
        room.give_back(stored.charge());
        stored
    }
}
