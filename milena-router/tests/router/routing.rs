//! A router and nodes that are maps, through the client.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::support::{Cluster, Node};
use bytes::Bytes;
use milena_client::{Ack, Address, Client, ClientError, Options, PutOptions};
use milena_cluster::key::EntryKey;
use milena_cluster::placement::{Node as PlacedNode, SlotTable, slot_of};
use milena_protos::router_server::router_client::RouterClient as RawClient;
use milena_protos::router_server::{JoinRequest, LeaveRequest};
use tokio::net::TcpListener;
use tonic::Code;

/// How long the callers wait that meet a node that does not answer.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// Asks until the router's own answer, UNAVAILABLE, is there before the caller's deadline, and gives its words.
/// On a machine that is too busy it may be late, which the client calls DEADLINE_EXCEEDED; nothing else may
/// be answered.
async fn comes_to_be_unavailable(client: &Client, bucket: &str) -> String {
    loop {
        match client.get(bucket, "k").await {
            Err(ClientError::Unavailable(status)) => break status.message().to_owned(),
            Err(ClientError::DeadlineExceeded(_)) => {}
            other => panic!("expected UNAVAILABLE, not {other:?}"),
        }
    }
}

fn keys() -> Vec<String> {
    (0..60).map(|number| format!("key-{number}")).collect()
}

/// Gives the node of `nodes` that owns a key of bucket "b".
fn owners<'a>(nodes: &'a [Node]) -> impl Fn(&str) -> &'a Node {
    let table = SlotTable::new(nodes.iter().map(|n| PlacedNode::new(n.address.as_str())));
    move |key| {
        let key = EntryKey::new("b", key.as_bytes()).unwrap();
        let owner = table.owner(slot_of(&key)).unwrap();
        let is_owner = |node: &&Node| node.address.as_str() == owner.id;
        nodes.iter().find(is_owner).unwrap()
    }
}

#[tokio::test]
async fn without_a_node_the_answer_is_unavailable_and_says_why() {
    let cluster = Cluster::start().await;
    let error = cluster.client.get("b", "k").await.unwrap_err();
    assert!(matches!(error, ClientError::Unavailable(_)), "{error:?}");
    assert!(
        error.to_string().starts_with("no cache node has joined"),
        "{error}"
    );
}

#[tokio::test]
async fn each_key_goes_to_the_node_that_placement_gives() {
    let (cluster, nodes) = Cluster::start_with_nodes(3).await;
    let owner_of = owners(&nodes);
    for key in keys() {
        cluster.client.put("b", &key, key.clone()).await.unwrap();
        let holders = nodes.iter().filter(|node| node.has("b", &key));
        let holders: Vec<_> = holders.map(|node| &node.address).collect();
        assert_eq!(holders, [&owner_of(&key).address], "{key}");

        let found = cluster.client.get("b", &key).await.unwrap();
        assert_eq!(found.as_deref(), Some(key.as_bytes()));
        cluster.client.delete("b", &key).await.unwrap();
        assert_eq!(cluster.client.get("b", &key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_a_put_asks_for_reaches_the_node() {
    let (cluster, nodes) = Cluster::start_with_nodes(1).await;
    let client = &cluster.client;
    client.put("b", "k", "v").await.unwrap();
    for life in [Duration::ZERO, Duration::from_secs(300), Duration::MAX] {
        let options = PutOptions {
            life: Some(life),
            ..PutOptions::default()
        };
        client.put_with("b", "k", "v", options).await.unwrap();
    }
    for ack in [Ack::Disk, Ack::S3] {
        let options = PutOptions {
            ack,
            ..PutOptions::default()
        };
        client.put_with("b", "k", "v", options).await.unwrap();
    }
    assert_eq!(
        *nodes[0].entries().lives.lock().unwrap(),
        [None, Some(0), Some(300), Some(u64::MAX), None, None],
        "as it was asked for: the node checks it"
    );
    assert_eq!(
        *nodes[0].entries().acks.lock().unwrap(),
        [None, None, None, None, Some(1), Some(2)]
    );
}

#[tokio::test]
async fn when_a_node_leaves_the_others_take_over() {
    let (cluster, mut nodes) = Cluster::start_with_nodes(3).await;
    let gone = nodes.pop().unwrap();
    cluster.membership.leave(&gone.address).await.unwrap();
    let owner_of = owners(&nodes);
    for key in keys() {
        cluster.client.put("b", &key, "v").await.unwrap();
        assert!(owner_of(&key).has("b", &key), "{key}");
        assert!(!gone.has("b", &key), "{key}");
    }
}

#[tokio::test]
async fn a_node_that_was_killed_is_named_until_it_is_back_and_the_others_serve_on() {
    let (cluster, mut nodes) = Cluster::start_with_nodes(2).await;
    let keys = keys();
    let (lost, kept): (Vec<&String>, Vec<&String>) = {
        let owner_of = owners(&nodes);
        let of_the_first = |key: &&String| owner_of(key).address == nodes[0].address;
        keys.iter().partition(of_the_first)
    };
    for key in &keys {
        cluster.client.put("b", key, "v").await.unwrap();
    }

    let dead = nodes.remove(0);
    let address = dead.address.clone();
    let addr = dead.kill().await;
    for key in &lost {
        let error = cluster.client.get("b", key).await.unwrap_err();
        assert!(matches!(error, ClientError::Unavailable(_)), "{error:?}");
        let expected = format!("{address} cannot be reached: ");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    for key in &kept {
        assert!(cluster.client.get("b", key).await.unwrap().is_some());
    }

    let _back = Node::start_on(addr).await;
    let found = loop {
        // The last failure may still hold back attempts, for as long as it took.
        match cluster.client.get("b", lost[0]).await {
            Err(ClientError::Unavailable(_)) => tokio::task::yield_now().await,
            answer => break answer.unwrap(),
        }
    };
    assert_eq!(found, None, "the node came back empty");
}

#[tokio::test]
async fn a_node_that_never_answers_does_not_make_the_router_hang() {
    let cluster = Cluster::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    cluster
        .membership
        .join(&Address::parse(&address).unwrap())
        .await
        .unwrap();

    let impatient = cluster.client.with_deadline(IMPATIENCE);
    let calls = (0..20).map(|_| comes_to_be_unavailable(&impatient, "b"));
    let expected = format!("{address} gave no answer within ");
    for said in futures::future::join_all(calls).await {
        assert!(said.starts_with(&expected), "{said}");
    }
    cluster
        .membership
        .leave(&Address::parse(&address).unwrap())
        .await
        .unwrap();
    let node = Node::start().await;
    cluster.membership.join(&node.address).await.unwrap();
    cluster.client.put("b", "k", "v").await.unwrap();
}

#[tokio::test]
async fn a_call_that_its_node_never_answers_is_unavailable_and_does_not_hold_up_others() {
    let (cluster, nodes) = Cluster::start_with_nodes(1).await;
    let impatient = cluster.client.with_deadline(IMPATIENCE);
    let (said, put) = tokio::join!(
        comes_to_be_unavailable(&impatient, "silent"),
        cluster.client.put("b", "k", "v")
    );
    let expected = format!("{} gave no answer within ", nodes[0].address);
    assert!(said.starts_with(&expected), "{said}");
    put.unwrap();
}

#[tokio::test]
async fn what_a_node_refuses_is_refused_in_its_own_words() {
    let (cluster, _nodes) = Cluster::start_with_nodes(1).await;
    match cluster.client.get("refusing", "k").await.unwrap_err() {
        ClientError::ResourceExhausted {
            status,
            retry_after,
        } => {
            assert_eq!(status.message(), "the node's own words");
            assert_eq!(retry_after, Some(Duration::from_millis(123)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_over_a_limit_is_refused_before_a_node_is_asked() {
    // There is no node: to ask one would be UNAVAILABLE.
    let cluster = Cluster::start().await;
    let refused = async |bucket: &str, key: Vec<u8>, value: Vec<u8>| {
        let error = cluster.client.put(bucket, key, value).await.unwrap_err();
        assert!(matches!(error, ClientError::InvalidInput(_)), "{error:?}");
        error.to_string()
    };
    let key = || b"k".to_vec();
    assert!(
        refused("b", vec![], vec![])
            .await
            .contains("expected 1 to 1024")
    );
    assert!(
        refused("b", vec![b'k'; 1_025], vec![])
            .await
            .contains("expected 1 to 1024")
    );
    assert!(
        refused("", key(), vec![])
            .await
            .contains("expected 1 to 63")
    );
    assert!(
        refused("a/b", key(), vec![])
            .await
            .contains("expected only A-Z")
    );
    assert!(
        refused("..", key(), vec![])
            .await
            .contains("expected a name")
    );
    let one_byte_more = vec![0; Options::VALUE_BYTES_MAX + 1];
    assert!(
        refused("b", key(), one_byte_more)
            .await
            .contains("at most 16777216")
    );
    let far_more = vec![0; 2 * Options::VALUE_BYTES_MAX];
    assert!(
        refused("b", key(), far_more)
            .await
            .contains("(MAX_VALUE_BYTES)")
    );
    for answer in [
        cluster.client.get("b", "").await.map(drop),
        cluster.client.delete("b", "").await,
    ] {
        assert!(
            matches!(answer, Err(ClientError::InvalidInput(_))),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn the_longest_value_passes() {
    let (cluster, _nodes) = Cluster::start_with_nodes(1).await;
    let longest = Bytes::from(vec![7; Options::VALUE_BYTES_MAX]);
    let key = vec![b'k'; 1_024];
    cluster
        .client
        .put("b", &key, longest.clone())
        .await
        .unwrap();
    assert!(cluster.client.get("b", &key).await.unwrap() == Some(longest));
}

#[tokio::test]
async fn calls_over_the_rate_limit_are_told_when_to_come_again() {
    let cluster = Cluster::start_with(NonZeroU32::new(1)).await;
    let node = Node::start().await;
    let calls = (0..20).map(|_| cluster.client.put("b", "k", "v"));
    // However many calls: who joins gets through.
    let (answers, joined) = tokio::join!(
        futures::future::join_all(calls),
        cluster.membership.join(&node.address)
    );
    joined.unwrap();
    let waits: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Err(ClientError::ResourceExhausted { retry_after, .. }) => Some(retry_after.unwrap()),
            _ => None,
        })
        .collect();
    assert!(
        !waits.is_empty(),
        "twenty calls at once are over one per second"
    );
    let sound = Duration::ZERO..=Duration::from_secs(1);
    assert!(waits.iter().all(|wait| sound.contains(wait)), "{waits:?}");
}

#[tokio::test]
async fn to_join_twice_is_to_join_once_however_the_address_is_written() {
    let (cluster, nodes) = Cluster::start_with_nodes(1).await;
    let mut raw = RawClient::connect(format!("http://{}", cluster.router.addr()))
        .await
        .unwrap();
    let address = format!("{}/", nodes[0].address).replace("http", "HTTP");
    let joined = raw
        .join(JoinRequest {
            address: address.clone(),
        })
        .await
        .unwrap();
    assert!(joined.into_inner().successful);
    cluster.client.put("b", "k", "v").await.unwrap();

    let left = raw
        .leave(LeaveRequest {
            address: address.clone(),
        })
        .await
        .unwrap();
    assert!(left.into_inner().successful);
    let error = cluster.client.put("b", "k", "v").await.unwrap_err();
    assert!(error.to_string().starts_with("no cache node"), "{error}");
    let again = raw.leave(LeaveRequest { address }).await.unwrap();
    assert!(again.into_inner().successful);
}

#[tokio::test]
async fn what_is_no_address_can_neither_join_nor_leave() {
    let cluster = Cluster::start().await;
    let mut raw = RawClient::connect(format!("http://{}", cluster.router.addr()))
        .await
        .unwrap();
    for wrong in [
        "",
        "node",
        "node:50051",
        "ftp://node:1",
        "http://node",
        "http://node:0",
        "http://node:1/x",
    ] {
        let address = wrong.to_owned();
        let join = raw
            .join(JoinRequest {
                address: address.clone(),
            })
            .await;
        let leave = raw.leave(LeaveRequest { address }).await;
        for refused in [join.map(drop), leave.map(drop)] {
            let refused = refused.expect_err(wrong);
            assert_eq!(refused.code(), Code::InvalidArgument, "{wrong}");
            assert!(
                refused.message().contains("expected http://host:port"),
                "{refused}"
            );
        }
    }
}

#[tokio::test]
async fn what_a_node_says_of_a_value_is_passed_on() {
    let (cluster, _nodes) = Cluster::start_with_nodes(1).await;
    for (bucket, is_stale) in [("stale", true), ("b", false)] {
        cluster.client.put(bucket, "k", "v").await.unwrap();
        let found = cluster.client.find(bucket, "k").await.unwrap().unwrap();
        assert_eq!((&found.value[..], found.is_stale), (&b"v"[..], is_stale));
    }
}
