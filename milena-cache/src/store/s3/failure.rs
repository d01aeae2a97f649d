//! A request to S3 that failed: how, whether it may have been applied, and when S3 may be asked again.

use std::time::Duration;

use super::credentials::NoCredentials;
use super::observer::{Outcome, Request};
use crate::error::{Cause, Error};

/// What is said of an operation whose time was up.
const LATE: &str = "no answer in time";

/// A request that failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    /// What the caller is told.
    pub(super) error: Error,
    /// What led to it, where that is more than the outcome says.
    pub(super) reason: Option<Reason>,
    /// What S3 wants to be waited for.
    pub(super) retry_after: Option<Duration>,
    /// Whether a write may have been applied, or may still be.
    pub(super) may_apply: bool,
    /// Whether the operation's time was up, and not one of the attempt's own limits.
    pub(super) is_cut_off: bool,
}

/// What led to a failure.
#[derive(Clone, Debug)]
pub(super) enum Reason {
    /// S3 refused, with this code of its own.
    Code(Box<str>),
    /// There was nothing to sign the request with.
    NoCredentials(NoCredentials),
}

impl Failure {
    /// A failure with nothing behind it; a write may have been applied if `outcome` leaves it open.
    pub(super) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self::of(outcome, Cause::new(message))
    }

    pub(super) fn of(outcome: Outcome, cause: Cause) -> Self {
        Self {
            outcome,
            error: Error::S3Error(cause),
            reason: None,
            retry_after: None,
            may_apply: matches!(outcome, Outcome::Timeout | Outcome::Broken),
            is_cut_off: false,
        }
    }

    /// S3's own code, if it is S3 that refused.
    pub(super) fn code(&self) -> Option<&str> {
        match &self.reason {
            Some(Reason::Code(code)) => Some(code),
            _ => None,
        }
    }

    /// The operation's time was up.
    pub(super) fn late() -> Self {
        Self {
            is_cut_off: true,
            ..Self::new(Outcome::Timeout, LATE)
        }
    }

    /// The same as what a retry met: being late says less than the failure that the retry followed.
    pub(super) fn after(self, earlier: Option<&Self>) -> Self {
        match earlier.map(|earlier| &earlier.error) {
            Some(Error::S3Error(cause)) if self.is_cut_off => Self {
                error: Error::S3Error(Cause::new(format!("{LATE}; before that, {cause}"))),
                ..self
            },
            _ => self,
        }
    }

    /// Whether the same request may be sent once more. A write whose outcome is unknown is not: the first
    /// one may still be on its way, and come after a later write.
    pub(super) fn is_retryable(&self, request: Request) -> bool {
        let is_passing = self.outcome.is_outage()
            || matches!(self.outcome, Outcome::SlowDown | Outcome::Damaged);
        is_passing && !(request.is_write() && self.may_apply)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Self::S3Error(mut cause) = failure.error else {
            return failure.error;
        };
        if let Some(wait) = failure.retry_after {
            cause = cause.retry_after(wait);
        }
        // An attempt before this one, if there was one, was certainly not applied, or there would be no second.
        if failure.outcome == Outcome::Unreachable {
            cause = cause.nothing_sent();
        }
        Self::S3Error(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_operation_that_is_late_the_failure_before_it_is_told() {
        let stalled = Failure::new(Outcome::Timeout, "the body stalls");
        let said = |failure: Failure| failure.error.to_string();
        assert_eq!(
            said(Failure::late().after(Some(&stalled))),
            "S3: no answer in time; before that, the body stalls"
        );
        assert_eq!(said(Failure::late().after(None)), "S3: no answer in time");
        let denied = Failure::new(Outcome::Refused, "AccessDenied");
        assert_eq!(said(denied.after(Some(&stalled))), "S3: AccessDenied");
    }

    #[test]
    fn only_of_a_request_that_found_no_connection_nothing_was_sent() {
        for (outcome, nothing_sent) in [
            (Outcome::Unreachable, true),
            (Outcome::Timeout, false),
            (Outcome::Broken, false),
            (Outcome::ServerError, false),
            (Outcome::Refused, false),
        ] {
            let error = Error::from(Failure::new(outcome, "why"));
            assert_eq!(error.is_nothing_sent(), nothing_sent, "{outcome:?}");
        }
    }

    #[test]
    fn a_write_is_sent_again_only_if_the_first_was_certainly_not_applied() {
        for (outcome, get, put) in [
            (Outcome::SlowDown, true, true),
            (Outcome::ServerError, true, true),
            (Outcome::Unreachable, true, true),
            (Outcome::Timeout, true, false),
            (Outcome::Broken, true, false),
            (Outcome::Damaged, true, true),
            (Outcome::Refused, false, false),
            (Outcome::Conflict, false, false),
            (Outcome::Unusable, false, false),
        ] {
            let failure = Failure::new(outcome, "why");
            assert_eq!(failure.is_retryable(Request::Get), get, "{outcome:?}");
            assert_eq!(failure.is_retryable(Request::Put), put, "{outcome:?}");
        }
    }
}
