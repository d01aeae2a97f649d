//! A store on files in memory, opened without a care for what they hold.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, UnixMillis};

#[cfg(not(test))]
pub(super) use super::memory_files::MemoryFiles;
use crate::store::disk::files::Files;
use crate::store::disk::format::SegmentId;
use crate::store::disk::log::Site;
use crate::store::disk::planted::Planted;
use crate::store::disk::segment::file_name;
use crate::store::disk::shared::Shared;
#[cfg(test)]
pub(super) use crate::store::disk::tests::memory_files::MemoryFiles;
use crate::store::disk::{DiskConfig, DiskStore, DiskSync, Parts};
use crate::store::{Entry, Store as _};

/// The limit of a segment, in bytes: so small that a few values fill it.
pub(super) const SEGMENT_BYTES: u32 = 4 << 10;

/// The boot in which a store was opened first.
pub(super) const BOOT: &str = "boot";

/// The limit of all files, in bytes: more than any input comes to.
const MAX_BYTES: u64 = 64 << 20;

/// The moment at which everything happens.
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// An open store whose log has been read.
pub(super) struct Opened {
    store: Arc<DiskStore>,
    clock: Clock,
}

impl Opened {
    pub(super) async fn open(files: &MemoryFiles, sync: DiskSync, boot: &str) -> Self {
        let clock = Clock::manual(NOW);
        let config = DiskConfig {
            segment_bytes: SEGMENT_BYTES,
            record_bytes_max: SEGMENT_BYTES / 4,
            // Upkeep happens once, at the start.
            maintenance_every: Duration::from_secs(1 << 30),
            ..DiskConfig::new(PathBuf::new(), MAX_BYTES, sync, boot.to_owned())
        };
        let files: Arc<dyn Files> = Arc::new(files.clone());
        let site = Site {
            files: Arc::clone(&files),
            config: Arc::new(config),
            clock: clock.clone(),
            observer: Arc::new(()),
            shared: Arc::new(Shared::new(Planted::default(), files, clock.clone())),
            key_hash: EntryKey::hash64,
        };
        let parts = Parts::open(site, None);
        let store = DiskStore::start(parts.expect("opens whatever the files hold"));
        store.recovered().await;
        Self { store, clock }
    }

    pub(super) fn value(&self, key: &EntryKey) -> Option<Bytes> {
        let found = self.store.shared.lookup(key, key.hash64(), NOW);
        found.map(|entry| entry.value)
    }

    pub(super) async fn put(&self, key: &EntryKey, value: Bytes) {
        let deadline = self.clock.deadline_in(Duration::from_secs(30));
        let put = self.store.put(key, Entry::new(value), deadline);
        put.await.expect("nothing fails in memory");
    }

    pub(super) async fn delete(&self, key: &EntryKey) {
        let deadline = self.clock.deadline_in(Duration::from_secs(30));
        let delete = self.store.delete(key, deadline);
        delete.await.expect("nothing fails in memory");
    }

    pub(super) async fn close(&self) {
        self.store.close().await.expect("nothing fails in memory");
    }
}

/// Runs it to its end on this thread.
pub(super) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }
        .enable_time()
        .build()
        .expect("a thread is all that it needs");
    runtime.block_on(work)
}

/// Makes `name` hold exactly this.
pub(super) fn write(files: &MemoryFiles, name: &str, contents: Vec<u8>) {
    files.change(name, |bytes| *bytes = contents);
}

/// The name of the segment with this number.
pub(super) fn segment_name(id: u32) -> String {
    file_name(SegmentId(id))
}
