//! A node and its routers: it joins when they come, leaves when it stops, and waits for none.

use milena_testing::eventually;
use milena_testing::node::NodeSetup;
use milena_testing::router::TestRouter;
use milena_testing::s3::TestS3;

use crate::support::{BUCKET, value};

const JOINED: &str = "milena_routers_joined";

#[tokio::test]
async fn a_node_serves_without_its_router_joins_when_it_comes_and_leaves_when_it_stops() {
    let s3 = TestS3::start().await;
    let mut router = TestRouter::absent();
    let mut setup = NodeSetup::new(&s3);
    setup.config.routers = vec![router.address()];
    let node = setup.start().await;
    node.client.put(BUCKET, "k", "v").await.unwrap();
    assert_eq!(node.metric(JOINED).await, 0);

    router.start().await;
    eventually("the join", async || router.nodes().await == 1).await;
    eventually("its count", async || node.metric(JOINED).await == 1).await;
    assert_eq!(router.client().get(BUCKET, "k").await.unwrap(), value("v"));
    node.stop().await;
    assert_eq!(router.nodes().await, 0);
}

#[tokio::test]
async fn a_node_joins_anew_a_router_that_was_restarted() {
    let s3 = TestS3::start().await;
    let mut router = TestRouter::absent();
    router.start().await;
    let mut setup = NodeSetup::new(&s3);
    setup.config.routers = vec![router.address()];
    let node = setup.start().await;
    eventually("the join", async || router.nodes().await == 1).await;
    router.stop().await;
    node.client.put(BUCKET, "k", "v").await.unwrap();
    router.start().await;
    eventually("the join anew", async || router.nodes().await == 1).await;
    assert_eq!(router.client().get(BUCKET, "k").await.unwrap(), value("v"));
    node.stop().await;
}

#[tokio::test]
async fn a_node_joins_every_router_and_a_stop_does_not_wait_for_one_that_is_away() {
    let s3 = TestS3::start().await;
    let (mut present, absent) = (TestRouter::absent(), TestRouter::absent());
    present.start().await;
    let mut setup = NodeSetup::new(&s3);
    setup.config.routers = vec![absent.address(), present.address()];
    let node = setup.start().await;
    eventually("the join", async || present.nodes().await == 1).await;
    node.stop().await;
    assert_eq!(present.nodes().await, 0);
}

#[tokio::test]
async fn through_a_router_each_key_has_one_node_and_all_share_s3() {
    let s3 = TestS3::start().await;
    let mut router = TestRouter::absent();
    router.start().await;
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let mut setup = NodeSetup::new(&s3);
        setup.config.routers = vec![router.address()];
        let node = setup.start().await;
        nodes.push((setup, node));
    }
    eventually("both joins", async || router.nodes().await == 2).await;
    let client = router.client();
    let keys: Vec<_> = (0..40).map(|number| format!("key-{number}")).collect();
    for key in &keys {
        client.put(BUCKET, key, key.clone()).await.unwrap();
    }
    let mut held = Vec::new();
    for (_, node) in &nodes {
        held.push(node.metric("milena_tier_entries{tier=\"memory\"}").await);
    }
    assert_eq!(held.iter().sum::<u64>(), 40, "one copy each");
    assert!(held.iter().all(|entries| *entries > 0), "{held:?}");

    let (_setup, gone) = nodes.pop().unwrap();
    gone.stop().await;
    for key in &keys {
        let found = client.get(BUCKET, key).await.unwrap();
        assert_eq!(
            found.as_deref(),
            Some(key.as_bytes()),
            "the other has it from S3"
        );
    }
}
