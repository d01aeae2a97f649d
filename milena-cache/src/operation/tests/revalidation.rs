//! Copies that may be out of date: the durable tier is asked once, its word counts, and without it nothing is
//! served.

use std::collections::HashSet;

use super::*;
use crate::store::Revalidated;

/// A local tier that doubts what it is told to doubt, until it is put or deleted.
struct Doubting {
    copies: MemoryStore,
    doubted: Mutex<HashSet<EntryKey>>,
}

#[async_trait]
impl Store for Doubting {
    async fn get(&self, key: &EntryKey, deadline: Deadline) -> Result<Option<Entry>> {
        let needs_revalidation = self.doubted.lock().contains(key);
        let found = self.copies.get(key, deadline).await?;
        Ok(found.map(|copy| Entry {
            needs_revalidation,
            ..copy
        }))
    }

    async fn put(&self, key: &EntryKey, entry: Entry, deadline: Deadline) -> Result<Version> {
        assert!(!entry.needs_revalidation, "nothing doubtful is installed");
        self.doubted.lock().remove(key);
        self.copies.put(key, entry, deadline).await
    }

    async fn delete(&self, key: &EntryKey, deadline: Deadline) -> Result<()> {
        self.doubted.lock().remove(key);
        self.copies.delete(key, deadline).await
    }

    async fn check(&self, _: Deadline) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        self.copies.stats()
    }
}

/// A durable tier that calls a value by its own bytes, and notes what it is asked.
#[derive(Default)]
struct Truth {
    values: Mutex<HashMap<EntryKey, Bytes>>,
    asked: Mutex<Vec<&'static str>>,
    fails: Mutex<Option<Error>>,
    before_answer: Gate,
}

impl Truth {
    fn lookup(&self, key: &EntryKey) -> Result<Option<Entry>> {
        if let Some(error) = self.fails.lock().clone() {
            return Err(error);
        }
        let found = self.values.lock().get(key).cloned();
        Ok(found.map(|value| Entry {
            version: Version::new(&value),
            ..Entry::new(value)
        }))
    }
}

#[async_trait]
impl Store for Truth {
    async fn get(&self, key: &EntryKey, _: Deadline) -> Result<Option<Entry>> {
        self.asked.lock().push("get");
        self.lookup(key)
    }

    async fn get_if_changed(
        &self,
        key: &EntryKey,
        version: &Version,
        _: Deadline,
    ) -> Result<Revalidated> {
        self.asked.lock().push("get if changed");
        let found = self.lookup(key)?;
        self.before_answer.pass().await;
        Ok(match found {
            Some(entry) if entry.version == *version => Revalidated::Unchanged,
            other => Revalidated::Changed(other),
        })
    }

    async fn put(&self, key: &EntryKey, entry: Entry, _: Deadline) -> Result<Version> {
        self.lookup(key)?;
        self.values.lock().insert(key.clone(), entry.value.clone());
        Ok(Version::new(&entry.value))
    }

    async fn delete(&self, key: &EntryKey, _: Deadline) -> Result<()> {
        self.lookup(key)?;
        self.values.lock().remove(key);
        Ok(())
    }

    async fn check(&self, _: Deadline) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }
}

struct Bench {
    operation: Operation,
    fast: Arc<MemoryStore>,
    slow: Arc<Doubting>,
    truth: Arc<Truth>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

/// The slow tier holds `v` and doubts it; the fast one has forgotten it.
async fn doubting() -> Bench {
    let bench = bench_with(Duration::ZERO).await;
    bench.fast.delete(&key(), bench.soon()).await.unwrap();
    bench.slow.doubted.lock().insert(key());
    bench
}

/// All tiers hold `v`; stale copies are served for so long if the durable tier fails.
async fn bench_with(stale_life: Duration) -> Bench {
    let clock = Clock::manual(UnixMillis(1_000));
    let room = MemoryConfig::new(100, 1 << 20);
    let [fast, copies] = [(); 2].map(|()| MemoryStore::new(room, clock.clone()));
    let slow = Doubting {
        copies,
        doubted: Mutex::default(),
    };
    let (fast, slow) = (Arc::new(fast), Arc::new(slow));
    let (truth, metrics) = (Arc::new(Truth::default()), Arc::new(Metrics::new()));
    let operation = Operation::new(
        vec![
            Tier::new("fast", fast.clone(), &metrics),
            Tier::new("slow", slow.clone(), &metrics),
        ],
        None,
        Tier::new("durable", truth.clone(), &metrics),
        Limits {
            lives: Lives::of_copies(COPY_LIFE),
            stale_life,
            miss_life: Duration::from_secs(1),
            durable_timeout: Duration::from_secs(10),
        },
        clock.clone(),
        metrics.clone(),
        Handle::current(),
    );
    let bench = Bench {
        operation,
        fast,
        slow,
        truth,
        metrics,
        clock,
    };
    bench
        .operation
        .put(key(), Bytes::from("v"), PutOptions::default(), None)
        .await
        .unwrap();
    bench
}

impl Bench {
    fn soon(&self) -> Deadline {
        self.clock.deadline_in(Duration::from_secs(1))
    }

    async fn get(&self) -> Result<Option<Bytes>> {
        let found = self.operation.get(&key(), None).await?;
        Ok(found.map(|entry| entry.value))
    }

    fn set_truth(&self, value: Option<&'static str>) {
        let mut values = self.truth.values.lock();
        values.clear();
        values.extend(value.map(|value| (key(), Bytes::from(value))));
    }

    async fn copies(&self) -> [Option<Entry>; 2] {
        let fast = self.fast.get(&key(), self.soon()).await.unwrap();
        [fast, self.slow.get(&key(), self.soon()).await.unwrap()]
    }

    fn fail(&self) {
        *self.truth.fails.lock() = Some(Error::S3Error(Cause::new("away")));
    }

    /// The value that a get gives, and whether it is stale.
    async fn found(&self) -> Result<Option<(Bytes, bool)>> {
        let at_once = self.operation.get_now(&key());
        let found = self.operation.get(&key(), None).await?;
        assert!(
            at_once.is_none() || at_once == found,
            "at once: {at_once:?}"
        );
        Ok(found.map(|entry| (entry.value, entry.needs_revalidation)))
    }

    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.truth.asked.lock())
    }
}

#[tokio::test]
async fn a_copy_that_is_still_the_value_is_kept_and_fresh_from_now_on() {
    let bench = doubting().await;
    bench.clock.advance(COPY_LIFE / 2);
    let fresh_until = Some(bench.clock.now().after(COPY_LIFE));
    for _ in 0..3 {
        assert_eq!(bench.get().await.unwrap(), value("v"));
    }
    assert_eq!(bench.asked(), ["get if changed"], "once");
    for copy in bench.copies().await {
        let copy = copy.expect("in both tiers");
        assert!(!copy.needs_revalidation);
        assert_eq!(copy.fresh_until, fresh_until);
        assert_eq!(copy.version.as_bytes(), b"v");
    }
    let counts = &bench.metrics.revalidations;
    assert_eq!((counts.unchanged.get(), counts.failed.get()), (1, 0));
}

#[tokio::test]
async fn another_value_replaces_the_copy() {
    let bench = doubting().await;
    bench.set_truth(Some("newer"));
    for _ in 0..3 {
        assert_eq!(bench.get().await.unwrap(), value("newer"));
    }
    assert_eq!(bench.asked(), ["get if changed"]);
    let copies = bench.copies().await.map(|copy| copy.unwrap().value);
    assert_eq!(copies, ["newer"; 2]);
    assert_eq!(bench.metrics.revalidations.changed.get(), 1);
}

#[tokio::test]
async fn a_deleted_value_is_a_miss_and_its_copy_is_dropped() {
    let bench = doubting().await;
    bench.set_truth(None);
    for _ in 0..3 {
        assert_eq!(bench.get().await.unwrap(), None);
    }
    assert_eq!(bench.asked(), ["get if changed"]);
    assert_eq!(bench.copies().await, [None, None]);
    assert_eq!(bench.metrics.revalidations.gone.get(), 1);
    bench.clock.advance(COPY_LIFE);
    assert_eq!(bench.get().await.unwrap(), None);
    assert_eq!(bench.asked(), ["get"], "nothing is left to be revalidated");
}

#[tokio::test]
async fn while_nobody_can_be_asked_it_is_not_served_and_not_dropped() {
    let bench = doubting().await;
    bench.fail();
    for _ in 0..3 {
        let failed = bench.get().await;
        assert!(matches!(failed, Err(Error::S3Error(_))), "{failed:?}");
    }
    assert_eq!(bench.metrics.revalidations.failed.get(), 3);
    bench.truth.fails.lock().take();
    bench.asked();
    assert_eq!(bench.get().await.unwrap(), value("v"));
    assert_eq!(bench.asked(), ["get if changed"]);
}

#[tokio::test]
async fn callers_that_come_at_once_share_one_request() {
    let bench = doubting().await;
    bench.truth.before_answer.close();
    let gets: Vec<_> = (0..8)
        .map(|_| {
            let operation = bench.operation.clone();
            TaskTracker::new().spawn(async move { operation.get(&key(), None).await })
        })
        .collect();
    bench.truth.before_answer.arrival().await;
    bench.truth.before_answer.open();
    for get in gets {
        assert_eq!(get.await.unwrap().unwrap().unwrap().value, "v");
    }
    assert_eq!(bench.asked(), ["get if changed"]);
}

#[tokio::test]
async fn an_answer_that_a_write_overtook_changes_nothing() {
    for truth_before in [Some("v"), Some("older"), None] {
        let bench = doubting().await;
        bench.set_truth(truth_before);
        bench.truth.before_answer.close();
        let operation = bench.operation.clone();
        let get = TaskTracker::new().spawn(async move { operation.get(&key(), None).await });
        bench.truth.before_answer.arrival().await;
        let put = bench
            .operation
            .put(key(), Bytes::from("newest"), PutOptions::default(), None);
        put.await.unwrap();
        bench.truth.before_answer.open();
        get.await.unwrap().unwrap();
        let copies = bench.copies().await.map(|copy| copy.unwrap().value);
        assert_eq!(copies, ["newest"; 2]);
        assert_eq!(bench.get().await.unwrap(), value("newest"));
    }
}

/// How long stale copies are served.
const STALE_LIFE: Duration = Duration::from_secs(600);

fn fresh(text: &'static str) -> Option<(Bytes, bool)> {
    Some((Bytes::from(text), false))
}

fn stale(text: &'static str) -> Option<(Bytes, bool)> {
    Some((Bytes::from(text), true))
}

#[tokio::test]
async fn a_copy_is_fresh_for_its_life_and_then_revalidated_though_it_is_kept() {
    let bench = bench_with(STALE_LIFE).await;
    bench.clock.advance(COPY_LIFE - Duration::from_millis(1));
    assert_eq!(bench.found().await.unwrap(), fresh("v"));
    assert_eq!(bench.asked(), [""; 0]);
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.found().await.unwrap(), fresh("v"));
    assert_eq!(bench.asked(), ["get if changed"]);
    bench.clock.advance(COPY_LIFE - Duration::from_millis(1));
    assert_eq!(bench.found().await.unwrap(), fresh("v"));
    assert_eq!(bench.asked(), [""; 0], "it was fresh again");

    bench.set_truth(Some("newer"));
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.found().await.unwrap(), fresh("newer"));
    bench.set_truth(None);
    bench.clock.advance(COPY_LIFE);
    assert_eq!(bench.found().await.unwrap(), None);
    assert_eq!(bench.asked(), ["get if changed", "get if changed"]);
    assert_eq!(bench.copies().await, [None, None]);
}

#[tokio::test]
async fn a_stale_copy_is_served_while_the_durable_tier_fails_and_for_so_long_only() {
    for is_in_memory in [true, false] {
        let bench = bench_with(STALE_LIFE).await;
        bench.fail();
        bench.clock.advance(COPY_LIFE);
        if !is_in_memory {
            bench.fast.delete(&key(), bench.soon()).await.unwrap();
        }
        assert_eq!(bench.found().await.unwrap(), stale("v"));
        bench.clock.advance(STALE_LIFE - Duration::from_millis(1));
        assert_eq!(bench.found().await.unwrap(), stale("v"));
        assert_eq!(bench.metrics.stale_answers.get(), 2);
        bench.clock.advance(Duration::from_millis(1));
        assert!(matches!(bench.found().await, Err(Error::S3Error(_))));
        assert_eq!(bench.metrics.stale_answers.get(), 2);
    }
}

#[tokio::test]
async fn once_it_answers_again_the_copy_is_not_stale_any_more() {
    let bench = bench_with(STALE_LIFE).await;
    bench.fail();
    bench.clock.advance(COPY_LIFE);
    assert_eq!(bench.found().await.unwrap(), stale("v"));
    bench.truth.fails.lock().take();
    assert_eq!(bench.found().await.unwrap(), fresh("v"));
    bench.asked();
    assert_eq!(bench.found().await.unwrap(), fresh("v"));
    assert_eq!(bench.asked(), [""; 0]);
}

#[tokio::test]
async fn a_caller_that_cannot_wait_gets_the_stale_copy() {
    for is_in_memory in [true, false] {
        let bench = bench_with(STALE_LIFE).await;
        bench.clock.advance(COPY_LIFE);
        if !is_in_memory {
            bench.fast.delete(&key(), bench.soon()).await.unwrap();
        }
        bench.truth.before_answer.close();
        let deadline = bench.clock.deadline_in(Duration::from_millis(10));
        let found = bench.operation.get(&key(), Some(deadline)).await;
        let found = found.unwrap().unwrap();
        assert!(found.value == "v" && found.needs_revalidation);
        bench.truth.before_answer.open();
        assert_eq!(bench.found().await.unwrap(), fresh("v"));
    }
}

#[tokio::test]
async fn an_entrys_own_end_is_not_stretched() {
    let bench = bench_with(STALE_LIFE).await;
    let own_end = bench.clock.now().after(COPY_LIFE + STALE_LIFE / 2);
    let mortal = Entry {
        expires_at: Some(own_end),
        fresh_until: Some(bench.clock.now().after(COPY_LIFE + STALE_LIFE)),
        ..Entry::new(Bytes::from("mortal"))
    };
    for tier in [&*bench.fast as &dyn Store, &*bench.slow] {
        let (key, soon) = (key(), bench.soon());
        tier.put(&key, mortal.clone(), soon).await.unwrap();
    }
    bench.fail();
    bench.clock.advance(COPY_LIFE);
    assert_eq!(bench.found().await.unwrap(), stale("mortal"));
    bench.clock.advance(STALE_LIFE / 2);
    assert!(matches!(bench.found().await, Err(Error::S3Error(_))));
}

#[tokio::test]
async fn what_may_have_lost_newer_records_is_not_served_as_stale() {
    let bench = bench_with(STALE_LIFE).await;
    bench.fast.delete(&key(), bench.soon()).await.unwrap();
    bench.slow.doubted.lock().insert(key());
    bench.fail();
    for _ in 0..2 {
        assert!(matches!(bench.found().await, Err(Error::S3Error(_))));
        bench.clock.advance(COPY_LIFE);
    }
}

#[tokio::test]
async fn what_the_durable_tier_has_and_cannot_give_hides_what_is_stale() {
    let bench = bench_with(STALE_LIFE).await;
    bench.clock.advance(COPY_LIFE);
    let too_long = Error::InvalidInput("the value is too long".to_owned());
    *bench.truth.fails.lock() = Some(too_long);
    assert!(matches!(bench.found().await, Err(Error::InvalidInput(_))));
}
