//! Dirty writes that are begun without waiting, and who brings them to the writer.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::super::DiskStore;
use super::super::caller::WRITE_BYTES_MAX;
use super::dirty::fixture;
use super::fixture::{Fixture, entry, key};
use crate::error::Result;
use crate::store::Entry;
use crate::store::write_back::WriteBackStore as _;

/// A runtime of one thread.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn begin(store: &DiskStore, name: &str, entry: Entry) -> oneshot::Receiver<Result<()>> {
    let begun = store.begin_dirty(&key(name), Some(entry));
    begun.expect("nothing has to be waited for")
}

#[tokio::test]
async fn what_is_begun_together_is_brought_together() {
    let store = fixture().open().await;
    let came = store.queue.came();
    let names = ["a", "b", "c"];
    let begun = names.map(|name| begin(&store, name, entry(name)));
    assert_eq!(store.queue.came(), came, "the others run first");
    for written in begun {
        written.await.unwrap().unwrap();
    }
    assert_eq!(store.queue.came(), came + 3);
    for name in names {
        assert_eq!(store.value(name).await.as_deref(), Some(name));
        assert!(store.dirty(&key(name)).is_some());
    }
    let removed = store.begin_dirty(&key("a"), None).expect("as above");
    removed.await.unwrap().unwrap();
    assert_eq!(store.value("a").await, None);
}

#[tokio::test]
async fn what_has_to_wait_is_not_begun() {
    let mut fixture = fixture();
    fixture.config.dirty_bytes_max = 2_000;
    let store = fixture.open().await;
    let into_a_file = entry(&"v".repeat(1_500));
    assert!(store.begin_dirty(&key("k"), Some(into_a_file)).is_none());
    let half = || entry(&"v".repeat(900));
    let begun = ["a", "b"].map(|name| begin(&store, name, half()));
    let beyond_the_limit = store.begin_dirty(&key("c"), Some(half()));
    assert!(beyond_the_limit.is_none());
    for written in begun {
        written.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_takes_long_is_not_begun() {
    let mut fixture = Fixture::new().with_max_bytes(16 << 20);
    fixture.config.segment_bytes = 1 << 20;
    fixture.config.dirty_bytes_max = 1 << 20;
    let store = fixture.with_value_files().open().await;
    let of_bytes = |bytes| Some(entry(&"v".repeat(bytes)));
    let too_long = store.begin_dirty(&key("k"), of_bytes(WRITE_BYTES_MAX));
    assert!(too_long.is_none());
    let shorter = store.begin_dirty(&key("k"), of_bytes(WRITE_BYTES_MAX - 200));
    shorter.expect("it is short").await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_courier_where_whoever_puts_may_write_himself() {
    let store = fixture().open().await;
    assert!(store.begin_dirty(&key("k"), Some(entry("v"))).is_none());
}

#[test]
fn who_waits_for_a_courier_that_has_gone_learns_of_it() {
    let of_store = runtime();
    let store: Arc<DiskStore> = of_store.block_on(fixture().open());
    let first = runtime();
    let written = {
        let _on_it = first.enter();
        begin(&store, "k", entry("first"))
    };
    drop(first);
    assert!(written.blocking_recv().is_err());
    assert!(store.dirty(&key("k")).is_none());
    let second = async { begin(&store, "k", entry("second")).await.unwrap() };
    runtime().block_on(second).unwrap();
    let value = of_store.block_on(store.value("k"));
    assert_eq!(value.as_deref(), Some("second"));
}

#[tokio::test]
async fn a_courier_ends_with_its_store() {
    let store = fixture().open().await;
    begin(&store, "k", entry("v")).await.unwrap().unwrap();
    let couriers = store.couriers.tasks.clone();
    assert_eq!(couriers.len(), 1);
    drop(store);
    couriers.close();
    couriers.wait().await;
}
