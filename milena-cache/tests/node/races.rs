//! Who wins when calls for one key overlap. Each order of things is forced: the S3 endpoint holds a request
//! or an answer until the test lets it go.

use std::pin::pin;

use futures::future::join_all;
use milena_s3::{Action, Operation};
use milena_testing::eventually;

use crate::support::{BUCKET, Bench, object_of, unavailable, value};

const KEY: &str = "k";

/// Put after everything else, so that a disk tier that has found it again has found all.
const MARKER: &str = "marker";

/// A node over an S3 bucket where somebody else has put `KEY`: no copy is anywhere in the node.
async fn bench_with_cold_key() -> Bench {
    let bench = Bench::start().await;
    bench.objects().put(&object_of(KEY), "old").await;
    bench
}

impl Bench {
    /// Fails unless the copies in memory and on disk are `text`, whatever is in S3.
    async fn assert_copies(mut self, text: &'static str) {
        self.put(MARKER, "x").await.unwrap();
        self.s3.cut().await;
        assert_eq!(self.get(KEY).await.unwrap(), value(text), "memory");
        let restarted = self.restart_and_recover().await;
        assert_eq!(restarted.get(KEY).await.unwrap(), value(text), "disk");
    }

    /// Fails if there is a copy in memory or on disk.
    async fn assert_no_copies(mut self) {
        self.put(MARKER, "x").await.unwrap();
        self.s3.cut().await;
        unavailable(self.get(KEY).await);
        let restarted = self.restart_and_recover().await;
        unavailable(restarted.get(KEY).await);
    }

    /// Restarts the node and waits until its disk tier has found what was put before the marker.
    async fn restart_and_recover(self) -> Self {
        let restarted = self.restart().await;
        eventually("the marker", async || restarted.get(MARKER).await.is_ok()).await;
        restarted
    }
}

#[tokio::test]
async fn a_put_during_a_fill_is_not_overwritten_by_it() {
    let bench = bench_with_cold_key().await;
    let held = bench
        .s3
        .inject_next(1, Operation::Get, &object_of(KEY), Action::HoldAnswer);
    let fill = bench.begin_get(KEY);
    held.wait_fired(1).await;
    bench.put(KEY, "new").await.unwrap();
    held.release();
    assert_eq!(
        fill.await.unwrap().unwrap(),
        value("old"),
        "they overlapped"
    );
    assert_eq!(bench.get(KEY).await.unwrap(), value("new"));
    bench.assert_copies("new").await;
}

#[tokio::test]
async fn a_get_after_the_put_does_not_wait_for_the_fill_from_before_it() {
    let bench = bench_with_cold_key().await;
    let held = bench
        .s3
        .inject_next(1, Operation::Get, &object_of(KEY), Action::HoldAnswer);
    let fill = bench.begin_get(KEY);
    held.wait_fired(1).await;
    bench.put(KEY, "new").await.unwrap();
    assert_eq!(bench.get(KEY).await.unwrap(), value("new"));
    held.release();
    fill.await.unwrap().unwrap();
    assert_eq!(bench.get(KEY).await.unwrap(), value("new"));
}

#[tokio::test]
async fn a_delete_during_a_fill_is_not_undone_by_it() {
    let bench = bench_with_cold_key().await;
    let held = bench
        .s3
        .inject_next(1, Operation::Get, &object_of(KEY), Action::HoldAnswer);
    let fill = bench.begin_get(KEY);
    held.wait_fired(1).await;
    bench.delete(KEY).await.unwrap();
    assert_eq!(bench.get(KEY).await.unwrap(), None);
    held.release();
    assert_eq!(
        fill.await.unwrap().unwrap(),
        value("old"),
        "they overlapped"
    );
    assert_eq!(bench.get(KEY).await.unwrap(), None);
    bench.assert_no_copies().await;
}

#[tokio::test]
async fn a_fill_during_a_put_that_s3_has_not_seen_is_not_installed() {
    let bench = bench_with_cold_key().await;
    let held = bench
        .s3
        .inject_next(1, Operation::Put, &object_of(KEY), Action::Stall);
    let put = bench.begin_put(KEY, "new");
    held.wait_fired(1).await;
    assert_eq!(bench.get(KEY).await.unwrap(), value("old"));
    held.release();
    put.await.unwrap().unwrap();
    assert_eq!(bench.get(KEY).await.unwrap(), value("new"));
    bench.assert_copies("new").await;
}

#[tokio::test]
async fn a_fill_that_ends_before_the_put_that_it_overlapped_is_not_installed() {
    let bench = bench_with_cold_key().await;
    let fill_held = bench
        .s3
        .inject_next(1, Operation::Get, &object_of(KEY), Action::HoldAnswer);
    let put_held = bench
        .s3
        .inject_next(1, Operation::Put, &object_of(KEY), Action::HoldAnswer);
    let fill = bench.begin_get(KEY);
    fill_held.wait_fired(1).await;
    let put = bench.begin_put(KEY, "new");
    put_held.wait_fired(1).await;
    fill_held.release();
    assert_eq!(fill.await.unwrap().unwrap(), value("old"));
    put_held.release();
    put.await.unwrap().unwrap();
    bench.assert_copies("new").await;
}

#[tokio::test]
async fn a_fill_during_a_delete_that_s3_has_not_seen_does_not_bring_the_key_back() {
    let bench = bench_with_cold_key().await;
    let held = bench
        .s3
        .inject_next(1, Operation::Delete, &object_of(KEY), Action::Stall);
    let delete = bench.begin_delete(KEY);
    held.wait_fired(1).await;
    assert_eq!(bench.get(KEY).await.unwrap(), value("old"));
    held.release();
    delete.await.unwrap().unwrap();
    assert_eq!(bench.get(KEY).await.unwrap(), None);
    bench.assert_no_copies().await;
}

#[tokio::test]
async fn a_fill_that_ends_before_the_delete_that_it_overlapped_does_not_bring_the_key_back() {
    let bench = bench_with_cold_key().await;
    let object = object_of(KEY);
    let fill_held = bench
        .s3
        .inject_next(1, Operation::Get, &object, Action::HoldAnswer);
    let delete_held = bench
        .s3
        .inject_next(1, Operation::Delete, &object, Action::HoldAnswer);
    let fill = bench.begin_get(KEY);
    fill_held.wait_fired(1).await;
    let delete = bench.begin_delete(KEY);
    delete_held.wait_fired(1).await;
    fill_held.release();
    fill.await.unwrap().unwrap();
    delete_held.release();
    delete.await.unwrap().unwrap();
    bench.assert_no_copies().await;
}

#[tokio::test]
async fn a_put_and_a_delete_during_one_fill_end_as_the_later_of_them() {
    let bench = bench_with_cold_key().await;
    let held = bench
        .s3
        .inject_next(1, Operation::Get, &object_of(KEY), Action::HoldAnswer);
    let fill = bench.begin_get(KEY);
    held.wait_fired(1).await;
    bench.put(KEY, "new").await.unwrap();
    bench.delete(KEY).await.unwrap();
    held.release();
    fill.await.unwrap().unwrap();
    assert_eq!(bench.get(KEY).await.unwrap(), None);
    bench.assert_no_copies().await;
}

#[tokio::test]
async fn a_put_waits_for_the_put_before_it() {
    let bench = bench_with_cold_key().await;
    let held = bench
        .s3
        .inject_next(1, Operation::Put, &object_of(KEY), Action::Stall);
    let first = bench.begin_put(KEY, "first");
    held.wait_fired(1).await;
    let second = bench.begin_put(KEY, "second");
    bench.put("another", "x").await.unwrap();
    held.release();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(bench.objects().get(&object_of(KEY)).await, value("second"));
    bench.assert_copies("second").await;
}

#[tokio::test]
async fn a_thousand_gets_of_a_cold_key_are_one_get_of_s3() {
    let bench = bench_with_cold_key().await;
    let held = bench
        .s3
        .inject(Operation::Get, &object_of(KEY), Action::HoldAnswer);
    let clients: Vec<_> = (0..4)
        .map(|_| milena_testing::node::client_of(&bench.node.address()))
        .collect();
    let gets = join_all(
        clients
            .iter()
            .cycle()
            .take(1_000)
            .map(|client| client.get(BUCKET, KEY)),
    );
    let release = async {
        held.wait_fired(1).await;
        held.release();
    };
    let (answers, ()) = tokio::join!(gets, release);
    assert_eq!(answers.len(), 1_000);
    for answer in answers {
        assert_eq!(answer.unwrap(), value("old"));
    }
    assert_eq!(held.fired(), 1);
}

#[tokio::test]
async fn a_thousand_gets_of_an_absent_key_that_overlap_are_one_get_of_s3() {
    let bench = Bench::start().await;
    bench.objects().put(&object_of(MARKER), "x").await;
    let held = bench
        .s3
        .inject(Operation::Get, &object_of("absent"), Action::HoldAnswer);
    let first = bench.begin_get("absent");
    held.wait_fired(1).await;
    // A miss is not remembered, so all have to have come before the answer does. On one connection calls
    // come in order: when the marker is answered, they have.
    let mut gets = pin!(join_all((0..1_000).map(|_| bench.get("absent"))));
    tokio::select! {
        biased;
        _ = &mut gets => panic!("nothing can be answered yet"),
        marker = bench.get(MARKER) => assert_eq!(marker.unwrap(), value("x")),
    }
    held.release();
    assert_eq!(first.await.unwrap().unwrap(), None);
    for answer in gets.await {
        assert_eq!(answer.unwrap(), None);
    }
    assert_eq!(held.fired(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_fail_those_who_share_its_load() {
    let bench = bench_with_cold_key().await;
    let held = bench
        .s3
        .inject(Operation::Get, &object_of(KEY), Action::HoldAnswer);
    let leader = bench.begin_get(KEY);
    held.wait_fired(1).await;
    let other = bench.begin_get(KEY);
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    held.release();
    assert_eq!(other.await.unwrap().unwrap(), value("old"));
    assert_eq!(held.fired(), 1);
}
