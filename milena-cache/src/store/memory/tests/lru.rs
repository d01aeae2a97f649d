//! LRU.

use proptest::prelude::*;

use super::*;

#[test]
fn the_least_recently_used_goes_first() {
    let (store, _) = store(EvictionPolicy::Lru, 3, 1 << 20);
    for name in ["a", "b", "c"] {
        store.insert(&key(name), of_bytes(1));
    }
    assert!(store.get_now(&key("a")).is_some());
    store.insert(&key("d"), of_bytes(1));
    assert_eq!(
        holds(&store, &["a", "b", "c", "d"]),
        [true, false, true, true]
    );
    assert_eq!(store.stats().evicted_for_entries, 1);
}

proptest! {
    /// Against the plainest LRU there is: a vector, oldest first.
    #[test]
    fn is_exactly_lru_within_both_limits(steps in prop::collection::vec((0..3_u8, 0..12_u8, 0..600_usize), 1..200)) {
        let (entries_max, bytes_max) = (5, 2_000);
        let (store, _) = store(EvictionPolicy::Lru, entries_max, bytes_max);
        let mut model: Vec<(EntryKey, Entry)> = Vec::new();
        for (verb, name, bytes) in steps {
            let name = name.to_string();
            let key = key(&name);
            let position = model.iter().position(|(known, _)| *known == key);
            let taken = position.map(|position| model.remove(position));
            match verb {
                0 => {
                    let found = store.get_now(&key);
                    prop_assert_eq!(found.as_ref(), taken.as_ref().map(|(_, entry)| entry));
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
                _ => remove(&store, &name),
            }
            let held = in_order(&store, QueueId(0));
            prop_assert_eq!(&held, &model);
            prop_assert!(store.stats().bytes <= bytes_max);
            prop_assert_eq!(counted(&store), (store.stats().entries, store.stats().bytes));
        }
    }
}
