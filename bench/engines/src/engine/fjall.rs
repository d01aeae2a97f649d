//! fjall with key-value separation, compression off. Its calls block: a thread for each task.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
    config::CompressionPolicy,
};

use super::{Acknowledge, Engine, Failure, Settings};
use crate::data::Key;

/// Smaller values stay in the tree, where they take fewer reads.
const BLOB_BYTES_MIN: u32 = 512;
const SMALL_FILE_BYTES: u64 = 1 << 20;
const SETTLE_POLL: Duration = Duration::from_millis(20);

/// See the file's head.
pub struct Fjall {
    database: Database,
    keyspace: Keyspace,
    group: Option<Group>,
}

/// Group commit on top of fjall, which has none: whoever has waited for a sync that began after its own write
/// was in the journal need not ask for another.
#[derive(Default)]
struct Group {
    written: AtomicU64,
    synced: Mutex<u64>,
}

impl Group {
    fn sync(&self, database: &Database) -> Result<(), Failure> {
        let own = self.written.fetch_add(1, Ordering::SeqCst) + 1;
        let mut synced = self.synced.lock().map_err(|_| "a sync has panicked")?;
        if *synced < own {
            let written = self.written.load(Ordering::SeqCst);
            database.persist(PersistMode::SyncData)?;
            *synced = written;
        }
        Ok(())
    }
}

impl Fjall {
    fn acknowledge(&self) -> Result<(), Failure> {
        match &self.group {
            Some(group) => group.sync(&self.database),
            None => Ok(()),
        }
    }
}

fn options(settings: &Settings) -> KeyspaceCreateOptions {
    let separation = KvSeparationOptions::default()
        .compression(fjall::CompressionType::None)
        .separation_threshold(BLOB_BYTES_MIN);
    let options = KeyspaceCreateOptions::default()
        .data_block_compression_policy(CompressionPolicy::all(fjall::CompressionType::None));
    if settings.small_files {
        let separation = separation.file_target_size(SMALL_FILE_BYTES);
        return options
            .max_memtable_size(SMALL_FILE_BYTES)
            .with_kv_separation(Some(separation));
    }
    options.with_kv_separation(Some(separation))
}

impl Engine for Fjall {
    const BLOCKS: bool = true;

    async fn open(settings: &Settings) -> Result<Self, Failure> {
        let database = Database::builder(&settings.dir)
            .cache_size(settings.cache_bytes() as u64)
            .journal_compression(fjall::CompressionType::None)
            .open()?;
        let keyspace = database.keyspace("b", || options(settings))?;
        let group = (settings.sync == Acknowledge::Always).then(Group::default);
        Ok(Self {
            database,
            keyspace,
            group,
        })
    }

    async fn put(&self, key: Key, value: Bytes) -> Result<(), Failure> {
        self.keyspace.insert(key.0, &value[..])?;
        self.acknowledge()
    }

    async fn get<R: Send>(
        &self,
        key: Key,
        see: impl FnOnce(Option<&[u8]>) -> R + Send,
    ) -> Result<R, Failure> {
        let found = self.keyspace.get(key.0)?;
        Ok(see(found.as_deref()))
    }

    async fn delete(&self, key: Key) -> Result<(), Failure> {
        self.keyspace.remove(key.0)?;
        self.acknowledge()
    }

    async fn settle(&self) -> Result<(), Failure> {
        self.keyspace.rotate_memtable_and_wait()?;
        let mut quiet = 0;
        while quiet < 5 {
            std::thread::sleep(SETTLE_POLL);
            let is_busy =
                self.database.active_compactions() > 0 || self.database.outstanding_flushes() > 0;
            quiet = if is_busy { 0 } else { quiet + 1 };
        }
        Ok(())
    }

    async fn close(self) -> Result<(), Failure> {
        self.database.persist(PersistMode::SyncAll)?;
        drop(self);
        Ok(())
    }
}
