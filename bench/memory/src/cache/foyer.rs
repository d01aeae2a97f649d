//! foyer's memory cache.

use foyer_memory::{CacheBuilder, S3FifoConfig};
use milena_cache::store::Entry;
use milena_cluster::key::EntryKey;

use super::Cache;

type Foyer = foyer_memory::Cache<EntryKey, Entry>;

pub fn as_it_comes(entries_max: usize) -> Foyer {
    CacheBuilder::new(entries_max).build()
}

pub fn s3_fifo(entries_max: usize) -> Foyer {
    CacheBuilder::new(entries_max)
        .with_eviction_config(S3FifoConfig::default())
        .build()
}

impl Cache for Foyer {
    fn get(&self, key: &EntryKey) -> Option<Entry> {
        self.get(key).map(|found| found.value().clone())
    }

    fn insert(&self, key: &EntryKey, entry: Entry) {
        self.insert(key.clone(), entry);
    }

    fn entries(&self) -> u64 {
        self.entries() as u64
    }
}
