//! The Milena cache node.

pub mod error;
pub mod store;
