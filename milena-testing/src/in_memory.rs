//! The service of a node over stores in memory, for measurements: nothing in it waits for a disk or for S3. The
//! service and the operations are those of a real node.

use std::sync::Arc;
use std::time::Duration;

use milena_cache::metrics::Metrics;
use milena_cache::operation::{Limits, Lives, Operation, Tier};
use milena_cache::service::cache::CacheService;
use milena_cache::store::memory::{MemoryConfig, MemoryStore};
use milena_server::clock::Clock;
use milena_server::rate_limit::RateLimit;
use tokio::runtime::Handle;

/// A store with more room than a measurement fills.
#[must_use]
pub fn store() -> MemoryStore {
    MemoryStore::new(MemoryConfig::new(1_000_000, 1 << 30), Clock::system())
}

/// A service whose tiers, also the last, durable one, are such stores; values may have so many bytes.
///
/// # Panics
/// Outside of a tokio runtime.
#[must_use]
pub fn service(
    tiers: &[&'static str],
    durable: &'static str,
    value_bytes_max: usize,
) -> CacheService {
    let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new()));
    let tier = |name| Tier::new(name, Arc::new(store()), &metrics);
    let operation = Operation::new(
        tiers.iter().copied().map(tier).collect(),
        None,
        tier(durable),
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
    let rate_limit = RateLimit::new(None, &clock);
    CacheService::new(operation, rate_limit, value_bytes_max, metrics, clock)
}
