//! Too many open files: nothing that is stored is lost by it.

use std::time::Duration;

use super::fixture::{Fixture, entry};
use super::memory_files::Faults;
use crate::store::Store;

fn at_most(open: usize) -> Faults {
    Faults {
        open_max: Some(open),
        ..Faults::default()
    }
}

#[tokio::test]
async fn a_segment_that_cannot_be_opened_now_is_read_later_and_kept() {
    let fixture = Fixture::new().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    store.store("oldest", entry("1")).await;
    store.fill_segments(4).await;
    store.store("newest", entry("2")).await;
    drop(store);
    let before = fixture.files.segments();
    fixture.files.set_faults(at_most(2));
    let store = fixture.open_unread();
    for _ in 0..3 {
        store.maintain().await;
        assert_eq!(store.value("oldest").await, None, "not read yet");
    }
    assert_eq!(store.value("newest").await.as_deref(), Some("2"));
    assert_eq!(fixture.files.segments(), before);
    fixture.files.set_faults(Faults::default());
    store.maintain().await;
    store.recovered().await;
    assert_eq!(store.value("oldest").await.as_deref(), Some("1"));
    assert_eq!(store.stats().damaged, 0);
}

#[tokio::test]
async fn what_is_deleted_before_its_segment_can_be_opened_stays_deleted() {
    let fixture = Fixture::new().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    store.store("k", entry("old")).await;
    store.fill_segments(4).await;
    drop(store);
    fixture.files.set_faults(at_most(3));
    let store = fixture.open_unread();
    store.maintain().await;
    fixture.files.set_faults(Faults::default());
    store.remove("k").await;
    store.maintain().await;
    store.recovered().await;
    assert_eq!(store.value("k").await, None);
    drop(store);
    assert_eq!(fixture.open().await.value("k").await, None);
}

#[tokio::test]
async fn a_new_segment_takes_the_descriptors_of_the_oldest() {
    let fixture = Fixture::new().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    fixture.files.set_faults(at_most(5));
    for number in 0..60 {
        let value = "x".repeat(1_000);
        store.store(&format!("k {number}"), entry(&value)).await;
    }
    assert!(store.value("k 59").await.is_some());
    assert!(store.value("k 0").await.is_none());
    drop(store);
    let store = fixture.open().await;
    assert!(store.value("k 59").await.is_some());
    assert_eq!(store.stats().damaged, 0);
}

#[tokio::test]
async fn without_any_descriptor_writes_fail_and_the_store_stays_on() {
    let fixture = Fixture::new().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    store.store("k", entry("old")).await;
    fixture.files.set_faults(at_most(0));
    // More than is left of the first segment.
    let large = entry(&"x".repeat(3_850));
    for _ in 0..3 {
        assert!(store.try_put("k", large.clone()).await.is_err());
    }
    let deadline = store.clock.deadline_in(Duration::from_secs(30));
    store.check(deadline).await.expect("it is on");
    fixture.files.set_faults(Faults::default());
    store.store("k", entry("new")).await;
    drop(store);
    let reopened = fixture.open().await;
    assert_eq!(reopened.value("k").await.as_deref(), Some("new"));
}
