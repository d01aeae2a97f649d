//! Several threads at once.

use std::thread;

use super::*;

const THREADS: u64 = 4;
const KEYS: u64 = 300;

struct Load {
    entries_max: u64,
    bytes_max: u64,
    value_bytes_max: u64,
    steps: u64,
}

/// Gets, puts and deletes of a few keys in an order that looks random; a value begins with its key's number.
fn hammer(store: &MemoryStore, thread: u64, load: &Load) {
    let mut random = thread + 1;
    for step in 0..load.steps {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(step);
        let number = (random >> 33) % KEYS;
        let key = key(&number.to_string());
        match (random >> 20) % 8 {
            0 => remove(store, &number.to_string()),
            1..4 => {
                let mut value = number.to_le_bytes().to_vec();
                value.resize(
                    8 + usize::try_from((random >> 40) % load.value_bytes_max).unwrap(),
                    0,
                );
                store.insert(&key, Entry::new(value.into()));
            }
            4 => store.sweep(10),
            _ => {
                let found = store.get_now(&key);
                assert!(found.is_none_or(|it| it.value.starts_with(&number.to_le_bytes())));
            }
        }
        let stats = store.stats();
        assert!(stats.entries <= load.entries_max && stats.bytes <= load.bytes_max);
    }
}

fn hammered(policy: EvictionPolicy, load: &Load) -> MemoryStore {
    let entries_max = usize::try_from(load.entries_max).unwrap();
    let (store, _) = store(policy, entries_max, load.bytes_max);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || hammer(store, thread, load));
        }
    });
    let stats = store.stats();
    assert_eq!(counted(&store), (stats.entries, stats.bytes));
    store
}

#[test]
fn limits_and_values_hold_while_threads_compete() {
    for policy in EvictionPolicy::ALL {
        // A hundred entries of average length have about as many bytes.
        let load = Load {
            entries_max: 100,
            bytes_max: 41_000,
            value_bytes_max: 500,
            steps: 20_000,
        };
        let stats = hammered(policy, &load).stats();
        assert!(stats.evicted_for_entries > 0 && stats.evicted_for_bytes > 0);
    }
}

#[test]
fn they_hold_while_threads_compete_for_the_room_of_all_shards() {
    for policy in EvictionPolicy::ALL {
        let load = Load {
            entries_max: 16_384,
            bytes_max: 64 << 20,
            value_bytes_max: 1 << 20,
            steps: 1_000,
        };
        let store = hammered(policy, &load);
        assert_eq!(store.shards.len(), 4);
        assert!(store.stats().evicted_for_bytes > 0);
    }
}
