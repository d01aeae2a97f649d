//! What router, node and client must agree on: what a key is, which slot it lies in, and which node
//! owns that slot.
//!
//! Pure: no async, no clock, no network.

pub mod key;
pub mod placement;
