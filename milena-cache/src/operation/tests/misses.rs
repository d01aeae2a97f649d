//! A miss that is remembered never hides what was written since.

use super::*;

const MISS_LIFE: Duration = Duration::from_secs(1);

fn remembering() -> Bench {
    bench_with(Lives::of_copies(COPY_LIFE), MISS_LIFE)
}

impl Bench {
    fn durable_gets(&self) -> usize {
        self.durable.gets.load(Ordering::SeqCst)
    }

    fn negative_hits(&self) -> u64 {
        self.operation.0.metrics.negative_hits.get()
    }

    fn set_durable(&self, value: &'static str) {
        self.durable.values.lock().insert(key(), Bytes::from(value));
    }
}

#[tokio::test]
async fn a_miss_is_asked_for_once_in_its_life() {
    let bench = remembering();
    for _ in 0..100 {
        assert_eq!(bench.get().await, None);
    }
    assert_eq!((bench.durable_gets(), bench.negative_hits()), (1, 99));
    assert_eq!(bench.operation.0.metrics.misses.get(), 100);
    bench.set_durable("put by others");
    bench.clock.advance(MISS_LIFE - Duration::from_millis(1));
    assert_eq!(bench.get().await, None);
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.get().await, value("put by others"));
}

#[tokio::test]
async fn a_miss_lives_from_before_it_was_asked_for() {
    let bench = remembering();
    let get = bench.held_get().await;
    bench.clock.advance(MISS_LIFE);
    bench.durable.after_read.open();
    assert_eq!(get.await.unwrap().unwrap(), None);
    bench.set_durable("put meanwhile");
    assert_eq!(bench.get().await, value("put meanwhile"));
}

#[tokio::test]
async fn a_put_or_delete_forgets_the_miss() {
    let bench = remembering();
    assert_eq!(bench.get().await, None);
    bench.put("v").await.unwrap();
    assert_eq!(bench.get().await, value("v"));
    bench.operation.delete(key(), None).await.unwrap();
    assert_eq!(bench.get().await, None);
    assert_eq!(bench.durable_gets(), 2, "a delete is no miss that was seen");
    bench.operation.delete(key(), None).await.unwrap();
    bench.set_durable("put by others");
    assert_eq!(bench.get().await, value("put by others"));
}

#[tokio::test]
async fn a_put_whose_outcome_is_unknown_forgets_the_miss() {
    let bench = remembering();
    assert_eq!(bench.get().await, None);
    *bench.durable.outcome_unknown.lock() = true;
    bench.put("v").await.unwrap_err();
    assert_eq!(bench.get().await, value("v"), "asked for again");
}

#[tokio::test]
async fn a_put_during_a_miss_wins_over_it() {
    let bench = remembering();
    let get = bench.held_get().await;
    bench.put("new").await.unwrap();
    bench.durable.after_read.open();
    assert_eq!(get.await.unwrap().unwrap(), None, "they overlapped");
    // The copies go, as an eviction would take them; only a remembered miss could hide what is there.
    let deadline = bench.clock.deadline_in(COPY_LIFE);
    bench.fast.delete(&key(), deadline).await.unwrap();
    bench.slow.delete(&key(), deadline).await.unwrap();
    assert_eq!(bench.get().await, value("new"));
    assert_eq!(bench.negative_hits(), 0);
}

#[tokio::test]
async fn a_miss_that_ends_while_a_put_is_under_way_is_not_remembered() {
    let bench = remembering();
    bench.durable.before_put.close();
    let put = bench.begin_put("new");
    bench.durable.before_put.arrival().await;
    assert_eq!(bench.get().await, None, "the put is not yet answered");
    bench.durable.before_put.open();
    put.await.unwrap().unwrap();
    assert_eq!(bench.get().await, value("new"));
    assert_eq!(bench.negative_hits(), 0);
}

#[tokio::test]
async fn a_failure_is_not_remembered_as_a_miss() {
    let bench = remembering();
    bench.durable.after_read.close();
    let hurried = bench.clock.deadline_in(Duration::from_millis(1));
    let failed = bench.operation.get(&key(), Some(hurried)).await;
    assert_eq!(failed.unwrap_err().kind(), "s3_error");
    assert_eq!(bench.negative_hits(), 0);
    bench.set_durable("v");
    bench.durable.after_read.open();
}
