//! An entry's own life: it ends in every tier at one moment, whatever happened to the node meanwhile, and what
//! has ended leaves S3.

use std::time::Duration;

use milena_cache::operation::{Lives, Scope};
use milena_client::{ClientError, PutOptions};
use milena_s3::{Action, Operation};
use milena_server::clock::{Clock, UnixMillis};
use milena_testing::eventually;
use milena_testing::node::{NodeSetup, TestNode};
use milena_testing::s3::TestS3;

use crate::support::{BUCKET, Objects, begin, object_of, value};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const LIFE: Duration = Duration::from_secs(300);
const MS: Duration = Duration::from_millis(1);

/// A node whose time is the test's.
struct Timed {
    s3: TestS3,
    setup: NodeSetup,
    node: TestNode,
    clock: Clock,
}

impl Timed {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut NodeSetup)) -> Self {
        let (s3, clock) = (TestS3::start().await, Clock::manual(NOW));
        let mut setup = NodeSetup::new(&s3);
        change(&mut setup);
        let node = setup.start_at(clock.clone()).await;
        Self {
            s3,
            setup,
            node,
            clock,
        }
    }

    async fn restart(self) -> Self {
        self.node.stop().await;
        let node = self.setup.start_at(self.clock.clone()).await;
        Self { node, ..self }
    }

    async fn put(&self, key: &str, life: Duration) {
        let options = living(Some(life));
        let client = &self.node.client;
        client.put_with(BUCKET, key, "v", options).await.unwrap();
    }

    async fn get(&self, key: &str) -> Option<bytes::Bytes> {
        self.node.client.get(BUCKET, key).await.unwrap()
    }

    fn objects(&self) -> Objects {
        Objects::of(&self.s3.config())
    }

    /// Waits until S3 does not have the object of `key` any more.
    async fn gone_from_s3(&self, key: &str) {
        let objects = self.objects();
        let is_gone = async || objects.get(&object_of(key)).await.is_none();
        eventually("the object is removed", is_gone).await;
    }
}

fn living(life: Option<Duration>) -> PutOptions {
    PutOptions {
        life,
        ..PutOptions::default()
    }
}

#[tokio::test]
async fn a_life_is_kept_through_restarts_and_ends_on_the_disk_too() {
    let bench = Timed::start().await;
    bench.put("k", LIFE).await;
    let metadata = bench
        .objects()
        .head(&object_of("k"))
        .await
        .metadata
        .unwrap();
    assert_eq!(metadata["milena-expires-ms"], NOW.after(LIFE).0.to_string());
    bench.clock.advance(LIFE - MS);
    let bench = bench.restart().await;
    bench.node.disk_recovered().await;
    assert_eq!(bench.get("k").await, value("v"), "from the disk");
    assert_eq!(
        bench
            .node
            .metric("milena_cache_hits_total{tier=\"disk\"}")
            .await,
        1
    );
    let bench = bench.restart().await;
    bench.node.disk_recovered().await;
    bench.clock.advance(MS);
    assert_eq!(bench.get("k").await, None);
    bench.gone_from_s3("k").await;
}

#[tokio::test]
async fn a_copy_that_comes_from_s3_has_the_rest_of_the_life() {
    let bench = Timed::start_with(|setup| setup.config.disk = None).await;
    bench.put("k", LIFE).await;
    bench.clock.advance(LIFE - MS);
    let bench = bench.restart().await;
    assert_eq!(bench.get("k").await, value("v"), "from S3, and promoted");
    let gets = bench.s3.server().requests().get;
    assert_eq!(bench.get("k").await, value("v"), "from memory");
    bench.clock.advance(MS);
    assert_eq!(bench.get("k").await, None);
    assert!(bench.s3.server().requests().get > gets);
    bench.gone_from_s3("k").await;
}

#[tokio::test]
async fn a_read_of_what_has_expired_does_not_wait_for_its_removal() {
    let bench = Timed::start().await;
    bench.put("k", LIFE).await;
    let object = object_of("k");
    let held = bench.s3.inject(Operation::Delete, &object, Action::Stall);
    bench.clock.advance(LIFE);
    assert_eq!(bench.get("k").await, None);
    held.wait_fired(1).await;
    assert_eq!(bench.get("k").await, None);
    held.remove();
    bench.gone_from_s3("k").await;
    let removed = async || {
        bench
            .node
            .metric("milena_expirations_total{tier=\"s3\"}")
            .await
            == 1
    };
    eventually("it is counted", removed).await;
}

#[tokio::test]
async fn what_is_put_again_during_the_removal_is_there_afterwards() {
    let bench = Timed::start().await;
    bench.put("k", LIFE).await;
    let object = object_of("k");
    let held = bench.s3.inject(Operation::Delete, &object, Action::Stall);
    bench.clock.advance(LIFE);
    assert_eq!(bench.get("k").await, None);
    held.wait_fired(1).await;
    // The same value has the same ETag: only the key's lock keeps it.
    let client = bench.node.client.clone();
    let put = begin(async move { client.put(BUCKET, "k", "v").await });
    for other in ["a", "b", "c"] {
        bench.put(other, LIFE).await;
    }
    held.release();
    put.await.unwrap().unwrap();
    held.remove();
    let restarted = bench.restart().await;
    assert_eq!(restarted.objects().get(&object).await, value("v"));
    assert_eq!(restarted.get("k").await, value("v"));
}

#[tokio::test]
async fn a_life_of_nothing_or_of_ages_is_an_invalid_argument_that_names_the_limit() {
    let bench = Timed::start().await;
    for seconds in [0, 3_153_600_001] {
        let life = Some(Duration::from_secs(seconds));
        let put = bench.node.client.put_with(BUCKET, "k", "v", living(life));
        let refused = put.await.unwrap_err();
        assert!(
            matches!(refused, ClientError::InvalidInput(_)),
            "{refused:?}"
        );
        let expected = format!("ttl_seconds is {seconds}; expected 1 to 3153600000 (100 years)");
        assert!(refused.to_string().contains(&expected), "{refused}");
    }
    bench.put("k", Duration::from_secs(3_153_600_000)).await;
    assert_eq!(bench.get("k").await, value("v"));
}

#[tokio::test]
async fn with_scope_all_what_is_put_without_a_life_leaves_s3_too() {
    let bench = Timed::start_with(|setup| {
        setup.config.lives = Lives {
            scope: Scope::All,
            ..Lives::of_copies(LIFE)
        };
    })
    .await;
    bench.node.client.put(BUCKET, "k", "v").await.unwrap();
    bench.clock.advance(LIFE - MS);
    assert_eq!(bench.get("k").await, value("v"));
    bench.clock.advance(MS);
    assert_eq!(bench.get("k").await, None);
    bench.gone_from_s3("k").await;
}

#[tokio::test]
async fn a_node_sweeps_what_nobody_reads_and_only_one_node_does() {
    let (s3, clock) = (TestS3::start().await, Clock::manual(NOW));
    let mut setups = [NodeSetup::new(&s3), NodeSetup::new(&s3)];
    let objects = Objects::of(&s3.config());
    let expires = |at: UnixMillis| [("milena-expires-ms", at.0.to_string())];
    let dead = UnixMillis(NOW.0 - 20 * 60 * 1_000);
    objects
        .put_with_metadata("b/dead", "v", expires(dead))
        .await;
    let just_dead = UnixMillis(NOW.0 - 1);
    objects
        .put_with_metadata("b/just-dead", "v", expires(just_dead))
        .await;
    objects.put("b/others", "v").await;
    let mut nodes = Vec::new();
    // Time stands still, so it never passes.
    let interval = Duration::from_millis(100);
    for setup in &mut setups {
        setup.config.sweep_interval = Some(interval);
        nodes.push(setup.start_at(clock.clone()).await);
    }
    let is_gone = async || objects.get("b/dead").await.is_none();
    eventually("the sweep removes it", is_gone).await;
    let sweeps = async |node: &TestNode, result| {
        let series = format!("milena_sweeps_total{{result=\"{result}\"}}");
        node.metric(&series).await
    };
    let have_come = async || {
        let [first, second] = [&nodes[0], &nodes[1]];
        let done = [sweeps(first, "done").await, sweeps(second, "done").await];
        let held = [sweeps(first, "held").await, sweeps(second, "held").await];
        (done == [1, 0] && held[1] > 0) || (done == [0, 1] && held[0] > 0)
    };
    eventually("one sweeps and the other one need not", have_come).await;
    assert_eq!(s3.server().requests().list, 1);
    assert!(objects.get("b/others").await.is_some());
    assert!(objects.get("b/just-dead").await.is_some());
    let lease = objects.get("!sweep").await.unwrap();
    let until = format!(" {}\n", NOW.after(interval).0);
    assert!(lease.ends_with(until.as_bytes()), "{lease:?}");
}
