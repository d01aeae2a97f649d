//! The Milena cache node.
//!
//! ```text
//!   gRPC ─▶ service ─▶ operation ─▶ memory ▸ disk ▸ s3
//!           decode     tier order    a hit is promoted leftward,
//!           encode     single-flight a write goes to all
//! ```
//!
//! This file wires the parts, starts them in order and stops them in order. gRPC is served on threads of its
//! own, one current-thread runtime each; what waits for S3, reads the disk or takes long, and all else, runs on the
//! runtime that [`Node::start`] is called on, so that it never delays a hit.

pub mod config;
pub mod error;
pub mod metrics;
pub mod operation;
pub mod service;
pub mod store;

mod membership;
mod s3_metrics;
mod sweeper;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use milena_server::admin::{AdminServer, Phase};
use milena_server::clock::Clock;
use milena_server::grpc::GrpcServer;
use milena_server::health::Health;
use milena_server::program::{self, ServeError, Server};
use milena_server::rate_limit::RateLimit;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::config::Config;
use self::membership::{Advertised, Membership};
use self::metrics::{DiskMetrics, Metrics};
use self::operation::{Limits, Operation, Tier, WriteBack};
use self::s3_metrics::S3Metrics;
use self::service::cache::CacheService;
use self::store::Store;
use self::store::disk::{self, DiskConfig, DiskStore};
use self::store::memory::MemoryStore;
use self::store::s3::S3Store;
use self::store::write_back::{DirtyStats, WriteBackStore};
use self::sweeper::{SweepMetrics, Sweeper};
use self::watch::Watch;

/// How long calls in flight have to finish when the node stops.
const FINISH_TIMEOUT: Duration = Duration::from_secs(20);

/// Between two sweeps of the memory tier for entries whose time has passed.
const MEMORY_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Entries that one hold of a lock of the memory tier may look at: tens of microseconds.
const SWEEP_STEP_ENTRIES: usize = 512;

/// A sweep looks at one in so many entries, so that all are looked at within a minute or so.
const SWEEP_SHARE: usize = 64;

/// A running cache node.
pub struct Node {
    grpc: GrpcServer,
    admin: AdminServer,
    operation: Operation,
    disk: Option<Arc<DiskStore>>,
    s3: Arc<S3Store>,
    watch: Arc<Watch>,
    health: Health,
    /// Joins and leaves the routers; stopped first.
    memberships: Background,
    /// Watches and sweeps.
    upkeep: Background,
    /// Uploads what S3 does not have yet; stopped after the calls in flight.
    uploads: Background,
    drain_timeout: Duration,
}

/// Tasks that run until they are told to stop.
#[derive(Default)]
struct Background {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Background {
    fn spawn<F: Future<Output = ()> + Send + 'static>(
        &self,
        task: impl FnOnce(CancellationToken) -> F,
    ) {
        self.tasks.spawn(task(self.stop.clone()));
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// `LISTEN_ADDR` cannot be listened on.
    #[error("gRPC cannot listen on {0} (LISTEN_ADDR): {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// `METRICS_PORT` cannot be listened on.
    #[error("metrics cannot listen on {0} (METRICS_PORT): {1}")]
    ListenMetrics(SocketAddr, #[source] std::io::Error),
    /// The disk tier cannot be used, and serving without it would hide a mistake.
    #[error("the disk tier cannot be opened (DISK_PATH): {0}")]
    Disk(#[source] store::disk::OpenError),
}

impl Node {
    /// Starts a node, serves until SIGTERM or Ctrl+C, and stops it.
    ///
    /// # Errors
    /// When it cannot start, or ends by itself.
    pub async fn run(config: Config) -> Result<(), ServeError<NodeError>> {
        program::serve(Self::start(config, Clock::system())).await
    }

    /// Starts the parts in order: S3 client, tiers, metrics, gRPC, routers. Waits neither for S3 nor for a
    /// router nor for what the disk holds.
    ///
    /// # Errors
    /// When an address cannot be listened on or the disk tier cannot be used.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, NodeError> {
        let metrics = Arc::new(Metrics::new());
        tracing::info!("logging and metrics set up");
        let s3_metrics = Arc::new(S3Metrics::new(&metrics));
        let s3 = S3Store::new_observed(config.s3.clone(), clock.clone(), s3_metrics).await;
        let s3 = Arc::new(s3);
        tracing::info!(
            bucket = config.s3.bucket,
            endpoint = config.s3.endpoint,
            "S3 client ready"
        );
        let Tiers {
            memory,
            disk,
            watch,
            operation,
        } = Tiers::open(&config, Arc::clone(&s3), &metrics, &clock).await?;
        tracing::info!(disk = disk.is_some(), "tiers open");

        let admin = AdminServer::start(config.metrics_addr, Arc::clone(&watch) as _)
            .await
            .map_err(|error| NodeError::ListenMetrics(config.metrics_addr, error))?;
        tracing::info!(addr = %admin.addr(), "metrics listening");

        let rate_limit = RateLimit::new(config.rate_limit, &clock);
        let service = CacheService::new(
            operation.clone(),
            rate_limit,
            config.value_bytes_max,
            Arc::clone(&metrics),
            clock.clone(),
        );
        let threads = config.worker_threads;
        let (grpc, health) =
            service::start(config.listen_addr, threads, config.grpc_stack, service)
                .await
                .map_err(|error| NodeError::Listen(config.listen_addr, error))?;
        watch.enter(Phase::Serving);
        tracing::info!(addr = %grpc.addr(), stack = config.grpc_stack.name(), "gRPC listening");

        let memberships = memberships(&config, grpc.addr(), &metrics, &clock);
        let upkeep = Background::default();
        upkeep.spawn(|stop| Arc::clone(&watch).run(health.clone(), stop));
        upkeep.spawn(|stop| sweep(memory, stop));
        let sweeper = Sweeper {
            s3: Arc::clone(&s3),
            operation: operation.clone(),
            interval: config.sweep_interval,
            metrics: SweepMetrics::new(&metrics),
            clock,
        };
        sweeper.spawn(&upkeep);
        let uploads = Background::default();
        let uploading = operation.clone();
        uploads.spawn(|stop| async move { uploading.upload(stop).await });
        Ok(Self {
            grpc,
            admin,
            uploads,
            drain_timeout: config.drain_timeout,
            operation,
            disk,
            s3,
            watch,
            health,
            memberships,
            upkeep,
        })
    }

    /// Where gRPC is served.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.grpc.addr()
    }

    /// Where metrics and health are shown.
    #[must_use]
    pub fn metrics_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// Waits until everything that the disk tier held before the start can be found.
    pub async fn disk_recovered(&self) {
        if let Some(disk) = &self.disk {
            disk.recovered().await;
        }
    }
}

impl Server for Node {
    async fn failed(&mut self) -> String {
        self.grpc.failed().await
    }

    /// Stops the parts in order: not ready, left the routers, calls in flight finished, what is dirty uploaded,
    /// disk closed.
    async fn stop(self) {
        self.watch.enter(Phase::Stopping);
        self.health.set_serving(false).await;
        tracing::info!("not ready any more");
        self.memberships.stop().await;
        self.upkeep.stop().await;
        self.health.end().await;
        if !self.grpc.stop(FINISH_TIMEOUT).await {
            tracing::warn!(timeout = ?FINISH_TIMEOUT, "calls were still in flight and were cut off");
        }
        if tokio::time::timeout(FINISH_TIMEOUT, self.operation.finish())
            .await
            .is_err()
        {
            tracing::warn!(timeout = ?FINISH_TIMEOUT, "S3 was still being waited for");
        }
        tracing::info!("gRPC stopped");
        drain(&self.operation, self.drain_timeout).await;
        self.uploads.stop().await;
        self.s3.finish().await;
        if let Some(disk) = self.disk {
            match disk.close().await {
                Ok(()) => tracing::info!("disk tier closed"),
                Err(error) => tracing::error!(%error, "the disk tier could not be closed cleanly"),
            }
        }
        self.admin.stop().await;
        tracing::info!("stopped");
    }
}

/// The stores in their order, and what works on them.
struct Tiers {
    memory: Arc<MemoryStore>,
    disk: Option<Arc<DiskStore>>,
    watch: Arc<Watch>,
    operation: Operation,
}

impl Tiers {
    async fn open(
        config: &Config,
        s3: Arc<S3Store>,
        metrics: &Arc<Metrics>,
        clock: &Clock,
    ) -> Result<Self, NodeError> {
        let memory = Arc::new(MemoryStore::new(config.memory, clock.clone()));
        let disk = match &config.disk {
            None => None,
            Some(disk) => {
                let observer = Arc::new(metrics.disk.clone());
                let stale_seconds = config.stale_life.as_secs();
                let disk = DiskConfig {
                    stale_seconds: u32::try_from(stale_seconds).unwrap_or(u32::MAX),
                    ..disk.clone()
                };
                let opened = DiskStore::open_observed(disk, clock.clone(), observer).await;
                Some(opened.map_err(NodeError::Disk)?)
            }
        };
        let mut copies: Vec<(&'static str, Arc<dyn Store>)> = vec![("memory", memory.clone())];
        if let Some(disk) = &disk {
            copies.push(("disk", disk.clone()));
        }
        let durable: (&'static str, Arc<dyn Store>) = ("s3", s3);
        let watched = copies.iter().chain([&durable]).cloned();
        let dirty = disk.clone().map(|disk| disk as Arc<dyn WriteBackStore>);
        let watch = Watch::new(watched, dirty.clone(), metrics, clock.clone());
        let watch = Arc::new(watch);
        let tier = |(name, store)| Tier::new(name, store, metrics);
        let operation = Operation::new(
            copies.into_iter().map(tier).collect(),
            dirty.map(|store| WriteBack {
                store,
                mode: config.write_mode,
            }),
            tier(durable),
            Limits {
                lives: config.lives,
                stale_life: config.stale_life,
                miss_life: config.miss_life,
                durable_timeout: config.s3.timeout,
            },
            clock.clone(),
            Arc::clone(metrics),
            Handle::current(),
        );
        Ok(Self {
            memory,
            disk,
            watch,
            operation,
        })
    }
}

/// Joins every router, and leaves them when it is stopped.
fn memberships(config: &Config, own: SocketAddr, metrics: &Metrics, clock: &Clock) -> Background {
    let memberships = Background::default();
    let advertised = Advertised::new(config.advertise_addr.clone(), own);
    for router in &config.routers {
        let joined = metrics.joined_routers.clone();
        let membership = Membership::new(router, advertised.clone(), joined, clock.clone());
        memberships.spawn(|stop| membership.run(stop));
    }
    memberships
}

impl disk::Observer for DiskMetrics {
    fn paused(&self, took: Duration) {
        self.observe_pause(took);
    }

    fn unread(&self, segments: u64) {
        self.show_unread(segments);
    }
}

/// Waits until S3 has everything, for so long at most; says what it does not have then.
async fn drain(operation: &Operation, timeout: Duration) {
    if operation.dirty_stats().entries == 0 {
        return;
    }
    tracing::info!(?timeout, "uploading what S3 does not have yet");
    if tokio::time::timeout(timeout, operation.all_clean())
        .await
        .is_ok()
    {
        tracing::info!("S3 has everything");
        return;
    }
    let DirtyStats { entries, bytes, .. } = operation.dirty_stats();
    tracing::warn!(
        entries,
        bytes,
        "S3 does not have everything; the rest stays on the disk, and the next start goes on with it"
    );
}

/// Frees what has expired in memory without being read, a share of it at a time.
async fn sweep(memory: Arc<MemoryStore>, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(MEMORY_SWEEP_INTERVAL))
        .await
        .is_some()
    {
        let entries = usize::try_from(memory.stats().entries).unwrap_or(usize::MAX);
        for _ in 0..=(entries / SWEEP_SHARE / SWEEP_STEP_ENTRIES) {
            memory.sweep(SWEEP_STEP_ENTRIES);
            tokio::task::yield_now().await;
        }
    }
}
