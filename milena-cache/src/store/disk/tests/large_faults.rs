//! Value files on a disk that fails, and value files that are damaged: nothing older, nothing wrong, no space lost.

use std::time::Duration;

use super::super::files::Files;
use super::super::{DiskStore, DiskSync};
use super::fixture::{Fixture, entry, key};
use super::large::{long, value_files};
use super::memory_files::Faults;
use crate::store::Store;

fn fixture() -> Fixture {
    Fixture::new().with_value_files().with_max_bytes(1 << 20)
}

async fn check(store: &DiskStore) {
    let deadline = store.clock.deadline_in(Duration::from_secs(30));
    store.check(deadline).await.expect("the store goes on");
}

/// A put of a large value fails in this way: the key has nothing then, and the space is free again.
async fn declined(sync: DiskSync, faults: Faults) {
    for old in [Some("small".to_owned()), Some(long(1)), None] {
        let mut fixture = fixture().with_sync(sync);
        let store = fixture.open().await;
        store.store("other", entry("x")).await;
        if let Some(old) = &old {
            store.store("k", entry(old)).await;
        }
        store.settle().await;
        let bytes = store.stats().bytes;
        fixture.files.set_faults(faults.clone());
        store.store("k", entry(&long(2))).await;
        fixture.files.set_faults(Faults::default());
        assert_eq!(store.value("k").await, None);
        check(&store).await;
        store.settle().await;
        assert!(value_files(&fixture).is_empty());
        assert!(store.stats().bytes < bytes + 200, "a tombstone at most");
        store.store("l", entry(&long(3))).await;
        drop(store);
        if sync == DiskSync::Always {
            fixture.files.lose_power(128);
            fixture.next_boot();
        }
        let store = fixture.open().await;
        assert_eq!(store.value("k").await, None);
        assert_eq!(store.value("l").await, Some(long(3)));
        assert_eq!(store.stats().damaged, 0);
    }
}

#[tokio::test]
async fn a_value_file_that_cannot_be_written_is_a_declined_put() {
    for failing in 0..3 {
        let writes = Faults {
            writes: Some((failing, 1)),
            ..Faults::default()
        };
        declined(DiskSync::Os, writes).await;
    }
}

#[tokio::test]
async fn a_value_file_that_cannot_be_synced_is_a_declined_put() {
    for failing in 0..2 {
        let syncs = Faults {
            syncs: Some((failing, 1)),
            ..Faults::default()
        };
        declined(DiskSync::Always, syncs).await;
    }
}

#[tokio::test]
async fn a_value_file_that_cannot_get_its_name_is_a_declined_put() {
    for sync in [DiskSync::Os, DiskSync::Always] {
        let renames = Faults {
            renames: Some((0, 1)),
            ..Faults::default()
        };
        declined(sync, renames).await;
    }
}

#[tokio::test]
async fn a_full_file_system_declines_large_values_and_loses_nothing_else() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("k", entry("old")).await;
    store.store("other", entry(&long(1))).await;
    fixture.files.set_faults(Faults {
        capacity_bytes: Some(fixture.files.bytes() + 3_000),
        ..Faults::default()
    });
    store.store("k", entry(&long(2))).await;
    assert_eq!(store.value("k").await, None);
    check(&store).await;
    store.settle().await;
    assert_eq!(value_files(&fixture).len(), 1);
    assert_eq!(store.value("other").await, Some(long(1)));
    fixture.files.set_faults(Faults::default());
    store.store("k", entry(&long(3))).await;
    assert_eq!(store.value("k").await, Some(long(3)));
}

#[tokio::test]
async fn a_large_value_that_would_leave_too_little_free_is_declined() {
    let mut fixture = fixture();
    fixture.config.free_bytes_min = 16 << 10;
    let store = fixture.open().await;
    store.store("k", entry("old")).await;
    fixture.files.set_faults(Faults {
        capacity_bytes: Some(fixture.files.bytes() + (20 << 10)),
        ..Faults::default()
    });
    store.store("k", entry(&long(1))).await;
    assert_eq!(store.value("k").await, None);
    store.store("small", entry("taken")).await;
    assert_eq!(store.value("small").await.as_deref(), Some("taken"));
    check(&store).await;
}

#[tokio::test]
async fn without_descriptors_large_values_are_misses_and_not_damage() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("k", entry(&long(1))).await;
    fixture.files.set_faults(Faults {
        open_max: Some(0),
        ..Faults::default()
    });
    assert_eq!(store.value("k").await, None);
    store.store("l", entry(&long(2))).await;
    assert_eq!(store.value("l").await, None);
    fixture.files.set_faults(Faults::default());
    assert_eq!(store.value("k").await, Some(long(1)));
    assert_eq!(store.stats().damaged, 0);
    check(&store).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_removed_now_is_counted_and_removed_later() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("k", entry(&long(1))).await;
    fixture.files.set_faults(Faults {
        removals: true,
        ..Faults::default()
    });
    store.remove("k").await;
    store.settle().await;
    assert_eq!(value_files(&fixture).len(), 1);
    fixture.check_limit(&store);
    check(&store).await;
    fixture.files.set_faults(Faults::default());
    store.settle().await;
    assert!(value_files(&fixture).is_empty());
}

#[tokio::test]
async fn a_store_that_switches_itself_off_leaves_no_value_file() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("k", entry(&long(1))).await;
    let mut begun = store
        .begin_put(
            &key("l"),
            super::super::ValueMetadata::default(),
            5_000,
            store.clock.deadline_in(Duration::from_secs(30)),
        )
        .await
        .unwrap();
    begun.write(long(2)[..100].to_owned().into()).await.unwrap();
    fixture.files.set_faults(Faults {
        writes: Some((0, u32::MAX)),
        ..Faults::default()
    });
    store.store("m", entry("x")).await;
    assert!(value_files(&fixture).is_empty());
    fixture.files.set_faults(Faults::default());
    store.maintain().await;
    check(&store).await;
    begun.write(long(2)[100..].to_owned().into()).await.unwrap();
    begun.finish().await.unwrap();
    assert_eq!(store.value("l").await, None, "it was begun in another log");
    store.settle().await;
    assert!(value_files(&fixture).is_empty());
    store.store("l", entry(&long(3))).await;
    assert_eq!(store.value("l").await, Some(long(3)));
}

#[tokio::test]
async fn a_damaged_value_file_is_a_miss_counted_once_and_hides_what_is_older() {
    type Damage = fn(&mut Vec<u8>);
    let flip: [Damage; 5] = [
        |bytes| bytes[20] ^= 1,
        |bytes| bytes[64] ^= 1,
        |bytes| bytes[64 + 4_999] ^= 1,
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| bytes.truncate(4_000),
    ];
    for damage in flip {
        let fixture = fixture();
        let store = fixture.open().await;
        store.store("k", entry("older")).await;
        store.store("k", entry(&long(1))).await;
        fixture.files.change(&value_files(&fixture)[0], damage);
        for store in [store, fixture.open().await] {
            for _ in 0..3 {
                assert_eq!(store.value("k").await, None);
            }
            assert_eq!(store.stats().damaged, 1);
        }
        let store = fixture.open().await;
        store.store("k", entry(&long(2))).await;
        store.settle().await;
        assert_eq!(store.value("k").await, Some(long(2)));
        assert_eq!(value_files(&fixture).len(), 1);
    }
}

#[tokio::test]
async fn a_value_file_that_is_missing_or_of_another_record_or_store_is_a_miss() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("a", entry(&long(1))).await;
    store.store("b", entry(&long(2))).await;
    drop(store);
    let other = self::fixture();
    // Else both would have the same store id, because chance repeats itself with a manual clock.
    let _ = other.clock.random_u64();
    let store = other.open().await;
    store.store("a", entry(&long(3))).await;
    drop(store);
    let (names, foreign) = (value_files(&fixture), other.files.all());
    assert_eq!(names[0], value_files(&other)[0]);
    let foreign = foreign.iter().find(|(name, _)| *name == names[0]);
    let contents: Vec<_> = fixture.files.all();
    let second = contents.iter().find(|(name, _)| *name == names[1]);
    for instead in [None, second, foreign] {
        match instead {
            None => fixture.files.remove(&names[0]).unwrap(),
            Some((_, bytes)) => fixture.files.change(&names[0], |it| it.clone_from(bytes)),
        }
        let store = fixture.open().await;
        assert_eq!(store.value("a").await, None);
        assert_eq!(store.value("b").await, Some(long(2)));
        assert_eq!(store.stats().damaged, 1);
    }
}

#[tokio::test]
async fn a_stream_ends_with_an_error_where_the_damage_is() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("k", entry(&long(1))).await;
    let file = &value_files(&fixture)[0];
    fixture.files.change(file, |bytes| bytes[64 + 2_500] ^= 1);
    let deadline = store.clock.deadline_in(Duration::from_secs(30));
    let opened = store.open_value(&key("k"), deadline).await.unwrap();
    let mut stream = opened.expect("its first chunks are intact");
    for chunk in 0..2 {
        let expected = &long(1).into_bytes()[chunk * 1_024..][..1_024];
        assert_eq!(stream.next().await.unwrap().unwrap(), expected);
    }
    for _ in 0..2 {
        assert!(stream.next().await.is_err());
    }
    assert_eq!(store.stats().damaged, 1);
    let opened = store.open_value(&key("k"), deadline).await.unwrap();
    assert!(opened.is_none(), "a miss from now on");
}

#[tokio::test]
async fn every_acknowledged_large_put_is_true_whichever_operation_fails() {
    for sync in [DiskSync::Os, DiskSync::Always] {
        for succeeding in 0..26 {
            for failing in [1, 3] {
                let plan = Some((succeeding, failing));
                let none = Faults::default;
                let faults = [
                    Faults {
                        writes: plan,
                        ..none()
                    },
                    Faults {
                        syncs: plan,
                        ..none()
                    },
                    Faults {
                        renames: plan,
                        ..none()
                    },
                ];
                for faults in faults {
                    overwrite_and_check(sync, faults).await;
                }
            }
        }
    }
}

async fn overwrite_and_check(sync: DiskSync, faults: Faults) {
    let mut fixture = Fixture::new().with_value_files().with_max_bytes(40 << 10);
    fixture = fixture.with_sync(sync);
    let store = fixture.open().await;
    store.store("deleted", entry(&long(99))).await;
    fixture.files.set_faults(faults);
    for round in 0..4 {
        store.store("replaced", entry(&long(round))).await;
        store
            .store(&format!("k {round}"), entry(&long(round)))
            .await;
        store.remove("deleted").await;
        store.maintain().await;
    }
    fixture.check_limit(&store);
    drop(store);
    fixture.files.set_faults(Faults::default());
    if sync == DiskSync::Always {
        fixture.files.lose_power(128);
        fixture.next_boot();
    }
    let store = fixture.open().await;
    let found = store.value("replaced").await;
    assert!(found.is_none_or(|value| value == long(3)));
    assert_eq!(store.value("deleted").await, None);
    store.settle().await;
    fixture.check_limit(&store);
    let live = store.stats().entries;
    assert!(value_files(&fixture).len() as u64 <= live);
}
