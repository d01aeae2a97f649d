//! A get and a put of each store, called as an operation calls it. Gets are hits, puts replace an older value.

use std::time::Duration;

use bytes::Bytes;
use milena_cache::store::disk::{DiskConfig, DiskStore, DiskSync};
use milena_cache::store::s3::S3Store;
use milena_cache::store::{Entry, Store};
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline};
use milena_testing::in_memory;

use crate::endpoint::Endpoint;
use crate::{BUCKET, VALUE_BYTES};

/// The keys that are gone round. Every first round comes by all of them, as often as warms them up.
const KEYS: u32 = 100;

/// The limit of the disk store, in bytes. Its segments are so long that the first takes two rounds of puts.
const DISK_BYTES_MAX: u64 = 256 << 20;

/// Longer than anything here takes: deadlines, and what is done in the background now and then.
const FOREVER: Duration = Duration::from_secs(3_600);

pub(crate) async fn memory_get(times: u32) {
    let (store, load) = (in_memory::store(), Load::new());
    load.put(&store, KEYS).await;
    for key in load.keys(times) {
        let found = store.get_now(key);
        assert!(found.is_some(), "a hit");
    }
}

pub(crate) async fn memory_put(times: u32) {
    Load::new().put(&in_memory::store(), times).await;
}

pub(crate) async fn disk_get(times: u32) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (store, load) = (disk_store(&folder).await, Load::new());
    load.put(&*store, KEYS).await;
    load.get(&*store, times).await;
}

pub(crate) async fn disk_put(times: u32) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Load::new().put(&*disk_store(&folder).await, times).await;
}

pub(crate) async fn s3_get(times: u32) {
    let endpoint = Endpoint::start();
    let (store, load) = (s3_store(&endpoint).await, Load::new());
    load.put(&store, KEYS).await;
    load.get(&store, times).await;
}

pub(crate) async fn s3_put(times: u32) {
    let endpoint = Endpoint::start();
    Load::new().put(&s3_store(&endpoint).await, times).await;
}

async fn disk_store(folder: &tempfile::TempDir) -> std::sync::Arc<DiskStore> {
    let path = folder.path().join("disk");
    let config = DiskConfig {
        maintenance_every: FOREVER,
        ..DiskConfig::new(path, DISK_BYTES_MAX, DiskSync::Os, String::new())
    };
    let store = DiskStore::open(config, Clock::system()).await;
    let store = store.expect("the disk store opens");
    store.recovered().await;
    store
}

async fn s3_store(endpoint: &Endpoint) -> S3Store {
    S3Store::new(endpoint.config(FOREVER), Clock::system()).await
}

/// What stores are asked.
struct Load {
    keys: Vec<EntryKey>,
    value: Bytes,
    deadline: Deadline,
}

impl Load {
    fn new() -> Self {
        let key = |index: u32| EntryKey::new(BUCKET, format!("{index:016}").as_bytes());
        let keys = (0..KEYS).map(key).collect::<Result<_, _>>();
        Self {
            keys: keys.expect("bucket and keys are within the limits"),
            value: Bytes::from(vec![7; VALUE_BYTES]),
            deadline: Clock::system().deadline_in(FOREVER),
        }
    }

    /// So many keys, which go round.
    fn keys(&self, times: u32) -> impl Iterator<Item = &EntryKey> {
        self.keys.iter().cycle().take(times as usize)
    }

    async fn get(&self, store: &impl Store, times: u32) {
        for key in self.keys(times) {
            let found = store.get(key, self.deadline).await;
            assert!(found.expect("the store answers").is_some(), "a hit");
        }
    }

    async fn put(&self, store: &impl Store, times: u32) {
        for key in self.keys(times) {
            let entry = Entry::new(self.value.clone());
            let stored = store.put(key, entry, self.deadline).await;
            stored.expect("the store takes it");
        }
    }
}
