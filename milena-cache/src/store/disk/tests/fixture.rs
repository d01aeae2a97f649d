//! A store on files in memory, and the few things a test does with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, UnixMillis};

use super::super::caller::may_write;
use super::super::files::Files;
use super::super::log::{Log, Site};
use super::super::planted::{Bug, Planted};
use super::super::reclaim::Round;
use super::super::shared::Shared;
use super::super::writer::Command;
use super::super::{DiskConfig, DiskStore, DiskSync, Observer, Parts};
use super::memory_files::MemoryFiles;
use crate::error::Result;
use crate::store::write_back::WriteBackStore as _;
use crate::store::{Entry, Store};

/// What stays while a store is opened and stopped again and again.
#[derive(Clone)]
pub(super) struct Fixture {
    pub(super) files: MemoryFiles,
    pub(super) clock: Clock,
    pub(super) config: DiskConfig,
    pub(super) key_hash: fn(&EntryKey) -> u64,
    pub(super) planted: Option<Bug>,
    pub(super) observer: Arc<dyn Observer>,
    /// On a runtime where whoever puts may write himself.
    pub(super) callers_write: bool,
}

impl Fixture {
    /// Eight segments of 4 KiB: small enough that a test fills them.
    pub(super) fn new() -> Self {
        Self {
            files: MemoryFiles::default(),
            clock: Clock::manual(UnixMillis(1_700_000_000_000)),
            config: DiskConfig {
                segment_bytes: 4 << 10,
                // All values into records, but for those that no record takes.
                record_bytes_max: 4 << 10,
                free_bytes_min: 0,
                // Upkeep happens when a test asks for it.
                maintenance_every: Duration::from_secs(1 << 30),
                ..DiskConfig::new(PathBuf::new(), 32 << 10, DiskSync::Os, "boot 1".to_owned())
            },
            key_hash: EntryKey::hash64,
            planted: None,
            observer: Arc::new(()),
            callers_write: false,
        }
    }

    pub(super) fn with_sync(mut self, sync: DiskSync) -> Self {
        self.config.sync = sync;
        self
    }

    pub(super) fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.config.max_bytes = max_bytes;
        self
    }

    /// Values whose records would be longer than a quarter of a segment go into files of their own.
    pub(super) fn with_value_files(mut self) -> Self {
        self.config.record_bytes_max = self.config.segment_bytes / 4;
        self
    }

    /// The machine is started anew.
    pub(super) fn next_boot(&mut self) {
        self.config.boot_id.push('+');
    }

    /// Opens the store, and waits until it has read its log and seen to its upkeep once.
    pub(super) async fn open(&self) -> Arc<DiskStore> {
        let store = self.open_unread();
        store.recovered().await;
        store.maintain().await;
        store
    }

    /// Opens the store.
    pub(super) fn open_unread(&self) -> Arc<DiskStore> {
        let parts = Parts::open(self.site(), None);
        DiskStore::start(parts.expect("opens whatever the files hold"))
    }

    /// What the log is made of and by, for a test that goes through it step by step.
    pub(super) fn site(&self) -> Site {
        let files: Arc<dyn Files> = Arc::new(self.files.clone());
        Site {
            files: Arc::clone(&files),
            config: Arc::new(self.config.clone()),
            clock: self.clock.clone(),
            observer: Arc::clone(&self.observer),
            shared: Arc::new(Shared::new(
                Planted(self.planted),
                files,
                self.clock.clone(),
            )),
            key_hash: self.key_hash,
        }
    }

    /// An entry that dies so many seconds from now.
    pub(super) fn dying_in(&self, seconds: u64, value: &str) -> Entry {
        Entry {
            fresh_until: Some(self.clock.now().after(Duration::from_secs(seconds))),
            ..entry(value)
        }
    }

    /// The limit holds, and all that is there is counted.
    #[track_caller]
    pub(super) fn check_limit(&self, store: &DiskStore) {
        let max_bytes = self.config.max_bytes;
        let highest = self.files.bytes_highest();
        assert!(highest <= max_bytes, "the cap was passed: {highest}");
        let (stats, bytes) = loop {
            // What a write has started may go on meanwhile.
            let (before, bytes) = (store.stats(), self.files.bytes());
            if store.stats() == before {
                break (before, bytes);
            }
        };
        let counted = stats.bytes;
        assert!(
            bytes <= counted,
            "{bytes} bytes are there, {counted} are counted"
        );
        assert!(
            counted <= max_bytes,
            "more is counted than the cap: {counted}"
        );
    }

    pub(super) fn pass_seconds(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

impl DiskStore {
    /// One round of upkeep.
    pub(super) async fn maintain(&self) {
        // An error: the store has switched itself off in the middle of it.
        let _ = self.ask(Command::Maintain).await;
    }

    pub(super) async fn try_put(&self, name: &str, entry: Entry) -> Result<()> {
        let deadline = self.clock.deadline_in(Duration::from_secs(30));
        self.put(&key(name), entry, deadline).await.map(drop)
    }

    pub(super) async fn store(&self, name: &str, entry: Entry) {
        self.try_put(name, entry).await.expect("put");
    }

    pub(super) async fn try_remove(&self, name: &str) -> Result<()> {
        let deadline = self.clock.deadline_in(Duration::from_secs(30));
        self.delete(&key(name), deadline).await
    }

    pub(super) async fn remove(&self, name: &str) {
        self.try_remove(name).await.expect("delete");
    }

    /// Writes `entry` dirty, or deletes if there is none: as the operations do, which begin it if that can be done.
    pub(super) async fn make_dirty(&self, key: &EntryKey, entry: Option<Entry>) -> Result<()> {
        if let Some(written) = self.begin_dirty(key, entry.clone()) {
            return written.await.expect("the courier is here");
        }
        let deadline = self.clock.deadline_in(Duration::from_secs(30));
        self.write_dirty(key, entry, deadline).await
    }

    /// The value that a get finds, as text.
    pub(super) async fn value(&self, name: &str) -> Option<String> {
        let deadline = self.clock.deadline_in(Duration::from_secs(30));
        let found = self.get(&key(name), deadline).await.expect("get");
        found.map(|entry| String::from_utf8(entry.value.to_vec()).expect("as it was put"))
    }

    /// Puts values of half a segment each until `segments` more have been started.
    pub(super) async fn fill_segments(&self, segments: usize) {
        for number in 0..segments * 2 {
            let name = format!("filling {number} {}", self.stats().bytes);
            self.store(&name, entry(&"f".repeat(1_800))).await;
        }
    }
}

/// Runs what a property test says of one case; whether whoever puts may write himself.
pub(super) fn block_on<F: Future>(callers_write: bool, case: F) -> F::Output {
    let mut runtime = if callers_write {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        assert_eq!(may_write(), callers_write);
        case.await
    })
}

/// A whole round of upkeep of a log that has no writer.
pub(super) fn reclaim(log: &mut Log) {
    log.carry_budget_bytes = u64::MAX;
    let mut round = Round::start(log);
    while !round.step(log).unwrap() {
        log.forgetting.step(&log.site.shared);
    }
}

pub(super) fn key(name: &str) -> EntryKey {
    EntryKey::new("b", name.as_bytes()).expect("within the limits")
}

pub(super) fn entry(value: &str) -> Entry {
    Entry::new(Bytes::from(value.to_owned()))
}
