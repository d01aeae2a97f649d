//! gRPC: what is served, and how requests and answers are translated.
//!
//! Knows the wire and the operations; knows no store.

pub mod cache;
pub mod status;

use milena_protos::FILE_DESCRIPTOR_SET;
use milena_protos::cache_server::cache_server::{self, CacheServer};
use milena_server::grpc::MESSAGE_OVERHEAD_BYTES_MAX;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTOR_SET;
use tonic_health::server::HealthReporter;

use self::cache::CacheService;

/// Every gRPC service of the node, and what reports its health.
///
/// # Panics
/// Never: the descriptors are our own.
#[must_use]
pub fn routes(cache: CacheService) -> (Routes, HealthReporter) {
    let message_bytes_max = cache.value_bytes_max() + MESSAGE_OVERHEAD_BYTES_MAX;
    let cache = CacheServer::new(cache)
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(message_bytes_max);
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(HEALTH_DESCRIPTOR_SET)
        // Our descriptors hold the router's service too, which a node does not have.
        .with_service_name(cache_server::SERVICE_NAME)
        .with_service_name(tonic_health::pb::health_server::SERVICE_NAME)
        .build_v1()
        .expect("our own descriptors are sound");
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(cache)
        .add_service(health)
        .add_service(reflection);
    (routes.routes(), reporter)
}
