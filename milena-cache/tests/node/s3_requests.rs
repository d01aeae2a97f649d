//! What the node asks of S3: as little as it can while S3 is well, nothing while S3 is away.

use std::time::Duration;

use futures::future::join_all;
use milena_client::ClientError;
use milena_s3::{Action, Failure, Operation, Rule};
use milena_testing::eventually;
use tonic_types::StatusExt;

use crate::support::{BUCKET, Bench, begin, object_of, unavailable, value};

impl Bench {
    /// Requests to S3 for this, by how they ended; those that look after S3 itself are not among them.
    async fn requests(&self, op: &str, outcome: &str) -> u64 {
        let series = format!("milena_s3_requests_total{{op=\"{op}\",outcome=\"{outcome}\"}}");
        self.node.metric(&series).await
    }

    /// All requests to S3 for keys.
    async fn all_requests(&self) -> u64 {
        let page = self.node.page("/metrics").await.body;
        let counts = page.lines().filter_map(|line| {
            let rest = line.strip_prefix("milena_s3_requests_total{op=\"")?;
            (!rest.starts_with("probe")).then(|| rest.rsplit(' ').next()?.parse::<u64>().ok())?
        });
        counts.sum()
    }

    /// Takes S3 away and asks for what only S3 has, until the node does not ask any more.
    async fn open_breaker(&mut self) {
        self.s3.cut().await;
        let is_open = async || {
            unavailable(self.get("elsewhere").await)
                .contains("not asked, because it has been failing")
        };
        eventually("the breaker opens", is_open).await;
    }
}

#[tokio::test]
async fn a_miss_is_one_get_a_put_one_put_and_a_delete_one_delete() {
    let bench = Bench::start().await;
    assert_eq!(bench.get("absent").await.unwrap(), None);
    assert_eq!(bench.requests("get", "not_found").await, 1);
    assert_eq!(bench.all_requests().await, 1);

    bench.put("k", "12345").await.unwrap();
    assert_eq!(bench.requests("put", "ok").await, 1);
    assert_eq!(bench.get("k").await.unwrap(), value("12345"));
    assert_eq!(bench.all_requests().await, 2, "a hit asks nothing");

    bench.objects().put(&object_of("cold"), "1234567").await;
    assert_eq!(bench.get("cold").await.unwrap(), value("1234567"));
    assert_eq!(bench.get("cold").await.unwrap(), value("1234567"));
    assert_eq!(bench.requests("get", "ok").await, 1);
    assert_eq!(bench.all_requests().await, 3);

    bench.delete("k").await.unwrap();
    bench.delete("absent").await.unwrap();
    assert_eq!(bench.requests("delete", "ok").await, 2);
    assert_eq!(bench.all_requests().await, 5);
    for (direction, bytes) in [("out", 5), ("in", 7)] {
        let series = format!("milena_s3_bytes_total{{direction=\"{direction}\"}}");
        assert_eq!(bench.node.metric(&series).await, bytes, "{direction}");
    }
}

#[tokio::test]
async fn a_retry_is_a_request_of_its_own() {
    let bench = Bench::start().await;
    let object = object_of("k");
    let failure = Action::Fail(Failure::slow_down());
    let _once = bench.s3.inject_next(1, Operation::Put, &object, failure);
    bench.put("k", "v").await.unwrap();
    assert_eq!(bench.requests("put", "slow_down").await, 1);
    assert_eq!(bench.requests("put", "ok").await, 1);
}

#[tokio::test]
async fn what_s3_wants_to_be_waited_for_is_passed_on_if_it_is_too_long() {
    let bench = Bench::start().await;
    let wait = Duration::from_secs(3_600);
    let failure = Action::Fail(Failure::slow_down().retry_after(wait));
    let slow = bench.s3.inject(Operation::Get, &object_of("k"), failure);
    let answer = bench.get("k").await;
    assert_eq!(slow.fired(), 1, "there is no time for a second attempt");
    assert_eq!(retry_delay(&answer), Some(wait));
}

#[tokio::test]
async fn an_s3_that_is_away_is_left_alone_until_a_probe_is_answered() {
    let mut bench = Bench::start().await;
    bench.put("held", "v").await.unwrap();
    bench.open_breaker().await;

    let before = bench.all_requests().await;
    let delays = [
        retry_delay(&bench.get("elsewhere").await),
        retry_delay(&bench.put("new", "v").await),
        retry_delay(&bench.delete("other").await),
    ];
    assert!(
        delays
            .iter()
            .all(|delay| delay.is_some_and(|wait| wait <= Duration::from_secs(5))),
        "{delays:?}"
    );
    assert_eq!(bench.all_requests().await, before, "nothing was sent");
    let state = bench.node.metric("milena_s3_breaker_state").await;
    assert!(state > 0, "open, or trying");
    let kept_back = "milena_s3_not_sent_total{reason=\"breaker\"}";
    assert!(bench.node.metric(kept_back).await >= 3);
    assert_eq!(bench.get("held").await.unwrap(), value("v"), "a hit");

    bench.s3.start_again().await;
    let is_back = async || bench.put("new", "v").await.is_ok();
    eventually("S3 is asked again", is_back).await;
    assert_eq!(bench.node.metric("milena_s3_breaker_state").await, 0);
    bench.delete("held").await.unwrap();
    assert_eq!(bench.get("held").await.unwrap(), None);
}

#[tokio::test]
async fn an_s3_that_asks_for_fewer_requests_is_given_fewer_at_once() {
    let bench = Bench::start().await;
    let limit = "milena_s3_concurrency_limit";
    let before = bench.node.metric(limit).await;
    let object = object_of("k");
    let failure = Action::Fail(Failure::slow_down());
    let _once = bench.s3.inject_next(1, Operation::Put, &object, failure);
    bench.put("k", "v").await.unwrap();
    assert_eq!(bench.node.metric(limit).await, before / 2);
}

#[tokio::test]
async fn what_is_over_the_limit_waits_for_its_turn() {
    let bench = Bench::start().await;
    let limit = bench.node.metric("milena_s3_concurrency_limit").await;
    let stall = Rule::on(Operation::Get, Action::Stall).with_prefix(object_of("k"));
    let stalled = bench.s3.faults().inject(stall);
    let over = 50;
    let gets: Vec<_> = (0..limit + over)
        .map(|index| {
            let client = bench.node.client.clone();
            begin(async move { client.get(BUCKET, format!("k{index}")).await })
        })
        .collect();
    eventually("the rest waits", async || {
        bench.node.metric("milena_s3_queued_requests").await == over
    })
    .await;
    stalled.wait_fired(limit).await;
    assert_eq!(stalled.fired(), limit);
    stalled.remove();
    for got in join_all(gets).await {
        assert_eq!(got.unwrap().unwrap(), None);
    }
    assert_eq!(bench.node.metric("milena_s3_queued_requests").await, 0);
}

/// When the node wants to be asked again.
fn retry_delay<T: std::fmt::Debug>(answer: &Result<T, ClientError>) -> Option<Duration> {
    let Err(ClientError::Unavailable(status)) = answer else {
        panic!("expected UNAVAILABLE, not {answer:?}");
    };
    let details = status.get_error_details();
    details.retry_info().and_then(|info| info.retry_delay)
}
