//! The gRPC services of a router: `Router`, `grpc.health.v1.Health` and server reflection.

mod router;
mod status;

use milena_protos::FILE_DESCRIPTOR_SET;
use milena_protos::router_server::router_server::{RouterServer, SERVICE_NAME};
use milena_server::grpc::MESSAGE_OVERHEAD_BYTES_MAX;
use milena_server::health::Health;
use tonic::service::Routes;

pub use router::RouterService;

/// The services with `router` among them, and what reports its health.
#[must_use]
pub fn routes(router: RouterService) -> (Routes, Health) {
    let message_bytes_max = router
        .value_bytes_max
        .saturating_add(MESSAGE_OVERHEAD_BYTES_MAX);
    let router = RouterServer::new(router)
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(message_bytes_max);
    Health::add_to(Routes::new(router), SERVICE_NAME, FILE_DESCRIPTOR_SET)
}
