//! What needs an operating system: the contract on a real directory, the lock, sizes as `stat` sees them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use milena_server::clock::{Clock, UnixMillis};

use super::super::{DiskConfig, DiskStore, DiskSync, OpenError};
use super::fixture::entry;
use crate::store::contract::{self, Subject, Traits};
use crate::store::{Store, disk};

fn config(path: &Path, sync: DiskSync) -> DiskConfig {
    DiskConfig::new(path.to_owned(), 32 << 20, sync, disk::boot_id())
}

async fn passes_the_contract(sync: DiskSync) {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(UnixMillis(1_700_000_000_000));
    let store = DiskStore::open(config(directory.path(), sync), clock.clone());
    let subject = Subject {
        store: store.await.unwrap(),
        clock,
        traits: Traits::default(),
    };
    contract::run(&subject).await;
    subject.store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract_when_the_system_has_the_write() {
    passes_the_contract(DiskSync::Os).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract_when_the_medium_has_the_write() {
    passes_the_contract(DiskSync::Always).await;
}

#[tokio::test]
async fn a_second_store_in_the_same_path_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), DiskSync::Os);
    let first = DiskStore::open(config.clone(), Clock::system())
        .await
        .unwrap();
    let refused = DiskStore::open(config.clone(), Clock::system()).await;
    let refused = refused.err().expect("the path is taken");
    assert!(matches!(refused, OpenError::InUse { .. }));
    let path = directory.path().display().to_string();
    assert!(refused.to_string().contains(&path), "{refused}");
    drop(first);
    DiskStore::open(config, Clock::system()).await.unwrap();
}

#[tokio::test]
async fn a_closed_store_can_be_opened_again_while_something_still_holds_it() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), DiskSync::Os);
    let first = DiskStore::open(config.clone(), Clock::system())
        .await
        .unwrap();
    first.close().await.unwrap();
    DiskStore::open(config, Clock::system()).await.unwrap();
    drop(first);
}

#[tokio::test]
async fn limits_that_do_not_go_together_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let small = DiskConfig {
        max_bytes: 1 << 20,
        ..config(directory.path(), DiskSync::Os)
    };
    let refused = DiskStore::open(small, Clock::system()).await;
    assert!(matches!(refused.err(), Some(OpenError::Limits { .. })));
}

#[tokio::test]
async fn a_path_that_cannot_be_made_is_refused_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = DiskStore::open(config(file.path(), DiskSync::Os), Clock::system()).await;
    let refused = refused.err().expect("a file is no directory");
    let path = file.path().display().to_string();
    assert!(refused.to_string().contains(&path), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_outlives_the_process_and_the_cap_holds_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let config = DiskConfig {
        segment_bytes: 12 << 20,
        max_bytes: 48 << 20,
        ..config(directory.path(), DiskSync::Os)
    };
    let large = "0123456789".repeat(1 << 20);
    let store = DiskStore::open(config.clone(), Clock::system())
        .await
        .unwrap();
    for number in 0..6 {
        store.store(&format!("large {number}"), entry(&large)).await;
        assert!(bytes_on_disk(directory.path()) <= config.max_bytes);
        assert_eq!(bytes_on_disk(directory.path()), counted(&store, &directory));
    }
    assert!(store.stats().evicted_for_bytes > 0);
    store.close().await.unwrap();
    drop(store);
    let store = DiskStore::open(config, Clock::system()).await.unwrap();
    store.recovered().await;
    assert!(store.value("large 5").await == Some(large));
}

/// The bytes that the store counts, without the room it keeps for the next manifest.
fn counted(store: &Arc<DiskStore>, directory: &tempfile::TempDir) -> u64 {
    let manifest = directory.path().join("MANIFEST").metadata().unwrap().len();
    store.stats().bytes - manifest
}

fn bytes_on_disk(path: &Path) -> u64 {
    let files = std::fs::read_dir(path).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_has_passed_is_an_error_and_not_a_wait() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let store = DiskStore::open(config(directory.path(), DiskSync::Os), clock.clone())
        .await
        .unwrap();
    let all = u32::try_from(store.room.available_permits()).unwrap();
    let full = store.room.acquire_many(all).await.unwrap();
    let key = super::fixture::key("waits");
    let put = store.put(
        &key,
        entry("x"),
        clock.deadline_in(Duration::from_millis(5)),
    );
    let refused = put.await.expect_err("the queue is full");
    assert!(refused.to_string().contains("deadline"), "{refused}");
    drop(full);
    store.store("waits", entry("y")).await;
    assert_eq!(store.value("waits").await.as_deref(), Some("y"));
}
