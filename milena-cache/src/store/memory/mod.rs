//! The memory tier: bounded by entries and by bytes at once; an eviction policy says what leaves first.
//!
//! A small store has one lock and one order; a large one is split into shards with a lock and an order each, and limits
//! for all together. A lock covers pointer work only: keys are hashed, keys and values copied before it is taken, and
//! what an insert pushes out is freed after it is released. Invariant: both limits hold at every moment.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hashbrown::DefaultHashBuilder;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline};
use parking_lot::Mutex;

pub use self::policy::EvictionPolicy;
use self::room::Room;
use self::shard::{Newcomer, Shard};
use self::slots::{ENTRIES_MAX, KeyHash};
use self::stored::Stored;
use super::{Entry, Store, StoreStats, Version};
use crate::error::Result;

mod ghosts;
mod lru;
mod policy;
mod room;
mod s3_fifo;
mod shard;
mod slots;
mod stored;
#[cfg(test)]
mod tests;

/// What an entry costs in memory beyond the bytes of its key, version and value: its slot (76), its place in the index
/// (6 to 16), the value's reference count (32, once it was read), and what the allocator rounds up. Measured in
/// docs/benchmarks.md: 135 to 147 for values of 100 B and 1 KiB, with S3-FIFO and its ghosts 138 to 147. What the
/// allocator rounds up for other lengths (up to a quarter of the value) is not in it.
pub const ENTRY_OVERHEAD_BYTES: u64 = 150;

/// A store is split only into shards that hold so many entries and bytes on average. In a shard of fewer the order of
/// use would not be that of the whole, and too few values of the largest size would fit.
const SHARD_ENTRIES_MIN: u64 = 2_048;
const SHARD_BYTES_MIN: u64 = 16 << 20;

/// Shards that there are at most.
const SHARDS_MAX: u64 = 64;

/// Index and ghosts of a shard have room for so many entries from the start, if the limits allow as many; for more they
/// grow, under the lock.
const RESERVED_MAX: u64 = 1 << 20;

/// What an insert frees, as a rule: an older value, or what it evicts.
const FREED_USUALLY: usize = 2;

/// How much the memory tier may hold, and what leaves it first. Both limits are hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Entries (`LRU_SIZE`); beyond 4,294,967,295 it is these.
    pub entries_max: usize,
    /// Bytes of keys, versions and values, and [`ENTRY_OVERHEAD_BYTES`] for each entry (`LRU_MAX_BYTES`).
    pub bytes_max: u64,
    /// What leaves first (`EVICTION_POLICY`).
    pub policy: EvictionPolicy,
}

impl MemoryConfig {
    /// Both limits, under the policy that is the default.
    #[must_use]
    pub fn new(entries_max: usize, bytes_max: u64) -> Self {
        Self {
            entries_max,
            bytes_max,
            policy: EvictionPolicy::DEFAULT,
        }
    }

    /// A power of two.
    fn shards(&self) -> u64 {
        let by_entries = self.entries_max as u64 / SHARD_ENTRIES_MIN;
        let shards = by_entries.min(self.bytes_max / SHARD_BYTES_MIN);
        1 << shards.clamp(1, SHARDS_MAX).ilog2()
    }
}

/// The memory tier.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    hasher: DefaultHashBuilder,
    room: Room,
    shards: Box<[Locked]>,
    /// The shard that is swept.
    sweeping: AtomicUsize,
}

/// A shard by itself in its cache lines (two, because they are fetched in pairs), so that locks do not share any.
#[derive(Debug)]
#[repr(align(128))]
struct Locked(Mutex<Shard>);

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(config: MemoryConfig, clock: Clock) -> Self {
        let entries_max = config.entries_max.min(ENTRIES_MAX) as u64;
        let shards = config.shards();
        let entries = entries_max.min(config.bytes_max / ENTRY_OVERHEAD_BYTES) / shards;
        let entries = usize::try_from(entries.min(RESERVED_MAX)).unwrap_or(0);
        let shard = |_| Locked(Mutex::new(Shard::new(config.policy, entries)));
        Self {
            clock,
            hasher: DefaultHashBuilder::default(),
            room: Room::new(entries_max, config.bytes_max),
            shards: (0..shards).map(shard).collect(),
            sweeping: AtomicUsize::new(0),
        }
    }

    /// Looks at the next `entries` entries of one shard and frees those whose time has passed. Called again and again
    /// it comes by all of them, so that space is reclaimed without reads.
    pub fn sweep(&self, entries: usize) {
        let now = self.clock.now();
        let number = self.sweeping.load(Ordering::Relaxed);
        let (freed, has_ended) = self.shard(number).lock().sweep(&self.room, entries, now);
        if has_ended {
            self.sweeping
                .store(number.wrapping_add(1), Ordering::Relaxed);
        }
        drop(freed);
    }

    fn insert(&self, key: &EntryKey, entry: Entry) {
        let (number, hash) = self.place_of(key);
        let mut newcomer = Newcomer::new(hash, Stored::new(key, entry));
        let mut freed = Vec::with_capacity(FREED_USUALLY);
        let own = self.shard(number);
        if !self.room.could_hold(newcomer.charge()) {
            // What does not fit at all is declined; the older copy is gone all the same.
            freed.extend(own.lock().remove(&self.room, hash, key));
            return;
        }
        let mut other = number;
        loop {
            let outside = own.lock().insert(&self.room, key, newcomer, &mut freed);
            let Some((still_outside, excess)) = outside else {
                return;
            };
            newcomer = still_outside;
            other = other.wrapping_add(1);
            let other = self.shard(other);
            other.lock().evict(&self.room, excess, &mut freed);
        }
    }

    /// Any number is that of a shard.
    fn shard(&self, number: usize) -> &Mutex<Shard> {
        &self.shards[number & (self.shards.len() - 1)].0
    }

    /// The number of the shard of `key`, and what its index knows of it.
    fn place_of(&self, key: &EntryKey) -> (usize, KeyHash) {
        let [a, b, c, d, number @ ..] = self.hasher.hash_one(key.as_bytes()).to_le_bytes();
        let number = u32::from_le_bytes(number) as usize;
        (number, KeyHash::new(u32::from_le_bytes([a, b, c, d])))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &EntryKey, _: Deadline) -> Result<Option<Entry>> {
        Ok(self.get_now(key))
    }

    fn get_now(&self, key: &EntryKey) -> Option<Entry> {
        let now = self.clock.now();
        let (number, hash) = self.place_of(key);
        let found = self.shard(number).lock().get(&self.room, hash, key, now);
        found?.ok()
    }

    async fn put(&self, key: &EntryKey, entry: Entry, _: Deadline) -> Result<Version> {
        let version = entry.version.clone();
        self.insert(key, entry);
        Ok(version)
    }

    async fn delete(&self, key: &EntryKey, _: Deadline) -> Result<()> {
        let (number, hash) = self.place_of(key);
        let removed = self.shard(number).lock().remove(&self.room, hash, key);
        drop(removed);
        Ok(())
    }

    async fn check(&self, _: Deadline) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        let mut stats = StoreStats {
            entries: self.room.entries(),
            bytes: self.room.bytes(),
            ..StoreStats::default()
        };
        for shard in &self.shards {
            let shard = shard.0.lock();
            let gone = shard.gone();
            stats.evicted_for_entries += gone.evicted_for_entries;
            stats.evicted_for_bytes += gone.evicted_for_bytes;
            stats.expired += gone.expired;
        }
        stats
    }
}
