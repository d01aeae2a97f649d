//! The parts of `milena dev`, all in this process: S3 endpoint ← nodes → router.
//!
//! The nodes use the endpoint as they use S3 in production: the same client, over HTTP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use futures::future::{join_all, select_all};
use milena_cache::operation::{Lives, WriteMode};
use milena_cache::store::disk::{DiskConfig, DiskSync, boot_id};
use milena_cache::store::memory::MemoryConfig;
use milena_cache::store::s3::{S3Config, S3Credentials};
use milena_cache::{Node, NodeError};
use milena_client::{Address, Options};
use milena_router::{Router, StartError};
use milena_s3::{Credentials, S3Server, Storage};
use milena_server::clock::Clock;
use milena_server::grpc::GrpcStack;
use milena_server::program::Server as _;

use super::folder::Folder;
use crate::failure::{Failure, with_causes};

/// The S3 bucket that holds every entry.
const S3_BUCKET: &str = "milena";

/// The endpoint takes any region; this is the one that tools assume.
const S3_REGION: &str = "us-east-1";

/// How long one operation on S3 may take.
const S3_TIMEOUT: Duration = Duration::from_secs(10);

/// Entries that the memory of each node may hold.
const MEMORY_ENTRIES_MAX: usize = 100_000;

/// Bytes that the memory of each node may hold: 256 MiB.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Bytes that the disk tier of each node may take: 4 GiB.
const DISK_BYTES_MAX: u64 = 4 << 30;

/// How long a local copy is served before S3 is asked again: a day, so that what was put yesterday is still
/// served from disk. Nobody but these nodes writes to this S3.
const COPY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a miss is remembered, as nodes do by themselves.
const MISS_LIFE: Duration = Duration::from_secs(1);

/// Any port of 127.0.0.1.
const ANY_LOCAL_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Which nodes to start.
#[derive(Clone, Copy)]
pub(super) struct Nodes {
    /// How many.
    pub(super) count: usize,
    /// What serves their hot methods, and the router's.
    pub(super) grpc_stack: GrpcStack,
}

/// What runs.
pub(super) struct Cluster {
    s3: S3Server,
    router: Router,
    nodes: Vec<Node>,
}

/// Where a server is found.
pub(super) struct Place {
    /// Where it serves.
    pub(super) addr: SocketAddr,
    /// Where its metrics are.
    pub(super) metrics_addr: SocketAddr,
}

/// Where everything is found.
pub(super) struct Places {
    /// The S3 endpoint's URL.
    pub(super) s3_endpoint: String,
    /// The bucket there.
    pub(super) s3_bucket: &'static str,
    /// The router.
    pub(super) router: Place,
    /// The nodes, in order.
    pub(super) nodes: Vec<Place>,
}

impl Cluster {
    /// Starts everything. Done when every node has joined the router and can find what its disk holds.
    pub(super) async fn start(
        folder: &Folder,
        listen: SocketAddr,
        nodes: Nodes,
        clock: &Clock,
    ) -> Result<Self, Failure> {
        let s3_options = milena_s3::Options {
            buckets: vec![S3_BUCKET.to_owned()],
            ..milena_s3::Options::new(Storage::Folder(folder.s3()), clock.clone())
        };
        let s3 = S3Server::start(s3_options)
            .await
            .map_err(|error| Failure::io(format!("the S3 endpoint: {}", with_causes(&error))))?;
        let router = Router::start(router_config(listen, nodes.grpc_stack))
            .await
            .map_err(|error| router_failure(&error))?;
        let ports = folder.node_ports(nodes.count, clock)?;
        let mut cluster = Self {
            s3,
            router,
            nodes: Vec::with_capacity(nodes.count),
        };
        for (number, port) in (1..).zip(ports) {
            let config = cluster.node_config(port, folder.node(number), nodes.grpc_stack);
            let node = Node::start(config, clock.clone())
                .await
                .map_err(|error| node_failure(number, &error))?;
            cluster.nodes.push(node);
        }
        join_all(cluster.nodes.iter().map(Node::disk_recovered)).await;
        cluster.router.nodes_joined(nodes.count).await;
        Ok(cluster)
    }

    fn node_config(
        &self,
        port: u16,
        disk_path: PathBuf,
        grpc_stack: GrpcStack,
    ) -> milena_cache::config::Config {
        let keys = Credentials::development();
        let router = Address::parse(&format!("http://{}", reachable(self.router.addr())))
            .expect("an IP address and a port in use are an address");
        milena_cache::config::Config {
            listen_addr: (Ipv4Addr::LOCALHOST, port).into(),
            advertise_addr: None,
            routers: vec![router],
            metrics_addr: ANY_LOCAL_PORT,
            memory: MemoryConfig::new(MEMORY_ENTRIES_MAX, MEMORY_BYTES_MAX),
            disk: Some(DiskConfig::new(
                disk_path,
                DISK_BYTES_MAX,
                DiskSync::Os,
                boot_id(),
            )),
            grpc_stack,
            worker_threads: None,
            write_mode: WriteMode::WriteThrough,
            // A put may ask for it (`ack`).
            drain_timeout: S3_TIMEOUT,
            s3: S3Config {
                region: S3_REGION.to_owned(),
                bucket: S3_BUCKET.to_owned(),
                endpoint: Some(self.s3.endpoint()),
                prefix: String::new(),
                timeout: S3_TIMEOUT,
                value_bytes_max: Options::VALUE_BYTES_MAX,
                hedges_gets: false,
                credentials: S3Credentials::Static {
                    access_key_id: keys.access_key_id,
                    secret_access_key: keys.secret_access_key,
                },
            },
            lives: Lives::of_copies(COPY_LIFE),
            stale_life: Duration::ZERO,
            miss_life: MISS_LIFE,
            sweep_interval: None,
            value_bytes_max: Options::VALUE_BYTES_MAX,
            rate_limit: None,
        }
    }

    /// Where everything is found.
    pub(super) fn places(&self) -> Places {
        let place_of_node = |node: &Node| Place {
            addr: node.addr(),
            metrics_addr: node.metrics_addr(),
        };
        Places {
            s3_endpoint: self.s3.endpoint(),
            s3_bucket: S3_BUCKET,
            router: Place {
                addr: reachable(self.router.addr()),
                metrics_addr: self.router.metrics_addr(),
            },
            nodes: self.nodes.iter().map(place_of_node).collect(),
        }
    }

    /// Waits until a part cannot serve any more, which none should; gives the reason.
    pub(super) async fn failed(&mut self) -> String {
        let nodes = self.nodes.iter_mut().map(|node| Box::pin(node.failed()));
        tokio::select! {
            reason = self.router.failed() => format!("the router: {reason}"),
            (reason, index, _) = select_all(nodes) => format!("node-{}: {reason}", index + 1),
        }
    }

    /// Stops the nodes, then what they use.
    pub(super) async fn stop(self) {
        join_all(self.nodes.into_iter().map(Node::stop)).await;
        self.router.stop().await;
        self.s3.stop().await;
    }
}

fn router_config(listen_addr: SocketAddr, grpc_stack: GrpcStack) -> milena_router::config::Config {
    milena_router::config::Config {
        listen_addr,
        metrics_addr: ANY_LOCAL_PORT,
        rate_limit: None,
        value_bytes_max: Options::VALUE_BYTES_MAX,
        grpc_stack,
        worker_threads: None,
    }
}

/// An address by which a server on `addr` is reached from this machine.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, addr.port())
}

fn router_failure(error: &StartError) -> Failure {
    let advice = "choose another address with --listen (port 0 for any that is free)";
    Failure::unavailable(match error {
        StartError::Listen { addr, source } if source.kind() == io::ErrorKind::AddrInUse => {
            format!("{addr} is in use, perhaps by another `milena dev`; stop that, or {advice}")
        }
        StartError::Listen { addr, source } => {
            format!("{addr} cannot be listened on: {source}; {advice}")
        }
        StartError::ListenForMetrics { .. } => format!("the router: {error}"),
    })
}

fn node_failure(number: usize, error: &NodeError) -> Failure {
    let message = format!("node-{number}: {}", with_causes(error));
    match error {
        NodeError::Listen(..) | NodeError::ListenMetrics(..) => {
            Failure::unavailable(format!("{message}; try again"))
        }
        NodeError::Disk(_) => Failure::io(message),
    }
}
