//! What can go wrong, by kind.
//!
//! Knows no gRPC codes of its own: `service/status.rs` maps kinds to codes, once, and passes on what a
//! node answered.

use milena_client::{Address, ClientError, InvalidAddress};
use milena_cluster::key::InvalidKey;
use milena_server::rate_limit::OverLimit;

use crate::membership::NODES_MAX;

/// What can go wrong, by kind.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A get of a key that its owner does not hold.
    #[error("no tier holds this key")]
    KeyNotFound,
    /// A bad bucket name, key or address, or a value over the limit. The text names the limit.
    #[error("{0}")]
    InvalidInput(String),
    /// Over `RATE_LIMIT`.
    #[error("over the limit of {} requests per second", .0.per_second)]
    RateLimitExceeded(OverLimit),
    /// There is nobody to forward to.
    #[error(
        "no cache node has joined this router yet; start one with ROUTER_ADDR set to this router"
    )]
    NoNode,
    /// The node that owns the key failed, did not answer, or refused.
    #[error("{0}")]
    Node(ClientError),
    /// This node does not say what S3 does not have of its writes.
    #[error("{}", said_by(.node, .error))]
    NotFlushed {
        /// The node.
        node: Address,
        /// What it answered, or why it did not.
        error: ClientError,
    },
    /// One node too many wants to join.
    #[error("{0} cannot join: this router has its limit of {NODES_MAX} nodes")]
    TooManyNodes(Address),
    /// A bug.
    #[error("internal error: {0}")]
    InternalError(String),
}

impl Error {
    /// Every value that [`Error::kind`] gives, for the metric's label.
    pub const KINDS: [&str; 9] = [
        "key_not_found",
        "invalid_input",
        "rate_limit_exceeded",
        "no_node",
        "node_unreachable",
        "node_deadline_exceeded",
        "node_refused",
        "too_many_nodes",
        "internal_error",
    ];

    /// The kind, as the label `kind` of `milena_errors_total`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        Self::KINDS[self.kind_index()]
    }

    /// Where in [`Error::KINDS`] the kind stands.
    pub(crate) fn kind_index(&self) -> usize {
        match self {
            Self::KeyNotFound => 0,
            Self::InvalidInput(_) => 1,
            Self::RateLimitExceeded(_) => 2,
            Self::NoNode => 3,
            Self::Node(error) | Self::NotFlushed { error, .. } => match error {
                ClientError::Unreachable(_) => 4,
                ClientError::DeadlineExceeded(_) => 5,
                _ => 6,
            },
            Self::TooManyNodes(_) => 7,
            Self::InternalError(_) => 8,
        }
    }
}

/// What became of a call to `node`, with its name: an answer of its own does not say whose it is.
fn said_by(node: &Address, error: &ClientError) -> String {
    match error {
        ClientError::Unreachable(_) | ClientError::DeadlineExceeded(_) => error.to_string(),
        _ => format!("{node}: {error}"),
    }
}

impl From<InvalidKey> for Error {
    fn from(invalid: InvalidKey) -> Self {
        Self::InvalidInput(invalid.to_string())
    }
}

impl From<InvalidAddress> for Error {
    fn from(invalid: InvalidAddress) -> Self {
        Self::InvalidInput(invalid.to_string())
    }
}

impl From<OverLimit> for Error {
    fn from(over: OverLimit) -> Self {
        Self::RateLimitExceeded(over)
    }
}

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
