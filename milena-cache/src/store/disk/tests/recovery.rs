//! What is there again after a stop, and what is not.

use super::super::files::Files;
use super::super::log::Log;
use super::super::{DiskSync, open};
use super::fixture::{Fixture, entry};
use crate::store::Store;

/// A store with three values, one of them in an older segment, and one deleted.
async fn filled(fixture: &Fixture) -> std::sync::Arc<super::super::DiskStore> {
    let store = fixture.open().await;
    store.store("older", entry("1")).await;
    store.fill_segments(2).await;
    store.store("newer", entry("2")).await;
    store.store("deleted", entry("3")).await;
    store.remove("deleted").await;
    store
}

async fn assert_filled(fixture: &Fixture) {
    let store = fixture.open().await;
    assert_eq!(store.value("older").await.as_deref(), Some("1"));
    assert_eq!(store.value("newer").await.as_deref(), Some("2"));
    assert_eq!(store.value("deleted").await, None);
    assert_eq!(store.stats().damaged, 0);
}

#[tokio::test]
async fn a_clean_stop_keeps_everything() {
    let fixture = Fixture::new();
    filled(&fixture).await.close().await.unwrap();
    assert_filled(&fixture).await;
}

#[tokio::test]
async fn a_kill_keeps_everything() {
    let fixture = Fixture::new();
    drop(filled(&fixture).await);
    assert_filled(&fixture).await;
    // The store that checked was killed too.
    assert_filled(&fixture).await;
}

#[tokio::test]
async fn a_power_loss_after_a_clean_stop_takes_nothing() {
    let mut fixture = Fixture::new();
    filled(&fixture).await.close().await.unwrap();
    fixture.files.lose_power(0);
    fixture.next_boot();
    assert_filled(&fixture).await;
}

#[tokio::test]
async fn a_power_loss_takes_nothing_acknowledged_from_a_store_that_syncs() {
    for part in [0, 1, 100, 255] {
        let mut fixture = Fixture::new().with_sync(DiskSync::Always);
        drop(filled(&fixture).await);
        fixture.files.lose_power(part);
        fixture.next_boot();
        assert_filled(&fixture).await;
    }
}

#[tokio::test]
async fn what_a_power_loss_leaves_behind_an_unfinished_write_is_the_end_of_the_log() {
    let mut fixture = Fixture::new().with_sync(DiskSync::Always);
    drop(filled(&fixture).await);
    let newest = fixture.files.segments().pop().unwrap();
    fixture
        .files
        .change(&newest, |bytes| bytes.extend([0xa5; 700]));
    fixture.next_boot();
    assert_filled(&fixture).await;
}

#[tokio::test]
async fn what_a_killed_store_did_not_sync_is_synced_before_the_next_one_says_that_it_does() {
    let fixture = Fixture::new();
    drop(filled(&fixture).await);
    let mut fixture = fixture.with_sync(DiskSync::Always);
    drop(fixture.open_unread());
    fixture.files.lose_power(0);
    fixture.next_boot();
    assert_filled(&fixture).await;
}

#[tokio::test]
async fn a_store_that_was_killed_while_it_read_its_log_reads_it_again() {
    let fixture = Fixture::new();
    drop(filled(&fixture).await);
    for _ in 0..3 {
        drop(fixture.open_unread());
    }
    let store = fixture.open_unread();
    store.store("written meanwhile", entry("4")).await;
    drop(store);
    assert_filled(&fixture).await;
    let store = fixture.open().await;
    assert_eq!(store.value("written meanwhile").await.as_deref(), Some("4"));
}

#[tokio::test]
async fn expiry_goes_on_while_the_store_is_stopped() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("k", fixture.dying_in(10, "x")).await;
    drop(store);
    fixture.pass_seconds(9);
    assert!(fixture.open().await.value("k").await.is_some());
    fixture.pass_seconds(1);
    assert!(fixture.open().await.value("k").await.is_none());
}

#[tokio::test]
async fn a_kill_between_dropping_the_oldest_and_saying_so_is_no_damage() {
    let fixture = Fixture::new();
    drop(filled(&fixture).await);
    let oldest = fixture.files.segments().remove(0);
    fixture.files.remove(&oldest).unwrap();
    let store = fixture.open().await;
    assert_eq!(store.value("older").await, None);
    assert_eq!(store.value("newer").await.as_deref(), Some("2"));
    assert_eq!(store.stats().damaged, 0);
}

#[tokio::test]
async fn a_smaller_limit_is_kept_from_the_first_moment() {
    let mut fixture = Fixture::new().with_max_bytes(64 << 10);
    let store = fixture.open().await;
    store.fill_segments(14).await;
    store.store("newest", entry("kept")).await;
    store.close().await.unwrap();
    drop(store);
    fixture.config.max_bytes = 20 << 10;
    let store = fixture.open().await;
    assert!(fixture.files.bytes() <= 20 << 10);
    assert_eq!(store.value("newest").await.as_deref(), Some("kept"));
}

#[tokio::test]
async fn after_close_reads_go_on_and_writes_are_refused() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("k", entry("x")).await;
    store.close().await.unwrap();
    assert_eq!(store.value("k").await.as_deref(), Some("x"));
    assert!(store.try_put("k", entry("y")).await.is_err());
    assert!(store.try_remove("k").await.is_err());
    assert!(store.close().await.is_err());
}

#[tokio::test]
async fn a_segment_dropped_while_it_is_read_leaves_nothing_in_the_index() {
    let mut fixture = Fixture::new().with_max_bytes(1 << 20);
    fixture.config.segment_bytes = 256 << 10;
    let store = fixture.open().await;
    for number in 0..1_500 {
        store.store(&format!("k {number}"), entry("x")).await;
    }
    drop(store);
    assert_eq!(fixture.files.segments().len(), 1);
    let (mut log, mut recovery) = open::open(fixture.site()).unwrap();
    let entries = |log: &Log| log.site.shared.stats().entries;
    while entries(&log) == 0 {
        assert!(!recovery.step(&mut log).unwrap());
    }
    assert!(entries(&log) < 1_500, "it is not all read yet");
    log.evict_oldest().unwrap();
    while !log.forgetting.is_done() {
        log.forgetting.step(&log.site.shared);
    }
    while !recovery.step(&mut log).unwrap() {}
    assert_eq!(entries(&log), 0);
}
