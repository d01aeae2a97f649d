//! The wire contract: two proto files and what is generated from them.
//!
//! Knows nothing of how a request is served. Field numbers never change; new methods and new fields
//! may be added. `tests/golden.rs` pins the encoding of every message.

/// Package `cache_server`: what a cache node answers.
pub mod cache_server {
    tonic::include_proto!("cache_server");
}

/// Package `router_server`: what the router answers.
pub mod router_server {
    tonic::include_proto!("router_server");
}

/// Metadata of the answer to a Get, `true`, that says: S3 failed, and the value is a copy whose time has passed.
pub const STALE_METADATA: &str = "milena-stale";

/// The encoded descriptors of both packages, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
