//! Dirty writes against a model: of each key the durable tier has the newest acknowledged write, or it is dirty and
//! can be read, whatever is dropped for space and whenever the process is killed.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_testing::times;
use proptest::prelude::*;

use super::super::planted::Bug;
use super::super::{DiskStore, DiskSync};
use super::fixture::{Fixture, block_on, entry};
use super::model::{CASES_USUAL, ROOMY_BYTES, roomy};
use crate::store::Store;
use crate::store::write_back::{UnsentWrite, WriteBackStore};

const KEYS: u8 = 8;

/// More than a record and all that is counted with it takes beside its value.
const BESIDE_VALUE_BYTES: u64 = 600;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Put {
        key: u8,
        bytes: usize,
        life_seconds: u64,
    },
    Delete {
        key: u8,
    },
    /// Written through, or filled: the durable tier has it.
    PutClean {
        key: u8,
        bytes: usize,
    },
    /// So many are uploaded; the first so many of these fail.
    Upload {
        count: u8,
        failing: u8,
    },
    /// One is uploaded, and its key put again meanwhile.
    PutWhileUploading {
        bytes: usize,
    },
    /// One is uploaded, but the process is killed before it is marked.
    UploadKillAndOpen,
    Pass {
        seconds: u64,
    },
    Maintain,
    CloseAndOpen,
    KillAndOpen,
    KillInLastWriteAndOpen {
        part: u8,
    },
    /// Only with `always`.
    LosePowerAndOpen {
        part: u8,
    },
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![6 => 0..150_usize, 2 => 500..900_usize, 1 => 1_500..3_000_usize];
    prop_oneof![
        6 => (0..KEYS, bytes.clone(), 1..30_u64)
            .prop_map(|(key, bytes, life_seconds)| Step::Put { key, bytes, life_seconds }),
        3 => (0..KEYS).prop_map(|key| Step::Delete { key }),
        8 => (0..KEYS, bytes).prop_map(|(key, bytes)| Step::PutClean { key, bytes }),
        4 => (1..6_u8, 0..3_u8).prop_map(|(count, failing)| Step::Upload { count, failing }),
        2 => (0..150_usize).prop_map(|bytes| Step::PutWhileUploading { bytes }),
        1 => Just(Step::UploadKillAndOpen),
        3 => (1..30_u64).prop_map(|seconds| Step::Pass { seconds }),
        4 => Just(Step::Maintain),
        1 => Just(Step::CloseAndOpen),
        1 => Just(Step::KillAndOpen),
        1 => any::<u8>().prop_map(|part| Step::KillInLastWriteAndOpen { part }),
        1 => any::<u8>().prop_map(|part| Step::LosePowerAndOpen { part }),
    ]
}

/// Steps that leave segments dead while older ones live: one key takes the bulk and dies soon, the others last; much
/// is uploaded, and there is much upkeep.
pub(super) fn out_of_order_step() -> impl Strategy<Value = Step> {
    let put = |key, bytes, life_seconds| Step::Put {
        key,
        bytes,
        life_seconds,
    };
    prop_oneof![
        3 => (1..KEYS, 0..50_usize, 100..300_u64).prop_map(move |(key, bytes, life)| put(key, bytes, life)),
        6 => (600..950_usize, 1..4_u64).prop_map(move |(bytes, life)| put(0, bytes, life)),
        5 => (1..6_u8).prop_map(|count| Step::Upload { count, failing: 0 }),
        1 => (1..KEYS).prop_map(|key| Step::Delete { key }),
        4 => (1..5_u64).prop_map(|seconds| Step::Pass { seconds }),
        4 => Just(Step::Maintain),
        2 => Just(Step::KillAndOpen),
    ]
}

/// `None`: deleted, or never put.
type Value = Option<String>;

/// What was written last.
enum Last {
    /// This key, dirty, which had this before.
    Dirty(u8, Value),
    Clean,
    /// That something was uploaded, or nothing yet.
    Mark,
}

struct Run {
    fixture: Fixture,
    store: Option<Arc<DiskStore>>,
    /// The newest acknowledged write of each key.
    truth: BTreeMap<u8, Value>,
    durable: BTreeMap<u8, Value>,
    last: Last,
    next_value: u32,
}

impl Run {
    async fn make(&mut self, step: &Step) {
        let store = Arc::clone(self.store.as_ref().unwrap());
        match step {
            Step::Put {
                key,
                bytes,
                life_seconds,
            } => {
                let value = self.new_value(*bytes);
                let entry = self.fixture.dying_in(*life_seconds, &value);
                if self.has_room(&store, value.len()) {
                    let written = store.make_dirty(&name(*key), Some(entry)).await;
                    written.unwrap();
                    self.note_dirty(*key, Some(value));
                }
            }
            Step::Delete { key } if self.has_room(&store, 0) => {
                store.make_dirty(&name(*key), None).await.unwrap();
                self.note_dirty(*key, None);
            }
            Step::PutClean { key, bytes } if store.dirty(&name(*key)).is_none() => {
                let value = self.new_value(*bytes);
                self.durable.insert(*key, Some(value.clone()));
                store
                    .put(&name(*key), entry(&value), self.soon())
                    .await
                    .unwrap();
                self.truth.insert(*key, Some(value));
                self.last = Last::Clean;
            }
            Step::Delete { .. } | Step::PutClean { .. } => {}
            Step::Upload { count, failing } => {
                for number in 0..*count {
                    self.upload(&store, number >= *failing).await;
                }
            }
            Step::PutWhileUploading { bytes } => self.put_while_uploading(&store, *bytes).await,
            Step::Pass { seconds } => self.fixture.pass_seconds(*seconds),
            Step::Maintain => store.maintain().await,
            restart => self.restart(store, restart).await,
        }
        self.check().await;
    }

    fn new_value(&mut self, bytes: usize) -> String {
        self.next_value += 1;
        let number = self.next_value.to_string();
        " ".repeat(bytes.saturating_sub(number.len())) + &number
    }

    fn note_dirty(&mut self, key: u8, value: Value) {
        let before = self.truth.insert(key, value).flatten();
        self.last = Last::Dirty(key, before);
    }

    fn has_room(&self, store: &DiskStore, bytes: usize) -> bool {
        let needed = store.dirty_stats().bytes + bytes as u64 + BESIDE_VALUE_BYTES;
        needed <= self.fixture.config.dirty_bytes_max
    }

    async fn upload(&mut self, store: &DiskStore, succeeds: bool) {
        let Some(key) = store.take_dirty() else {
            return;
        };
        if !succeeds {
            store.not_uploaded(&key);
            return;
        }
        let unsent = store.unsent(&key).await.unwrap().expect("it was taken");
        self.send(key.key()[0], unsent.write);
        store.uploaded(&key, unsent.id).await.unwrap();
        self.last = Last::Mark;
    }

    async fn put_while_uploading(&mut self, store: &DiskStore, bytes: usize) {
        if !self.has_room(store, bytes) {
            return;
        }
        let Some(key) = store.take_dirty() else {
            return;
        };
        let unsent = store.unsent(&key).await.unwrap().expect("it was taken");
        let value = self.new_value(bytes);
        let written = store.make_dirty(&key, Some(entry(&value))).await;
        written.unwrap();
        self.note_dirty(key.key()[0], Some(value));
        self.send(key.key()[0], unsent.write);
        store.uploaded(&key, unsent.id).await.unwrap();
        // Nothing was marked: the write that was acknowledged is the last.
    }

    fn send(&mut self, key: u8, write: UnsentWrite) {
        let value = match write {
            UnsentWrite::Put(entry) => Some(String::from_utf8(entry.value.to_vec()).unwrap()),
            UnsentWrite::Delete => None,
            UnsentWrite::Lost => panic!("nothing is damaged"),
        };
        self.durable.insert(key, value);
    }

    async fn restart(&mut self, store: Arc<DiskStore>, restart: &Step) {
        match restart {
            Step::CloseAndOpen => store.close().await.unwrap(),
            Step::UploadKillAndOpen => {
                if let Some(key) = store.take_dirty() {
                    let unsent = store.unsent(&key).await.unwrap().unwrap();
                    self.send(key.key()[0], unsent.write);
                }
            }
            _ => {}
        }
        self.store = None;
        assert_eq!(Arc::strong_count(&store), 1);
        drop(store);
        let mut was_torn = false;
        match restart {
            Step::KillInLastWriteAndOpen { part } if !matches!(self.last, Last::Clean) => {
                was_torn = self.fixture.files.tear_last_write(*part);
            }
            Step::LosePowerAndOpen { part } if self.fixture.config.sync == DiskSync::Always => {
                self.fixture.files.lose_power(*part);
                self.fixture.next_boot();
            }
            _ => {}
        }
        let store = self.fixture.open().await;
        let last = std::mem::replace(&mut self.last, Last::Mark);
        if was_torn && let Last::Dirty(key, before) = last {
            // It was not acknowledged: it has happened or not.
            let newest = self.truth.get(&key).cloned().flatten();
            let found = match store.dirty(&name(key)) {
                Some(_) => value_of(&store, key).await,
                None => self.durable.get(&key).cloned().flatten(),
            };
            assert!(found == newest || found == before, "{found:?}");
            self.truth.insert(key, found);
        }
        self.store = Some(store);
    }

    async fn check(&self) {
        let store = self.store.as_ref().unwrap();
        self.fixture.check_limit(store);
        for (key, truth) in &self.truth {
            let found = value_of(store, *key).await;
            let durable = self.durable.get(key).cloned().flatten();
            if store.dirty(&name(*key)).is_some() {
                assert_eq!(&found, truth, "key {key} is dirty");
            } else {
                assert_eq!(&durable, truth, "key {key} is not dirty");
                assert!(found.is_none() || found == *truth, "key {key} is clean");
            }
        }
    }

    /// Uploads all that is dirty.
    async fn drain(&mut self) {
        let store = Arc::clone(self.store.as_ref().unwrap());
        while store.dirty_stats().entries > 0 {
            self.upload(&store, true).await;
        }
        self.check().await;
    }

    fn soon(&self) -> milena_server::clock::Deadline {
        self.fixture
            .clock
            .deadline_in(std::time::Duration::from_secs(30))
    }
}

async fn value_of(store: &DiskStore, key: u8) -> Value {
    let deadline = store.clock.deadline_in(std::time::Duration::from_secs(30));
    let found = store.get(&name(key), deadline).await.unwrap();
    found.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
}

fn name(number: u8) -> milena_cluster::key::EntryKey {
    let byte = [number];
    milena_cluster::key::EntryKey::new("b", &byte).unwrap()
}

/// Makes these steps, checks after each, and uploads the rest.
pub(super) fn run(fixture: Fixture, steps: &[Step]) {
    block_on(fixture.callers_write, async {
        let mut run = Run {
            store: Some(fixture.open().await),
            fixture,
            truth: BTreeMap::new(),
            durable: BTreeMap::new(),
            last: Last::Mark,
            next_value: 0,
        };
        for step in steps {
            run.make(step).await;
        }
        run.drain().await;
    });
}

/// A store of at least eight segments, of which a quarter may be dirty.
pub(super) fn fixture(is_always: bool, max_bytes: u64, planted: Option<Bug>) -> Fixture {
    let mut fixture = roomy(is_always)
        .with_max_bytes(max_bytes)
        .with_value_files();
    fixture.config.dirty_bytes_max = max_bytes / 4;
    fixture.planted = planted;
    fixture
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: times("MILENA_MODEL_CASES", CASES_USUAL),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_the_durable_tier_does_not_have_is_kept(
        is_always in any::<bool>(),
        callers_write in any::<bool>(),
        max_bytes in 32_768_u64..70_000,
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let fixture = Fixture { callers_write, ..fixture(is_always, max_bytes, None) };
        run(fixture, &steps);
    }

    #[test]
    fn what_was_uploaded_stays_uploaded_when_segments_are_dropped_out_of_order(
        is_always in any::<bool>(),
        steps in prop::collection::vec(out_of_order_step(), 20..150),
    ) {
        run(fixture(is_always, ROOMY_BYTES, None), &steps);
    }
}
