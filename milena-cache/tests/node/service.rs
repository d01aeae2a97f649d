//! The gRPC services as any client meets them, ours and those that know only the two proto files.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use milena_client::{ClientError, Options};
use milena_protos::cache_server::cache_client::CacheClient;
use milena_protos::cache_server::{DeleteRequest, GetRequest, PutRequest};
use milena_s3::{Action, Operation};
use milena_testing::node::TestNode;
use milena_testing::page::page;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt;

use crate::support::{BUCKET, Bench, begin, object_of, value};

const MIB: usize = 1 << 20;

async fn channel(node: &TestNode) -> Channel {
    let endpoint = Channel::from_shared(node.address()).unwrap();
    endpoint.connect().await.unwrap()
}

/// A client made from the proto files alone, as other languages have it; without limits of its own.
async fn raw_client(node: &TestNode) -> CacheClient<Channel> {
    CacheClient::new(channel(node).await)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX)
}

fn get_request(bucket: &str, key: impl Into<Bytes>) -> GetRequest {
    GetRequest {
        key: key.into(),
        bucket: bucket.to_owned(),
    }
}

fn put_request(bucket: &str, key: impl Into<Bytes>, value: impl Into<Bytes>) -> PutRequest {
    PutRequest {
        key: key.into(),
        bucket: bucket.to_owned(),
        value: value.into(),
        ttl_seconds: None,
        ack: None,
    }
}

fn delete_request(bucket: &str, key: impl Into<Bytes>) -> DeleteRequest {
    DeleteRequest {
        key: key.into(),
        bucket: bucket.to_owned(),
    }
}

#[tokio::test]
async fn successful_is_true_exactly_when_it_was() {
    let bench = Bench::start().await;
    let mut client = raw_client(&bench.node).await;
    let missed = client.get(get_request(BUCKET, "k")).await.unwrap_err();
    assert_eq!(missed.code(), Code::NotFound);
    let put = client.put(put_request(BUCKET, "k", "v")).await.unwrap();
    assert!(put.into_inner().successful);
    let got = client
        .get(get_request(BUCKET, "k"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((got.successful, got.value), (true, Bytes::from("v")));
    for _ in 0..2 {
        let deleted = client.delete(delete_request(BUCKET, "k")).await.unwrap();
        assert!(deleted.into_inner().successful, "also when it is not there");
    }
    let missed = client.get(get_request(BUCKET, "k")).await.unwrap_err();
    assert_eq!(missed.code(), Code::NotFound);
}

#[tokio::test]
async fn any_bytes_are_a_key_and_a_value_and_keep_through_a_restart() {
    let bench = Bench::start().await;
    let keys: [&[u8]; 5] = [
        b"text",
        b"two\nlines\n",
        b"\xff\xfe\0",
        b"a/../b",
        &[b'k'; 1_024],
    ];
    for key in keys {
        bench
            .node
            .client
            .put(BUCKET, key, Bytes::from_static(b"\0\xff\n"))
            .await
            .unwrap();
    }
    bench.put("empty", "").await.unwrap();
    let restarted = bench.restart().await;
    for key in keys {
        let found = restarted.node.client.get(BUCKET, key).await.unwrap();
        assert_eq!(found, Some(Bytes::from_static(b"\0\xff\n")), "{key:?}");
    }
    assert_eq!(restarted.get("empty").await.unwrap(), value(""));
}

#[tokio::test]
async fn values_of_many_megabytes_come_back_whole() {
    let bench = Bench::start().await;
    for bytes in [10 * MIB, 16 * MIB] {
        let value: Bytes = (0..bytes)
            .map(|index| (index % 253).to_le_bytes()[0])
            .collect();
        bench
            .node
            .client
            .put(BUCKET, "great", value.clone())
            .await
            .unwrap();
        assert!(
            bench.get("great").await.unwrap().as_ref() == Some(&value),
            "from memory"
        );
    }
}

#[tokio::test]
async fn a_value_over_the_limit_is_an_invalid_argument_that_names_it() {
    let bench = Bench::start_with(|setup| setup.config.value_bytes_max = 1_000).await;
    let mut client = raw_client(&bench.node).await;
    client
        .put(put_request(BUCKET, "k", vec![0; 1_000]))
        .await
        .unwrap();
    // Just over the limit of values, and far over that of messages.
    for bytes in [1_001, MIB] {
        let refused = client
            .put(put_request(BUCKET, "k", vec![0; bytes]))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        for text in ["1000", "MAX_VALUE_BYTES"] {
            assert!(refused.message().contains(text), "{bytes} bytes: {refused}");
        }
    }
    let kept = bench.node.client.get(BUCKET, "k").await.unwrap().unwrap();
    assert_eq!(kept.len(), 1_000, "what was refused changed nothing");
}

#[tokio::test]
async fn the_usual_limit_is_16_mib() {
    let bench = Bench::start().await;
    let mut client = raw_client(&bench.node).await;
    let one_more = vec![0; Options::VALUE_BYTES_MAX + 1];
    let refused = client
        .put(put_request(BUCKET, "k", one_more))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("16777216"), "{refused}");
}

#[tokio::test]
async fn keys_and_buckets_over_the_limits_are_refused_by_every_method_and_nothing_is_asked() {
    let bench = Bench::start().await;
    let mut client = raw_client(&bench.node).await;
    let key = |bytes| vec![b'k'; bytes];
    let long_bucket = "b".repeat(64);
    let cases = [
        (BUCKET, key(0), "1 to 1024"),
        (BUCKET, key(1_025), "1 to 1024"),
        ("", key(1), "1 to 63"),
        (&long_bucket, key(1), "1 to 63"),
        ("a/b", key(1), "A-Z a-z 0-9"),
        ("a b", key(1), "A-Z a-z 0-9"),
        ("\u{e9}", key(1), "A-Z a-z 0-9"),
        (".", key(1), "other than"),
        ("..", key(1), "other than"),
    ];
    for (bucket, key, limit) in cases {
        let refusals: [Status; 3] = [
            client
                .get(get_request(bucket, key.clone()))
                .await
                .unwrap_err(),
            client
                .put(put_request(bucket, key.clone(), "v"))
                .await
                .unwrap_err(),
            client
                .delete(delete_request(bucket, key))
                .await
                .unwrap_err(),
        ];
        for refused in refusals {
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
            assert!(refused.message().contains(limit), "{bucket:?}: {refused}");
        }
    }
    let asked = bench.s3.server().requests();
    assert_eq!(asked.put + asked.delete, 0);
    let invalid = "milena_requests_total{op=\"put\",result=\"invalid\"}";
    assert_eq!(bench.node.metric(invalid).await, 9);
}

#[tokio::test]
async fn over_the_rate_limit_is_resource_exhausted_and_says_when_to_come_back() {
    let bench = Bench::start_with(|setup| setup.config.rate_limit = NonZeroU32::new(1)).await;
    let mut client = raw_client(&bench.node).await;
    let refused = loop {
        match client.get(get_request(BUCKET, "k")).await {
            Err(status) if status.code() == Code::NotFound => {}
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let retry = refused
        .get_details_retry_info()
        .unwrap()
        .retry_delay
        .unwrap();
    assert!(
        retry > Duration::ZERO && retry <= Duration::from_secs(1),
        "{retry:?}"
    );
}

#[tokio::test]
async fn health_is_serving_for_the_server_the_service_and_the_tiers() {
    let bench = Bench::start().await;
    let mut health = HealthClient::new(channel(&bench.node).await);
    for service in ["", "cache_server.Cache"] {
        let service = service.to_owned();
        let answer = health.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let service = "unheard.Of".to_owned();
    let unknown = health
        .check(HealthCheckRequest { service })
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_what_is_served() {
    let bench = Bench::start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = ServerReflectionClient::new(channel(&bench.node).await)
        .server_reflection_info(futures::stream::iter([request]))
        .await;
    let answer = answers
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let mut names: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    names.sort();
    assert_eq!(names, ["cache_server.Cache", "grpc.health.v1.Health"]);
}

#[tokio::test]
async fn a_stop_is_announced_and_waits_for_calls_in_flight() {
    let bench = Bench::start().await;
    let held = bench
        .s3
        .inject(Operation::Put, &object_of("k"), Action::HoldAnswer);
    let put = bench.begin_put("k", "v");
    held.wait_fired(1).await;
    let metrics_addr = bench.node.metrics_addr();
    let mut health = HealthClient::new(channel(&bench.node).await);
    let service = "cache_server.Cache".to_owned();
    let states = health.watch(HealthCheckRequest { service }).await.unwrap();
    let mut states = states.into_inner();
    let first = states.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);

    let stopping = begin(bench.node.stop());
    let second = states.message().await.unwrap().unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);
    let ready = page(metrics_addr, "/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.body.starts_with("not ready: stopping\n"),
        "{}",
        ready.body
    );
    assert_eq!(page(metrics_addr, "/livez").await.status, 200);
    held.release();
    put.await.unwrap().unwrap();
    let end = states.message().await.unwrap();
    assert_eq!(end, None, "a stop does not wait for those who watch");
    stopping.await.unwrap();
}

#[tokio::test]
async fn the_client_tells_a_refusal_from_a_miss() {
    let bench = Bench::start().await;
    assert_eq!(bench.get("absent").await.unwrap(), None);
    let refused = bench.get("").await.unwrap_err();
    assert!(
        matches!(refused, ClientError::InvalidInput(_)),
        "{refused:?}"
    );
}
