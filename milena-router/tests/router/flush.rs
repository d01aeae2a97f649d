//! Flush: of all nodes, or of none.

use std::sync::Arc;
use std::time::Duration;

use milena_client::{Backlog, ClientError};
use tokio::sync::Barrier;
use tonic::Status;

use crate::support::{Cluster, Node};

const WAIT: Duration = Duration::from_millis(1_500);

/// What a router says that does not know what S3 does not have.
async fn refusal(cluster: &Cluster) -> String {
    match cluster.client.flush(WAIT).await {
        Err(ClientError::Unavailable(status)) => status.message().to_owned(),
        other => panic!("expected UNAVAILABLE, not {other:?}"),
    }
}

fn answer(node: &Node, backlog: Result<Backlog, Status>) {
    *node.entries().backlog.lock().unwrap() = backlog;
}

#[tokio::test]
async fn what_s3_does_not_have_is_that_of_all_nodes_asked_at_once() {
    let (cluster, nodes) = Cluster::start_with_nodes(3).await;
    let everybody = Arc::new(Barrier::new(nodes.len()));
    for (node, entries) in nodes.iter().zip([1, 0, 20]) {
        *node.entries().flushes.lock().unwrap() = Arc::clone(&everybody);
        let bytes = entries * 100;
        answer(node, Ok(Backlog { entries, bytes }));
    }
    let left = cluster.client.flush(WAIT).await.unwrap();
    assert_eq!((left.entries, left.bytes), (21, 2_100));
    for node in &nodes {
        assert_eq!(*node.entries().flush_waits.lock().unwrap(), [1_500]);
    }
}

#[tokio::test]
async fn a_node_that_does_not_say_is_named() {
    let (cluster, mut nodes) = Cluster::start_with_nodes(2).await;
    answer(&nodes[0], Err(Status::unimplemented("what is a flush?")));
    let expected = format!("{}: ", nodes[0].address);
    let said = refusal(&cluster).await;
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.ends_with("what is a flush?"), "{said}");

    let gone = nodes.remove(0);
    let expected = format!("{} cannot be reached: ", gone.address);
    gone.kill().await;
    let said = refusal(&cluster).await;
    assert!(said.starts_with(&expected), "{said}");
}

#[tokio::test]
async fn without_a_node_nothing_is_known() {
    let said = refusal(&Cluster::start().await).await;
    assert!(said.starts_with("no cache node has joined"), "{said}");
}
