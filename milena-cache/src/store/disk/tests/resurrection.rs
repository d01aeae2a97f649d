//! What was replaced or deleted never comes back, however the segments come and go.

use milena_cluster::key::EntryKey;

use super::super::log::Log;
use super::super::plan::{self, Write};
use super::super::{DiskSync, open};
use super::fixture::{Fixture, entry, key, reclaim};
use crate::store::Store;

async fn reopened_value(fixture: &Fixture, name: &str) -> Option<String> {
    fixture.open().await.value(name).await
}

#[tokio::test]
async fn a_short_lived_overwrite_hides_an_immortal_value_after_its_segment_is_gone() {
    let fixture = Fixture::new().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    store.store("k", entry("immortal")).await;
    store.fill_segments(1).await;
    store.store("k", fixture.dying_in(10, "short")).await;
    for number in 0..2 {
        let long = "x".repeat(1_800);
        let name = format!("dies with it {number}");
        store.store(&name, fixture.dying_in(10, &long)).await;
    }
    store.fill_segments(1).await;
    let segments = fixture.files.segments();
    fixture.pass_seconds(10);
    store.maintain().await;
    let left = fixture.files.segments();
    assert!(
        segments.iter().any(|name| !left.contains(name)),
        "the space of what expired comes back"
    );
    assert!(
        left.contains(&segments[0]),
        "the immortal value's segment is there"
    );
    assert_eq!(store.value("k").await, None);
    drop(store);
    assert_eq!(reopened_value(&fixture, "k").await, None);
}

#[tokio::test]
async fn what_hides_a_longer_life_stays_until_that_life_is_over() {
    let fixture = Fixture::new().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    store.store("k", fixture.dying_in(100, "long")).await;
    store
        .store("anchor", entry("keeps the first segment"))
        .await;
    store.fill_segments(1).await;
    store.store("k", fixture.dying_in(10, "short")).await;
    fixture.pass_seconds(50);
    store.maintain().await;
    drop(store);
    let store = fixture.open().await;
    store.maintain().await;
    assert_eq!(store.value("k").await, None, "the longer life is not over");
    assert_eq!(
        store.value("anchor").await.as_deref(),
        Some("keeps the first segment")
    );
}

#[tokio::test]
async fn a_chain_of_overwrites_hides_the_first_of_them() {
    let fixture = Fixture::new().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    store.store("k", entry("immortal")).await;
    for seconds in [30, 20, 10, 5] {
        store.fill_segments(1).await;
        store.store("k", fixture.dying_in(seconds, "mortal")).await;
    }
    store.fill_segments(1).await;
    for _ in 0..8 {
        fixture.pass_seconds(5);
        store.maintain().await;
    }
    drop(store);
    assert_eq!(reopened_value(&fixture, "k").await, None);
}

#[tokio::test]
async fn a_tombstone_outlives_every_upkeep_while_what_it_hides_is_there() {
    let fixture = Fixture::new().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    store.store("k", entry("deleted")).await;
    store.store("anchor", entry("x")).await;
    store.fill_segments(1).await;
    store.remove("k").await;
    // The rest of the tombstone's segment expires.
    for number in 0..4 {
        let long = "x".repeat(1_000);
        let name = format!("mortal {number}");
        store.store(&name, fixture.dying_in(5, &long)).await;
    }
    store.fill_segments(1).await;
    fixture.pass_seconds(5);
    for _ in 0..3 {
        store.maintain().await;
    }
    assert_eq!(store.value("k").await, None);
    drop(store);
    let store = fixture.open().await;
    assert_eq!(store.value("k").await, None);
    assert_eq!(store.value("anchor").await.as_deref(), Some("x"));
}

#[tokio::test]
async fn dropping_the_oldest_for_space_revives_nothing() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("deleted", entry("x")).await;
    store.store("replaced", entry("old")).await;
    store.fill_segments(1).await;
    store.remove("deleted").await;
    store
        .store("replaced", fixture.dying_in(1_000, "new"))
        .await;
    for _ in 0..12 {
        store.fill_segments(1).await;
        assert_eq!(store.value("deleted").await, None);
        assert_ne!(store.value("replaced").await.as_deref(), Some("old"));
        let reopened = Fixture {
            files: fixture.files.copy(),
            ..fixture.clone()
        };
        let reopened = reopened.open().await;
        assert_eq!(reopened.value("deleted").await, None);
        assert_ne!(reopened.value("replaced").await.as_deref(), Some("old"));
    }
    assert!(store.stats().evicted_for_bytes > 0);
    assert_eq!(
        store.value("replaced").await.as_deref(),
        Some("new"),
        "its segment is gone by now, but it was read all the time"
    );
}

#[tokio::test]
async fn a_value_too_large_to_keep_takes_the_old_one_away() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("k", entry("old")).await;
    store.store("k", entry(&"x".repeat(9_000))).await;
    assert_eq!(store.value("k").await, None);
    drop(store);
    assert_eq!(reopened_value(&fixture, "k").await, None);
}

#[tokio::test]
async fn writes_before_the_log_is_read_win_over_what_is_read() {
    let fixture = Fixture::new().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    store.store("deleted", entry("old")).await;
    store.store("replaced", entry("old")).await;
    store.store("untouched", entry("old")).await;
    store.fill_segments(2).await;
    drop(store);

    let (mut log, mut recovery) = open::open(fixture.site()).unwrap();
    let replacement = fixture.dying_in(5, "new");
    let writes = [
        Write::delete(&key("deleted"), key("deleted").hash64()),
        Write::put(&key("replaced"), key("replaced").hash64(), replacement),
    ];
    for write in &writes {
        let record = plan::record(&log, write).expect("it may hide something");
        log.append(&[record]).unwrap();
    }
    while !recovery.step(&mut log).unwrap() {}

    let value = |log: &Log, name| {
        let now = fixture.clock.now();
        let found = log.site.shared.lookup(&key(name), key(name).hash64(), now);
        found.map(|entry| entry.value)
    };
    assert_eq!(value(&log, "deleted"), None);
    assert_eq!(value(&log, "replaced").as_deref(), Some(&b"new"[..]));
    assert_eq!(value(&log, "untouched").as_deref(), Some(&b"old"[..]));
    fixture.pass_seconds(5);
    for _ in 0..3 {
        reclaim(&mut log);
    }
    drop(log);
    let store = fixture.open().await;
    assert_eq!(store.value("deleted").await, None);
    assert_eq!(store.value("replaced").await, None);
    assert_eq!(store.value("untouched").await.as_deref(), Some("old"));
}

#[tokio::test]
async fn keys_of_one_hash_do_not_take_each_others_place() {
    let mut fixture = Fixture::new();
    fixture.key_hash = |_: &EntryKey| 42;
    let store = fixture.open().await;
    store.store("a", entry("of a")).await;
    store.store("b", entry("of b")).await;
    store.store("c", entry("of c")).await;
    store.store("a", entry("of a again")).await;
    store.remove("b").await;
    store.remove("never there").await;
    for _ in 0..2 {
        let store = fixture.open().await;
        assert_eq!(store.value("a").await.as_deref(), Some("of a again"));
        assert_eq!(store.value("b").await, None);
        assert_eq!(store.value("c").await.as_deref(), Some("of c"));
        assert_eq!(store.value("never there").await, None);
        assert_eq!(store.stats().entries, 2);
    }
}

#[tokio::test]
async fn a_damaged_record_goes_on_hiding_what_is_older() {
    for key_hash in [EntryKey::hash64, |_: &EntryKey| 7] {
        let mut fixture = Fixture::new().with_sync(DiskSync::Always);
        fixture.key_hash = key_hash;
        let store = fixture.open().await;
        store.store("k", entry("old")).await;
        store.store("other", entry("other")).await;
        store.fill_segments(1).await;
        store.store("k", entry("new")).await;
        store.close().await.unwrap();
        let newest = fixture.files.segments().pop().unwrap();
        fixture.files.change(&newest, |bytes| {
            let names = bytes.windows(2).rposition(|part| part == b"bk").unwrap();
            bytes[names + 1] ^= 1;
        });
        for _ in 0..2 {
            let store = fixture.open().await;
            assert_ne!(store.value("k").await.as_deref(), Some("old"));
            assert_eq!(store.value("k").await, None);
            store.remove("k").await;
            store.close().await.unwrap();
        }
        assert_eq!(reopened_value(&fixture, "k").await, None);
    }
}
