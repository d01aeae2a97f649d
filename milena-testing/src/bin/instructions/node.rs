//! A get that a node answers from memory, from the bytes of the request to those of the answer: the h2 path, the
//! service, the operation and the memory tier. S3's place is taken by memory.
//!
//! No put: two threads share it, and which of them gets ahead of the other is chance, 7 % of it.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use milena_cache::metrics::Metrics;
use milena_cache::operation::{Limits, Lives, Operation, Tier};
use milena_cache::service;
use milena_cache::service::cache::CacheService;
use milena_server::clock::Clock;
use milena_server::grpc::GrpcStack;
use milena_server::rate_limit::RateLimit;
use tokio::runtime::Handle;

use crate::VALUE_BYTES;
use crate::ask;
use crate::stores::memory_store;

/// Answers so many gets, one after the other, of a client in another process.
pub(crate) async fn get(times: u32) {
    let addr = (Ipv4Addr::LOCALHOST, 0).into();
    let threads = Some(NonZeroUsize::MIN);
    let started = service::start(addr, threads, GrpcStack::H2, service()).await;
    let (server, _health) = started.expect("there is a free port");
    let arguments = [
        ask::ARGUMENT,
        &server.addr().to_string(),
        &times.to_string(),
    ];
    let asked = crate::another(&arguments).status();
    assert!(asked.expect("the client starts").success(), "all answered");
}

fn service() -> CacheService {
    let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new()));
    let tier = |name| Tier::new(name, Arc::new(memory_store()), &metrics);
    let operation = Operation::new(
        vec![tier("memory")],
        None,
        tier("s3"),
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
    CacheService::new(operation, rate_limit, VALUE_BYTES, metrics, clock)
}
