//! Every fault: what the client sees, what is stored, that it fired.

use std::time::Duration;

use aws_sdk_s3::error::SdkError;
use milena_s3::{Action, Failure, FaultHandle, Operation, RequestCounts, Rule};

use crate::fixture::{BUCKET, Fixture, noise, on_both_storages, status_and_code};

/// How long a test waits before it says that something does not happen; only ever a lower bound.
const A_MOMENT: Duration = Duration::from_millis(50);

impl Fixture {
    fn inject(&self, operation: Operation, action: Action) -> FaultHandle {
        self.server.faults().inject(Rule::on(operation, action))
    }
}

#[tokio::test]
async fn requests_are_counted_by_operation() {
    on_both_storages(async |s3| {
        s3.put("key", "value").await;
        s3.get("key").await;
        s3.get("absent").await;
        s3.delete("key").await;
        let head = s3.client.head_object().bucket(BUCKET).key("key");
        head.send().await.unwrap_err();
        let list = s3.client.list_objects_v2().bucket(BUCKET);
        list.send().await.unwrap();
        s3.client.list_buckets().send().await.unwrap();
        let expected = RequestCounts {
            get: 2,
            head: 1,
            put: 1,
            delete: 1,
            list: 1,
            other: 1,
        };
        assert_eq!(s3.server.requests(), expected);
    })
    .await;
}

#[tokio::test]
async fn a_failure_is_answered_and_nothing_is_done() {
    on_both_storages(async |s3| {
        s3.put("key", "old").await;
        let slow_down = Failure::slow_down().retry_after(Duration::from_secs(7));
        let rule = Rule::on_any(Action::Fail(slow_down)).next(3);
        let fault = s3.server.faults().inject(rule);

        let get = s3.client.get_object().bucket(BUCKET).key("key");
        let error = get.send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (503, "SlowDown"));
        let headers = error.raw_response().unwrap().headers();
        assert_eq!(headers.get("retry-after"), Some("7"));
        let put = s3.client.put_object().bucket(BUCKET).key("key");
        let put = put.body(noise(5 << 20, 1).into());
        let error = put.send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (503, "SlowDown"));
        let delete = s3.client.delete_object().bucket(BUCKET).key("key");
        let error = delete.send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (503, "SlowDown"));

        assert_eq!(fault.fired(), 3);
        assert_eq!(s3.get("key").await.unwrap(), "old", "only the next three");
        assert_eq!(fault.fired(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_delay_passes_and_the_request_is_done() {
    on_both_storages(async |s3| {
        s3.put("key", "value").await;
        let fault = s3.inject(Operation::Get, Action::Delay(A_MOMENT));
        assert_eq!(s3.get("key").await.unwrap(), "value");
        assert_eq!(fault.fired(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_stalled_request_is_done_after_its_release() {
    on_both_storages(async |s3| {
        s3.put("key", "old").await;
        let fault = s3.inject(Operation::Get, Action::Stall);
        let fill = s3.get("key");
        let meanwhile = async {
            fault.wait_fired(1).await;
            s3.put("key", "new").await;
            fault.release();
        };
        let (read, ()) = tokio::join!(fill, meanwhile);
        assert_eq!(read.unwrap(), "new", "the value was read after the release");

        let stalled_again = tokio::time::timeout(A_MOMENT, s3.get("key")).await;
        stalled_again.expect_err("a release is for those held then");
        fault.remove();
        assert_eq!(s3.get("key").await.unwrap(), "new");
    })
    .await;
}

#[tokio::test]
async fn a_held_answer_of_a_get_is_the_value_from_before() {
    on_both_storages(async |s3| {
        s3.put("key", "old").await;
        let fault = s3.inject(Operation::Get, Action::HoldAnswer);
        let fill = s3.get("key");
        let meanwhile = async {
            fault.wait_fired(1).await;
            s3.put("key", "new").await;
            fault.release();
        };
        let (read, ()) = tokio::join!(fill, meanwhile);
        assert_eq!(read.unwrap(), "old");
    })
    .await;
}

#[tokio::test]
async fn a_held_answer_of_a_put_or_delete_comes_after_it_is_applied() {
    on_both_storages(async |s3| {
        let fault = s3.inject(Operation::Put, Action::HoldAnswer);
        let meanwhile = async {
            fault.wait_fired(1).await;
            assert_eq!(s3.get("key").await.unwrap(), "value");
            fault.release();
        };
        tokio::join!(s3.put("key", "value"), meanwhile);

        let fault = s3.inject(Operation::Delete, Action::HoldAnswer);
        let meanwhile = async {
            fault.wait_fired(1).await;
            assert_eq!(s3.get("key").await, None);
            fault.release();
        };
        tokio::join!(s3.delete("key"), meanwhile);
    })
    .await;
}

#[tokio::test]
async fn a_stalled_body_stops_after_its_first_bytes() {
    on_both_storages(async |s3| {
        let content = noise(100_000, 1);
        s3.put("key", content.clone()).await;
        let fault = s3.inject(
            Operation::Get,
            Action::StallBody {
                after_bytes: 30_000,
            },
        );
        let get = s3.client.get_object().bucket(BUCKET).key("key");
        let mut got = get.send().await.unwrap();
        assert_eq!(got.content_length(), Some(100_000), "all is promised");
        assert_eq!(fault.fired(), 1);
        let mut received = Vec::new();
        while received.len() < 30_000 {
            received.extend(got.body.next().await.unwrap().unwrap());
        }
        assert_eq!(received, content[..30_000], "not a byte more");
        let more = tokio::time::timeout(A_MOMENT, got.body.next()).await;
        more.expect_err("nothing comes until the release");
        fault.release();
        while let Some(piece) = got.body.next().await {
            received.extend(piece.unwrap());
        }
        assert!(received == content);
    })
    .await;
}

#[tokio::test]
async fn a_truncated_body_breaks_off_after_its_first_bytes() {
    on_both_storages(async |s3| {
        let content = noise(100_000, 1);
        s3.put("key", content.clone()).await;
        for (after_bytes, sent_max) in [(0, 0), (30_000, 30_000), (u64::MAX, 99_999)] {
            let fault = s3.inject(Operation::Get, Action::Truncate { after_bytes });
            let get = s3.client.get_object().bucket(BUCKET).key("key");
            let mut got = get.send().await.unwrap();
            assert_eq!(got.content_length(), Some(100_000), "all is promised");
            let mut received = Vec::new();
            let end = loop {
                match got.body.next().await {
                    Some(Ok(piece)) => received.extend(piece),
                    end => break end,
                }
            };
            assert!(matches!(end, Some(Err(_))), "the end is an error");
            assert!(content[..sent_max].starts_with(&received));
            assert_eq!(fault.fired(), 1);
        }
        assert!(s3.get("key").await == Some(content));
    })
    .await;
}

#[tokio::test]
async fn faults_of_the_body_act_on_answers_without_one() {
    on_both_storages(async |s3| {
        let truncated = s3.inject(Operation::Delete, Action::Truncate { after_bytes: 9 });
        let delete = s3.client.delete_object().bucket(BUCKET).key("key");
        let error = delete.send().await.unwrap_err();
        assert!(matches!(error, SdkError::DispatchFailure(_)));
        truncated.remove();

        let stalled = s3.inject(Operation::Put, Action::StallBody { after_bytes: 9 });
        let meanwhile = async {
            stalled.wait_fired(1).await;
            assert_eq!(s3.get("key").await.unwrap(), "value", "it is applied");
            stalled.release();
        };
        tokio::join!(s3.put("key", "value"), meanwhile);
    })
    .await;
}

#[tokio::test]
async fn a_reset_closes_the_connection_and_nothing_is_done() {
    on_both_storages(async |s3| {
        let fault = s3.inject(Operation::Put, Action::Reset);
        let put = s3.client.put_object().bucket(BUCKET).key("key");
        let put = put.body(b"value".to_vec().into());
        let error = put.send().await.unwrap_err();
        assert!(matches!(error, SdkError::DispatchFailure(_)));
        assert_eq!(fault.fired(), 1);
        assert_eq!(s3.get("key").await, None);
    })
    .await;
}

#[tokio::test]
async fn a_write_may_be_applied_although_its_client_sees_it_fail() {
    on_both_storages(async |s3| {
        let put = |content: &'static str| {
            let put = s3.client.put_object().bucket(BUCKET).key("key");
            put.body(content.as_bytes().to_vec().into()).send()
        };
        let failure = Action::ApplyThenFail(Failure::internal_error());
        let fault = s3.inject(Operation::Put, failure);
        let error = put("failed").await.unwrap_err();
        assert_eq!(status_and_code(&error), (500, "InternalError"));
        assert_eq!(s3.get("key").await.unwrap(), "failed");
        assert_eq!(fault.fired(), 1);
        fault.remove();

        let fault = s3.inject(Operation::Put, Action::ApplyThenReset);
        let error = put("reset").await.unwrap_err();
        assert!(matches!(error, SdkError::DispatchFailure(_)));
        assert_eq!(s3.get("key").await.unwrap(), "reset");
        assert_eq!(fault.fired(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_listing_and_a_prefix_may_be_singled_out() {
    on_both_storages(async |s3| {
        s3.put("a/1", "value").await;
        s3.put("b/1", "value").await;
        let denied = || Action::Fail(Failure::access_denied());
        let faults = s3.server.faults();
        let gets = faults.inject(Rule::on(Operation::Get, denied()).with_prefix("a/"));
        let lists = s3.inject(Operation::List, denied());
        let get = s3.client.get_object().bucket(BUCKET).key("a/1");
        let error = get.send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (403, "AccessDenied"));
        assert_eq!(s3.get("b/1").await.unwrap(), "value");
        let list = s3.client.list_objects_v2().bucket(BUCKET);
        let error = list.send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (403, "AccessDenied"));
        assert_eq!((gets.fired(), lists.fired()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_body_may_be_reset_damaged_or_come_slowly() {
    on_both_storages(async |s3| {
        let content = noise(1_000, 1);
        s3.put("key", content.clone()).await;
        let read = async || {
            let get = s3.client.get_object().bucket(BUCKET).key("key");
            let found = get.send().await.unwrap();
            found.body.collect().await.map(|body| body.into_bytes())
        };

        let after_bytes = 500;
        let reset = s3.inject(Operation::Get, Action::ResetBody { after_bytes });
        let error = read().await.unwrap_err();
        assert!(
            format!("{error:?}").contains("ConnectionReset"),
            "{error:?}"
        );
        assert_eq!(reset.fired(), 1);
        reset.remove();

        let damaged = s3.inject(Operation::Get, Action::Damage);
        let error = read().await.unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains("ChecksumMismatch"), "{text}");
        assert_eq!(damaged.fired(), 1);
        damaged.remove();

        let (bytes, every) = (100, Duration::from_millis(1));
        let trickle = s3.inject(Operation::Get, Action::Trickle { bytes, every });
        let get = s3.client.get_object().bucket(BUCKET).key("key");
        let mut body = get.send().await.unwrap().body;
        let mut chunks = Vec::new();
        while let Some(chunk) = body.next().await {
            chunks.push(chunk.unwrap());
        }
        assert_eq!(chunks.concat(), content);
        assert_eq!(trickle.fired(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_comes_may_be_no_http_or_not_from_s3() {
    on_both_storages(async |s3| {
        let garbage = s3.inject(Operation::Put, Action::Garbage);
        let put = s3.client.put_object().bucket(BUCKET).key("key");
        let error = put.body(noise(100_000, 1).into()).send().await.unwrap_err();
        assert!(format!("{error:?}").contains("Parse"), "{error:?}");
        garbage.remove();
        assert_eq!(s3.get("key").await, None);

        let page = Action::Fail(Failure::bad_gateway());
        let page = s3.inject(Operation::Get, page);
        let get = s3.client.get_object().bucket(BUCKET).key("key");
        let error = get.send().await.unwrap_err();
        assert_eq!(status_and_code(&error).0, 502);
        let raw = error.raw_response().unwrap();
        assert_eq!(raw.headers().get("content-type"), Some("text/html"));
        assert_eq!(page.fired(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_connection_may_be_closed_after_its_answer() {
    on_both_storages(async |s3| {
        let closed = s3
            .server
            .faults()
            .inject(Rule::on_any(Action::CloseAfterAnswer));
        s3.put("key", "value").await;
        assert_eq!(s3.get("key").await.unwrap(), "value");
        s3.delete("key").await;
        assert_eq!(closed.fired(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_put_may_be_applied_after_its_caller_gave_up() {
    on_both_storages(async |s3| {
        let late = s3.inject(Operation::Put, Action::ApplyLate);
        let put = s3.client.put_object().bucket(BUCKET).key("key");
        let put = put.body(noise(100_000, 1).into()).send();
        let fired = late.wait_fired(1);
        tokio::select! {
            _ = put => panic!("answered before it was released"),
            () = fired => {}
        }
        assert_eq!(s3.get("key").await, None);
        late.release();
        while s3.get("key").await.is_none() {}
        assert_eq!(s3.get("key").await.unwrap(), noise(100_000, 1));
    })
    .await;
}
