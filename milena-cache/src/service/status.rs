//! The one place where an error becomes a gRPC status.

use std::error::Error as _;

use milena_server::clock::Clock;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error::Error;

/// What a caller is told of `error`. A failure that is ours is logged under an id that the caller is given.
#[must_use]
pub fn status(error: &Error, clock: &Clock) -> Status {
    let text = error.to_string();
    match error {
        Error::KeyNotFound => Status::not_found(text),
        Error::InvalidInput(_) => Status::invalid_argument(text),
        Error::RateLimitExceeded { .. } => come_back(Code::ResourceExhausted, text, error),
        Error::S3Error(_) | Error::RouterError(_) => come_back(Code::Unavailable, text, error),
        Error::StoreError(cause) | Error::InternalError(cause) => {
            let request_id = format!("{:016x}", clock.random_u64());
            tracing::error!(request_id, error = text, source = ?cause.source(), "a request failed");
            Status::internal(format!("{text} (request id {request_id})"))
        }
    }
}

/// A status that says when to come back, if that is known.
fn come_back(code: Code, text: String, error: &Error) -> Status {
    match error.retry_after() {
        None => Status::new(code, text),
        Some(wait) => {
            Status::with_error_details(code, text, ErrorDetails::with_retry_info(Some(wait)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use milena_server::clock::UnixMillis;

    use super::*;
    use crate::error::Cause;

    #[test]
    fn every_kind_has_its_code() {
        let clock = Clock::manual(UnixMillis(0));
        let cause = || Cause::new("why");
        let limited = Error::RateLimitExceeded {
            limit: "5 requests per second".into(),
            retry_after: Duration::from_millis(200),
        };
        let table = [
            (Error::KeyNotFound, Code::NotFound),
            (
                Error::InvalidInput("key has 0 bytes; expected 1 to 1024".into()),
                Code::InvalidArgument,
            ),
            (limited, Code::ResourceExhausted),
            (Error::S3Error(cause()), Code::Unavailable),
            (Error::RouterError(cause()), Code::Unavailable),
            (Error::StoreError(cause()), Code::Internal),
            (Error::InternalError(cause()), Code::Internal),
        ];
        assert_eq!(table.len(), Error::KINDS.len());
        for (error, code) in table {
            assert_eq!(status(&error, &clock).code(), code, "{error}");
        }
    }

    #[test]
    fn what_is_known_of_when_to_come_back_is_said() {
        let wait = Duration::from_millis(200);
        let limited = Error::RateLimitExceeded {
            limit: "5 requests per second".into(),
            retry_after: wait,
        };
        let away = |cause| Error::S3Error(cause);
        for (error, expected) in [
            (limited, Some(wait)),
            (away(Cause::new("why").retry_after(wait)), Some(wait)),
            (away(Cause::new("why")), None),
        ] {
            let status = status(&error, &Clock::manual(UnixMillis(0)));
            let details = status.get_error_details();
            let said = details.retry_info().and_then(|info| info.retry_delay);
            assert_eq!(said, expected, "{error}");
        }
    }

    #[test]
    fn a_failure_of_ours_is_given_an_id() {
        let status = status(
            &Error::InternalError(Cause::new("why")),
            &Clock::manual(UnixMillis(0)),
        );
        assert!(
            status.message().contains("request id "),
            "{}",
            status.message()
        );
    }
}
