//! Both stacks of `GRPC_STACK` give the same answers, compared as they are on the wire.

use std::num::NonZeroU32;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use milena_cache::service::GrpcStack;
use milena_protos::cache_server::{DeleteRequest, FlushRequest, GetRequest, PutRequest};
use prost::Message;
use tokio::net::TcpStream;
use tonic::{Code, Status};

use crate::support::{BUCKET, Bench, begin};

const VALUE_BYTES_MAX: usize = 100_000;

/// Names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// A connection of a client that is written on HTTP/2 itself, and the node's end of it.
struct Caller {
    sender: SendRequest<Bytes>,
    bench: Bench,
}

/// What came back, without what HTTP servers say of themselves.
#[derive(Debug, PartialEq)]
struct Answer {
    http_status: u16,
    head: Vec<(String, Bytes)>,
    body: Bytes,
    trailers: Vec<(String, Bytes)>,
}

impl Answer {
    fn code(&self) -> Code {
        let end = if self.trailers.is_empty() {
            &self.head
        } else {
            &self.trailers
        };
        let status = end.iter().find(|(name, _)| name == "grpc-status");
        status.map_or(Code::Unknown, |(_, code)| Code::from_bytes(code))
    }
}

fn listed(headers: &HeaderMap) -> Vec<(String, Bytes)> {
    let mut listed: Vec<_> = headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| (name.to_string(), Bytes::copy_from_slice(value.as_bytes())))
        .collect();
    listed.sort();
    listed
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
        let socket = TcpStream::connect(addr.trim_start_matches("http://"))
            .await
            .unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        begin(connection);
        Self { sender, bench }
    }

    async fn call(&mut self, method: &str, headers: Headers<'_>, body: Bytes) -> Answer {
        let mut request = Request::post(format!("http://test/cache_server.Cache/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (answer, mut sending) = self
            .sender
            .send_request(request.body(()).unwrap(), false)
            .unwrap();
        sending.send_data(body, true).unwrap();
        let (head, mut body) = answer.await.unwrap().into_parts();
        let mut received = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            received.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.unwrap().unwrap_or_default();
        Answer {
            http_status: head.status.as_u16(),
            head: listed(&head.headers),
            body: received.into(),
            trailers: listed(&trailers),
        }
    }
}

fn frame(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    Bytes::from([&[0], &length.to_be_bytes()[..], &message].concat())
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
