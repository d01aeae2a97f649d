//! What both ends of a gRPC connection share that is served on the `h2` crate itself: a connection whose writes are
//! coalesced and whose task is woken no more often than it needs, messages in the pieces that they came in, and the watch
//! for a peer that has gone silent; and a [`client`] of unary calls, which is written on HTTP/2 itself.
//!
//! Knows no servers, and of a message only how it is framed.

pub mod client;
mod coalesce;
mod message;
mod silence;
mod unwritten;
mod wakes;

pub use coalesce::{Coalesced, Outgoing};
pub use message::{Encoded, Malformed, MessageReader, PREFIX_BYTES, WireMessage};
pub use silence::silence;
pub use wakes::Wakes;
