//! What can go wrong, by kind.
//!
//! Knows no gRPC codes (`service/status.rs` maps kinds to codes, once). A miss inside the node is
//! `None`, not an error: [`Error::KeyNotFound`] exists for the edge, where a miss has to be said.
//! Errors are cheap to clone, because the callers of one single-flight share one error.

use std::sync::Arc;
use std::time::Duration;

use milena_cluster::key::InvalidKey;
use milena_server::rate_limit::OverLimit;

/// What can go wrong, by kind.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A get of a key that no tier holds.
    #[error("no tier holds this key")]
    KeyNotFound,
    /// An empty or over-long key, a bad bucket name, a value over the limit. The text names the limit.
    #[error("{0}")]
    InvalidInput(String),
    /// Over `RATE_LIMIT`, or shed under overload.
    #[error("over the limit of {limit}")]
    RateLimitExceeded {
        /// The limit that was passed, and its unit.
        limit: String,
        /// When the next request may be let through.
        retry_after: Duration,
    },
    /// S3 cannot be reached, is slow past the deadline, or refused.
    #[error("S3: {0}")]
    S3Error(Cause),
    /// The router cannot be reached.
    #[error("router: {0}")]
    RouterError(Cause),
    /// The disk or memory tier failed in a way that the node cannot serve around.
    #[error("store: {0}")]
    StoreError(Cause),
    /// A bug.
    #[error("internal error: {0}")]
    InternalError(Cause),
}

/// What happened, in a sentence, and what led to it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Cause {
    message: String,
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    retry_after: Option<Duration>,
    nothing_sent: bool,
}

impl Cause {
    /// A cause with nothing behind it.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
            retry_after: None,
            nothing_sent: false,
        }
    }

    /// A cause that another error led to.
    pub fn with_source(
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            message: message.into(),
            source: Some(Arc::new(source)),
            retry_after: None,
            nothing_sent: false,
        }
    }

    /// The same, with when it may be gone.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    /// The same, where nothing was sent to S3 at all.
    #[must_use]
    pub fn nothing_sent(self) -> Self {
        Self {
            nothing_sent: true,
            ..self
        }
    }
}

impl Error {
    /// Every value that [`Error::kind`] gives, for the metric's label.
    pub const KINDS: [&str; 7] = [
        "key_not_found",
        "invalid_input",
        "rate_limit_exceeded",
        "s3_error",
        "router_error",
        "store_error",
        "internal_error",
    ];

    /// Whether a write that failed so has certainly changed nothing in S3, because S3 was never asked.
    #[must_use]
    pub fn is_nothing_sent(&self) -> bool {
        matches!(self, Self::S3Error(cause) if cause.nothing_sent)
    }

    /// When the same request may succeed, if that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimitExceeded { retry_after, .. } => Some(*retry_after),
            Self::S3Error(cause)
            | Self::RouterError(cause)
            | Self::StoreError(cause)
            | Self::InternalError(cause) => cause.retry_after,
            Self::KeyNotFound | Self::InvalidInput(_) => None,
        }
    }

    /// The kind, as the label `kind` of `milena_errors_total`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        let index = match self {
            Self::KeyNotFound => 0,
            Self::InvalidInput(_) => 1,
            Self::RateLimitExceeded { .. } => 2,
            Self::S3Error(_) => 3,
            Self::RouterError(_) => 4,
            Self::StoreError(_) => 5,
            Self::InternalError(_) => 6,
        };
        Self::KINDS[index]
    }
}

impl From<InvalidKey> for Error {
    fn from(invalid: InvalidKey) -> Self {
        Self::InvalidInput(invalid.to_string())
    }
}

impl From<OverLimit> for Error {
    fn from(
        OverLimit {
            per_second,
            retry_after,
        }: OverLimit,
    ) -> Self {
        Self::RateLimitExceeded {
            limit: format!("{per_second} requests per second (RATE_LIMIT)"),
            retry_after,
        }
    }
}

/// A result whose error is [`Error`], unless it says otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;
