//! foyer's hybrid cache, written on insertion, with its tombstone log.
//!
//! It acknowledges nothing: an insertion returns before anything is written, and is dropped without a word
//! if the queue is full. Its figures for puts are those of its memory, not of its disk.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy, PsyncIoEngineConfig, RecoverMode,
};
use tokio::sync::RwLock;

use super::{Engine, Failure, Settings};
use crate::data::Key;

const QUEUE_BYTES: usize = 64 << 20;
const FLUSHERS: usize = 2;
const SMALL_BLOCK_BYTES: usize = 1 << 20;
const BLOCK_BYTES: usize = 16 << 20;

/// With fewer blocks than about this it stands still.
const BLOCKS: usize = 64;

/// When paced, the disk is waited for after so many bytes.
const PACE_BYTES: usize = 8 << 20;

/// See the file's head.
pub struct Foyer {
    cache: HybridCache<u128, Bytes>,
    pace: Option<Pace>,
}

/// Makes puts wait for the disk.
#[derive(Default)]
struct Pace {
    /// Bytes since the disk was last waited for.
    bytes: AtomicUsize,
    /// Held by who puts, and alone by who waits for the disk.
    gate: RwLock<()>,
}

impl Engine for Foyer {
    const BLOCKS: bool = false;

    async fn open(settings: &Settings) -> Result<Self, Failure> {
        let capacity = usize::try_from(settings.cap_bytes)?;
        let device = FsDeviceBuilder::new(&settings.dir)
            .with_capacity(capacity)
            .build()?;
        let block_bytes = if settings.small_files {
            SMALL_BLOCK_BYTES
        } else {
            (capacity / BLOCKS).clamp(SMALL_BLOCK_BYTES, BLOCK_BYTES)
        };
        let engine = BlockEngineConfig::new(device)
            .with_flushers(FLUSHERS)
            .with_buffer_pool_size(QUEUE_BYTES)
            .with_submit_queue_size_threshold(QUEUE_BYTES)
            .with_block_size(block_bytes)
            .with_tombstone_log(true);
        let cache = HybridCacheBuilder::new()
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .memory(settings.cache_bytes())
            .with_weighter(|_key, value: &Bytes| value.len() + size_of::<u128>())
            .storage()
            .with_io_engine_config(PsyncIoEngineConfig::new())
            .with_engine_config(engine)
            .with_recover_mode(RecoverMode::Quiet)
            .build()
            .await?;
        Ok(Self {
            cache,
            pace: settings.paced.then(Pace::default),
        })
    }

    async fn put(&self, key: Key, value: Bytes) -> Result<(), Failure> {
        let Some(pace) = &self.pace else {
            self.cache.insert(of(key), value);
            return Ok(());
        };
        let bytes = value.len();
        {
            let _gate = pace.gate.read().await;
            self.cache.insert(of(key), value);
        }
        if pace.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > PACE_BYTES {
            let _gate = pace.gate.write().await;
            if pace.bytes.swap(0, Ordering::Relaxed) > 0 {
                self.cache.storage().wait().await;
            }
        }
        Ok(())
    }

    async fn get<R: Send>(
        &self,
        key: Key,
        see: impl FnOnce(Option<&[u8]>) -> R + Send,
    ) -> Result<R, Failure> {
        let found = self.cache.get(&of(key)).await?;
        Ok(see(found.as_ref().map(|entry| &entry.value()[..])))
    }

    async fn delete(&self, key: Key) -> Result<(), Failure> {
        self.cache.remove(&of(key));
        Ok(())
    }

    async fn settle(&self) -> Result<(), Failure> {
        self.cache.storage().wait().await;
        Ok(())
    }

    async fn close(self) -> Result<(), Failure> {
        Ok(self.cache.close().await?)
    }
}

fn of(key: Key) -> u128 {
    u128::from_be_bytes(key.0)
}
