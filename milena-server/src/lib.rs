//! What every Milena server process shares, so that node and router behave alike to an operator:
//! the clock, the settings table, logging, the HTTP endpoint for metrics and health, the gRPC
//! listener, the rate limit and the signals.
//!
//! Knows nothing of keys, stores or messages.

pub mod admin;
pub mod build_info;
pub mod clock;
pub mod grpc;
pub mod health;
pub mod logging;
pub mod metrics;
pub mod program;
pub mod rate_limit;
pub mod settings;
pub mod signals;
