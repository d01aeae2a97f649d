//! Both stacks of `GRPC_STACK` give the same answers, compared as they are on the wire.

use bytes::Bytes;
use milena_client::Options;
use milena_protos::router_server::{DeleteRequest, FlushRequest, GetRequest, PutRequest};
use milena_server::grpc::GrpcStack;
use milena_testing::wire::{WireAnswer, WireClient, frame};
use tonic::Code;

use crate::support::{Cluster, Node};

fn get(bucket: &str, key: &'static str) -> Bytes {
    let (key, bucket) = (key.into(), bucket.to_owned());
    frame(&GetRequest { key, bucket })
}

fn put(key: &'static str, value: impl Into<Bytes>, ack: Option<i32>) -> Bytes {
    frame(&PutRequest {
        key: key.into(),
        bucket: "b".to_owned(),
        value: value.into(),
        ttl_seconds: None,
        ack,
    })
}

fn delete(key: &'static str) -> Bytes {
    let (key, bucket) = (key.into(), "b".to_owned());
    frame(&DeleteRequest { key, bucket })
}

/// A router on `stack`, with a node.
struct Caller {
    cluster: Cluster,
    node: Node,
    wire: WireClient,
}

impl Caller {
    async fn start(stack: GrpcStack) -> Self {
        let cluster = Cluster::start_on(stack, None).await;
        let node = Node::start().await;
        cluster.membership.join(&node.address).await.unwrap();
        let wire = WireClient::connect(cluster.router.addr()).await;
        Self {
            cluster,
            node,
            wire,
        }
    }

    async fn call(&mut self, method: &str, body: Bytes) -> WireAnswer {
        let path = format!("/router_server.Router/{method}");
        self.wire.call(&path, &[], body).await
    }
}

#[tokio::test]
async fn the_same_calls_have_the_same_answers() {
    let longest = || vec![7; Options::VALUE_BYTES_MAX];
    let over_long = || vec![7; Options::VALUE_BYTES_MAX + 1];
    let far_too_long = || vec![7; 2 * Options::VALUE_BYTES_MAX];
    let cases = [
        ("Get", get("b", "k"), Code::NotFound),
        ("Put", put("k", "v", None), Code::Ok),
        ("Get", get("b", "k"), Code::Ok),
        ("Put", put("k", "v", Some(2)), Code::Ok),
        ("Put", put("k", "v", Some(3)), Code::InvalidArgument),
        ("Put", put("empty", "", None), Code::Ok),
        ("Get", get("b", "empty"), Code::Ok),
        ("Put", put("long", longest(), None), Code::Ok),
        ("Get", get("b", "long"), Code::Ok),
        ("Put", put("k", over_long(), None), Code::InvalidArgument),
        ("Put", put("k", far_too_long(), None), Code::InvalidArgument),
        ("Get", get("a/b", "k"), Code::InvalidArgument),
        ("Get", get("b", ""), Code::InvalidArgument),
        ("Delete", delete(""), Code::InvalidArgument),
        ("Delete", delete("k"), Code::Ok),
        ("Get", get("refusing", "k"), Code::ResourceExhausted),
        ("Get", get("too long", "k"), Code::InvalidArgument),
        (
            "Get",
            Bytes::from_static(b"\0\0\0\0\x02\x12\x05"),
            Code::Internal,
        ),
        ("Flush", frame(&FlushRequest { wait_ms: 0 }), Code::Ok),
        ("Unheard", get("b", "k"), Code::Unimplemented),
    ];
    let mut tonic = Caller::start(GrpcStack::Tonic).await;
    let mut h2 = Caller::start(GrpcStack::H2).await;
    for (index, (method, body, code)) in cases.into_iter().enumerate() {
        let expected = tonic.call(method, body.clone()).await;
        let answer = h2.call(method, body).await;
        assert_eq!(expected.code(), code, "{index}: {method}: {expected:?}");
        assert!(
            answer == expected,
            "{index}: {method}: {answer:?}\n{expected:?}"
        );
    }
    for caller in [&tonic, &h2] {
        assert_eq!(
            *caller.node.entries().acks.lock().unwrap(),
            [None, Some(2), None, None]
        );
    }
    assert_eq!(counts(&h2).await, counts(&tonic).await);
}

/// What the router has counted.
async fn counts(caller: &Caller) -> Vec<String> {
    let page = milena_testing::page::page(caller.cluster.router.metrics_addr(), "/metrics").await;
    let counts = page.body.lines().filter(|line| {
        [
            "milena_router_requests_total",
            "milena_errors_total",
            "milena_router_forward_duration_seconds_count",
        ]
        .iter()
        .any(|name| line.starts_with(name))
    });
    counts.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_stale_value_is_called_so() {
    for stack in [GrpcStack::Tonic, GrpcStack::H2] {
        let caller = Caller::start(stack).await;
        caller.cluster.client.put("stale", "k", "v").await.unwrap();
        let found = caller.cluster.client.find("stale", "k").await.unwrap();
        assert!(found.unwrap().is_stale, "{stack:?}");
    }
}
