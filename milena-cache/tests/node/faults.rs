//! What callers meet while S3 is away, slow or wrong: never a miss that is none, never a value that is none.

use std::time::Duration;

use bytes::Bytes;
use milena_client::ClientError;
use milena_s3::{Action, Failure, Operation, StatusCode};
use milena_testing::eventually;
use milena_testing::node::{NodeSetup, TestNode};
use milena_testing::s3::TestS3;

use crate::support::{BUCKET, Bench, object_of, unavailable, value};

const KEY: &str = "k";

/// `S3_TIMEOUT` of the nodes that meet an S3 that does not answer: far less than a caller waits.
const SHORT_TIMEOUT: Duration = Duration::from_millis(300);

fn impatient(setup: &mut NodeSetup) {
    setup.config.s3.timeout = SHORT_TIMEOUT;
}

async fn copies(node: &TestNode) -> u64 {
    node.metric("milena_tier_entries{tier=\"memory\"}").await
        + node.metric("milena_tier_entries{tier=\"disk\"}").await
}

impl Bench {
    /// Waits until `/readyz` begins so.
    async fn assert_comes_to_say(&self, start: &str) {
        let says = async || self.node.page("/readyz").await.body.starts_with(start);
        eventually(start, says).await;
    }
}

#[tokio::test]
async fn with_s3_away_what_is_held_is_served_and_the_rest_is_unavailable() {
    let mut bench = Bench::start_with(|setup| setup.config.memory.entries_max = 1).await;
    bench.put("on disk", "1").await.unwrap();
    bench.put("in memory", "2").await.unwrap();
    bench.s3.cut().await;

    assert_eq!(bench.get("in memory").await.unwrap(), value("2"));
    assert_eq!(bench.get("on disk").await.unwrap(), value("1"));
    let said = unavailable(bench.get("elsewhere").await);
    assert!(said.starts_with("S3: "), "{said}");
    unavailable(bench.put("new", "3").await);
    unavailable(bench.put("on disk", "3").await);
    unavailable(bench.delete("in memory").await);
    assert_eq!(bench.get("in memory").await.unwrap(), value("2"));
    assert_eq!(bench.get("on disk").await.unwrap(), value("1"));

    bench.s3.start_again().await;
    eventually("gets are answered again", async || {
        bench.get("elsewhere").await.is_ok()
    })
    .await;
    assert_eq!(bench.get("elsewhere").await.unwrap(), None);
    assert_eq!(
        bench.get("in memory").await.unwrap(),
        value("2"),
        "the delete did not happen"
    );
    bench.put("new", "3").await.unwrap();
    assert_eq!(bench.get("new").await.unwrap(), value("3"));
}

#[tokio::test]
async fn a_node_starts_without_s3_and_serves_when_it_comes() {
    let mut s3 = TestS3::absent();
    let setup = NodeSetup::new(&s3);
    let node = setup.start().await;
    unavailable(node.client.get(BUCKET, KEY).await);
    s3.start_again().await;
    eventually("puts are taken", async || {
        node.client.put(BUCKET, KEY, "v").await.is_ok()
    })
    .await;
    assert_eq!(node.client.get(BUCKET, KEY).await.unwrap(), value("v"));
}

#[tokio::test]
async fn readiness_says_that_s3_is_away_and_that_it_is_back() {
    let mut bench = Bench::start().await;
    bench
        .assert_comes_to_say("ready\nmemory: ok\ndisk: ok\ns3: ok\n")
        .await;
    bench.s3.cut().await;
    let degraded = "ready, degraded\nmemory: ok\ndisk: ok\ns3: S3: ";
    bench.assert_comes_to_say(degraded).await;
    let status = bench.node.page("/readyz").await.status;
    assert_eq!(status, 200, "it still serves what it holds");
    assert_eq!(bench.node.metric("milena_tier_up{tier=\"s3\"}").await, 0);
    bench.s3.start_again().await;
    bench.assert_comes_to_say("ready\n").await;
    assert_eq!(bench.node.metric("milena_tier_up{tier=\"s3\"}").await, 1);
}

#[tokio::test]
async fn an_s3_that_does_not_answer_is_unavailable_when_its_time_is_up() {
    let bench = Bench::start_with(impatient).await;
    bench.objects().put(&object_of(KEY), "v").await;
    let stalled = bench
        .s3
        .inject(Operation::Get, &object_of(KEY), Action::Stall);
    unavailable(bench.get(KEY).await);
    assert!(stalled.fired() > 0);
    stalled.remove();
    eventually("the value", async || bench.get(KEY).await.is_ok()).await;
    assert_eq!(bench.get(KEY).await.unwrap(), value("v"));
}

#[tokio::test]
async fn an_s3_that_does_not_answer_is_unavailable_within_the_callers_deadline() {
    let bench = Bench::start().await;
    bench.objects().put(&object_of(KEY), "v").await;
    let _stalled = bench
        .s3
        .inject(Operation::Get, &object_of(KEY), Action::Stall);
    let _put_stalled = bench
        .s3
        .inject(Operation::Put, &object_of(KEY), Action::Stall);
    let _delete_stalled = bench
        .s3
        .inject(Operation::Delete, &object_of(KEY), Action::Stall);
    let hurried = bench.node.client.with_deadline(SHORT_TIMEOUT);
    comes_to_be_unavailable(async || hurried.get(BUCKET, KEY).await.map(drop)).await;
    comes_to_be_unavailable(async || hurried.put(BUCKET, KEY, "x").await).await;
    comes_to_be_unavailable(async || hurried.delete(BUCKET, KEY).await).await;
}

/// Waits until the node's own answer, UNAVAILABLE, is there before the caller's deadline. On a machine that is
/// too busy it may be late, which the client calls DEADLINE_EXCEEDED; nothing else may be answered.
async fn comes_to_be_unavailable(mut call: impl AsyncFnMut() -> Result<(), ClientError>) {
    let is_unavailable = async || match call().await {
        Err(ClientError::Unavailable(_)) => true,
        Err(ClientError::DeadlineExceeded(_)) => false,
        other => panic!("expected UNAVAILABLE, not {other:?}"),
    };
    eventually("an answer within the deadline", is_unavailable).await;
}

#[tokio::test]
async fn a_body_that_stalls_is_unavailable_and_nothing_of_it_is_kept() {
    let bench = Bench::start_with(impatient).await;
    let whole = Bytes::from(vec![7; 100_000]);
    bench.objects().put(&object_of(KEY), whole.clone()).await;
    let after_bytes = 30_000;
    let stalled = bench.s3.inject(
        Operation::Get,
        &object_of(KEY),
        Action::StallBody { after_bytes },
    );
    unavailable(bench.get(KEY).await);
    assert!(stalled.fired() > 0);
    assert_eq!(copies(&bench.node).await, 0);
    stalled.remove();
    eventually("the value", async || bench.get(KEY).await.is_ok()).await;
    assert_eq!(bench.get(KEY).await.unwrap(), Some(whole));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_unavailable_and_nothing_of_it_is_kept() {
    let bench = Bench::start().await;
    let whole = Bytes::from(vec![7; 100_000]);
    bench.objects().put(&object_of(KEY), whole.clone()).await;
    for after_bytes in [0, 30_000, 99_999] {
        let truncated = bench.s3.inject(
            Operation::Get,
            &object_of(KEY),
            Action::Truncate { after_bytes },
        );
        unavailable(bench.get(KEY).await);
        assert!(truncated.fired() > 0);
        assert_eq!(copies(&bench.node).await, 0);
    }
    assert_eq!(bench.get(KEY).await.unwrap(), Some(whole));
}

#[tokio::test]
async fn a_body_that_is_not_what_was_put_is_unavailable_and_not_kept() {
    let bench = Bench::start().await;
    bench.put(KEY, "right").await.unwrap();
    let written = bench.objects().head(&object_of(KEY)).await;
    let crc32c = written.metadata().unwrap()["milena-crc32c"].clone();
    let metadata = [("milena-format", "1".to_owned()), ("milena-crc32c", crc32c)];
    bench
        .objects()
        .put_with_metadata(&object_of("damaged"), "wrong", metadata)
        .await;
    let held_before = copies(&bench.node).await;
    let said = unavailable(bench.get("damaged").await);
    assert!(said.contains("checksum"), "{said}");
    assert_eq!(copies(&bench.node).await, held_before);
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_is_unavailable_and_the_next_get_asks_s3() {
    let bench = Bench::start().await;
    bench.put(KEY, "old").await.unwrap();
    let lost = bench
        .s3
        .inject(Operation::Put, &object_of(KEY), Action::ApplyThenReset);
    unavailable(bench.put(KEY, "new").await);
    lost.remove();
    assert_eq!(bench.get(KEY).await.unwrap(), value("new"));
    assert_eq!(bench.objects().get(&object_of(KEY)).await, value("new"));
}

#[tokio::test]
async fn a_put_that_did_not_reach_s3_is_unavailable_and_the_next_get_asks_s3() {
    let bench = Bench::start().await;
    bench.put(KEY, "old").await.unwrap();
    let lost = bench
        .s3
        .inject(Operation::Put, &object_of(KEY), Action::Reset);
    unavailable(bench.put(KEY, "new").await);
    lost.remove();
    assert_eq!(bench.get(KEY).await.unwrap(), value("old"));
}

#[tokio::test]
async fn a_write_that_was_never_sent_leaves_what_there_was() {
    let mut bench = Bench::start().await;
    bench.put(KEY, "old").await.unwrap();
    bench.s3.stop().await;
    unavailable(bench.put(KEY, "new").await);
    unavailable(bench.delete(KEY).await);
    assert_eq!(bench.get(KEY).await.unwrap(), value("old"));
    assert_eq!(copies(&bench.node).await, 2);
    bench.s3.start_again().await;
    assert_eq!(bench.objects().get(&object_of(KEY)).await, value("old"));
}

#[tokio::test]
async fn a_delete_whose_answer_is_lost_is_unavailable_and_the_next_get_asks_s3() {
    let bench = Bench::start().await;
    bench.put(KEY, "old").await.unwrap();
    let lost = bench
        .s3
        .inject(Operation::Delete, &object_of(KEY), Action::ApplyThenReset);
    unavailable(bench.delete(KEY).await);
    lost.remove();
    assert_eq!(bench.get(KEY).await.unwrap(), None);
}

#[tokio::test]
async fn a_put_of_which_one_answer_was_lost_is_known_by_its_write_id() {
    let bench = Bench::start().await;
    for (status, code) in [
        (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
        (StatusCode::CONFLICT, "ConditionalRequestConflict"),
    ] {
        let conflict = Action::ApplyThenFail(Failure::new(status, code));
        let once = bench
            .s3
            .inject_next(1, Operation::Put, &object_of(KEY), conflict);
        bench.put(KEY, "mine").await.unwrap();
        assert_eq!(once.fired(), 1, "{code}");
        assert_eq!(bench.get(KEY).await.unwrap(), value("mine"));
    }
}

#[tokio::test]
async fn a_put_that_conflicts_with_another_write_is_unavailable() {
    let bench = Bench::start().await;
    bench.put(KEY, "before").await.unwrap();
    bench.objects().put(&object_of(KEY), "another's").await;
    let failure = Failure::new(StatusCode::CONFLICT, "ConditionalRequestConflict");
    let conflict = bench
        .s3
        .inject(Operation::Put, &object_of(KEY), Action::Fail(failure));
    unavailable(bench.put(KEY, "mine").await);
    conflict.remove();
    assert_eq!(bench.get(KEY).await.unwrap(), value("another's"));
}

#[tokio::test]
async fn a_refusal_of_s3_is_unavailable_and_named() {
    let bench = Bench::start().await;
    let denied = || Action::Fail(Failure::access_denied());
    let _get = bench.s3.inject(Operation::Get, &object_of(KEY), denied());
    let _put = bench.s3.inject(Operation::Put, &object_of(KEY), denied());
    let _delete = bench
        .s3
        .inject(Operation::Delete, &object_of(KEY), denied());
    for said in [
        unavailable(bench.get(KEY).await),
        unavailable(bench.put(KEY, "v").await),
        unavailable(bench.delete(KEY).await),
    ] {
        assert!(said.contains("AccessDenied"), "{said}");
    }
}

#[tokio::test]
async fn a_passing_failure_of_s3_is_retried_and_not_seen() {
    let bench = Bench::start().await;
    for failure in [Failure::slow_down(), Failure::internal_error()] {
        let object = object_of(KEY);
        let fail = || Action::Fail(failure.clone());
        let puts = bench.s3.inject_next(1, Operation::Put, &object, fail());
        bench.put(KEY, "v").await.unwrap();
        bench.objects().put(&object_of("cold"), "v").await;
        let gets = bench
            .s3
            .inject_next(1, Operation::Get, &object_of("cold"), fail());
        assert_eq!(bench.get("cold").await.unwrap(), value("v"));
        let deletes = bench
            .s3
            .inject_next(1, Operation::Delete, &object_of("cold"), fail());
        bench.delete("cold").await.unwrap();
        assert_eq!((puts.fired(), gets.fired(), deletes.fired()), (1, 1, 1));
    }
}

#[tokio::test]
async fn an_object_over_the_limit_is_an_invalid_argument_and_not_read() {
    let bench = Bench::start_with(|setup| {
        setup.config.value_bytes_max = 1_000;
        setup.config.s3.value_bytes_max = 1_000;
    })
    .await;
    bench.objects().put(&object_of(KEY), vec![0; 1_001]).await;
    let refused = bench.get(KEY).await.unwrap_err();
    assert!(
        matches!(refused, ClientError::InvalidInput(_)),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("1000"), "{refused}");
}
