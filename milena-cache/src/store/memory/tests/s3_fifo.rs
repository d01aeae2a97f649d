//! S3-FIFO.

use proptest::prelude::*;

use super::*;
use crate::store::memory::ghosts::{Mark, mark_of};

const SMALL: QueueId = QueueId(0);
const MAIN: QueueId = QueueId(1);

/// The algorithm in its plainest form: vectors, oldest first, and no end to a search.
#[derive(Default)]
struct Model {
    entries_max: usize,
    bytes_max: u64,
    small: Vec<Known>,
    main: Vec<Known>,
    /// By what the store keeps of a key, which two may share. What has come back keeps its place.
    ghosts: Vec<Option<Mark>>,
    evicted_for: [u64; 2],
}

struct Known {
    key: EntryKey,
    mark: Mark,
    entry: Entry,
    uses: u8,
}

impl Model {
    fn known(&mut self, key: &EntryKey) -> Option<&mut Known> {
        let mut all = self.small.iter_mut().chain(&mut self.main);
        all.find(|known| known.key == *key)
    }

    fn get(&mut self, key: &EntryKey) -> Option<Entry> {
        let known = self.known(key)?;
        known.uses = 3.min(known.uses + 1);
        Some(known.entry.clone())
    }

    fn remove(&mut self, key: &EntryKey) {
        self.small.retain(|known| known.key != *key);
        self.main.retain(|known| known.key != *key);
    }

    fn put(&mut self, key: EntryKey, mark: Mark, entry: Entry) {
        let charge = charge(&key, &entry);
        let uses = self.known(&key).map(|known| 3.min(known.uses + 1));
        let was_main = self.main.iter().any(|known| known.key == key);
        self.remove(&key);
        if charge > self.bytes_max {
            return;
        }
        loop {
            if self.small.len() + self.main.len() == self.entries_max {
                self.evict(|queue| queue.len() as u64);
                self.evicted_for[0] += 1;
            } else if bytes(&self.small) + bytes(&self.main) + charge > self.bytes_max {
                self.evict(bytes);
                self.evicted_for[1] += 1;
            } else {
                break;
            }
        }
        let mut ghosts = self.ghosts.iter_mut().rev();
        let ghost = ghosts.find(|ghost| uses.is_none() && **ghost == Some(mark));
        let was_ghost = ghost.map(Option::take).is_some();
        let queue = if was_main || was_ghost {
            &mut self.main
        } else {
            &mut self.small
        };
        let uses = uses.unwrap_or(0);
        queue.push(Known {
            key,
            mark,
            entry,
            uses,
        });
    }

    /// `size` of a queue is that of which there is too much.
    fn evict(&mut self, size: fn(&[Known]) -> u64) {
        let (small, main) = (size(&self.small), size(&self.main));
        let is_small_full = small * 10 >= small + main && self.small.len() > 1;
        if is_small_full || self.main.is_empty() {
            let oldest = self.small.remove(0);
            if oldest.uses < 2 {
                self.ghosts.push(Some(oldest.mark));
                let len = self.small.len() + self.main.len() + 1;
                let excess = self.ghosts.len().saturating_sub(len - len / 10);
                self.ghosts.drain(..excess);
                return;
            }
            self.main.push(Known { uses: 0, ..oldest });
        } else {
            let oldest = self.main.remove(0);
            let Some(uses) = oldest.uses.checked_sub(1) else {
                return;
            };
            self.main.push(Known { uses, ..oldest });
        }
        self.evict(size);
    }
}

fn bytes(queue: &[Known]) -> u64 {
    queue.iter().map(|it| charge(&it.key, &it.entry)).sum()
}

proptest! {
    #[test]
    fn is_exactly_s3_fifo_within_both_limits(
        (entries_max, bytes_max) in prop_oneof![Just((20, 1 << 20)), Just((1_000, 6_000)), Just((12, 4_000)), Just((1, 1 << 20))],
        steps in prop::collection::vec((0..5_u8, 0..40_u8, 0..600_usize), 1..400),
    ) {
        let (store, _) = store(EvictionPolicy::S3Fifo, entries_max, bytes_max);
        let mut model = Model { entries_max, bytes_max, ..Model::default() };
        for (verb, name, bytes) in steps {
            let name = name.to_string();
            let key = key(&name);
            match verb {
                0..2 => prop_assert_eq!(store.get_now(&key), model.get(&key)),
                2..4 => {
                    store.insert(&key, of_bytes(bytes));
                    let (_, hash) = store.place_of(&key);
                    model.put(key, mark_of(hash), of_bytes(bytes));
                }
                _ => {
                    remove(&store, &name);
                    model.remove(&key);
                }
            }
            for (queue, known) in [(SMALL, &model.small), (MAIN, &model.main)] {
                let held = in_order(&store, queue);
                let known: Vec<_> = known.iter().map(|it| (it.key.clone(), it.entry.clone())).collect();
                prop_assert_eq!(held, known);
            }
            let stats = store.stats();
            prop_assert!(stats.bytes <= bytes_max && stats.entries <= entries_max as u64);
            prop_assert_eq!(counted(&store), (stats.entries, stats.bytes));
            prop_assert_eq!([stats.evicted_for_entries, stats.evicted_for_bytes], model.evicted_for);
        }
    }
}

#[test]
fn what_was_used_twice_outlives_a_scan() {
    let (store, _) = store(EvictionPolicy::S3Fifo, 100, 1 << 20);
    let hot: Vec<_> = (0..50).map(|index| format!("hot {index}")).collect();
    for name in &hot {
        store.insert(&key(name), of_bytes(1));
        for _ in 0..2 {
            assert!(store.get_now(&key(name)).is_some());
        }
    }
    for index in 0..1_000 {
        store.insert(&key(&format!("once {index}")), of_bytes(1));
    }
    let hot: Vec<_> = hot.iter().map(String::as_str).collect();
    assert!(holds(&store, &hot).into_iter().all(|holds| holds));
    assert_eq!(store.stats().entries, 100);
}
