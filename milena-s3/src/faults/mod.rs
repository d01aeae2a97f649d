//! The switchboard: what goes wrong, for which requests, how often.
//!
//! Knows nothing of how a fault is done on the wire; that is `endpoint.rs`. To add a fault: an
//! [`Action`] here, its doing there. Invariant: once [`FaultHandle::wait_fired`] returned, the fault has
//! had its effect, so a test that goes on from there has forced the order of things.

mod rule;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;

use crate::requests::Call;
use rule::RuleState;
pub use rule::{FaultHandle, Rule};
pub(crate) use rule::{Hold, Strike};

/// What happens to a request that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The failure is answered; nothing else is done.
    Fail(Failure),
    /// The request waits this long before it is done.
    Delay(Duration),
    /// The request waits until it is released, before anything of it is done.
    Stall,
    /// The request is done, and its answer waits until it is released: a get has read the value that
    /// there was, a put or delete is applied.
    HoldAnswer,
    /// The request is done; its answer stops after this many bytes of the body until it is released.
    /// The last byte is always held back; an answer without a body is held whole.
    StallBody {
        /// Bytes of the body that are sent first.
        after_bytes: u64,
    },
    /// The request is done; the connection is closed after this many bytes of the body. The last byte is
    /// never sent; an answer without a body is not sent at all.
    Truncate {
        /// Bytes of the body that are sent, at most: the last of many may be lost with the connection.
        after_bytes: u64,
    },
    /// As [`Action::Truncate`], but the connection is reset.
    ResetBody {
        /// Bytes of the body that are sent, at most.
        after_bytes: u64,
    },
    /// The request is done; its answer's body comes a few bytes at a time. An answer without a body comes at
    /// once.
    Trickle {
        /// Bytes at a time.
        bytes: usize,
        /// The pause before each.
        every: Duration,
    },
    /// The request is done; the first byte of its answer's body is another one than was put.
    Damage,
    /// Bytes that are not HTTP are answered and the connection is closed; nothing of the request is done.
    Garbage,
    /// The connection is closed without an answer; nothing of the request is done.
    Reset,
    /// The request is done and answered; then the connection is closed without having been announced so.
    CloseAfterAnswer,
    /// The request is received, and done when it is released: also if its caller has gone by then.
    ApplyLate,
    /// The request is done; the failure is answered, so the client cannot know.
    ApplyThenFail(Failure),
    /// The request is done; the connection is closed without an answer.
    ApplyThenReset,
}

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status.
    pub status: StatusCode,
    /// S3's code, as in `SlowDown`.
    pub code: String,
    /// The text for people.
    pub message: String,
    /// The header `Retry-After`, in whole seconds.
    pub retry_after: Option<Duration>,
    /// Whether the answer is a page for people, as a proxy's is, with no S3 code to be read from it.
    pub is_page: bool,
}

impl Failure {
    /// A failure with this status and S3 code.
    #[must_use]
    pub fn new(status: StatusCode, code: &str) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: "injected by the test".to_owned(),
            retry_after: None,
            is_page: false,
        }
    }

    /// 502 with an HTML page, as something on the way to S3 answers.
    #[must_use]
    pub fn bad_gateway() -> Self {
        Self {
            is_page: true,
            ..Self::new(StatusCode::BAD_GATEWAY, "")
        }
    }

    /// 500 `InternalError`.
    #[must_use]
    pub fn internal_error() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
    }

    /// 503 `SlowDown`.
    #[must_use]
    pub fn slow_down() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")
    }

    /// 403 `AccessDenied`.
    #[must_use]
    pub fn access_denied() -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied")
    }

    /// The same with the header `Retry-After`.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }
}

/// The faults of one server; cheap to clone, used while the server runs.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Arc<Mutex<Vec<Arc<RuleState>>>>,
}

impl Faults {
    /// Puts a rule in force until its handle is dropped. Of several rules that match a request, the one
    /// injected last acts, alone.
    #[must_use = "the rule is removed when its handle is dropped"]
    pub fn inject(&self, rule: Rule) -> FaultHandle {
        let state = Arc::new(RuleState::new(rule));
        self.lock().push(state.clone());
        FaultHandle::new(self.clone(), state)
    }

    /// The fault for a request, if a rule has one.
    pub(crate) fn strike(&self, call: &Call) -> Option<Strike> {
        let rules = self.lock();
        rules.iter().rev().find_map(|rule| rule.strike(call))
    }

    /// Removes every rule and lets go of every request that is held.
    pub(crate) fn clear(&self) {
        let rules = std::mem::take(&mut *self.lock());
        rules.iter().for_each(|rule| rule.open());
    }

    fn remove(&self, state: &Arc<RuleState>) {
        self.lock().retain(|rule| !Arc::ptr_eq(rule, state));
        state.open();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<RuleState>>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::Operation;

    fn call(operation: Operation, key: &str) -> Call {
        Call {
            operation,
            key: key.to_owned(),
        }
    }

    fn get(key: &str) -> Call {
        call(Operation::Get, key)
    }

    #[test]
    fn a_rule_strikes_what_it_matches_and_nothing_else() {
        let faults = Faults::default();
        let gets_of_a = Rule::on(Operation::Get, Action::Reset).with_prefix("a/");
        let _rule = faults.inject(gets_of_a);
        assert!(faults.strike(&get("a/1")).is_some());
        assert!(faults.strike(&get("b/1")).is_none());
        assert!(faults.strike(&call(Operation::Put, "a/1")).is_none());

        let any = faults.inject(Rule::on_any(Action::Stall));
        assert!(faults.strike(&call(Operation::List, "")).is_some());
        any.remove();
        assert!(faults.strike(&call(Operation::List, "")).is_none());

        let odd_keys = Rule::on_any(Action::Stall).with_key(|key| key.len() % 2 == 1);
        let _odd = faults.inject(odd_keys);
        assert!(faults.strike(&get("odd")).is_some());
        assert!(faults.strike(&get("even")).is_none());
    }

    #[test]
    fn a_rule_for_the_next_n_passes_over_what_comes_after() {
        let faults = Faults::default();
        let _rest = faults.inject(Rule::on_any(Action::Stall));
        let _two = faults.inject(Rule::on_any(Action::Reset).next(2));
        let actions: Vec<_> = (0..3)
            .map(|_| faults.strike(&get("k")).unwrap().action().clone())
            .collect();
        assert_eq!(actions, [Action::Reset, Action::Reset, Action::Stall]);
    }

    #[test]
    fn dropping_the_handle_removes_the_rule() {
        let faults = Faults::default();
        let rule = faults.inject(Rule::on_any(Action::Reset));
        assert!(faults.strike(&get("k")).is_some());
        drop(rule);
        assert!(faults.strike(&get("k")).is_none());
    }

    #[tokio::test]
    async fn a_hold_ends_with_its_release_and_the_next_one_holds_again() {
        let faults = Faults::default();
        let rule = faults.inject(Rule::on_any(Action::Stall));
        let first = faults.strike(&get("k")).unwrap().land();
        rule.wait_fired(1).await;
        rule.release();
        first.released().await;

        let second = faults.strike(&get("k")).unwrap().land();
        assert_eq!(rule.fired(), 2);
        let still_held = tokio::time::timeout(Duration::ZERO, second.released());
        still_held.await.expect_err("released before it was held");
    }

    #[tokio::test]
    async fn removing_a_rule_releases_what_it_holds_or_is_about_to_hold() {
        let faults = Faults::default();
        let rule = faults.inject(Rule::on_any(Action::Stall));
        let held = faults.strike(&get("k")).unwrap().land();
        let struck = faults.strike(&get("k")).unwrap();
        rule.remove();
        held.released().await;
        struck.land().released().await;
    }
}
