//! What is carried over when space is short: what is alive in mostly dead segments, and what is read.

use super::super::DiskStore;
use super::fixture::{Fixture, entry};
use crate::store::Store;

/// Two of these take more than half a segment.
fn bulk() -> String {
    "x".repeat(1_500)
}

async fn fill(store: &DiskStore, keys: std::ops::Range<usize>) {
    for number in keys {
        store.store(&format!("bulk {number}"), entry(&bulk())).await;
        // Between two writes there is time for upkeep.
        store.maintain().await;
    }
}

#[tokio::test]
async fn a_mostly_dead_segment_goes_before_the_oldest_and_what_lives_in_it_stays() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store
        .store("oldest", entry("in a segment that is alive"))
        .await;
    fill(&store, 0..2).await;
    // Four segments of which all but a little is replaced at once.
    for round in 0..8 {
        store.store("replaced", entry(&bulk())).await;
        store.store(&format!("small {round}"), entry("lives")).await;
    }
    fill(&store, 10..20).await;
    assert_eq!(store.stats().evicted_for_bytes, 0);
    for store in [store, fixture.open().await] {
        assert!(store.value("oldest").await.is_some());
        for round in 0..8 {
            let found = store.value(&format!("small {round}")).await;
            assert_eq!(found.as_deref(), Some("lives"), "{round}");
        }
        assert_eq!(store.value("replaced").await, Some(bulk()));
        assert_eq!(store.value("bulk 0").await, Some(bulk()));
        assert_eq!(store.value("bulk 19").await, Some(bulk()));
    }
}

#[tokio::test]
async fn what_is_read_outlives_its_segment_and_what_is_not_does_not() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store
        .store("hot", fixture.dying_in(1_000, "read often"))
        .await;
    store.store("cold", entry("never read")).await;
    for number in 0..60 {
        fill(&store, number..number + 1).await;
        let hot = store.value("hot").await;
        assert_eq!(hot.as_deref(), Some("read often"), "after {number}");
    }
    assert!(store.stats().evicted_for_bytes > 0);
    assert_eq!(store.value("cold").await, None);
    fixture.pass_seconds(1_000);
    assert_eq!(store.value("hot").await, None, "its life is as it was");
}

#[tokio::test]
async fn what_is_read_also_outlives_its_segment_while_others_are_mostly_dead() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("hot", entry("read often")).await;
    for number in 0..80 {
        store.store("replaced", entry(&bulk())).await;
        store
            .store(&format!("small {number}"), entry("lives"))
            .await;
        if number % 3 == 0 {
            fill(&store, number..number + 1).await;
        }
        store.maintain().await;
        let hot = store.value("hot").await;
        assert_eq!(hot.as_deref(), Some("read often"), "after {number}");
    }
    assert!(store.stats().evicted_for_bytes > 0);
}

#[tokio::test]
async fn no_more_than_a_quarter_is_carried_over_even_if_everything_is_read() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let mut bytes_put = 0;
    for number in 0..400_usize {
        let value = "x".repeat(200);
        bytes_put += value.len() as u64;
        store.store(&format!("k {number}"), entry(&value)).await;
        for earlier in number.saturating_sub(100)..number {
            store.value(&format!("k {earlier}")).await;
        }
        store.maintain().await;
    }
    let written = fixture.files.data_bytes_written();
    assert!(written < bytes_put * 2, "{written} for {bytes_put}");
    assert!(store.value("k 399").await.is_some());
}

#[tokio::test]
async fn a_delete_after_a_record_was_carried_over_is_final() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("k", entry("hot")).await;
    for number in 0..40 {
        fill(&store, number..number + 1).await;
        if number < 20 {
            assert!(store.value("k").await.is_some());
        } else if number == 20 {
            store.remove("k").await;
        }
        let reopened = Fixture {
            files: fixture.files.copy(),
            ..fixture.clone()
        };
        let found = reopened.open().await.value("k").await;
        assert_eq!(found.is_some(), number < 20, "after {number}");
    }
}
