//! The gRPC services of a router: `Router`, `grpc.health.v1.Health` and server reflection.

mod direct;
mod looked_at;
mod router;
mod status;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use milena_protos::FILE_DESCRIPTOR_SET;
use milena_protos::router_server::router_server::{RouterServer, SERVICE_NAME};
use milena_server::grpc::{GrpcServer, GrpcStack, MESSAGE_OVERHEAD_BYTES_MAX};
use milena_server::health::Health;
use tonic::service::Routes;

use self::direct::DirectRouter;

pub use router::RouterService;

/// Serves the services, `router` among them, on `addr` and as many threads (`None`: one for each core); gives also what
/// reports its health.
///
/// # Errors
/// When the address cannot be listened on or a thread cannot be started.
pub async fn start(
    addr: SocketAddr,
    threads: Option<NonZeroUsize>,
    stack: GrpcStack,
    router: RouterService,
) -> io::Result<(GrpcServer, Health)> {
    let value_bytes_max = router.value_bytes_max;
    let message_bytes_max = value_bytes_max.saturating_add(MESSAGE_OVERHEAD_BYTES_MAX);
    let router = Arc::new(router);
    let service = RouterServer::from_arc(Arc::clone(&router))
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(message_bytes_max);
    let (routes, health) = Health::add_to(Routes::new(service), SERVICE_NAME, FILE_DESCRIPTOR_SET);
    let direct = DirectRouter(router);
    let server = stack.start(addr, threads, value_bytes_max, routes, direct);
    Ok((server.await?, health))
}
