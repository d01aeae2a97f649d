//! A cache node in this process.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use milena_cache::Node;
use milena_cache::config::Config;
use milena_cache::operation::{Lives, WriteMode};
use milena_cache::store::disk::{DiskConfig, DiskSync, boot_id};
use milena_cache::store::memory::MemoryConfig;
use milena_client::{Client, Options};
use milena_server::clock::Clock;
use milena_server::grpc::GrpcStack;
use milena_server::program::Server as _;
use tempfile::TempDir;

use crate::PATIENCE;
use crate::page::{Page, metric, page};
use crate::s3::TestS3;

/// The limit of a test node's memory tier, in bytes.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// The limit of a test node's disk tier, in bytes: segments of 8 MiB.
const DISK_BYTES_MAX: u64 = 64 << 20;

/// What a node is started with, as often as the test likes; keeps its disk tier's folder.
pub struct NodeSetup {
    /// May be changed before a start.
    pub config: Config,
    _folder: TempDir,
}

impl NodeSetup {
    /// A small node on its own, over `s3`, with an empty disk tier.
    ///
    /// # Panics
    /// When there is no folder for it.
    #[must_use]
    pub fn new(s3: &TestS3) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk_path = folder.path().join("disk");
        let any_port: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let config = Config {
            listen_addr: any_port,
            advertise_addr: None,
            routers: Vec::new(),
            metrics_addr: any_port,
            memory: MemoryConfig::new(1_000, MEMORY_BYTES_MAX),
            disk: Some(DiskConfig::new(
                disk_path,
                DISK_BYTES_MAX,
                DiskSync::Os,
                boot_id(),
            )),
            grpc_stack: usual_stack(),
            worker_threads: None,
            write_mode: WriteMode::WriteThrough,
            drain_timeout: PATIENCE,
            s3: s3.config(),
            lives: Lives::of_copies(Duration::from_secs(3_600)),
            stale_life: Duration::ZERO,
            // What a test puts into S3 behind the node is seen at once.
            miss_life: Duration::ZERO,
            sweep_interval: None,
            value_bytes_max: Options::VALUE_BYTES_MAX,
            rate_limit: None,
        };
        Self {
            config,
            _folder: folder,
        }
    }

    /// Starts a node; one at a time may use the disk tier's folder.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(&self) -> TestNode {
        self.start_at(Clock::system()).await
    }

    /// Starts a node that reads this clock.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_at(&self, clock: Clock) -> TestNode {
        let node = Node::start(self.config.clone(), clock).await;
        TestNode::new(node.expect("the node starts"))
    }
}

/// What serves the nodes of the tests: what does so by itself, or what `MILENA_TEST_GRPC_STACK` says.
///
/// # Panics
/// When the variable is something else than `tonic` or `h2`.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "a setting of tests, not of a program"
)]
pub fn usual_stack() -> GrpcStack {
    std::env::var("MILENA_TEST_GRPC_STACK").map_or(GrpcStack::DEFAULT, |text| {
        let stack = GrpcStack::parse(&text);
        stack.unwrap_or_else(|| panic!("MILENA_TEST_GRPC_STACK is tonic or h2, not {text:?}"))
    })
}

/// A running node and a client of it.
pub struct TestNode {
    /// Waits longer than any answer takes, and sends more than the node's limit.
    pub client: Client,
    node: Node,
}

impl TestNode {
    fn new(node: Node) -> Self {
        Self {
            client: client_of(&address_of(node.addr())),
            node,
        }
    }

    /// Where it is, as clients write it.
    #[must_use]
    pub fn address(&self) -> String {
        address_of(self.node.addr())
    }

    /// Where its pages are.
    #[must_use]
    pub fn metrics_addr(&self) -> SocketAddr {
        self.node.metrics_addr()
    }

    /// Waits until everything that its disk tier held before the start can be found.
    pub async fn disk_recovered(&self) {
        self.node.disk_recovered().await;
    }

    /// Its page at `path`.
    pub async fn page(&self, path: &str) -> Page {
        page(self.node.metrics_addr(), path).await
    }

    /// The value of one of its metrics.
    pub async fn metric(&self, series: &str) -> u64 {
        metric(self.node.metrics_addr(), series).await
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.node.stop().await;
    }
}

/// A client of the node at `address` that waits longer than any answer takes, and sends more than a node's
/// limit.
///
/// # Panics
/// When `address` is none.
#[must_use]
pub fn client_of(address: &str) -> Client {
    let options = Options {
        deadline: PATIENCE,
        value_bytes_max: 4 * Options::VALUE_BYTES_MAX,
        ..Options::default()
    };
    Client::connect_to_node(address, &options).expect("an address")
}

/// The address of what listens there.
#[must_use]
pub fn address_of(addr: SocketAddr) -> String {
    format!("http://{addr}")
}
