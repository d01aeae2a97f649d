//! The embedded S3 endpoint of `milena dev` and of the tests.
//!
//! ```text
//! server ─▶ endpoint ─▶ s3s ─▶ front ─▶ store
//! listens   counts,     HTTP,  S3's     memory or
//! and ends  faults      XML,   oper-    folder
//!                       SigV4  ations
//! ```
//!
//! One process, one pair of keys, no versions of objects, no access lists. What it does it does as S3
//! does it: conditional writes are atomic, answers and error codes are S3's. What it does not do it
//! refuses with `NotImplemented`.
//!
//! The `s3s` crate logs every error that it answers, a missing key included, at level ERROR: a program
//! that shows its log to people turns the target `s3s` off.

mod answer;
mod auth;
mod endpoint;
mod faults;
mod front;
mod requests;
mod server;
mod store;
mod wire;

pub use auth::Credentials;
pub use faults::{Action, Failure, FaultHandle, Faults, Rule};
pub use front::OBJECT_BYTES_MAX;
pub use hyper::StatusCode;
pub use requests::{Operation, RequestCounts};
pub use server::{Options, S3Server, StartError, Storage};
