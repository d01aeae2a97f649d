//! gRPC: what is served, and how requests and answers are translated.
//!
//! Knows the wire and the operations; knows no store.

mod ack;
pub mod cache;
mod direct;
mod flush;
mod life;
pub mod status;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use milena_protos::FILE_DESCRIPTOR_SET;
use milena_protos::cache_server::cache_server::{CacheServer, SERVICE_NAME};
use milena_server::grpc::{GrpcServer, GrpcStack, MESSAGE_OVERHEAD_BYTES_MAX};
use milena_server::health::Health;
use tonic::service::Routes;

use self::cache::CacheService;
use self::direct::DirectCache;

/// Serves every gRPC service of the node on `addr`, on as many threads (`None`: one for each core); gives also what
/// reports its health, which is serving.
///
/// # Errors
/// When the address cannot be listened on or a thread cannot be started.
pub async fn start(
    addr: SocketAddr,
    threads: Option<NonZeroUsize>,
    stack: GrpcStack,
    cache: CacheService,
) -> io::Result<(GrpcServer, Health)> {
    let value_bytes_max = cache.value_bytes_max();
    let message_bytes_max = value_bytes_max.saturating_add(MESSAGE_OVERHEAD_BYTES_MAX);
    let cache = Arc::new(cache);
    let service = CacheServer::from_arc(Arc::clone(&cache))
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(message_bytes_max);
    let (routes, health) = Health::add_to(Routes::new(service), SERVICE_NAME, FILE_DESCRIPTOR_SET);
    health.set_serving(true).await;
    let direct = DirectCache(cache);
    let server = stack.start(addr, threads, value_bytes_max, routes, direct);
    Ok((server.await?, health))
}
