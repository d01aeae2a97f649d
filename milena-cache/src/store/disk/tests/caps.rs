//! The byte limit, and the space that comes back.

use super::super::open;
use super::super::plan::{self, Write};
use super::fixture::{Fixture, entry, key};
use crate::store::Store;

#[tokio::test]
async fn the_limit_is_never_passed_and_evictions_are_counted() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    for number in 0..1_000 {
        let value = "x".repeat(number * 7 % 1_500);
        store
            .store(&format!("k {}", number % 300), entry(&value))
            .await;
        assert!(fixture.files.bytes() <= store.stats().bytes);
        assert!(store.stats().bytes <= fixture.config.max_bytes);
    }
    assert!(fixture.files.bytes_highest() <= fixture.config.max_bytes);
    assert!(
        fixture.files.bytes() > fixture.config.max_bytes / 2,
        "the space is used"
    );
    let stats = store.stats();
    assert!(stats.evicted_for_bytes > 0 && stats.entries > 0);
    assert_eq!(
        (stats.expired, stats.evicted_for_entries, stats.damaged),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn what_is_dropped_for_space_is_the_oldest() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("oldest", entry("x")).await;
    store.fill_segments(6).await;
    store.store("newest", entry("y")).await;
    store.fill_segments(3).await;
    assert_eq!(store.value("oldest").await, None);
    assert_eq!(store.value("newest").await.as_deref(), Some("y"));
}

#[tokio::test]
async fn the_space_of_what_expired_comes_back_without_a_read() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let empty = fixture.files.bytes();
    for number in 0..8 {
        let value = "x".repeat(1_500);
        let name = format!("k {number}");
        store.store(&name, fixture.dying_in(10, &value)).await;
    }
    store.maintain().await;
    assert_eq!(store.stats().entries, 8);
    fixture.pass_seconds(10);
    store.maintain().await;
    assert!(fixture.files.segments().is_empty());
    assert!(fixture.files.bytes() <= empty);
    let stats = store.stats();
    assert_eq!(
        (stats.entries, stats.expired, stats.evicted_for_bytes),
        (0, 8, 0)
    );
}

#[tokio::test]
async fn an_expiry_that_a_read_finds_is_counted_once() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("k", fixture.dying_in(10, "x")).await;
    fixture.pass_seconds(10);
    for _ in 0..3 {
        assert_eq!(store.value("k").await, None);
    }
    store.maintain().await;
    let stats = store.stats();
    assert_eq!((stats.entries, stats.expired), (0, 1));
}

#[tokio::test]
async fn expired_segments_go_before_living_ones_that_are_older() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("immortal", entry("x")).await;
    store.fill_segments(1).await;
    for number in 0..6 {
        let value = "x".repeat(1_800);
        let name = format!("mortal {number}");
        store.store(&name, fixture.dying_in(10, &value)).await;
    }
    store.fill_segments(1).await;
    let before = fixture.files.segments();
    fixture.pass_seconds(10);
    store.maintain().await;
    let after = fixture.files.segments();
    assert!(after.len() <= before.len() - 2, "{before:?} {after:?}");
    assert_eq!(store.value("immortal").await.as_deref(), Some("x"));
    drop(store);
    let store = fixture.open().await;
    assert_eq!(store.value("immortal").await.as_deref(), Some("x"));
    assert_eq!(
        store.stats().damaged,
        0,
        "a dropped segment is not a lost one"
    );
}

#[tokio::test]
async fn tombstones_go_once_nothing_older_is_left() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    for number in 0..30 {
        let name = format!("k {number}");
        store.store(&name, fixture.dying_in(10, "x")).await;
        store.remove(&name).await;
    }
    fixture.pass_seconds(10);
    store.maintain().await;
    assert!(fixture.files.segments().is_empty());
}

#[tokio::test]
async fn the_limit_holds_when_the_log_is_written_before_it_is_read() {
    let fixture = Fixture::new().with_max_bytes(17 << 10);
    let store = fixture.open().await;
    for number in 0..400 {
        store
            .store(&format!("k {}", number % 100), entry("small"))
            .await;
        if fixture.files.segments().len() == 3 && number % 20 != 0 {
            continue;
        }
        let copy = Fixture {
            files: fixture.files.copy(),
            ..fixture.clone()
        };
        let (mut log, mut recovery) = open::open(copy.site()).unwrap();
        let large = entry(&"x".repeat(3_500));
        for name in ["a", "b", "c"] {
            let write = Write::put(&key(name), key(name).hash64(), large.clone());
            log.append(&[plan::record(&log, &write).unwrap()]).unwrap();
        }
        while !recovery.step(&mut log).unwrap() {}
        assert!(copy.files.bytes_highest() <= 17 << 10);
        assert!(copy.files.bytes() <= log.bytes_with(0, 0));
    }
}

#[tokio::test]
async fn deleting_what_is_not_there_writes_nothing() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.remove("never there").await;
    assert!(fixture.files.segments().is_empty());
    store.store("k", entry("x")).await;
    store.remove("k").await;
    let bytes = fixture.files.bytes();
    store.remove("k").await;
    assert_eq!(fixture.files.bytes(), bytes);
    store.close().await.unwrap();
}
