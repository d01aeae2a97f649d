//! `STALE_IF_ERROR`: what a node answers while S3 fails and the time of its copies has passed.

use std::time::Duration;

use milena_client::Found;
use milena_server::clock::{Clock, UnixMillis};
use milena_testing::eventually;
use milena_testing::node::{NodeSetup, TestNode};
use milena_testing::router::TestRouter;
use milena_testing::s3::TestS3;

use crate::support::{BUCKET, Objects, object_of, unavailable};

const STALE_LIFE: Duration = Duration::from_secs(600);

fn clock() -> Clock {
    Clock::manual(UnixMillis(1_700_000_000_000))
}

fn setup(s3: &TestS3) -> NodeSetup {
    let mut setup = NodeSetup::new(s3);
    setup.config.stale_life = STALE_LIFE;
    setup
}

async fn find(node: &TestNode) -> Found {
    node.client.find(BUCKET, "k").await.unwrap().unwrap()
}

async fn modified_since(node: &TestNode) -> u64 {
    let series = "milena_s3_requests_total{op=\"get\",outcome=\"not_modified\"}";
    node.metric(series).await
}

#[tokio::test]
async fn a_stale_copy_is_served_and_said_to_be_one_until_s3_answers_again() {
    let (mut s3, clock) = (TestS3::start().await, clock());
    let mut router = TestRouter::absent();
    router.start().await;
    let mut setup = setup(&s3);
    setup.config.routers = vec![router.address()];
    let node = setup.start_at(clock.clone()).await;
    eventually("the join", async || router.nodes().await == 1).await;
    node.client.put(BUCKET, "k", "v").await.unwrap();
    assert!(!find(&node).await.is_stale);

    s3.cut().await;
    clock.advance(setup.config.lives.copy);
    let found = find(&node).await;
    assert!(found.value == "v" && found.is_stale);
    let through_router = router.client().find(BUCKET, "k").await.unwrap();
    assert_eq!(through_router, Some(found));
    assert_eq!(node.metric("milena_stale_answers_total").await, 2);

    s3.start_again().await;
    eventually("S3 is asked again", async || !find(&node).await.is_stale).await;
    assert_eq!(modified_since(&node).await, 1);
    assert!(!find(&node).await.is_stale);
    assert_eq!(modified_since(&node).await, 1, "it is fresh again");

    s3.cut().await;
    clock.advance(setup.config.lives.copy + STALE_LIFE);
    unavailable(node.client.get(BUCKET, "k").await);
}

#[tokio::test]
async fn a_stale_copy_outlives_a_restart_and_one_that_changed_is_replaced() {
    let (mut s3, clock) = (TestS3::start().await, clock());
    let setup = setup(&s3);
    let node = setup.start_at(clock.clone()).await;
    node.client.put(BUCKET, "k", "old").await.unwrap();
    node.stop().await;
    clock.advance(setup.config.lives.copy);

    s3.cut().await;
    let node = setup.start_at(clock.clone()).await;
    node.disk_recovered().await;
    assert!(find(&node).await.is_stale);

    s3.start_again().await;
    Objects::of(&s3.config()).put(&object_of("k"), "new").await;
    eventually("S3 is asked again", async || {
        find(&node).await.value == "new"
    })
    .await;
    assert!(!find(&node).await.is_stale);
    node.stop().await;
}

#[tokio::test]
async fn with_a_shorter_time_than_before_what_is_on_disk_is_asked_for() {
    let (mut s3, clock) = (TestS3::start().await, clock());
    let mut setup = setup(&s3);
    let node = setup.start_at(clock.clone()).await;
    node.client.put(BUCKET, "k", "v").await.unwrap();
    node.stop().await;
    // By what is on disk it could be fresh or not.
    clock.advance(STALE_LIFE + Duration::from_secs(1));
    setup.config.stale_life = Duration::ZERO;
    let node = setup.start_at(clock.clone()).await;
    node.disk_recovered().await;
    assert!(!find(&node).await.is_stale);
    assert_eq!(modified_since(&node).await, 1);
    s3.cut().await;
    assert!(!find(&node).await.is_stale, "it was revalidated");
}
