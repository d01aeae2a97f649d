//! The memory tier: exact LRU, bounded by entries and by bytes at once.
//!
//! The lock covers pointer work only: keys and values are copied before it is taken, and what an insert
//! pushes out is freed after it is released. Invariant: at every moment both limits hold, and `bytes` is
//! the sum of `charge` over the entries.

use async_trait::async_trait;
use bytes::Bytes;
use hashlink::LinkedHashMap;
use hashlink::linked_hash_map::Entry as Slot;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline};
use parking_lot::Mutex;

use super::{Entry, Store, StoreStats, Version};
use crate::error::Result;

/// What an entry costs in memory beyond the bytes of its key, version and value: map slot, links, both
/// ends of its life, reference counts.
pub const ENTRY_OVERHEAD_BYTES: u64 = 160;

/// Values up to this size are copied out of the buffer they came in; a slice would keep all of a receive
/// buffer alive for one small value. Above it the buffer is mostly value, and the copy would cost more.
const COPY_BYTES_MAX: usize = 16 << 10;

/// How much the memory tier may hold. Both limits are hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Entries (`LRU_SIZE`).
    pub entries_max: usize,
    /// Bytes of keys, versions and values, and [`ENTRY_OVERHEAD_BYTES`] for each entry (`LRU_MAX_BYTES`).
    pub bytes_max: u64,
}

/// The memory tier.
#[derive(Debug)]
pub struct MemoryStore {
    config: MemoryConfig,
    clock: Clock,
    lru: Mutex<Lru>,
}

#[derive(Debug, Default)]
struct Lru {
    /// From the least to the most recently used.
    entries: LinkedHashMap<EntryKey, Entry>,
    stats: StoreStats,
    /// Where the next sweep begins; `None`: at the least recently used.
    sweep_from: Option<EntryKey>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(config: MemoryConfig, clock: Clock) -> Self {
        Self {
            config,
            clock,
            lru: Mutex::default(),
        }
    }

    /// Looks at the next `entries` entries and frees those whose time has passed. Called again and again
    /// it comes by all of them, so that space is reclaimed without reads.
    pub fn sweep(&self, entries: usize) {
        let now = self.clock.now();
        let mut dead = Vec::new();
        let mut lru = self.lru.lock();
        let from = lru.sweep_from.take();
        let mut cursor = match from.map(|key| lru.entries.entry(key)) {
            Some(Slot::Occupied(slot)) => slot.cursor_mut(),
            _ => lru.entries.cursor_front_mut(),
        };
        for _ in 0..entries {
            let Some((key, entry)) = cursor.current() else {
                break;
            };
            if !entry.is_live(now) {
                dead.push(key.clone());
            }
            cursor.move_next();
        }
        lru.sweep_from = cursor.current().map(|(key, _)| key.clone());
        let freed: Vec<_> = dead.iter().filter_map(|key| lru.expire(key)).collect();
        drop(lru);
        drop(freed);
    }

    fn insert(&self, key: &EntryKey, entry: Entry) {
        let charge = charge(key, &entry);
        let mut lru = self.lru.lock();
        let mut freed = Vec::new();
        freed.extend(lru.remove(key));
        // What does not fit at all is declined; the older copy is gone all the same.
        if charge <= self.config.bytes_max {
            lru.stats.bytes += charge;
            lru.entries.insert(key.clone(), entry);
            freed.extend(std::iter::from_fn(|| lru.evict(&self.config)));
        }
        drop(lru);
        drop(freed);
    }
}

impl Lru {
    fn remove(&mut self, key: &EntryKey) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.stats.bytes -= charge(key, &entry);
        Some(entry)
    }

    fn expire(&mut self, key: &EntryKey) -> Option<Entry> {
        let entry = self.remove(key)?;
        self.stats.expired += 1;
        Some(entry)
    }

    /// Removes the least recently used entry if a limit is passed.
    fn evict(&mut self, limits: &MemoryConfig) -> Option<Entry> {
        if self.entries.len() > limits.entries_max {
            self.stats.evicted_for_entries += 1;
        } else if self.stats.bytes > limits.bytes_max {
            self.stats.evicted_for_bytes += 1;
        } else {
            return None;
        }
        let (key, entry) = self.entries.pop_front()?;
        self.stats.bytes -= charge(&key, &entry);
        Some(entry)
    }
}

/// The bytes that an entry counts for.
fn charge(key: &EntryKey, entry: &Entry) -> u64 {
    let bytes = key.as_bytes().len() + entry.version.as_bytes().len() + entry.value.len();
    ENTRY_OVERHEAD_BYTES + bytes as u64
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &EntryKey, _: Deadline) -> Result<Option<Entry>> {
        Ok(self.get_now(key))
    }

    fn get_now(&self, key: &EntryKey) -> Option<Entry> {
        let now = self.clock.now();
        let mut lru = self.lru.lock();
        let entry = lru.entries.to_back(key)?;
        if entry.is_live(now) {
            return Some(entry.clone());
        }
        let expired = lru.expire(key);
        drop(lru);
        drop(expired);
        None
    }

    async fn put(&self, key: &EntryKey, mut entry: Entry, _: Deadline) -> Result<Version> {
        if entry.value.len() <= COPY_BYTES_MAX {
            entry.value = Bytes::copy_from_slice(&entry.value);
        }
        let version = entry.version.clone();
        self.insert(key, entry);
        Ok(version)
    }

    async fn delete(&self, key: &EntryKey, _: Deadline) -> Result<()> {
        let removed = self.lru.lock().remove(key);
        drop(removed);
        Ok(())
    }

    async fn check(&self, _: Deadline) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        let lru = self.lru.lock();
        StoreStats {
            entries: lru.entries.len() as u64,
            ..lru.stats
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use milena_server::clock::UnixMillis;
    use proptest::prelude::*;

    use super::*;
    use crate::store::contract::{self, Subject, Traits};

    fn store(entries_max: usize, bytes_max: u64) -> (MemoryStore, Clock) {
        let clock = Clock::manual(UnixMillis(1_000_000));
        (
            MemoryStore::new(
                MemoryConfig {
                    entries_max,
                    bytes_max,
                },
                clock.clone(),
            ),
            clock,
        )
    }

    fn key(name: &str) -> EntryKey {
        EntryKey::new("b", name.as_bytes()).unwrap()
    }

    fn of_bytes(bytes: usize) -> Entry {
        Entry::new(Bytes::from(vec![7; bytes]))
    }

    fn holds(store: &MemoryStore, names: &[&str]) -> Vec<bool> {
        let lru = store.lru.lock();
        names
            .iter()
            .map(|name| lru.entries.contains_key(&key(name)))
            .collect()
    }

    async fn touch(store: &MemoryStore, name: &str) -> bool {
        let deadline = store.clock.deadline_in(Duration::from_secs(1));
        store.get(&key(name), deadline).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn passes_the_contract() {
        let (store, clock) = store(10_000, 1 << 30);
        contract::run(&Subject {
            store: Arc::new(store),
            clock,
            traits: Traits::default(),
        })
        .await;
    }

    #[tokio::test]
    async fn the_least_recently_used_goes_first() {
        let (store, _) = store(3, 1 << 20);
        for name in ["a", "b", "c"] {
            store.insert(&key(name), of_bytes(1));
        }
        assert!(touch(&store, "a").await);
        store.insert(&key("d"), of_bytes(1));
        assert_eq!(
            holds(&store, &["a", "b", "c", "d"]),
            [true, false, true, true]
        );
        assert_eq!(store.stats().evicted_for_entries, 1);
    }

    #[tokio::test]
    async fn bytes_are_a_limit_of_their_own() {
        let room_for_two = 2 * charge(&key("a"), &of_bytes(1_000));
        let (store, _) = store(100, room_for_two);
        for name in ["a", "b", "c"] {
            store.insert(&key(name), of_bytes(1_000));
        }
        assert_eq!(holds(&store, &["a", "b", "c"]), [false, true, true]);
        assert_eq!(
            (store.stats().bytes, store.stats().evicted_for_bytes),
            (room_for_two, 1)
        );
    }

    #[tokio::test]
    async fn a_value_that_cannot_fit_is_declined_and_its_older_copy_is_gone() {
        let (store, _) = store(100, 1_000);
        store.insert(&key("a"), of_bytes(10));
        store.insert(&key("b"), of_bytes(10));
        store.insert(&key("a"), of_bytes(1_001));
        assert_eq!(holds(&store, &["a", "b"]), [false, true]);
    }

    #[test]
    fn a_sweep_frees_the_expired_without_a_read_and_keeps_the_rest() {
        let (store, clock) = store(1_000, 1 << 20);
        let soon = Some(clock.now().after(Duration::from_secs(1)));
        for index in 0..100 {
            let fresh_until = soon.filter(|_| index % 2 == 0);
            store.insert(
                &key(&index.to_string()),
                Entry {
                    fresh_until,
                    ..of_bytes(1)
                },
            );
        }
        clock.advance(Duration::from_secs(1));
        for _ in 0..20 {
            store.sweep(5);
        }
        let stats = store.stats();
        assert_eq!((stats.entries, stats.expired), (50, 50));
        assert_eq!(
            stats.bytes,
            store
                .lru
                .lock()
                .entries
                .iter()
                .map(|(k, e)| charge(k, e))
                .sum::<u64>()
        );
    }

    #[test]
    fn a_sweep_goes_on_when_its_mark_is_gone() {
        let (store, clock) = store(1_000, 1 << 20);
        let fresh_until = Some(clock.now().after(Duration::from_secs(1)));
        for index in 0..10 {
            store.insert(
                &key(&index.to_string()),
                Entry {
                    fresh_until,
                    ..of_bytes(1)
                },
            );
        }
        store.sweep(4);
        store.lru.lock().remove(&key("4"));
        clock.advance(Duration::from_secs(1));
        store.sweep(9);
        assert_eq!(store.stats().entries, 0);
    }

    proptest! {
        /// Against the plainest LRU there is: a vector, oldest first.
        #[test]
        fn is_exactly_lru_within_both_limits(steps in prop::collection::vec((0..3_u8, 0..12_u8, 0..600_usize), 1..200)) {
            let (entries_max, bytes_max) = (5, 2_000);
            let (store, _) = store(entries_max, bytes_max);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut model: Vec<(EntryKey, Entry)> = Vec::new();
            for (verb, name, bytes) in steps {
                let key = key(&name.to_string());
                let position = model.iter().position(|(known, _)| *known == key);
                let taken = position.map(|position| model.remove(position));
                match verb {
                    0 => {
                        let hit = runtime.block_on(touch(&store, &name.to_string()));
                        prop_assert_eq!(hit, taken.is_some());
                        model.extend(taken);
                    }
                    1 => {
                        store.insert(&key, of_bytes(bytes));
                        model.push((key, of_bytes(bytes)));
                        let total = |model: &[(EntryKey, Entry)]| model.iter().map(|(k, e)| charge(k, e)).sum::<u64>();
                        while model.len() > entries_max || total(&model) > bytes_max {
                            model.remove(0);
                        }
                    }
                    _ => drop(store.lru.lock().remove(&key)),
                }
                let held: Vec<_> = store.lru.lock().entries.iter().map(|(k, e)| (k.clone(), e.clone())).collect();
                prop_assert_eq!(&held, &model);
                prop_assert!(store.stats().bytes <= bytes_max);
            }
        }
    }
}
