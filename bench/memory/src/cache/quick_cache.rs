//! quick_cache, as it comes.

use milena_cache::store::Entry;
use milena_cluster::key::EntryKey;
use quick_cache::sync;

use super::Cache;

pub fn cache(entries_max: usize) -> sync::Cache<EntryKey, Entry> {
    sync::Cache::new(entries_max)
}

impl Cache for sync::Cache<EntryKey, Entry> {
    fn get(&self, key: &EntryKey) -> Option<Entry> {
        self.get(key)
    }

    fn insert(&self, key: &EntryKey, entry: Entry) {
        self.insert(key.clone(), entry);
    }

    fn entries(&self) -> u64 {
        self.len() as u64
    }
}
