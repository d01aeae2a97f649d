//! The Milena router: sends each key to the node that owns it.
//!
//! ```text
//! gRPC ─▶ service ─▶ forward ─▶ the owner, by milena-client
//!         look at    owner of the key, from membership
//!         check      deadline
//! ```
//!
//! This file wires the parts, starts and stops them. A router keeps nothing: nodes join when they start,
//! and again when a router that was away is back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use milena_client::Options;
use milena_server::admin::{AdminServer, Phase, Readiness, Watched};
use milena_server::clock::Clock;
use milena_server::grpc::GrpcServer;
use milena_server::health::Health;
use milena_server::program::{self, ServeError, Server};
use milena_server::rate_limit::RateLimit;
use parking_lot::Mutex;
use tokio::runtime::Handle;

pub mod config;
pub mod error;
pub mod forward;
pub mod membership;
pub mod metrics;
pub mod service;

use config::Config;
use forward::Forward;
use membership::Membership;
use metrics::Metrics;
use service::RouterService;

/// How long calls in flight may take to finish once a stop was asked for.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// A running router.
#[derive(Debug)]
pub struct Router {
    grpc: GrpcServer,
    admin: AdminServer,
    health: Health,
    shown: Arc<Shown>,
}

/// Why a router does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `LISTEN_ADDR` cannot be listened on.
    #[error("LISTEN_ADDR {addr} cannot be listened on: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The port of `METRICS_PORT` cannot be listened on.
    #[error("METRICS_PORT, {addr}, cannot be listened on: {source}")]
    ListenForMetrics {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

impl Router {
    /// Starts a router, serves until the process is asked to stop, and stops it.
    ///
    /// # Errors
    /// When it cannot start or cannot go on.
    pub async fn run(config: Config) -> Result<(), ServeError<StartError>> {
        program::serve(Self::start(config)).await
    }

    /// Starts a router: its HTTP endpoint, then its gRPC listener.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let clock = Clock::system();
        let metrics = Arc::new(Metrics::new());
        let node_options = Options {
            value_bytes_max: config.value_bytes_max,
            ..Options::default()
        };
        let membership = Arc::new(Membership::new(node_options, Handle::current()));
        let shown = Arc::new(Shown {
            metrics: Arc::clone(&metrics),
            membership: Arc::clone(&membership),
            phase: Mutex::default(),
        });
        let service = RouterService {
            forward: Forward::new(Arc::clone(&membership), Arc::clone(&metrics), clock.clone()),
            membership,
            rate_limit: RateLimit::new(config.rate_limit, &clock),
            value_bytes_max: config.value_bytes_max,
            metrics,
            clock,
        };
        let watched = Arc::clone(&shown) as Arc<dyn Watched>;
        let admin = AdminServer::start(config.metrics_addr, watched)
            .await
            .map_err(|source| StartError::ListenForMetrics {
                addr: config.metrics_addr,
                source,
            })?;
        tracing::info!(addr = %admin.addr(), "serving /metrics, /livez and /readyz");

        let (addr, threads) = (config.listen_addr, config.worker_threads);
        let (grpc, health) = service::start(addr, threads, config.grpc_stack, service)
            .await
            .map_err(|source| StartError::Listen { addr, source })?;
        shown.enter(Phase::Serving);
        health.set_serving(true).await;
        tracing::info!(addr = %grpc.addr(), stack = config.grpc_stack.name(), "serving gRPC");
        Ok(Self {
            grpc,
            admin,
            health,
            shown,
        })
    }

    /// Where it listens for gRPC.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.grpc.addr()
    }

    /// Where it serves `/metrics`, `/livez` and `/readyz`.
    #[must_use]
    pub fn metrics_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// Waits until `count` nodes or more have joined.
    pub async fn nodes_joined(&self, count: usize) {
        self.shown.membership.reached(count).await;
    }
}

impl Server for Router {
    async fn failed(&mut self) -> String {
        self.grpc.failed().await
    }

    /// Says that it is stopping, finishes the calls in flight (20 s at most) and stops.
    async fn stop(self) {
        self.shown.enter(Phase::Stopping);
        self.health.set_serving(false).await;
        tracing::info!("health is NOT_SERVING; finishing calls in flight");
        self.health.end().await;
        if !self.grpc.stop(STOP_GRACE).await {
            tracing::warn!(grace = ?STOP_GRACE, "calls were still in flight and were dropped");
        }
        self.admin.stop().await;
        tracing::info!("stopped");
    }
}

/// What the HTTP endpoint shows.
#[derive(Debug)]
struct Shown {
    metrics: Arc<Metrics>,
    membership: Arc<Membership>,
    phase: Mutex<Phase>,
}

impl Shown {
    /// Says where the router is in its life.
    fn enter(&self, phase: Phase) {
        *self.phase.lock() = phase;
    }
}

impl Watched for Shown {
    fn metrics(&self) -> String {
        let nodes = self.membership.members().count();
        self.metrics.show_nodes(nodes);
        self.metrics.encode()
    }

    /// Ready also without nodes: they have to get through to join.
    fn readiness(&self) -> Readiness {
        let phase = *self.phase.lock();
        let state = match phase {
            Phase::Starting => "not ready: starting",
            Phase::Serving => "ready",
            Phase::Stopping => "not ready: stopping",
        };
        let nodes = self.membership.members().count();
        Readiness {
            ready: phase == Phase::Serving,
            lines: vec![state.to_owned(), format!("nodes: {nodes}")],
        }
    }
}
