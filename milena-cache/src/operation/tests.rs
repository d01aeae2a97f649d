//! The promises of the operations, each interleaving forced by a durable store that waits where it is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use milena_server::clock::UnixMillis;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::*;
use crate::store::memory::{MemoryConfig, MemoryStore};
use crate::store::{StoreStats, Version};

mod expire;
mod lives;
mod misses;
mod revalidation;
mod write_back;

/// Where a call of the durable store may be held.
#[derive(Default)]
struct Gate {
    closed: Mutex<Option<Arc<Semaphore>>>,
    arrived: Semaphore0,
}

/// A semaphore that begins with no permits: each arrival adds one.
struct Semaphore0(Semaphore);

impl Default for Semaphore0 {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Gate {
    fn close(&self) {
        *self.closed.lock() = Some(Arc::new(Semaphore::new(0)));
    }

    fn open(&self) {
        if let Some(held) = self.closed.lock().take() {
            held.close();
        }
    }

    /// Waits until a call has come to the gate.
    async fn arrival(&self) {
        self.arrived
            .0
            .acquire()
            .await
            .expect("never closed")
            .forget();
    }

    async fn pass(&self) {
        self.arrived.0.add_permits(1);
        let held = self.closed.lock().clone();
        if let Some(held) = held {
            let _opened = held.acquire().await;
        }
    }
}

/// A durable store whose calls wait at gates and fail on demand.
#[derive(Default)]
struct Durable {
    values: Mutex<HashMap<EntryKey, Bytes>>,
    gets: AtomicUsize,
    after_read: Gate,
    before_put: Gate,
    after_put: Gate,
    outcome_unknown: Mutex<bool>,
    /// The value whose life has ended.
    expired: Mutex<Option<Bytes>>,
    /// Between the judgement that it has, and the removal.
    before_removal: Gate,
}

#[async_trait]
impl Store for Durable {
    async fn get(&self, key: &EntryKey, _: Deadline) -> Result<Option<Entry>> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        let found = self.values.lock().get(key).cloned();
        self.after_read.pass().await;
        Ok(found.map(Entry::new))
    }

    async fn put(&self, key: &EntryKey, entry: Entry, deadline: Deadline) -> Result<Version> {
        let late = || Error::S3Error(Cause::new("timed out"));
        tokio::time::timeout_at(deadline.instant(), self.before_put.pass())
            .await
            .map_err(|_| late())?;
        self.values.lock().insert(key.clone(), entry.value);
        self.after_put.pass().await;
        if *self.outcome_unknown.lock() {
            Err(late())
        } else {
            Ok(Version::default())
        }
    }

    async fn delete(&self, key: &EntryKey, _: Deadline) -> Result<()> {
        self.values.lock().remove(key);
        self.after_put.pass().await;
        if *self.outcome_unknown.lock() {
            Err(Error::S3Error(Cause::new("timed out")))
        } else {
            Ok(())
        }
    }

    async fn remove_expired(&self, key: &EntryKey, deadline: Deadline) -> Result<bool> {
        let expired = self.expired.lock().clone();
        if expired.is_none() || self.values.lock().get(key) != expired.as_ref() {
            return Ok(false);
        }
        tokio::time::timeout_at(deadline.instant(), self.before_removal.pass())
            .await
            .map_err(|_| Error::S3Error(Cause::new("timed out")))?;
        Ok(self.values.lock().remove(key).is_some())
    }

    async fn check(&self, _: Deadline) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }
}

/// Two memory stores as the local tiers over a [`Durable`].
struct Bench {
    operation: Operation,
    durable: Arc<Durable>,
    fast: Arc<MemoryStore>,
    slow: Arc<MemoryStore>,
    clock: Clock,
}

const COPY_LIFE: Duration = Duration::from_secs(60);

fn bench() -> Bench {
    bench_with(Lives::of_copies(COPY_LIFE), Duration::ZERO)
}

/// With these lives, and misses remembered so long.
fn bench_with(lives: Lives, miss_life: Duration) -> Bench {
    let clock = Clock::manual(UnixMillis(1_000));
    let room = MemoryConfig::new(100, 1 << 20);
    let [fast, slow] = [(); 2].map(|()| Arc::new(MemoryStore::new(room, clock.clone())));
    let durable = Arc::new(Durable::default());
    let metrics = Arc::new(Metrics::new());
    let copies = vec![
        Tier::new("fast", fast.clone(), &metrics),
        Tier::new("slow", slow.clone(), &metrics),
    ];
    let operation = Operation::new(
        copies,
        None,
        Tier::new("durable", durable.clone(), &metrics),
        Limits {
            lives,
            stale_life: Duration::ZERO,
            miss_life,
            durable_timeout: Duration::from_secs(10),
        },
        clock.clone(),
        metrics,
        Handle::current(),
    );
    Bench {
        operation,
        durable,
        fast,
        slow,
        clock,
    }
}

fn key() -> EntryKey {
    EntryKey::new("b", b"k").unwrap()
}

impl Bench {
    async fn get(&self) -> Option<Bytes> {
        let at_once = self.operation.get_now(&key());
        let found = self.operation.get(&key(), None).await.expect("get");
        assert!(at_once.is_none() || at_once == found);
        found.map(|entry| entry.value)
    }

    async fn put(&self, value: &'static str) -> Result<()> {
        let options = PutOptions::default();
        self.operation
            .put(key(), Bytes::from(value), options, None)
            .await
    }

    /// Starts a get that has read the durable store and is held with what it read.
    async fn held_get(&self) -> tokio::task::JoinHandle<Result<Option<Entry>>> {
        self.durable.after_read.close();
        let get = self.begin_get();
        self.durable.after_read.arrival().await;
        get
    }

    fn begin_get(&self) -> tokio::task::JoinHandle<Result<Option<Entry>>> {
        let operation = self.operation.clone();
        TaskTracker::new().spawn(async move { operation.get(&key(), None).await })
    }

    fn begin_put(&self, value: &'static str) -> tokio::task::JoinHandle<Result<()>> {
        let operation = self.operation.clone();
        let options = PutOptions::default();
        TaskTracker::new().spawn(async move {
            operation
                .put(key(), Bytes::from(value), options, None)
                .await
        })
    }

    async fn copies(&self) -> [Option<Bytes>; 2] {
        let deadline = self.clock.deadline_in(COPY_LIFE);
        let of =
            async |store: &MemoryStore| store.get(&key(), deadline).await.unwrap().map(|e| e.value);
        [of(&self.fast).await, of(&self.slow).await]
    }
}

fn value(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from(text))
}

#[tokio::test]
async fn a_miss_in_every_tier_is_none_and_not_remembered_unless_asked_to() {
    let bench = bench();
    assert_eq!(bench.get().await, None);
    bench
        .durable
        .values
        .lock()
        .insert(key(), Bytes::from("later"));
    assert_eq!(bench.get().await, value("later"));
}

#[tokio::test]
async fn what_is_found_is_promoted_to_every_faster_tier() {
    let bench = bench();
    bench.durable.values.lock().insert(key(), Bytes::from("v"));
    assert_eq!(bench.operation.get_now(&key()), None);
    assert_eq!(bench.get().await, value("v"));
    assert_eq!(bench.copies().await, [value("v"), value("v")]);
    let at_once = bench.operation.get_now(&key());
    assert_eq!(at_once.map(|entry| entry.value), value("v"));
    let deadline = bench.clock.deadline_in(COPY_LIFE);
    bench.fast.delete(&key(), deadline).await.unwrap();
    assert_eq!(bench.get().await, value("v"));
    assert_eq!(bench.copies().await, [value("v"), value("v")]);
    assert_eq!(
        bench.durable.gets.load(Ordering::SeqCst),
        1,
        "the slow copy answered the second get"
    );
}

#[tokio::test]
async fn what_a_slower_tier_gives_at_once_is_promoted_unless_it_is_being_replaced() {
    let bench = bench();
    bench.durable.values.lock().insert(key(), Bytes::from("v"));
    assert_eq!(bench.get().await, value("v"));
    let deadline = bench.clock.deadline_in(COPY_LIFE);
    bench.fast.delete(&key(), deadline).await.unwrap();
    bench.durable.before_put.close();
    let put = bench.begin_put("w");
    bench.durable.before_put.arrival().await;
    let get_now = || bench.operation.get_now(&key()).map(|entry| entry.value);
    assert_eq!(get_now(), value("v"));
    assert_eq!(bench.copies().await, [None, value("v")]);
    bench.durable.before_put.open();
    put.await.unwrap().unwrap();
    bench.fast.delete(&key(), deadline).await.unwrap();
    assert_eq!(get_now(), value("w"));
    assert_eq!(bench.copies().await, [value("w"), value("w")]);
}

#[tokio::test]
async fn a_put_that_was_given_up_before_it_had_the_key_is_not_made() {
    let bench = bench();
    bench.durable.before_put.close();
    let first = bench.begin_put("first");
    bench.durable.before_put.arrival().await;
    let second = bench.put("given up");
    assert!(second.now_or_never().is_none());
    bench.durable.before_put.open();
    first.await.unwrap().unwrap();
    bench.operation.finish().await;
    assert_eq!(bench.copies().await, [value("first"), value("first")]);
}

#[tokio::test]
async fn a_put_reaches_every_tier_and_a_delete_empties_them() {
    let bench = bench();
    bench.put("v").await.unwrap();
    assert_eq!(bench.copies().await, [value("v"), value("v")]);
    bench.operation.delete(key(), None).await.unwrap();
    assert_eq!(bench.copies().await, [None, None]);
    assert_eq!(bench.get().await, None);
}

#[tokio::test]
async fn a_copy_is_served_for_its_life_and_then_asked_for_again() {
    let bench = bench();
    bench.put("old").await.unwrap();
    bench
        .durable
        .values
        .lock()
        .insert(key(), Bytes::from("changed by others"));
    bench.clock.advance(COPY_LIFE - Duration::from_millis(1));
    assert_eq!(bench.get().await, value("old"));
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.get().await, value("changed by others"));
}

#[tokio::test]
async fn a_copy_promoted_from_a_copy_does_not_live_longer() {
    let bench = bench();
    bench.put("old").await.unwrap();
    let deadline = bench.clock.deadline_in(COPY_LIFE);
    bench.fast.delete(&key(), deadline).await.unwrap();
    bench.clock.advance(COPY_LIFE / 2);
    assert_eq!(
        bench.get().await,
        value("old"),
        "promoted half way through its life"
    );
    bench
        .durable
        .values
        .lock()
        .insert(key(), Bytes::from("new"));
    bench.clock.advance(COPY_LIFE / 2);
    assert_eq!(bench.get().await, value("new"));
}

#[tokio::test]
async fn a_thousand_gets_of_a_cold_key_are_one_load() {
    let bench = bench();
    bench.durable.values.lock().insert(key(), Bytes::from("v"));
    let gets = futures::future::join_all((0..1_000).map(|_| bench.get())).await;
    assert!(gets.iter().all(|got| *got == value("v")));
    assert_eq!(bench.durable.gets.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_put_during_a_slow_fill_is_not_overwritten_by_it() {
    let bench = bench();
    bench
        .durable
        .values
        .lock()
        .insert(key(), Bytes::from("old"));
    let fill = bench.held_get().await;
    bench.put("new").await.unwrap();
    bench.durable.after_read.open();
    fill.await.unwrap().unwrap();
    assert_eq!(bench.copies().await, [value("new"), value("new")]);
}

#[tokio::test]
async fn a_delete_during_a_slow_fill_is_not_undone_by_it() {
    let bench = bench();
    bench
        .durable
        .values
        .lock()
        .insert(key(), Bytes::from("old"));
    let fill = bench.held_get().await;
    bench.operation.delete(key(), None).await.unwrap();
    bench.durable.after_read.open();
    fill.await.unwrap().unwrap();
    assert_eq!(bench.copies().await, [None, None]);
    assert_eq!(bench.get().await, None);
}

#[tokio::test]
async fn a_fill_that_ends_while_a_put_is_under_way_is_not_installed() {
    let bench = bench();
    bench
        .durable
        .values
        .lock()
        .insert(key(), Bytes::from("old"));
    bench.durable.before_put.close();
    let put = bench.begin_put("new");
    bench.durable.before_put.arrival().await;
    assert_eq!(
        bench.get().await,
        value("old"),
        "the put is not yet answered"
    );
    assert_eq!(bench.copies().await, [None, None]);
    bench.durable.before_put.open();
    put.await.unwrap().unwrap();
    assert_eq!(bench.copies().await, [value("new"), value("new")]);
}

#[tokio::test]
async fn a_get_after_a_put_does_not_join_a_load_from_before_it() {
    let bench = bench();
    bench
        .durable
        .values
        .lock()
        .insert(key(), Bytes::from("old"));
    let old_load = bench.held_get().await;
    bench.put("new").await.unwrap();
    // The copies go, as an eviction would take them; only the durable tier can answer now.
    let deadline = bench.clock.deadline_in(COPY_LIFE);
    bench.fast.delete(&key(), deadline).await.unwrap();
    bench.slow.delete(&key(), deadline).await.unwrap();
    let get = bench.begin_get();
    bench.durable.after_read.arrival().await;
    bench.durable.after_read.open();
    assert_eq!(
        get.await.unwrap().unwrap().map(|entry| entry.value),
        value("new")
    );
    assert_eq!(
        old_load.await.unwrap().unwrap().map(|entry| entry.value),
        value("old")
    );
    assert_eq!(bench.copies().await, [value("new"), value("new")]);
}

#[tokio::test]
async fn a_put_whose_outcome_is_unknown_drops_the_copies() {
    let bench = bench();
    bench.put("old").await.unwrap();
    *bench.durable.outcome_unknown.lock() = true;
    let error = bench
        .put("new")
        .await
        .expect_err("the durable tier did not say");
    assert_eq!(error.kind(), "s3_error");
    assert_eq!(bench.copies().await, [None, None]);
    assert_eq!(bench.get().await, value("new"), "the next get finds out");
}

#[tokio::test]
async fn a_delete_whose_outcome_is_unknown_drops_the_copies() {
    let bench = bench();
    bench.put("old").await.unwrap();
    *bench.durable.outcome_unknown.lock() = true;
    assert!(bench.operation.delete(key(), None).await.is_err());
    assert_eq!(bench.copies().await, [None, None]);
}

#[tokio::test]
async fn a_put_goes_on_when_its_caller_goes_away() {
    let bench = bench();
    bench.put("old").await.unwrap();
    bench.durable.after_put.arrival().await;
    bench.durable.after_put.close();
    let put = bench.begin_put("new");
    bench.durable.after_put.arrival().await;
    put.abort();
    assert!(put.await.expect_err("aborted").is_cancelled());
    bench.durable.after_put.open();
    bench.operation.finish().await;
    assert_eq!(bench.copies().await, [value("new"), value("new")]);
}

#[tokio::test]
async fn writes_to_one_key_do_not_overtake_each_other() {
    let bench = bench();
    bench.durable.before_put.close();
    let [first, second] = ["first", "second"].map(|text| bench.begin_put(text));
    bench.durable.before_put.arrival().await;
    bench.durable.before_put.open();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let last = bench.durable.values.lock().get(&key()).cloned();
    assert_eq!(bench.copies().await, [last.clone(), last]);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_durable_tier_fails_the_get_within_its_deadline() {
    let bench = bench();
    bench.durable.after_read.close();
    let deadline = bench.clock.deadline_in(Duration::from_millis(300));
    let error = bench
        .operation
        .get(&key(), Some(deadline))
        .await
        .expect_err("nothing answers");
    assert_eq!(error.kind(), "s3_error", "a failure is not a miss");
}

#[tokio::test(start_paused = true)]
async fn a_hit_does_not_wait_for_a_stalled_write_to_another_key_or_to_its_own() {
    let bench = bench();
    bench.put("old").await.unwrap();
    bench.durable.before_put.arrival().await;
    bench.durable.before_put.close();
    let put = bench.begin_put("new");
    bench.durable.before_put.arrival().await;
    assert_eq!(bench.get().await, value("old"));
    assert_eq!(
        put.await.unwrap().expect_err("the deadline passes").kind(),
        "s3_error"
    );
    assert_eq!(bench.copies().await, [None, None], "its outcome is unknown");
}

#[tokio::test]
async fn beyond_a_bound_those_that_would_wait_are_refused_and_hits_are_not() {
    let bench = bench();
    bench.put("v").await.unwrap();
    let room = Arc::clone(&bench.operation.0.waiting);
    let _all = room
        .acquire_many_owned(u32::try_from(WAITING_MAX).unwrap())
        .await
        .unwrap();
    assert_eq!(bench.get().await, value("v"), "a hit waits for nobody");
    assert_eq!(
        bench.put("new").await.unwrap_err().kind(),
        "rate_limit_exceeded"
    );
    let cold = EntryKey::new("b", b"cold").unwrap();
    let refused = bench.operation.get(&cold, None).await.unwrap_err();
    assert_eq!(refused.kind(), "rate_limit_exceeded");
}
