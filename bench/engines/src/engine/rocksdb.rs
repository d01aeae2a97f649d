//! RocksDB with BlobDB, compression off. Its calls block: a thread for each task.

use std::future::Future;

use bytes::Bytes;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompactionStyle, DBCompressionType, FifoCompactOptions,
    Options, WaitForCompactOptions, WriteOptions,
};

use super::{Acknowledge, Engine, Failure, Settings};
use crate::data::Key;

/// Smaller values stay in the tree, where they take fewer reads.
const BLOB_BYTES_MIN: u64 = 512;
const BLOOM_BITS: f64 = 10.0;
const SMALL_FILE_BYTES: usize = 1 << 20;
const RECYCLED_LOGS: usize = 4;

/// See the file's head.
pub struct RocksDb {
    db: DB,
    write: WriteOptions,
}

fn options(settings: &Settings) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(settings.cache_bytes()));
    table.set_bloom_filter(BLOOM_BITS, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.increase_parallelism(2);
    options.set_recycle_log_file_num(RECYCLED_LOGS);
    if settings.beyond_cap {
        // The nearest it has to a byte cap. It does not count blob files, so values stay in the tree.
        let mut fifo = FifoCompactOptions::default();
        fifo.set_max_table_files_size(settings.cap_bytes);
        options.set_compaction_style(DBCompactionStyle::Fifo);
        options.set_fifo_compaction_options(&fifo);
        // Enough of them for the oldest to be a small part of what is kept.
        let buffer_bytes = settings.cap_bytes / 32;
        options.set_write_buffer_size(usize::try_from(buffer_bytes).expect("fits in memory"));
    } else {
        options.set_enable_blob_files(true);
        options.set_min_blob_size(BLOB_BYTES_MIN);
        options.set_blob_compression_type(DBCompressionType::None);
        options.set_enable_blob_gc(true);
    }
    if settings.small_files {
        options.set_write_buffer_size(SMALL_FILE_BYTES);
        options.set_blob_file_size(SMALL_FILE_BYTES as u64);
    }
    options
}

impl Engine for RocksDb {
    const BLOCKS: bool = true;

    async fn open(settings: &Settings) -> Result<Self, Failure> {
        let mut write = WriteOptions::default();
        write.set_sync(settings.sync == Acknowledge::Always);
        let db = DB::open(&options(settings), &settings.dir)?;
        Ok(Self { db, write })
    }

    async fn put(&self, key: Key, value: Bytes) -> Result<(), Failure> {
        Ok(self.db.put_opt(key.0, value, &self.write)?)
    }

    fn get<R: Send>(
        &self,
        key: Key,
        see: impl FnOnce(Option<&[u8]>) -> R + Send,
    ) -> impl Future<Output = Result<R, Failure>> + Send {
        // Not in the future: the pinned slice is not to be held across one.
        let found = self.db.get_pinned(key.0).map_err(Failure::from);
        let seen = found.map(|found| see(found.as_deref()));
        std::future::ready(seen)
    }

    async fn delete(&self, key: Key) -> Result<(), Failure> {
        Ok(self.db.delete_opt(key.0, &self.write)?)
    }

    async fn settle(&self) -> Result<(), Failure> {
        self.db.flush()?;
        Ok(self
            .db
            .wait_for_compact(&WaitForCompactOptions::default())?)
    }

    async fn close(self) -> Result<(), Failure> {
        drop(self);
        Ok(())
    }
}
