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

use milena_cache::service;
use milena_server::grpc::GrpcStack;
use milena_testing::in_memory;

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
    let service = in_memory::service(&[], "memory", VALUE_BYTES_MAX);
    let addr = (Ipv4Addr::LOCALHOST, 0).into();
    let started = service::start(addr, None, stack, service).await;
    let (server, _health) = started.expect("there is a free port");
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {}", server.addr()).expect("somebody reads this");
    std::future::pending::<()>().await;
}
