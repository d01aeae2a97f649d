//! What can go wrong with a call.

use std::error::Error;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// What can go wrong with a call. The text is the server's, or says why there was no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The server cannot take the request as it is; the text names the limit. Not worth a retry.
    #[error("{}", .0.message())]
    InvalidInput(Status),
    /// The server answered that it cannot serve this now. Worth a retry.
    #[error("{}", .0.message())]
    Unavailable(Status),
    /// The server cannot be reached, or the connection broke before the answer: a put or a delete may
    /// have happened. Worth a retry.
    #[error("{}", .0.message())]
    Unreachable(Status),
    /// There was no answer in time: a put or a delete may have happened, or may yet.
    #[error("{}", .0.message())]
    DeadlineExceeded(Status),
    /// Over a rate limit, or shed under overload.
    #[error("{}", .status.message())]
    ResourceExhausted {
        /// What the server answered.
        status: Status,
        /// When a retry may be let through, if the server said so.
        retry_after: Option<Duration>,
    },
    /// A failure inside the server.
    #[error("{}", .0.message())]
    Internal(Status),
    /// An answer that no other kind covers.
    #[error("{}: {}", .0.code(), .0.message())]
    Other(Status),
}

impl ClientError {
    /// The answer as gRPC has it; made up by this client if there was none.
    #[must_use]
    pub fn status(&self) -> &Status {
        match self {
            Self::InvalidInput(status)
            | Self::Unavailable(status)
            | Self::Unreachable(status)
            | Self::DeadlineExceeded(status)
            | Self::ResourceExhausted { status, .. }
            | Self::Internal(status)
            | Self::Other(status) => status,
        }
    }

    /// Whether the server does not have the method that it was asked for, as a node has none of a router's.
    #[must_use]
    pub fn is_unimplemented(&self) -> bool {
        self.status().code() == Code::Unimplemented
    }

    /// Whether the server answered a get that there is no value, which is a miss and no failure.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status().code() == Code::NotFound
    }

    /// What came from the server at `address`, which was given so long.
    pub(crate) fn answered_in(status: Status, address: &str, deadline: Duration) -> Self {
        // tonic's servers give a call up when the deadline that they were told has passed, and call it so.
        if status.code() == Code::Cancelled {
            return Self::no_answer(address, deadline);
        }
        Self::answered(status)
    }

    /// The kind of an answer that came from the server.
    fn answered(status: Status) -> Self {
        match status.code() {
            Code::InvalidArgument => Self::InvalidInput(status),
            Code::Unavailable => Self::Unavailable(status),
            Code::DeadlineExceeded => Self::DeadlineExceeded(status),
            Code::ResourceExhausted => Self::ResourceExhausted {
                retry_after: status
                    .get_details_retry_info()
                    .and_then(|info| info.retry_delay),
                status,
            },
            Code::Internal => Self::Internal(status),
            _ => Self::Other(status),
        }
    }

    /// No answer, because of the connection to `address`.
    pub(crate) fn unreachable(address: &str, cause: &(dyn Error + 'static)) -> Self {
        let root = std::iter::successors(Some(cause), |&error| error.source()).last();
        let reason = root.unwrap_or(cause);
        Self::Unreachable(Status::unavailable(format!(
            "{address} cannot be reached: {reason}"
        )))
    }

    /// No answer from `address` within `deadline`.
    pub(crate) fn no_answer(address: &str, deadline: Duration) -> Self {
        let deadline_ms = deadline.as_millis();
        Self::DeadlineExceeded(Status::deadline_exceeded(format!(
            "{address} gave no answer within {deadline_ms} ms"
        )))
    }
}
