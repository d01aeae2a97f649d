//! Both policies through the store's face; what one policy evicts is compared with a model of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_server::clock::UnixMillis;

use super::slots::QueueId;
use super::*;
use crate::store::contract::{self, Subject, Traits};

mod lru;
mod s3_fifo;
mod threads;

fn store(policy: EvictionPolicy, entries_max: usize, bytes_max: u64) -> (MemoryStore, Clock) {
    let clock = Clock::manual(UnixMillis(1_000_000));
    let config = MemoryConfig {
        entries_max,
        bytes_max,
        policy,
    };
    (MemoryStore::new(config, clock.clone()), clock)
}

fn key(name: &str) -> EntryKey {
    EntryKey::new("b", name.as_bytes()).unwrap()
}

fn of_bytes(bytes: usize) -> Entry {
    Entry::new(Bytes::from(vec![7; bytes]))
}

fn charge(key: &EntryKey, entry: &Entry) -> u64 {
    Stored::new(key, entry.clone()).charge()
}

fn holds(store: &MemoryStore, names: &[&str]) -> Vec<bool> {
    let holds = |name: &&str| {
        let key = key(name);
        let (number, hash) = store.place_of(&key);
        store.shard(number).lock().slots.find(hash, &key).is_some()
    };
    names.iter().map(holds).collect()
}

fn remove(store: &MemoryStore, name: &str) {
    let key = key(name);
    let (number, hash) = store.place_of(&key);
    drop(store.shard(number).lock().remove(&store.room, hash, &key));
}

/// The entries that are found by going over all slots, and their charges.
fn counted(store: &MemoryStore) -> (u64, u64) {
    let (mut entries, mut bytes) = (0, 0);
    for shard in &store.shards {
        let slots = &shard.0.lock().slots;
        let stored = (0..slots.places()).filter_map(|place| slots.at(place));
        for stored in stored {
            entries += 1;
            bytes += stored.charge();
        }
    }
    (entries, bytes)
}

/// What a queue of a store with one shard holds, the oldest first.
fn in_order(store: &MemoryStore, queue: QueueId) -> Vec<(EntryKey, Entry)> {
    assert_eq!(store.shards.len(), 1);
    store.shard(0).lock().slots.in_order(queue)
}

#[tokio::test]
async fn passes_the_contract_under_every_policy() {
    for policy in EvictionPolicy::ALL {
        let (store, clock) = store(policy, 10_000, 1 << 30);
        contract::run(&Subject {
            store: Arc::new(store),
            clock,
            traits: Traits::default(),
        })
        .await;
    }
}

#[test]
fn a_policy_is_found_by_its_own_name_only() {
    for policy in EvictionPolicy::ALL {
        assert_eq!(EvictionPolicy::parse(policy.name()), Some(policy));
    }
    assert_eq!(EvictionPolicy::parse("LRU"), None);
}

#[test]
fn bytes_are_a_limit_of_their_own() {
    for policy in EvictionPolicy::ALL {
        let room_for_two = 2 * charge(&key("a"), &of_bytes(1_000));
        let (store, _) = store(policy, 100, room_for_two);
        for name in ["a", "b", "c"] {
            store.insert(&key(name), of_bytes(1_000));
        }
        assert_eq!(holds(&store, &["a", "b", "c"]), [false, true, true]);
        assert_eq!(
            (store.stats().bytes, store.stats().evicted_for_bytes),
            (room_for_two, 1)
        );
    }
}

#[test]
fn a_value_that_cannot_fit_is_declined_and_its_older_copy_is_gone() {
    for policy in EvictionPolicy::ALL {
        let (store, _) = store(policy, 100, 1_000);
        store.insert(&key("a"), of_bytes(10));
        store.insert(&key("b"), of_bytes(10));
        store.insert(&key("a"), of_bytes(1_001));
        assert_eq!(holds(&store, &["a", "b"]), [false, true]);
        assert_eq!(counted(&store), (1, store.stats().bytes));
    }
}

#[test]
fn the_largest_value_that_fits_is_held() {
    for policy in EvictionPolicy::ALL {
        let largest = 1_000_000 - charge(&key("large"), &of_bytes(0));
        let (store, _) = store(policy, 100, 1_000_000);
        for name in 0..50 {
            store.insert(&key(&name.to_string()), of_bytes(100));
        }
        store.insert(&key("large"), of_bytes(usize::try_from(largest).unwrap()));
        assert_eq!(holds(&store, &["large", "49"]), [true, false]);
        assert_eq!(store.stats().bytes, 1_000_000);
    }
}

#[test]
fn a_sweep_frees_the_expired_without_a_read_and_keeps_the_rest() {
    for policy in EvictionPolicy::ALL {
        let (store, clock) = store(policy, 1_000, 1 << 20);
        let soon = Some(clock.now().after(Duration::from_secs(1)));
        for index in 0..100 {
            let fresh_until = soon.filter(|_| index % 2 == 0);
            let entry = Entry {
                fresh_until,
                ..of_bytes(1)
            };
            store.insert(&key(&index.to_string()), entry);
        }
        clock.advance(Duration::from_secs(1));
        for _ in 0..20 {
            store.sweep(5);
        }
        let stats = store.stats();
        assert_eq!((stats.entries, stats.expired), (50, 50));
        assert_eq!(counted(&store), (50, stats.bytes));
    }
}

#[test]
fn a_sweep_passes_over_what_is_gone_and_begins_again_at_the_end() {
    let (store, clock) = store(EvictionPolicy::Lru, 1_000, 1 << 20);
    let fresh_until = Some(clock.now().after(Duration::from_secs(1)));
    for index in 0..10 {
        let entry = Entry {
            fresh_until,
            ..of_bytes(1)
        };
        store.insert(&key(&index.to_string()), entry);
    }
    store.sweep(4);
    remove(&store, "4");
    clock.advance(Duration::from_secs(1));
    store.sweep(5);
    assert_eq!(
        store.stats().entries,
        4,
        "the first four were looked at before"
    );
    store.sweep(4);
    assert_eq!(store.stats().entries, 0);
}

#[test]
fn only_a_large_store_is_split() {
    let shards = |entries_max, bytes_max| {
        store(EvictionPolicy::Lru, entries_max, bytes_max)
            .0
            .shards
            .len()
    };
    assert_eq!(shards(1, 1), 1);
    assert_eq!(shards(4_095, 1 << 40), 1);
    assert_eq!(shards(1_000_000_000, 31 << 20), 1);
    assert_eq!(shards(100_000, 256 << 20), 16);
    assert_eq!(shards(1_000_000_000, 1 << 40), 64);
}

#[test]
fn a_split_store_holds_as_much_as_its_limits_say() {
    for policy in EvictionPolicy::ALL {
        let entries_max = 20_000;
        let (store, _) = store(policy, entries_max, 1 << 30);
        for number in 0..entries_max {
            store.insert(&key(&number.to_string()), of_bytes(1));
        }
        assert_eq!(store.stats().entries, 20_000, "nothing had to go");
        for number in 0..entries_max {
            store.insert(&key(&format!("more {number}")), of_bytes(1));
            assert_eq!(store.stats().entries, 20_000);
        }
        assert_eq!(store.stats().evicted_for_entries, 20_000);
        assert_eq!(counted(&store), (20_000, store.stats().bytes));
    }
}

#[test]
fn a_split_store_holds_a_value_as_large_as_all_of_it() {
    for policy in EvictionPolicy::ALL {
        let bytes_max = 64 << 20;
        let (store, _) = store(policy, 16_384, bytes_max);
        assert_eq!(store.shards.len(), 4);
        for number in 0..10_000 {
            store.insert(&key(&number.to_string()), of_bytes(1));
        }
        let largest = bytes_max - charge(&key("large"), &of_bytes(0));
        store.insert(&key("large"), of_bytes(usize::try_from(largest).unwrap()));
        assert_eq!(holds(&store, &["large"]), [true]);
        assert_eq!(counted(&store), (1, bytes_max));
        store.insert(&key("small"), of_bytes(1));
        assert_eq!(holds(&store, &["large", "small"]), [false, true]);
    }
}

#[test]
fn a_sweep_comes_by_every_shard() {
    let (store, clock) = store(EvictionPolicy::Lru, 100_000, 1 << 30);
    let fresh_until = Some(clock.now());
    for index in 0..1_000 {
        let entry = Entry {
            fresh_until,
            ..of_bytes(1)
        };
        store.insert(&key(&index.to_string()), entry);
    }
    for _ in 0..store.shards.len() {
        store.sweep(1_000);
    }
    assert_eq!((store.stats().entries, store.stats().expired), (0, 1_000));
}
