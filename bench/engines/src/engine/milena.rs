//! Milena's disk store, with the settings of a node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_cache::store::disk::{DiskConfig, DiskStore, DiskSync, boot_id};
use milena_cache::store::{Entry, Store};
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline};

use super::{Acknowledge, Engine, Failure, Settings};
use crate::data::Key;

const CALL_TIMEOUT: Duration = Duration::from_secs(60);
const SMALL_SEGMENT_BYTES: u32 = 1 << 20;

/// See the file's head.
pub struct Milena {
    store: Arc<DiskStore>,
    clock: Clock,
}

impl Milena {
    fn deadline(&self) -> Deadline {
        self.clock.deadline_in(CALL_TIMEOUT)
    }
}

impl Engine for Milena {
    const BLOCKS: bool = false;

    async fn open(settings: &Settings) -> Result<Self, Failure> {
        let sync = match settings.sync {
            Acknowledge::Os => DiskSync::Os,
            Acknowledge::Always => DiskSync::Always,
        };
        let path = settings.dir.clone();
        let mut config = DiskConfig::new(path, settings.cap_bytes, sync, boot_id());
        if settings.small_files {
            config.segment_bytes = SMALL_SEGMENT_BYTES;
        }
        let clock = Clock::system();
        let store = DiskStore::open(config, clock.clone()).await?;
        store.recovered().await;
        Ok(Self { store, clock })
    }

    async fn put(&self, key: Key, value: Bytes) -> Result<(), Failure> {
        let entry = Entry::new(value);
        self.store
            .put(&entry_key(key)?, entry, self.deadline())
            .await?;
        Ok(())
    }

    async fn get<R: Send>(
        &self,
        key: Key,
        see: impl FnOnce(Option<&[u8]>) -> R + Send,
    ) -> Result<R, Failure> {
        let found = self.store.get(&entry_key(key)?, self.deadline()).await?;
        Ok(see(found.as_ref().map(|entry| &entry.value[..])))
    }

    async fn delete(&self, key: Key) -> Result<(), Failure> {
        Ok(self.store.delete(&entry_key(key)?, self.deadline()).await?)
    }

    async fn settle(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn close(self) -> Result<(), Failure> {
        Ok(self.store.close().await?)
    }
}

fn entry_key(key: Key) -> Result<EntryKey, Failure> {
    Ok(EntryKey::new("b", &key.0)?)
}
