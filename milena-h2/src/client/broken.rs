//! Why a call has no answer.

use std::io;
use std::sync::Arc;

use h2::Reason;

/// What happened to a call, or to its connection. Whether the server has done what it was asked to is not known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Broken {
    /// Reading or writing failed.
    #[error("the connection failed: {0}")]
    Io(Arc<io::Error>),
    /// The connection was closed.
    #[error("the connection has ended")]
    Ended,
    /// The server has not answered a ping in time.
    #[error("the connection is silent")]
    Silent,
    /// The server has said that it goes away, and does not answer this call.
    #[error("the server goes away: {0}")]
    GoingAway(Reason),
    /// The server has reset the call.
    #[error("the server has reset the call: {0}")]
    Reset(Reason),
    /// The server has broken the rules of HTTP/2.
    #[error("the server has broken the protocol: {0}")]
    Protocol(Reason),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
