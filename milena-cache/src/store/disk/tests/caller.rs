//! Who writes: whoever puts, or the writer's thread.

use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures::poll;

use super::super::{DiskStore, DiskSync};
use super::fixture::{Fixture, entry};
use crate::store::Store as _;

/// What the tests wait for at most; none of them is to wait so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the writer's thread has nothing to do: it has the writer for a moment after its last answer.
async fn asleep(store: &DiskStore) {
    let asleep = async {
        while !store.queue.is_asleep() {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, asleep).await;
    in_time.expect("it has nothing to do");
}

/// Whether a second write to the segment and one that supersedes it are made by this thread.
async fn writes_itself(fixture: &Fixture) -> [bool; 2] {
    let store = fixture.open().await;
    store.store("opens the segment", entry("")).await;
    let mut by_caller = [false; 2];
    for (by_caller, value) in by_caller.iter_mut().zip(["first", "second"]) {
        asleep(&store).await;
        store.store("key", entry(value)).await;
        *by_caller = fixture.files.writer() == Some(thread::current().id());
        assert_eq!(store.value("key").await.as_deref(), Some(value));
    }
    by_caller
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_record_is_written_by_whoever_puts_it() {
    assert_eq!(writes_itself(&Fixture::new()).await, [true, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_synced_is_written_by_the_thread() {
    let fixture = Fixture::new().with_sync(DiskSync::Always);
    assert_eq!(writes_itself(&fixture).await, [false, false]);
}

#[tokio::test]
async fn where_nobody_else_could_go_on_the_thread_writes() {
    assert_eq!(writes_itself(&Fixture::new()).await, [false, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_that_has_gone_had_queued_is_written() {
    let store = Fixture::new().open().await;
    {
        let put = pin!(store.try_put("key", entry("value")));
        assert!(poll!(put).is_pending(), "others may queue first");
    }
    let written = async {
        while store.value("key").await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    let written = tokio::time::timeout(PATIENCE, written).await;
    written.expect("the thread is called");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_what_others_queued_loses_none_of_it() {
    let fixture = Fixture::new().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    let tasks = tokio_util::task::TaskTracker::new();
    for task in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..100 {
                // Three of four are written over and over, and one is new.
                let name = format!("{task} {}", if number % 4 == 0 { number } else { 1 });
                let value = format!("{number}");
                store.store(&name, entry(&value)).await;
                assert_eq!(store.value(&name).await, Some(value));
            }
        });
    }
    tasks.close();
    tokio::time::timeout(PATIENCE, tasks.wait()).await.unwrap();
    for task in 0..16 {
        let name = format!("{task} 1");
        assert_eq!(store.value(&name).await.as_deref(), Some("99"));
    }
    assert_eq!(store.stats().damaged, 0);
}
