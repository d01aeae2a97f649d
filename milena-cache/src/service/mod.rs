//! gRPC: what is served, and how requests and answers are translated.
//!
//! Knows the wire and the operations; knows no store.

mod ack;
pub mod cache;
mod flush;
mod life;
pub mod status;

use milena_protos::FILE_DESCRIPTOR_SET;
use milena_protos::cache_server::cache_server::{CacheServer, SERVICE_NAME};
use milena_server::grpc::MESSAGE_OVERHEAD_BYTES_MAX;
use milena_server::health::Health;
use tonic::service::Routes;

use self::cache::CacheService;

/// Every gRPC service of the node, and what reports its health.
#[must_use]
pub fn routes(cache: CacheService) -> (Routes, Health) {
    let message_bytes_max = cache
        .value_bytes_max()
        .saturating_add(MESSAGE_OVERHEAD_BYTES_MAX);
    let cache = CacheServer::new(cache)
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(message_bytes_max);
    Health::add_to(Routes::new(cache), SERVICE_NAME, FILE_DESCRIPTOR_SET)
}
