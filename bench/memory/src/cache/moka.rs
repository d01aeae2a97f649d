//! moka, as it comes.

use milena_cache::store::Entry;
use milena_cluster::key::EntryKey;
use moka::sync;

use super::Cache;

pub fn cache(entries_max: usize) -> sync::Cache<EntryKey, Entry> {
    sync::Cache::new(entries_max as u64)
}

impl Cache for sync::Cache<EntryKey, Entry> {
    fn get(&self, key: &EntryKey) -> Option<Entry> {
        self.get(key)
    }

    fn insert(&self, key: &EntryKey, entry: Entry) {
        self.insert(key.clone(), entry);
    }

    fn entries(&self) -> u64 {
        self.run_pending_tasks();
        self.entry_count()
    }
}
