//! A node with nothing but memory, for measurements: what a put costs that waits for no disk and no S3. The
//! gRPC server, the service and the operations are those of a real node.
//!
//! ```text
//! memory-node [h2|tonic]
//! ```
//!
//! Says `listening on ADDR` when it does, and serves until it is killed.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use milena_cache::metrics::Metrics;
use milena_cache::operation::{Limits, Lives, Operation, Tier};
use milena_cache::service;
use milena_cache::service::cache::CacheService;
use milena_cache::store::memory::{MemoryConfig, MemoryStore};
use milena_server::clock::Clock;
use milena_server::grpc::GrpcStack;
use milena_server::rate_limit::RateLimit;
use tokio::runtime::Handle;

/// That of a node, beside which it is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The longest value, in bytes.
const VALUE_BYTES_MAX: usize = 16 << 20;

#[tokio::main]
async fn main() {
    let stack = std::env::args().nth(1);
    let stack = stack.map_or(Some(GrpcStack::DEFAULT), |text| GrpcStack::parse(&text));
    let stack = stack.expect("usage: memory-node [h2|tonic]");
    let clock = Clock::system();
    let metrics = Arc::new(Metrics::new());
    let room = MemoryConfig::new(1_000_000, 1 << 30);
    let memory = Arc::new(MemoryStore::new(room, clock.clone()));
    let operation = Operation::new(
        Vec::new(),
        None,
        Tier::new("memory", memory, &metrics),
        Limits {
            lives: Lives::of_copies(Duration::from_secs(3_600)),
            stale_life: Duration::ZERO,
            miss_life: Duration::ZERO,
            durable_timeout: Duration::from_secs(10),
        },
        clock.clone(),
        Arc::clone(&metrics),
        Handle::current(),
    );
    let service = CacheService::new(
        operation,
        RateLimit::new(None, &clock),
        VALUE_BYTES_MAX,
        metrics,
        clock,
    );
    let addr = (Ipv4Addr::LOCALHOST, 0).into();
    let started = service::start(addr, None, stack, service).await;
    let (server, _health) = started.expect("there is a free port");
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {}", server.addr()).expect("somebody reads this");
    std::future::pending::<()>().await;
}
