//! The Milena cache node.

pub mod error;
pub mod metrics;
pub mod operation;
pub mod store;
