//! Flush: how a caller learns that S3 has everything, and what it does not have.

use std::time::Duration;

use milena_cache::operation::WriteMode;
use milena_client::{Backlog, ClientError};
use milena_s3::{Action, Failure, FaultHandle, Operation, Rule};
use milena_testing::eventually;
use milena_testing::router::TestRouter;

use crate::support::{Bench, begin, object_of, value};

const KEYS: [&str; 3] = ["a", "b", "c"];

/// Longer than a flush may wait for.
const LONG: Duration = Duration::from_secs(3_600);

async fn start() -> Bench {
    Bench::start_with(|setup| setup.config.write_mode = WriteMode::WriteBack).await
}

/// Lets S3 refuse every put until the handle is dropped.
fn refuse_puts(bench: &Bench) -> FaultHandle {
    let refuse = Action::Fail(Failure::access_denied());
    bench.s3.faults().inject(Rule::on(Operation::Put, refuse))
}

async fn put_all(bench: &Bench) {
    for key in KEYS {
        bench.put(key, "v").await.unwrap();
    }
}

#[tokio::test]
async fn a_flush_says_what_s3_does_not_have_and_ends_once_it_has_everything() {
    let bench = start().await;
    let client = bench.node.client.clone();
    let nothing = Backlog::default();
    assert_eq!(client.flush(LONG).await.unwrap(), nothing, "at once");

    let refused = refuse_puts(&bench);
    put_all(&bench).await;
    let left = client.flush(Duration::ZERO).await.unwrap();
    assert_eq!(left.entries, 3);
    assert!(left.bytes > 0);
    refused.wait_fired(1).await;
    let flush = begin(async move { client.flush(LONG).await.unwrap() });
    drop(refused);
    assert_eq!(flush.await.unwrap(), nothing);
    for key in KEYS {
        let held = bench.objects().get(&object_of(key)).await;
        assert_eq!(held, value("v"), "{key}");
    }
    let answered = "milena_requests_total{op=\"flush\",result=\"ok\"}";
    assert!(bench.node.metric(answered).await >= 3);
}

#[tokio::test]
async fn a_flush_answers_before_its_caller_gives_up() {
    let bench = start().await;
    let refused = refuse_puts(&bench);
    bench.put("k", "v").await.unwrap();
    let impatient = bench.node.client.with_deadline(Duration::from_secs(1));
    // On a machine that is too busy the answer may be late.
    let left = loop {
        match impatient.flush(LONG).await {
            Err(ClientError::DeadlineExceeded(_)) => {}
            answer => break answer.unwrap(),
        }
    };
    assert_eq!(left.entries, 1);
    refused.wait_fired(1).await;
}

#[tokio::test]
async fn a_node_that_writes_through_has_nothing_to_flush() {
    let bench = Bench::start().await;
    put_all(&bench).await;
    let left = bench.node.client.flush(LONG).await.unwrap();
    assert_eq!(left, Backlog::default());
}

#[tokio::test]
async fn a_router_flushes_its_nodes() {
    let mut router = TestRouter::absent();
    router.start().await;
    let bench = Bench::start_with(|setup| {
        setup.config.write_mode = WriteMode::WriteBack;
        setup.config.routers = vec![router.address()];
    })
    .await;
    eventually("the join", async || router.nodes().await == 1).await;
    let refused = refuse_puts(&bench);
    put_all(&bench).await;
    let client = router.client();
    assert_eq!(client.flush(Duration::ZERO).await.unwrap().entries, 3);
    refused.wait_fired(1).await;
    drop(refused);
    let flushed = async || client.flush(Duration::from_secs(5)).await.unwrap().entries == 0;
    eventually("S3 has everything", flushed).await;
    bench.node.stop().await;
}
