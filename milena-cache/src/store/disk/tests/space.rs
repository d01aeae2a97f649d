//! A file system that fills up: nothing new is taken, nothing older is left, and it ends by itself.

use std::sync::Arc;
use std::time::Duration;

use milena_server::clock::Clock;

use super::super::{DiskConfig, DiskStore, DiskSync, boot_id};
use super::fixture::{Fixture, entry};
use super::memory_files::Faults;
use crate::store::Store;

async fn check(store: &DiskStore) -> crate::error::Result<()> {
    let deadline = store.clock.deadline_in(Duration::from_secs(30));
    store.check(deadline).await
}

/// A store with a floor of 16 KiB, in a file system where so many are free.
async fn with_free(free: u64) -> (Fixture, Arc<DiskStore>) {
    let mut fixture = Fixture::new().with_max_bytes(1 << 20);
    fixture.config.free_bytes_min = 16 << 10;
    let store = fixture.open().await;
    store.store("replaced", entry("old")).await;
    store.store("deleted", entry("old")).await;
    store.store("untouched", entry("old")).await;
    set_free(&fixture, free);
    store.maintain().await;
    (fixture, store)
}

fn set_free(fixture: &Fixture, free: u64) {
    fixture.files.set_faults(Faults {
        capacity_bytes: Some(fixture.files.bytes() + free),
        ..Faults::default()
    });
}

#[tokio::test]
async fn below_the_floor_a_declined_put_takes_the_old_value_away_and_reads_go_on() {
    let (fixture, store) = with_free(16 << 10).await;
    check(&store).await.expect("just enough is free");
    set_free(&fixture, (16 << 10) - 1);
    store.maintain().await;
    let trouble = check(&store).await.expect_err("it says so").to_string();
    assert!(trouble.contains("free"), "{trouble}");
    store.store("replaced", entry("declined")).await;
    store.store("new", entry("declined")).await;
    store.remove("deleted").await;
    for store in [Arc::clone(&store), fixture.open().await] {
        assert_eq!(store.value("replaced").await, None);
        assert_eq!(store.value("deleted").await, None);
        assert_eq!(store.value("new").await, None);
        assert_eq!(store.value("untouched").await.as_deref(), Some("old"));
    }
}

#[tokio::test]
async fn a_store_that_is_opened_below_the_floor_takes_nothing() {
    let (fixture, store) = with_free(1_000).await;
    drop(store);
    let store = fixture.open_unread();
    assert!(check(&store).await.is_err());
    store.store("new", entry("declined")).await;
    assert_eq!(store.value("new").await, None);
}

#[tokio::test]
async fn puts_are_taken_again_once_a_segment_more_than_the_floor_is_free() {
    let (fixture, store) = with_free(1_000).await;
    set_free(&fixture, (20 << 10) - 1);
    store.maintain().await;
    assert!(check(&store).await.is_err(), "not for a moment only");
    set_free(&fixture, 20 << 10);
    store.maintain().await;
    check(&store).await.expect("enough is free");
    store.store("replaced", entry("new")).await;
    assert_eq!(store.value("replaced").await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_store_fills_the_file_system_up_to_the_floor_and_no_further() {
    let (fixture, store) = with_free(64 << 10).await;
    let capacity = fixture.files.bytes() + (64 << 10);
    for number in 0..200 {
        let value = "x".repeat(1_000);
        store.store(&format!("k {number}"), entry(&value)).await;
    }
    let free = capacity - fixture.files.bytes_highest();
    let segment_bytes = u64::from(fixture.config.segment_bytes);
    assert!(free >= (16 << 10) - segment_bytes, "{free}");
    assert!(free <= 16 << 10, "what is above the floor is used: {free}");
    assert!(store.value("k 10").await.is_some(), "nothing is evicted");
}

#[tokio::test]
async fn the_floor_is_that_of_the_real_file_system() {
    let directory = tempfile::tempdir().unwrap();
    let config = DiskConfig {
        free_bytes_min: u64::MAX,
        ..DiskConfig::new(directory.path().into(), 32 << 20, DiskSync::Os, boot_id())
    };
    let store = DiskStore::open(config, Clock::system()).await.unwrap();
    assert!(check(&store).await.is_err());
    store.store("k", entry("declined")).await;
    assert_eq!(store.value("k").await, None);
}
