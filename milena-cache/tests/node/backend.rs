//! A storage backend that Milena does not have: a sorted map. That this file is all it takes is the point:
//! implement `Store`, pass the suite, add it to the tiers of `Operation`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use milena_cache::error::Result;
use milena_cache::metrics::Metrics;
use milena_cache::operation::{Limits, Lives, Operation, PutOptions, Tier};
use milena_cache::store::contract::{self, Subject, Traits};
use milena_cache::store::memory::{MemoryConfig, MemoryStore};
use milena_cache::store::{Entry, Store, StoreStats, Version};
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline, UnixMillis};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

/// A sorted map: what a new backend would keep elsewhere.
struct MapStore {
    entries: Mutex<BTreeMap<EntryKey, Entry>>,
    clock: Clock,
}

impl MapStore {
    fn new(clock: Clock) -> Self {
        Self {
            entries: Mutex::default(),
            clock,
        }
    }
}

#[async_trait]
impl Store for MapStore {
    async fn get(&self, key: &EntryKey, _: Deadline) -> Result<Option<Entry>> {
        let found = self.entries.lock().await.get(key).cloned();
        Ok(found.filter(|entry| entry.is_live(self.clock.now())))
    }

    async fn put(&self, key: &EntryKey, entry: Entry, _: Deadline) -> Result<Version> {
        let version = entry.version.clone();
        self.entries.lock().await.insert(key.clone(), entry);
        Ok(version)
    }

    async fn delete(&self, key: &EntryKey, _: Deadline) -> Result<()> {
        self.entries.lock().await.remove(key);
        Ok(())
    }

    async fn check(&self, _: Deadline) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }
}

fn clock() -> Clock {
    Clock::manual(UnixMillis(1_700_000_000_000))
}

#[tokio::test]
async fn a_new_backend_passes_the_suite() {
    let clock = clock();
    let subject = Subject {
        store: Arc::new(MapStore::new(clock.clone())),
        clock,
        traits: Traits::default(),
    };
    contract::run(&subject).await;
}

#[tokio::test]
async fn a_new_backend_is_a_tier_wherever_it_is_put() {
    let clock = clock();
    let room = MemoryConfig::new(1, 1 << 20);
    let memory = Arc::new(MemoryStore::new(room, clock.clone()));
    let middle = Arc::new(MapStore::new(clock.clone()));
    let last = Arc::new(MapStore::new(clock.clone()));
    let metrics = Arc::new(Metrics::new());
    let operation = Operation::new(
        vec![
            Tier::new("memory", memory, &metrics),
            Tier::new("map", middle.clone(), &metrics),
        ],
        None,
        Tier::new("last", last.clone(), &metrics),
        Limits {
            lives: Lives::of_copies(Duration::from_secs(60)),
            stale_life: Duration::ZERO,
            miss_life: Duration::ZERO,
            durable_timeout: Duration::from_secs(60),
        },
        clock,
        Arc::clone(&metrics),
        Handle::current(),
    );
    let [a, b] = ["a", "b"].map(|key| EntryKey::new("b", key.as_bytes()).unwrap());
    let value = Bytes::from("v");
    for key in [&a, &b] {
        operation
            .put(key.clone(), value.clone(), PutOptions::default(), None)
            .await
            .unwrap();
    }
    assert_eq!(
        middle.entries.lock().await.len(),
        2,
        "a put reaches every tier"
    );
    assert_eq!(last.entries.lock().await.len(), 2);
    let found = operation.get(&a, None).await.unwrap().unwrap();
    assert_eq!(
        found.value, value,
        "memory holds one entry only: the map answered"
    );
    let hits = "milena_cache_hits_total{tier=\"map\"} 1";
    assert!(metrics.encode().contains(hits), "and has its metrics");
    middle.entries.lock().await.clear();
    operation.get(&b, None).await.unwrap().unwrap();
    assert!(
        middle.entries.lock().await.contains_key(&b),
        "a read promotes into it"
    );
    operation.delete(a.clone(), None).await.unwrap();
    assert_eq!(operation.get(&a, None).await.unwrap(), None);
    assert!(!last.entries.lock().await.contains_key(&a));
}
