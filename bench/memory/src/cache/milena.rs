//! The memory tier of a node.

use std::time::Duration;

use futures::FutureExt as _;
use milena_cache::store::memory::{EvictionPolicy, MemoryConfig, MemoryStore};
use milena_cache::store::{Entry, Store};
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline};

use super::Cache;

pub struct Milena {
    store: MemoryStore,
    /// Which memory does not look at.
    deadline: Deadline,
}

pub fn cache(policy: EvictionPolicy, entries_max: usize) -> Milena {
    let clock = Clock::system();
    let config = MemoryConfig {
        entries_max,
        bytes_max: 64 << 30,
        policy,
    };
    Milena {
        deadline: clock.deadline_in(Duration::from_secs(3_600)),
        store: MemoryStore::new(config, clock),
    }
}

impl Cache for Milena {
    fn get(&self, key: &EntryKey) -> Option<Entry> {
        self.store.get_now(key)
    }

    fn insert(&self, key: &EntryKey, entry: Entry) {
        let put = self.store.put(key, entry, self.deadline).now_or_never();
        put.expect("memory does not wait")
            .expect("memory takes all");
    }

    fn entries(&self) -> u64 {
        self.store.stats().entries
    }
}
