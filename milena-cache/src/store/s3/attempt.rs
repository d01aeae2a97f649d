//! One attempt at a request: what the S3 client gives, within its time limits, told apart by what it means.
//!
//! Invariant: of all that S3 answers only its own NoSuchKey is a miss.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use hyper_util::client::legacy::Error as HttpError;
use milena_server::clock::Clock;

use super::credentials::NoCredentials;
use super::failure::{Failure, Reason};
use super::observer::{Observer, Outcome};
use super::time_limits::TimeLimits;
use crate::error::Cause;

/// S3's code for a key that has no object.
const NO_SUCH_KEY: &str = "NoSuchKey";

/// The S3 client's code for a 404 without a body.
const NOT_FOUND: &str = "NotFound";

/// Sends a request and awaits the head of its answer; `None`: there is no such object.
pub(super) async fn answer<T, E>(
    verb: &str,
    limit: Duration,
    sending: impl Future<Output = Result<T, SdkError<E>>>,
) -> Result<Option<T>, Failure>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    answer_or(NO_SUCH_KEY, verb, limit, sending).await
}

/// As [`answer`], of a HEAD. Its answer has no body: a 404 may also mean that there is no such S3 bucket.
pub(super) async fn answer_of_head<T, E>(
    limit: Duration,
    sending: impl Future<Output = Result<T, SdkError<E>>>,
) -> Result<Option<T>, Failure>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    answer_or(NOT_FOUND, "HEAD", limit, sending).await
}

/// Sends a request; an answer with the code `absent` is `None`.
async fn answer_or<T, E>(
    absent: &str,
    verb: &str,
    limit: Duration,
    sending: impl Future<Output = Result<T, SdkError<E>>>,
) -> Result<Option<T>, Failure>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match tokio::time::timeout(limit, sending).await {
        Ok(Ok(answer)) => Ok(Some(answer)),
        Ok(Err(error)) if error.code() == Some(absent) => Ok(None),
        Ok(Err(error)) => Err(failure_of(verb, error)),
        Err(_) => Err(Failure::new(
            Outcome::Timeout,
            format!("{verb}: no answer in time"),
        )),
    }
}

/// The whole of a body that was announced to have so many bytes.
pub(super) async fn read_body(
    mut body: ByteStream,
    bytes: usize,
    limits: &TimeLimits,
    clock: &Clock,
    observer: &dyn Observer,
) -> Result<Bytes, Failure> {
    let mut value = BytesMut::with_capacity(bytes);
    let mut window_end = clock.deadline_in(limits.progress_window);
    let mut enough = limits.window_bytes();
    loop {
        let chunk = tokio::time::timeout_at(window_end.instant(), body.next()).await;
        match chunk {
            Ok(Some(Ok(chunk))) => {
                observer.received(chunk.len());
                value.extend_from_slice(&chunk);
            }
            Ok(Some(Err(error))) => {
                let cause = Cause::with_source("GET: the body broke off", error);
                return Err(Failure::of(Outcome::Broken, cause));
            }
            Ok(None) if value.len() == bytes => return Ok(value.freeze()),
            Ok(None) => {
                let text = format!(
                    "GET: the body has {} bytes where {bytes} were promised",
                    value.len()
                );
                return Err(Failure::new(Outcome::Broken, text));
            }
            Err(_) => {}
        }
        // Looked at also while chunks keep coming: a trickle is one.
        if clock.until(window_end).is_zero() {
            if bytes_f64(value.len()) < enough {
                return Err(Failure::new(Outcome::Timeout, "GET: the body stalls"));
            }
            window_end = clock.deadline_in(limits.progress_window);
            enough = bytes_f64(value.len()) + limits.window_bytes();
        }
    }
}

/// A size as a number that rates are reckoned with.
fn bytes_f64(bytes: usize) -> f64 {
    u32::try_from(bytes).map_or(f64::INFINITY, f64::from)
}

/// What a failed request means. The full chain is the error's source, for the log.
fn failure_of<E>(verb: &str, error: SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    if let Some(reason) = NoCredentials::among(&error) {
        return Failure {
            reason: Some(Reason::NoCredentials(reason)),
            ..Failure::new(Outcome::Unreachable, format!("{verb}: no credentials"))
        };
    }
    let mut may_apply = false;
    let mut retry_after = None;
    let (outcome, message) = match &error {
        SdkError::ServiceError(refusal) => {
            let (status, code) = (refusal.raw().status().as_u16(), error.code());
            let outcome = outcome_of(status, code);
            // Without a code it is not S3 that speaks but something before it, which may have passed the
            // request on.
            may_apply = status >= 500 && code.is_none();
            let header = |name| refusal.raw().headers().get(name);
            retry_after = header("retry-after")
                .and_then(|seconds| seconds.trim().parse().ok())
                .map(Duration::from_secs);
            let mut message = match code {
                Some(code) => format!("refused with {code} ({status})"),
                None => format!("refused with status {status}"),
            };
            if let (301 | 307, Some(region)) = (status, header("x-amz-bucket-region")) {
                message.push_str(&format!("; the bucket is in {region} (AWS_REGION)"));
            }
            (outcome, message)
        }
        SdkError::TimeoutError(_) => (Outcome::Timeout, "no connection in time".to_owned()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (Outcome::Timeout, "no connection in time".to_owned())
        }
        SdkError::DispatchFailure(_) if let Some(http) = http_error_in(&error) => {
            // Once there was a connection, S3 may have the request.
            may_apply = !http.is_connect();
            if may_apply {
                let text = "the connection broke before an answer came, or what came is not HTTP";
                (Outcome::Broken, text.to_owned())
            } else {
                (Outcome::Unreachable, "cannot be reached".to_owned())
            }
        }
        SdkError::ResponseError(_) => {
            may_apply = true;
            (Outcome::Broken, "the answer cannot be read".to_owned())
        }
        // It could not even be made.
        _ => (
            Outcome::Unreachable,
            format!("{}", DisplayErrorContext(&error)),
        ),
    };
    let reason = error.code().map(|code| Reason::Code(code.into()));
    let cause = Cause::with_source(format!("{verb}: {message}"), error);
    Failure {
        reason,
        may_apply,
        retry_after,
        ..Failure::of(outcome, cause)
    }
}

/// What an answer means that is an error.
fn outcome_of(status: u16, code: Option<&str>) -> Outcome {
    match (status, code) {
        (_, Some("SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded")) => {
            Outcome::SlowDown
        }
        (429, _) => Outcome::SlowDown,
        (304, _) => Outcome::NotModified,
        (408, _) | (_, Some("RequestTimeout")) => Outcome::ServerError,
        (409 | 412, _) => Outcome::Conflict,
        (500.., _) => Outcome::ServerError,
        _ => Outcome::Refused,
    }
}

/// What the HTTP client said, if it was asked at all.
fn http_error_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a HttpError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(http) = error.downcast_ref() {
            return Some(http);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_means() {
        for (status, code, outcome) in [
            (503, Some("SlowDown"), Outcome::SlowDown),
            (503, Some("ServiceUnavailable"), Outcome::ServerError),
            (503, None, Outcome::ServerError),
            (429, None, Outcome::SlowDown),
            (500, Some("InternalError"), Outcome::ServerError),
            (502, None, Outcome::ServerError),
            (400, Some("RequestTimeout"), Outcome::ServerError),
            (403, Some("AccessDenied"), Outcome::Refused),
            (403, Some("RequestTimeTooSkewed"), Outcome::Refused),
            (400, Some("ExpiredToken"), Outcome::Refused),
            (301, Some("PermanentRedirect"), Outcome::Refused),
            (304, None, Outcome::NotModified),
            (404, Some("NoSuchBucket"), Outcome::Refused),
            (404, None, Outcome::Refused),
            (409, Some("OperationAborted"), Outcome::Conflict),
            (412, Some("PreconditionFailed"), Outcome::Conflict),
        ] {
            assert_eq!(outcome_of(status, code), outcome, "{status} {code:?}");
        }
    }
}
