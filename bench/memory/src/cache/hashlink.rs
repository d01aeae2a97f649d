//! hashlink's map behind one lock.

use hashlink::LinkedHashMap;
use milena_cache::store::Entry;
use milena_cluster::key::EntryKey;
use parking_lot::Mutex;

use super::Cache;

pub struct Hashlink {
    entries_max: usize,
    /// From the least to the most recently used.
    entries: Mutex<LinkedHashMap<EntryKey, Entry>>,
}

impl Hashlink {
    pub fn new(entries_max: usize) -> Self {
        Self {
            entries_max,
            entries: Mutex::default(),
        }
    }
}

impl Cache for Hashlink {
    fn get(&self, key: &EntryKey) -> Option<Entry> {
        self.entries.lock().to_back(key).cloned()
    }

    fn insert(&self, key: &EntryKey, entry: Entry) {
        let key = key.clone();
        let mut entries = self.entries.lock();
        let old = entries.insert(key, entry);
        let is_over = entries.len() > self.entries_max;
        let evicted = is_over.then(|| entries.pop_front());
        // Freed after the lock is released.
        drop(entries);
        drop((old, evicted));
    }

    fn entries(&self) -> u64 {
        self.entries.lock().len() as u64
    }
}
