//! Both stacks of `GRPC_STACK` give the same answers, compared as they are on the wire.

use std::num::NonZeroU32;

use bytes::Bytes;
use http::HeaderMap;
use milena_protos::cache_server::{DeleteRequest, FlushRequest, GetRequest, PutRequest};
use milena_server::grpc::GrpcStack;
use milena_testing::wire::{Headers, WireAnswer, WireClient, frame};
use tonic::{Code, Status};

use crate::support::{BUCKET, Bench};

const VALUE_BYTES_MAX: usize = 100_000;

/// A connection to a node, and its end of it.
struct Caller {
    wire: WireClient,
    bench: Bench,
}

impl Caller {
    async fn start(stack: GrpcStack, rate_limit: Option<u32>) -> Self {
        let bench = Bench::start_with(|setup| {
            setup.config.grpc_stack = stack;
            setup.config.value_bytes_max = VALUE_BYTES_MAX;
            setup.config.rate_limit = rate_limit.and_then(NonZeroU32::new);
        })
        .await;
        let addr = bench.node.address();
        let addr = addr.trim_start_matches("http://").parse().unwrap();
        let wire = WireClient::connect(addr).await;
        Self { wire, bench }
    }

    async fn call(&mut self, method: &str, headers: Headers<'_>, body: Bytes) -> WireAnswer {
        let path = format!("/cache_server.Cache/{method}");
        self.wire.call(&path, headers, body).await
    }
}

fn get(key: &'static str) -> Bytes {
    let (key, bucket) = (key.into(), BUCKET.to_owned());
    frame(&GetRequest { key, bucket })
}

fn put(key: &'static str, value: impl Into<Bytes>) -> Bytes {
    frame(&PutRequest {
        key: key.into(),
        bucket: BUCKET.to_owned(),
        value: value.into(),
        ttl_seconds: None,
        ack: None,
    })
}

fn delete(key: &'static str) -> Bytes {
    let (key, bucket) = (key.into(), BUCKET.to_owned());
    frame(&DeleteRequest { key, bucket })
}

#[tokio::test]
async fn the_same_calls_have_the_same_answers() {
    let gzip = [("grpc-encoding", "gzip")];
    let cases: [(&str, Headers<'_>, Bytes, Code); 16] = [
        ("Get", &[], get("k"), Code::NotFound),
        ("Put", &[], put("k", "v"), Code::Ok),
        ("Get", &[], get("k"), Code::Ok),
        ("Put", &[], put("empty", ""), Code::Ok),
        ("Get", &[("grpc-timeout", "5S")], get("empty"), Code::Ok),
        ("Put", &[], put("long", vec![7; VALUE_BYTES_MAX]), Code::Ok),
        ("Get", &[], get("long"), Code::Ok),
        ("Get", &[], get(""), Code::InvalidArgument),
        (
            "Put",
            &[],
            put("k", vec![7; VALUE_BYTES_MAX + 1]),
            Code::InvalidArgument,
        ),
        (
            "Put",
            &[],
            put("k", vec![7; 2 * VALUE_BYTES_MAX]),
            Code::InvalidArgument,
        ),
        ("Get", &gzip, get("k"), Code::Unimplemented),
        ("Get", &[("grpc-encoding", "identity")], get("k"), Code::Ok),
        ("Delete", &[], delete("k"), Code::Ok),
        (
            "Get",
            &[("content-type", "application/grpc+proto")],
            get("k"),
            Code::NotFound,
        ),
        ("Flush", &[], frame(&FlushRequest { wait_ms: 0 }), Code::Ok),
        ("Unheard", &[], get("k"), Code::Unimplemented),
    ];
    let mut tonic = Caller::start(GrpcStack::Tonic, None).await;
    let mut h2 = Caller::start(GrpcStack::H2, None).await;
    for (index, (method, headers, body, code)) in cases.into_iter().enumerate() {
        let expected = tonic.call(method, headers, body.clone()).await;
        let answer = h2.call(method, headers, body).await;
        assert_eq!(expected.code(), code, "{index}: {method}");
        assert!(
            answer == expected,
            "{index}: {method}: {answer:?}\n{expected:?}"
        );
    }
    let refused = h2.call("Get", &gzip, get("k")).await;
    let spoken = ("grpc-accept-encoding".to_owned(), Bytes::from("identity"));
    assert!(refused.head.contains(&spoken), "{refused:?}");
    for series in ["ok", "not_found", "invalid"] {
        let series = format!("milena_requests_total{{op=\"get\",result=\"{series}\"}}");
        let expected = tonic.bench.node.metric(&series).await;
        assert_eq!(h2.bench.node.metric(&series).await, expected, "{series}");
    }
}

#[tokio::test]
async fn a_message_that_is_none_is_refused_with_the_same_code() {
    for stack in [GrpcStack::Tonic, GrpcStack::H2] {
        let mut caller = Caller::start(stack, None).await;
        for body in [&b""[..], b"\0\0\0\0\x01\xff", b"\x01\0\0\0\0"] {
            let answer = caller.call("Get", &[], Bytes::from_static(body)).await;
            assert_eq!(
                answer.code(),
                Code::Internal,
                "{stack:?} {body:?}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_over_the_rate_limit_has_its_details_on_both() {
    for stack in [GrpcStack::Tonic, GrpcStack::H2] {
        let mut caller = Caller::start(stack, Some(1)).await;
        let refused = loop {
            let answer = caller.call("Get", &[], get("k")).await;
            if answer.code() != Code::NotFound {
                break answer;
            }
        };
        assert_eq!(refused.code(), Code::ResourceExhausted, "{stack:?}");
        let headers = refused
            .head
            .into_iter()
            .map(|(name, value)| (name.parse().unwrap(), value.as_ref().try_into().unwrap()));
        let status = Status::from_header_map(&headers.collect::<HeaderMap>()).unwrap();
        assert!(!status.details().is_empty(), "{stack:?}: RetryInfo");
    }
}
