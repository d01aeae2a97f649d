//! One rule: what it matches, how often it struck, whom it holds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::{Action, Faults};
use crate::requests::{Call, Operation};

type KeyPredicate = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Which requests meet which fault.
pub struct Rule {
    operation: Option<Operation>,
    key: KeyPredicate,
    requests_max: u64,
    action: Action,
}

impl Rule {
    /// Every request for this operation meets this fault.
    #[must_use]
    pub fn on(operation: Operation, action: Action) -> Self {
        Self {
            operation: Some(operation),
            ..Self::on_any(action)
        }
    }

    /// Every request meets this fault.
    #[must_use]
    pub fn on_any(action: Action) -> Self {
        Self {
            operation: None,
            key: Box::new(|_| true),
            requests_max: u64::MAX,
            action,
        }
    }

    /// Only requests for keys that begin so. The keys are those in S3.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        self.with_key(move |key| key.starts_with(&prefix))
    }

    /// Only requests for keys of which this is true. The keys are those in S3; a request that names no
    /// key has the empty one.
    #[must_use]
    pub fn with_key(self, predicate: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            key: Box::new(predicate),
            ..self
        }
    }

    /// Only the next `requests_max` requests that match.
    #[must_use]
    pub fn next(self, requests_max: u64) -> Self {
        Self {
            requests_max,
            ..self
        }
    }

    fn matches(&self, call: &Call) -> bool {
        self.operation.is_none_or(|wanted| wanted == call.operation) && (self.key)(&call.key)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("operation", &self.operation)
            .field("requests_max", &self.requests_max)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

/// A rule in force.
#[derive(Debug)]
pub(super) struct RuleState {
    rule: Rule,
    struck: AtomicU64,
    fired: watch::Sender<u64>,
    gate: watch::Sender<Gate>,
}

/// Who may pass: those held before the last release, or everybody.
#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    releases: u64,
    is_open: bool,
}

impl RuleState {
    pub(super) fn new(rule: Rule) -> Self {
        Self {
            rule,
            struck: AtomicU64::new(0),
            fired: watch::Sender::default(),
            gate: watch::Sender::default(),
        }
    }

    /// Strikes the request if the rule matches it and is not used up. The caller holds the lock of the
    /// switchboard, so that nobody else counts.
    pub(super) fn strike(self: &Arc<Self>, call: &Call) -> Option<Strike> {
        let struck = self.struck.load(Ordering::Relaxed);
        if struck == self.rule.requests_max || !self.rule.matches(call) {
            return None;
        }
        self.struck.store(struck + 1, Ordering::Relaxed);
        Some(Strike {
            state: self.clone(),
        })
    }

    /// Lets everybody pass, now and later.
    pub(super) fn open(&self) {
        self.gate.send_modify(|gate| gate.is_open = true);
    }
}

/// A request that is to meet a fault.
pub(crate) struct Strike {
    state: Arc<RuleState>,
}

impl Strike {
    pub(crate) fn action(&self) -> &Action {
        &self.state.rule.action
    }

    /// Counts the fault as fired: its effect begins now. The hold is for those that wait.
    pub(crate) fn land(self) -> Hold {
        let gate = self.state.gate.subscribe();
        let releases = gate.borrow().releases;
        self.state.fired.send_modify(|fired| *fired += 1);
        Hold { gate, releases }
    }
}

/// A request that is held.
pub(crate) struct Hold {
    gate: watch::Receiver<Gate>,
    releases: u64,
}

impl Hold {
    /// Returns when the request may go on: at the next release, or when the rule is gone.
    pub(crate) async fn released(mut self) {
        let may_pass = |gate: &Gate| gate.is_open || gate.releases > self.releases;
        // An error says that the rule is gone.
        let _ = self.gate.wait_for(may_pass).await;
    }
}

/// A rule in force, in the hands of a test; dropping it removes the rule.
#[derive(Debug)]
pub struct FaultHandle {
    faults: Faults,
    state: Arc<RuleState>,
}

impl FaultHandle {
    pub(super) fn new(faults: Faults, state: Arc<RuleState>) -> Self {
        Self { faults, state }
    }

    /// How often the fault has had its effect: the request is stalled, its answer is held, its failure is
    /// about to be answered.
    #[must_use]
    pub fn fired(&self) -> u64 {
        *self.state.fired.borrow()
    }

    /// Waits until the fault has had its effect this often.
    pub async fn wait_fired(&self, times: u64) {
        let mut fired = self.state.fired.subscribe();
        let enough = fired.wait_for(|fired| *fired >= times).await;
        enough.expect("the sender lives in the handle");
    }

    /// Lets every request go on that is held now. Later ones are held again.
    pub fn release(&self) {
        self.state.gate.send_modify(|gate| gate.releases += 1);
    }

    /// Removes the rule and lets every request go on that it holds.
    pub fn remove(self) {
        drop(self);
    }
}

impl Drop for FaultHandle {
    fn drop(&mut self) {
        self.faults.remove(&self.state);
    }
}
