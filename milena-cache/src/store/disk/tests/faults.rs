//! A disk that fails: what was acknowledged stays true, and the store comes back by itself.

use std::sync::Arc;
use std::time::Duration;

use super::super::{DiskStore, DiskSync};
use super::fixture::{Fixture, entry};
use super::memory_files::Faults;
use crate::store::Store;

const FOREVER: u32 = u32::MAX;

async fn check(store: &DiskStore) -> crate::error::Result<()> {
    let deadline = store.clock.deadline_in(Duration::from_secs(30));
    store.check(deadline).await
}

async fn with_old_values(sync: DiskSync) -> (Fixture, Arc<DiskStore>) {
    let fixture = Fixture::new().with_sync(sync);
    let store = fixture.open().await;
    store.store("replaced", entry("old")).await;
    store.store("deleted", entry("old")).await;
    (fixture, store)
}

#[tokio::test]
async fn one_failed_write_goes_into_a_new_segment() {
    let (fixture, store) = with_old_values(DiskSync::Os).await;
    fixture.files.set_faults(Faults {
        writes: Some((0, 1)),
        ..Faults::default()
    });
    store.store("replaced", entry("new")).await;
    store.remove("deleted").await;
    for store in [store, fixture.open().await, fixture.open().await] {
        assert_eq!(store.value("replaced").await.as_deref(), Some("new"));
        assert_eq!(store.value("deleted").await, None);
        assert_eq!(store.stats().damaged, 0);
        check(&store).await.unwrap();
    }
}

#[tokio::test]
async fn a_failed_sync_is_not_repeated_but_the_record_is_written_anew() {
    let (mut fixture, store) = with_old_values(DiskSync::Always).await;
    fixture.files.set_faults(Faults {
        syncs: Some((0, 1)),
        ..Faults::default()
    });
    store.store("replaced", entry("new")).await;
    drop(store);
    fixture.files.lose_power(0);
    fixture.next_boot();
    let store = fixture.open().await;
    assert_eq!(store.value("replaced").await.as_deref(), Some("new"));
    assert_eq!(store.value("deleted").await.as_deref(), Some("old"));
}

#[tokio::test]
async fn a_disk_that_goes_on_failing_switches_the_store_off_and_it_comes_back_empty() {
    let (fixture, store) = with_old_values(DiskSync::Os).await;
    fixture.files.set_faults(Faults {
        writes: Some((0, FOREVER)),
        ..Faults::default()
    });
    store.store("replaced", entry("declined")).await;
    store.remove("deleted").await;
    assert!(check(&store).await.is_err());
    for name in ["replaced", "deleted"] {
        assert_eq!(store.value(name).await, None, "{name}");
    }
    store.maintain().await;
    assert!(check(&store).await.is_err(), "the disk still fails");
    let reopened = Fixture {
        files: fixture.files.copy(),
        ..fixture.clone()
    };
    assert_eq!(reopened.open().await.stats().entries, 0, "nothing is left");
    fixture.files.set_faults(Faults::default());
    store.maintain().await;
    check(&store).await.expect("it has healed by itself");
    store.store("replaced", entry("newer")).await;
    drop(store);
    let store = fixture.open().await;
    assert_eq!(store.value("replaced").await.as_deref(), Some("newer"));
    assert_eq!(store.value("deleted").await, None);
}

#[tokio::test]
async fn only_when_files_cannot_be_removed_either_are_writes_refused() {
    let (fixture, store) = with_old_values(DiskSync::Os).await;
    fixture.files.set_faults(Faults {
        writes: Some((0, FOREVER)),
        removals: true,
        ..Faults::default()
    });
    assert!(store.try_put("replaced", entry("new")).await.is_err());
    assert!(store.try_remove("deleted").await.is_err());
    assert_eq!(store.value("replaced").await, None, "not the old one");
    fixture.files.set_faults(Faults {
        writes: Some((0, FOREVER)),
        ..Faults::default()
    });
    store.remove("deleted").await;
    assert!(
        fixture.files.segments().is_empty(),
        "Ok means that nothing older is left"
    );
}

#[tokio::test]
async fn every_acknowledged_write_is_true_whichever_operation_fails() {
    for sync in [DiskSync::Os, DiskSync::Always] {
        for succeeding in 0..40 {
            for failing in 1..4 {
                let plan = Some((succeeding, failing));
                let faults = [
                    Faults {
                        writes: plan,
                        ..Faults::default()
                    },
                    Faults {
                        syncs: plan,
                        ..Faults::default()
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
    let (mut fixture, store) = with_old_values(sync).await;
    fixture.files.set_faults(faults);
    for round in 0..12 {
        store
            .store("replaced", entry(&format!("{round:>1000}")))
            .await;
        store.remove("deleted").await;
        store.maintain().await;
    }
    drop(store);
    fixture.files.set_faults(Faults::default());
    if sync == DiskSync::Always {
        fixture.files.lose_power(128);
        fixture.next_boot();
    }
    let store = fixture.open().await;
    let found = store.value("replaced").await;
    assert!(found.is_none_or(|value| value.trim_start() == "11"));
    assert_eq!(store.value("deleted").await, None);
}

#[tokio::test]
async fn a_full_file_system_costs_the_oldest_and_not_the_store() {
    let fixture = Fixture::new().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    fixture.files.set_faults(Faults {
        capacity_bytes: Some(20 << 10),
        ..Faults::default()
    });
    for number in 0..60 {
        let value = "x".repeat(1_000);
        store.store(&format!("k {number}"), entry(&value)).await;
    }
    check(&store)
        .await
        .expect("there is room once the oldest goes");
    assert!(store.value("k 59").await.is_some());
    assert!(store.value("k 0").await.is_none());
}

#[tokio::test]
async fn what_expired_is_reclaimed_later_if_the_manifest_cannot_be_written_now() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("mortal", fixture.dying_in(10, "x")).await;
    fixture.pass_seconds(10);
    // The footer can be written, the manifest not.
    fixture.files.set_faults(Faults {
        writes: Some((1, 1)),
        ..Faults::default()
    });
    store.maintain().await;
    check(&store).await.expect("nothing is lost by it");
    assert_eq!(fixture.files.segments().len(), 1);
    store.maintain().await;
    assert_eq!(fixture.files.segments().len(), 0);
    assert_eq!(store.stats().expired, 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_miss_and_counted_once() {
    let (fixture, store) = with_old_values(DiskSync::Os).await;
    fixture.files.set_faults(Faults {
        reads: true,
        uncached: true,
        ..Faults::default()
    });
    assert_eq!(store.value("replaced").await, None);
    assert_eq!(store.value("replaced").await, None);
    assert_eq!(store.stats().damaged, 1);
    store.store("deleted", entry("new")).await;
    fixture.files.set_faults(Faults::default());
    assert_eq!(store.value("replaced").await, None);
    assert_eq!(store.value("deleted").await.as_deref(), Some("new"));
    drop(store);
    let store = fixture.open().await;
    assert_eq!(store.value("deleted").await.as_deref(), Some("new"));
}

#[tokio::test]
async fn what_could_not_be_read_for_a_while_does_not_come_back_after_it_was_replaced() {
    let (fixture, store) = with_old_values(DiskSync::Os).await;
    store
        .store("anchor", entry("keeps the old values' segment"))
        .await;
    store.fill_segments(1).await;
    fixture.files.set_faults(Faults {
        reads: true,
        uncached: true,
        ..Faults::default()
    });
    store.remove("deleted").await;
    store.store("replaced", fixture.dying_in(5, "new")).await;
    fixture.files.set_faults(Faults::default());
    store.fill_segments(1).await;
    assert_eq!(store.value("replaced").await.as_deref(), Some("new"));
    fixture.pass_seconds(5);
    for _ in 0..3 {
        store.maintain().await;
    }
    drop(store);
    let store = fixture.open().await;
    assert_eq!(store.value("deleted").await, None);
    assert_eq!(store.value("replaced").await, None);
    assert!(store.value("anchor").await.is_some());
}
