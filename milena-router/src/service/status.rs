//! From an error to what the caller sees and what is counted: the only place where kinds meet codes.

use milena_client::ClientError;
use milena_server::clock::Clock;
use milena_server::metrics::Outcome;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error::Error;

/// The status that tells a caller of `error`. What is a bug goes into the log, and the caller gets the
/// number under which it is found there.
pub(super) fn status_of(error: &Error, clock: &Clock) -> Status {
    let text = error.to_string();
    match error {
        Error::KeyNotFound => Status::not_found(text),
        Error::InvalidInput(_) => Status::invalid_argument(text),
        Error::RateLimitExceeded(over) => Status::with_error_details(
            Code::ResourceExhausted,
            text,
            ErrorDetails::with_retry_info(Some(over.retry_after)),
        ),
        // Whatever the node said: of what S3 does not have, nothing is known.
        Error::NotFlushed { .. } => Status::unavailable(text),
        // The caller's own deadline may lie further off; to it this node is one that cannot be reached.
        Error::NoNode | Error::Node(ClientError::DeadlineExceeded(_)) => Status::unavailable(text),
        Error::Node(error) => as_answered(error.status()),
        Error::TooManyNodes(_) => Status::resource_exhausted(text),
        Error::InternalError(_) => {
            let request_id = format!("{:016x}", clock.random_u64());
            tracing::error!(request_id, "{text}");
            Status::internal(format!("internal error; the log has it as {request_id}"))
        }
    }
}

/// A node's answer without the headers that it came with.
fn as_answered(status: &Status) -> Status {
    Status::with_details(
        status.code(),
        status.message(),
        status.details().to_vec().into(),
    )
}

/// How a request ended that ended with `error`.
pub(super) fn outcome_of(error: &Error) -> Outcome {
    match error {
        Error::KeyNotFound => Outcome::NotFound,
        Error::InvalidInput(_) | Error::Node(ClientError::InvalidInput(_)) => Outcome::Invalid,
        Error::RateLimitExceeded(_)
        | Error::Node(ClientError::ResourceExhausted { .. })
        | Error::TooManyNodes(_) => Outcome::RateLimited,
        Error::NoNode
        | Error::NotFlushed { .. }
        | Error::Node(
            ClientError::Unreachable(_)
            | ClientError::Unavailable(_)
            | ClientError::DeadlineExceeded(_),
        ) => Outcome::Unavailable,
        Error::Node(ClientError::Internal(_) | ClientError::Other(_)) | Error::InternalError(_) => {
            Outcome::Error
        }
    }
}
