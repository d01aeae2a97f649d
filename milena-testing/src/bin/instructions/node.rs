//! A get that a node answers from memory, from the bytes of the request to those of the answer: the h2 path, the
//! service, the operation and the memory tier. S3's place is taken by memory.
//!
//! No put: two threads share it, and which of them gets ahead of the other is chance, 7 % of it.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;

use milena_cache::service;
use milena_server::grpc::{GrpcServer, GrpcStack};
use milena_testing::in_memory;

use crate::VALUE_BYTES;
use crate::ask::{self, Service};
use crate::served::serve_at;

/// The argument with which this program is a node.
pub(crate) const ARGUMENT: &str = "node";

/// Answers so many gets, one after the other, of a client in another process.
pub(crate) async fn get(times: u32) {
    let server = start().await;
    ask::of_another_process(server.addr(), Service::Cache, times);
}

/// Serves until standard input ends; says its address.
pub(crate) async fn serve() {
    serve_at(start().await.addr());
}

async fn start() -> GrpcServer {
    let addr = (Ipv4Addr::LOCALHOST, 0).into();
    let threads = Some(NonZeroUsize::MIN);
    let service = in_memory::service(&["memory"], "s3", VALUE_BYTES);
    let started = service::start(addr, threads, GrpcStack::H2, service).await;
    let (server, _health) = started.expect("there is a free port");
    server
}
