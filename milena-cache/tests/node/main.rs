//! The node as its callers, its operator and its neighbours see it, through gRPC, HTTP, S3 and signals.

#![expect(clippy::unwrap_used, reason = "in a test, to panic is to fail")]

mod backend;
mod cluster;
mod credentials;
mod faults;
mod flush;
mod hedge;
mod kill;
mod life;
mod metrics;
mod power_loss;
mod program;
mod races;
mod s3;
mod s3_doctor;
mod s3_expiry;
mod s3_faults;
mod s3_requests;
mod service;
mod stacks;
mod stale;
mod support;
mod write_back;
