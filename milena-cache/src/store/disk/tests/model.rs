//! The store against a model: puts, overwrites, deletes, expiry, upkeep, clean stops, kills, torn writes and
//! power losses in any order. After each step every key gives its newest value or a miss, and a hit
//! wherever nothing was dropped for space. Where the machine lost what was not synced, it gives what has to be
//! revalidated or a miss: then the model says whether the version is still the newest.

use std::sync::Arc;

use milena_cluster::key::EntryKey;
use milena_server::clock::UnixMillis;
use milena_testing::times;
use proptest::prelude::*;

use super::super::value_file::Shape;
use super::super::{DiskStore, DiskSync};
use super::fixture::{Fixture, block_on, entry};
use crate::store::{Entry, Store, Version};

const KEYS: u8 = 10;

/// More than a quarter of any limit here.
const DECLINED_BYTES: usize = 270_000;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Put {
        key: u8,
        bytes: usize,
        life_seconds: Option<u64>,
    },
    Delete {
        key: u8,
    },
    /// A get that asks S3 where it has to, and keeps what that says.
    Revalidate {
        key: u8,
    },
    Pass {
        seconds: u64,
    },
    Maintain,
    CloseAndOpen,
    CloseLosePowerAndOpen {
        part: u8,
    },
    /// A bit of a file flips while the store is closed.
    CloseFlipABitAndOpen {
        file: prop::sample::Index,
        bit: prop::sample::Index,
    },
    KillAndOpen,
    KillInLastWriteAndOpen {
        part: u8,
    },
    LosePowerAndOpen {
        part: u8,
    },
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![6 => 0..200_usize, 2 => 900..3_700_usize, 2 => 3_700..12_000_usize, 1 => Just(DECLINED_BYTES)];
    let life = prop_oneof![
        Just(None),
        (1..20_u64).prop_map(Some),
        (20..200_u64).prop_map(Some)
    ];
    let others = prop_oneof![
        3 => (1..30_u64).prop_map(|seconds| Step::Pass { seconds }),
        3 => Just(Step::Maintain),
        1 => Just(Step::CloseAndOpen),
        1 => any::<u8>().prop_map(|part| Step::CloseLosePowerAndOpen { part }),
        1 => Just(Step::KillAndOpen),
        1 => any::<u8>().prop_map(|part| Step::KillInLastWriteAndOpen { part }),
        1 => any::<u8>().prop_map(|part| Step::LosePowerAndOpen { part }),
    ];
    prop_oneof![
        12 => (0..KEYS, bytes, life).prop_map(|(key, bytes, life_seconds)| Step::Put {
            key,
            bytes,
            life_seconds
        }),
        4 => (0..KEYS).prop_map(|key| Step::Delete { key }),
        2 => (0..KEYS).prop_map(|key| Step::Revalidate { key }),
        11 => others,
    ]
}

pub(super) fn step_or_flip() -> impl Strategy<Value = Step> {
    let flip = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    prop_oneof![
        9 => step(),
        1 => flip.prop_map(|(file, bit)| Step::CloseFlipABitAndOpen { file, bit }),
    ]
}

/// Steps that leave segments dead, or mostly dead, while older ones live: now and then a small value that
/// lives long or for ever, among large ones that die soon or are replaced at once; much upkeep.
pub(super) fn out_of_order_step() -> impl Strategy<Value = Step> {
    let put = |key, bytes, life_seconds| Step::Put {
        key,
        bytes,
        life_seconds,
    };
    let lasting = prop_oneof![Just(None), (50..200_u64).prop_map(Some)];
    prop_oneof![
        3 => (0..KEYS, 0..50_usize, lasting).prop_map(move |(key, bytes, life)| put(key, bytes, life)),
        3 => (0..KEYS, 0..50_usize, 1..8_u64).prop_map(move |(key, bytes, life)| put(key, bytes, Some(life))),
        // One key takes the bulk.
        6 => (1_000..3_500_usize, 1..8_u64).prop_map(move |(bytes, life)| put(0, bytes, Some(life))),
        2 => (0..KEYS).prop_map(|key| Step::Delete { key }),
        4 => (1..6_u64).prop_map(|seconds| Step::Pass { seconds }),
        4 => Just(Step::Maintain),
        1 => Just(Step::CloseAndOpen),
        1 => Just(Step::KillAndOpen),
        1 => any::<u8>().prop_map(|part| Step::KillInLastWriteAndOpen { part }),
        1 => any::<u8>().prop_map(|part| Step::LosePowerAndOpen { part }),
        1 => (0..KEYS).prop_map(|key| Step::Revalidate { key }),
    ]
}

/// What a key may give, besides a miss.
#[derive(Clone, Debug, Default)]
struct Expected {
    /// `None` once deleted.
    newest: Option<Value>,
    /// What the newest write replaced: the newest, if that write turns out to have been torn.
    or_before: Option<Value>,
    /// Its record may have been dropped: a miss is right too.
    may_miss: bool,
    /// Newer records may have been lost since it was written: what is found has to be revalidated.
    is_doubtful: bool,
    /// The same of what the newest write replaced.
    was_doubtful: bool,
}

/// A value, and when it dies.
type Value = (String, Option<UnixMillis>);

struct Run {
    fixture: Fixture,
    store: Option<Arc<DiskStore>>,
    expected: Vec<Expected>,
    last_written: Option<usize>,
    /// Bits have flipped.
    is_damaged: bool,
    next_value: u32,
}

impl Run {
    async fn new(fixture: Fixture) -> Self {
        Self {
            store: Some(fixture.open().await),
            fixture,
            expected: vec![Expected::default(); usize::from(KEYS)],
            last_written: None,
            is_damaged: false,
            next_value: 0,
        }
    }

    async fn make(&mut self, step: &Step) {
        let store = Arc::clone(self.store.as_ref().unwrap());
        match step {
            Step::Put {
                key,
                bytes,
                life_seconds,
            } => {
                self.next_value += 1;
                let number = self.next_value.to_string();
                let value = " ".repeat(bytes.saturating_sub(number.len())) + &number;
                let dies_at = life_seconds.and_then(|it| self.fixture.dying_in(it, "").dies_at());
                self.put(&store, *key, (value, dies_at)).await;
            }
            Step::Delete { key } => self.delete(&store, *key).await,
            Step::Revalidate { key } => self.revalidate(&store, *key).await,
            Step::Pass { seconds } => self.fixture.pass_seconds(*seconds),
            Step::Maintain => store.maintain().await,
            restart => {
                self.restart(store, restart).await;
            }
        }
        self.check_limits();
        self.check_every_key();
    }

    async fn put(&mut self, store: &DiskStore, key: u8, (value, dies_at): Value) {
        let entry = Entry {
            fresh_until: dies_at,
            version: version(&value),
            ..entry(&value)
        };
        let is_declined = self.is_declined(store, key, &entry);
        let writes = self.fixture.files.writes();
        store.store(&name(key), entry).await;
        self.note_write(key, writes, (!is_declined).then_some((value, dies_at)));
    }

    async fn delete(&mut self, store: &DiskStore, key: u8) {
        let writes = self.fixture.files.writes();
        store.remove(&name(key)).await;
        self.note_write(key, writes, None);
    }

    /// What an operation does with what it finds, the newest value being that of S3.
    async fn revalidate(&mut self, store: &DiskStore, key: u8) {
        let found = self.lookup(store, key);
        if found.is_none_or(|found| !found.needs_revalidation) {
            return;
        }
        match self.live(key).cloned() {
            Some(newest) => self.put(store, key, newest).await,
            None => self.delete(store, key).await,
        }
    }

    fn lookup(&self, store: &DiskStore, key: u8) -> Option<Entry> {
        let key = super::fixture::key(&name(key));
        let now = self.fixture.clock.now();
        store.shared.lookup(&key, (store.key_hash)(&key), now)
    }

    /// The newest value of the key, if it has not died.
    fn live(&self, key: u8) -> Option<&Value> {
        let now = self.fixture.clock.now();
        let newest = self.expected[usize::from(key)].newest.as_ref();
        newest.filter(|(_, dies_at)| dies_at.is_none_or(|end| now < end))
    }

    /// Whether a value of this length is too long to be kept.
    fn is_declined(&self, store: &DiskStore, key: u8, entry: &Entry) -> bool {
        let (key, bytes) = (super::fixture::key(&name(key)), entry.value.len() as u64);
        if store.takes_in_record(&key, &entry.version, bytes) {
            return false;
        }
        let config = &self.fixture.config;
        let shape = Shape::new(bytes, config.segment_bytes).unwrap();
        shape.file_bytes() > config.value_file_bytes_max()
    }

    /// Takes note of a put or delete of `key`; before it there were so many writes to the files.
    fn note_write(&mut self, key: u8, writes_before: u32, newest: Option<Value>) {
        if self.fixture.files.writes() == writes_before {
            assert!(newest.is_none(), "a put was acknowledged and not written");
            return;
        }
        let key = usize::from(key);
        self.last_written = Some(key);
        let before = std::mem::take(&mut self.expected[key]);
        self.expected[key] = Expected {
            newest,
            or_before: before.newest,
            may_miss: false,
            is_doubtful: false,
            was_doubtful: before.is_doubtful,
        };
    }

    async fn restart(&mut self, store: Arc<DiskStore>, restart: &Step) {
        let is_closed = matches!(
            restart,
            Step::CloseAndOpen
                | Step::CloseLosePowerAndOpen { .. }
                | Step::CloseFlipABitAndOpen { .. }
        );
        if is_closed {
            store.close().await.expect("nothing fails here");
        }
        self.store = None;
        assert_eq!(Arc::strong_count(&store), 1);
        drop(store);
        match restart {
            Step::KillInLastWriteAndOpen { part } => {
                if self.fixture.files.tear_last_write(*part)
                    && let Some(key) = self.last_written
                {
                    self.expected[key].may_miss = true;
                    self.check_torn(key).await;
                    return;
                }
            }
            Step::CloseFlipABitAndOpen { file, bit } => {
                let mut files = self.fixture.files.all();
                // A power loss leaves nothing of a spare that was never synced.
                files.retain(|(_, bytes)| !bytes.is_empty());
                let (name, bytes) = file.get(&files);
                let bit = bit.index(bytes.len() * 8);
                let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
                self.fixture.files.change(name, flip);
                self.is_damaged = true;
                for expected in &mut self.expected {
                    expected.may_miss = true;
                }
            }
            Step::LosePowerAndOpen { part } | Step::CloseLosePowerAndOpen { part } => {
                self.fixture.files.lose_power(*part);
                self.fixture.next_boot();
                let is_kept = is_closed || self.fixture.config.sync == DiskSync::Always;
                // Torn records, which are missed.
                self.is_damaged |= !is_kept;
                for expected in &mut self.expected {
                    expected.may_miss |= !is_kept;
                    expected.is_doubtful |= !is_kept;
                }
            }
            _ => {}
        }
        self.store = Some(self.fixture.open().await);
    }

    /// Opens after a torn write: whether it has happened is found out now, and does not change again.
    async fn check_torn(&mut self, key: usize) {
        let store = self.fixture.open().await;
        let found = self.lookup(&store, u8::try_from(key).unwrap());
        let expected = &mut self.expected[key];
        expected.is_doubtful =
            expected.was_doubtful && found.as_ref().is_some_and(|it| it.needs_revalidation);
        if let Some(before) = expected.or_before.take()
            && found.is_some_and(|found| found.value == before.0)
        {
            expected.newest = Some(before);
        }
        self.store = Some(store);
    }

    fn check_limits(&self) {
        let store = self.store.as_ref().unwrap();
        self.fixture.check_limit(store);
        let stats = store.stats();
        assert!(stats.damaged == 0 || self.is_damaged, "nothing is damaged");
    }

    fn check_every_key(&self) {
        let store = self.store.as_ref().unwrap();
        let is_tight = self.fixture.config.max_bytes < ROOMY_BYTES;
        for key in 0..KEYS {
            let expected = &self.expected[usize::from(key)];
            let found = self.lookup(store, key);
            let live = self.live(key).map(|(value, _)| value.as_str());
            if let Some(found) = &found {
                assert_eq!(found.needs_revalidation, expected.is_doubtful, "key {key}");
                if found.needs_revalidation
                    && found.version != live.map(version).unwrap_or_default()
                {
                    continue;
                }
            }
            let found = found.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap());
            if found.is_some() || !(is_tight || expected.may_miss) {
                assert_eq!(found.as_deref().map(shown), live.map(shown), "key {key}");
            }
        }
    }
}

/// So much that no test run fills it.
pub(super) const ROOMY_BYTES: u64 = 1 << 20;

/// A value's number and its length: easier to read than the value.
fn shown(value: &str) -> (String, usize) {
    (value.trim_start().to_owned(), value.len())
}

/// What S3 calls a value: each is put once.
fn version(value: &str) -> Version {
    Version::new(value.trim_start().as_bytes())
}

fn name(key: u8) -> String {
    format!("key {key}")
}

/// Makes these steps, and checks after each.
pub(super) fn run(fixture: Fixture, steps: &[Step]) {
    block_on(fixture.callers_write, async {
        let mut run = Run::new(fixture).await;
        for step in steps {
            run.make(step).await;
        }
    });
}

/// So much room that nothing is dropped for it.
pub(super) fn roomy(is_always: bool) -> Fixture {
    let sync = if is_always {
        DiskSync::Always
    } else {
        DiskSync::Os
    };
    Fixture::new().with_sync(sync).with_max_bytes(ROOMY_BYTES)
}

/// Values of more than a quarter of a segment in files of their own, or only those that no segment takes.
fn with_files(fixture: Fixture, has_files: bool) -> Fixture {
    if has_files {
        fixture.with_value_files()
    } else {
        fixture
    }
}

/// Three hashes for all keys, so that keys collide all the time.
fn colliding_hash(key: &EntryKey) -> u64 {
    key.hash64() % 3
}

/// Sequences of each test of a usual run; `MILENA_MODEL_CASES` asks for more.
pub(super) const CASES_USUAL: u32 = 200;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: times("MILENA_MODEL_CASES", CASES_USUAL),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_older_value_and_no_loss_with_room_to_spare(
        is_always in any::<bool>(),
        callers_write in any::<bool>(),
        has_files in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let fixture = Fixture { callers_write, ..roomy(is_always) };
        run(with_files(fixture, has_files), &steps);
    }

    #[test]
    fn no_older_value_under_pressure_for_space(
        is_always in any::<bool>(),
        callers_write in any::<bool>(),
        has_files in any::<bool>(),
        max_bytes in 17_408_u64..60_000,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let fixture = Fixture { callers_write, ..roomy(is_always).with_max_bytes(max_bytes) };
        run(with_files(fixture, has_files), &steps);
    }

    #[test]
    fn no_older_value_and_no_loss_when_segments_are_dropped_out_of_order(
        callers_write in any::<bool>(),
        has_files in any::<bool>(),
        steps in prop::collection::vec(out_of_order_step(), 20..120),
    ) {
        let fixture = Fixture { callers_write, ..roomy(false) };
        run(with_files(fixture, has_files), &steps);
    }

    #[test]
    fn no_older_value_when_segments_are_dropped_out_of_order_for_space(
        max_bytes in 17_408_u64..40_960,
        has_files in any::<bool>(),
        steps in prop::collection::vec(out_of_order_step(), 20..120),
    ) {
        run(with_files(roomy(false).with_max_bytes(max_bytes), has_files), &steps);
    }

    #[test]
    fn no_older_value_and_no_wrong_byte_when_bits_flip(
        steps in prop::collection::vec(step_or_flip(), 1..60),
    ) {
        run(roomy(false).with_value_files(), &steps);
    }

    #[test]
    fn no_older_value_and_no_loss_when_hashes_collide(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run(Fixture { key_hash: colliding_hash, ..roomy(false).with_value_files() }, &steps);
    }
}
