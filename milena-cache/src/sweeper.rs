//! Removes what has expired in S3: objects that reads have met, and, with `SWEEP_INTERVAL`, all others.
//!
//! Invariants: every removal goes through `Operation`, which keeps writers of the key out; nothing here delays
//! a read; what is under way at once is bounded.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline};
use milena_server::metrics::registered;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Background;
use crate::error::Result;
use crate::metrics::{Metrics, counters};
use crate::operation::Operation;
use crate::store::s3::{Examined, Lease, LeaseAnswer, S3Store, Sweep};

/// Removals at once of objects that reads have met.
const REMOVALS_MAX: usize = 4;

/// Objects that a sweep looks at at once: a small share of what S3 is given.
const SWEEP_CONCURRENCY: usize = 8;

/// How long a sweep holds its lease without extending it: after a crash others wait so long.
const LEASE_TIME: Duration = Duration::from_secs(60);

/// How long one request about the lease may take.
const LEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// A node that was just started waits a random part of this before its first sweep.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// Between two looks at a lease that others hold, at least.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Removes the objects of `expired`, which reads have met, until `stop`.
async fn remove_what_reads_met(
    mut expired: mpsc::Receiver<EntryKey>,
    operation: Operation,
    stop: CancellationToken,
) {
    let keys = stream::poll_fn(move |context| expired.poll_recv(context));
    let removing = keys.for_each_concurrent(REMOVALS_MAX, |key| {
        let operation = operation.clone();
        async move {
            // Without success the object stays a miss, and its next read tries again.
            if let Err(error) = operation.remove_expired(&key).await {
                tracing::debug!(?key, %error, "an expired object was not removed");
            }
        }
    });
    stop.run_until_cancelled(removing).await;
}

/// Removes what has expired.
pub(crate) struct Sweeper {
    pub(crate) s3: Arc<S3Store>,
    pub(crate) operation: Operation,
    /// From the start of one sweep to that of the next one, whichever node makes it (`SWEEP_INTERVAL`); `None`:
    /// only what reads have met is removed.
    pub(crate) interval: Option<Duration>,
    pub(crate) metrics: SweepMetrics,
    pub(crate) clock: Clock,
}

/// How a sweep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Done,
    /// Another node has taken the lease.
    LeaseLost,
}

impl Sweeper {
    /// Removes what reads have met, and sweeps if it is to.
    pub(crate) fn spawn(self, upkeep: &Background) {
        let expired = self.s3.expired_keys();
        upkeep.spawn(|stop| remove_what_reads_met(expired, self.operation.clone(), stop));
        if let Some(interval) = self.interval {
            upkeep.spawn(|stop| self.run(interval, stop));
        }
    }

    /// Sweeps the S3 bucket again and again.
    async fn run(self, interval: Duration, stop: CancellationToken) {
        let holder = format!("{:016x}", self.clock.random_u64());
        let rounds = async {
            let mut pause = self.clock.jitter(FIRST_PAUSE.min(interval));
            loop {
                tokio::time::sleep(pause).await;
                pause = self.round(&holder, interval).await.unwrap_or_else(|error| {
                    self.metrics.failed.inc();
                    tracing::warn!(%error, "the sweep of S3 failed");
                    interval
                });
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    /// Sweeps if it is time and nobody else does; gives how long to wait before the next round.
    async fn round(&self, holder: &str, interval: Duration) -> Result<Duration> {
        let (begun, deadline) = (self.clock.now(), self.deadline());
        if !self.s3.minds_conditions(deadline).await? {
            tracing::warn!(
                "this S3 does not mind If-Match of a DELETE, so the node removes nothing that has expired; \
                 `milena sweep --unconditional` can, while nobody writes"
            );
            return Ok(interval);
        }
        let until = begun.after(LEASE_TIME);
        let mut lease = match self.s3.take_lease(holder, until, deadline).await? {
            LeaseAnswer::Taken(lease) => lease,
            LeaseAnswer::HeldUntil(end) => {
                self.metrics.held.inc();
                // Nodes that wait for the same moment do not come at once.
                let pause = end.since(begun).clamp(PAUSE_MIN, interval.max(PAUSE_MIN));
                return Ok(pause + self.clock.jitter(PAUSE_MIN));
            }
        };
        let ended = tokio::select! {
            swept = self.sweep() => swept.map(|()| Ended::Done),
            () = self.keep(&mut lease) => Ok(Ended::LeaseLost),
        };
        if let Ok(Ended::LeaseLost) = ended {
            self.metrics.failed.inc();
            tracing::warn!("the lease of the sweep of S3 was lost; the sweep is given up");
            return Ok(interval);
        }
        // Also after a failure: the others need not meet it too.
        let next = begun.after(interval).max(self.clock.now());
        self.s3
            .extend_lease(&mut lease, next, self.deadline())
            .await?;
        ended?;
        self.metrics.done.inc();
        let seconds = i64::try_from(self.clock.now().0 / 1_000).unwrap_or(i64::MAX);
        self.metrics.last_done.set(seconds);
        Ok(next.since(self.clock.now()).max(PAUSE_MIN))
    }

    async fn sweep(&self) -> Result<()> {
        let how = Sweep {
            concurrency: SWEEP_CONCURRENCY,
            expired_for: Sweep::EXPIRED_FOR,
        };
        let remove = |key| {
            let operation = self.operation.clone();
            async move { operation.remove_expired(&key).await }
        };
        let tell = |examined: &Examined| self.metrics.count(examined);
        self.s3.sweep(how, remove, tell).await
    }

    /// Keeps the lease; returns when it is lost.
    async fn keep(&self, lease: &mut Lease) {
        loop {
            tokio::time::sleep(LEASE_TIME / 3).await;
            let until = self.clock.now().after(LEASE_TIME);
            match self.s3.extend_lease(lease, until, self.deadline()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) if lease.until <= self.clock.now() => return,
                Err(error) => {
                    tracing::debug!(%error, "the lease of the sweep was not extended");
                }
            }
        }
    }

    fn deadline(&self) -> Deadline {
        self.clock.deadline_in(LEASE_TIMEOUT)
    }
}

/// The metrics of sweeps.
pub(crate) struct SweepMetrics {
    done: IntCounter,
    failed: IntCounter,
    held: IntCounter,
    last_done: IntGauge,
    live: IntCounter,
    removed: IntCounter,
    gone: IntCounter,
    unknown: IntCounter,
}

impl SweepMetrics {
    /// All at zero, shown among `metrics`.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let registry = metrics.registry();
        let sweeps = counters(
            registry,
            "milena_sweeps_total",
            "Sweeps of S3 by how they ended; held: another one was going on or had just been",
            &["result"],
        );
        let objects = counters(
            registry,
            "milena_sweep_objects_total",
            "Objects that sweeps of S3 looked at, by what became of them",
            &["result"],
        );
        let last_done = IntGauge::new(
            "milena_sweep_last_done_timestamp_seconds",
            "When this node last completed a sweep of S3; 0: not since its start",
        );
        Self {
            done: sweeps.with_label_values(&["done"]),
            failed: sweeps.with_label_values(&["failed"]),
            held: sweeps.with_label_values(&["held"]),
            last_done: registered(registry, last_done),
            live: objects.with_label_values(&["live"]),
            removed: objects.with_label_values(&["removed"]),
            gone: objects.with_label_values(&["gone"]),
            unknown: objects.with_label_values(&["failed"]),
        }
    }

    fn count(&self, examined: &Examined) {
        match examined {
            Examined::Live => self.live.inc(),
            Examined::Removed => self.removed.inc(),
            Examined::Gone => self.gone.inc(),
            Examined::Failed(_) => self.unknown.inc(),
        }
    }
}
