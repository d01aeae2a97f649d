//! The tiers in order, and the three verbs over them.
//!
//! A get asks the tiers from the fastest to the durable one and promotes what it finds; a put or delete
//! goes to the durable tier first and then to the local copies, unless it is written back. Invariants:
//!
//! - A caller that was answered sees its write from then on: a write is answered only after every tier
//!   holds it or has dropped what it held before.
//! - A write whose outcome in the durable tier is unknown drops the local copies, so that the next get
//!   asks the durable tier. One that was never sent leaves them, so that an outage does not empty them.
//! - With write-back the disk answers first and the durable tier follows; until it has, it is not asked for that
//!   key (`write_back.rs`, `upload.rs`).
//! - A fill never overwrites a newer write and never revives a delete (`key_lock.rs`), and a miss is never
//!   remembered over one (`misses.rs`).
//!
//! Knows stores only as [`Store`]; knows no wire, no paths, no S3.

mod delete;
mod expire;
mod get;
mod key_lock;
mod life;
mod misses;
mod put;
mod revalidate;
mod single_flight;
#[cfg(test)]
mod tests;
mod to_the_end;
mod upload;
mod write_back;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::Either;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use self::key_lock::{KeyLocks, Stamp, WriteGuard};
pub use self::life::{LIFE_MAX, Lives, Scope};
use self::misses::Misses;
pub use self::put::PutOptions;
use self::single_flight::SingleFlight;
use self::to_the_end::ToTheEnd;
use self::write_back::DirtyTier;
pub use self::write_back::{Ack, WriteBack, WriteMode};
use crate::error::{Cause, Error, Result};
use crate::metrics::{Metrics, Op, TierMetrics};
use crate::store::{Entry, Store};

/// Gets that missed memory, and writes, that may wait at once; further ones are refused. A bound for the memory
/// that waiting takes, far above what a node gets done.
const WAITING_MAX: usize = 16_384;

/// When somebody who was refused for that may come back.
const WAITING_RETRY_AFTER: Duration = Duration::from_millis(100);

/// How much longer than its deadline a caller waits for a write that says itself why it was not done in time.
const LAST_WORD: Duration = Duration::from_millis(20);

/// How long the local tiers have to take or drop a copy. Not the caller's deadline: when that has passed
/// waiting for S3, the copies still have to be brought in line.
const COPY_TIMEOUT: Duration = Duration::from_secs(5);

/// A store and its place in the order.
pub struct Tier {
    name: &'static str,
    store: Arc<dyn Store>,
    metrics: TierMetrics,
}

/// What the operations are told by the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long entries and their copies live.
    pub lives: Lives,
    /// How long after that a copy may still be served if the durable tier fails (`STALE_IF_ERROR`).
    pub stale_life: Duration,
    /// How long a miss may be answered without asking the durable tier again (`NEGATIVE_TTL`).
    pub miss_life: Duration,
    /// How long the durable tier may take for one operation (`S3_TIMEOUT`).
    pub durable_timeout: Duration,
}

/// The tiers in order, and the three verbs over them; cheap to clone.
#[derive(Clone)]
pub struct Operation(Arc<Shared>);

struct Shared {
    /// The tiers that hold copies, fastest first.
    copies: Vec<Tier>,
    /// What keeps writes that the durable tier does not have yet.
    dirty: Option<DirtyTier>,
    /// The last tier, which holds the truth but for what is dirty.
    durable: Tier,
    limits: Limits,
    clock: Clock,
    metrics: Arc<Metrics>,
    keys: Arc<KeyLocks>,
    misses: Misses,
    loads: SingleFlight<(EntryKey, Stamp), Result<Option<Entry>>>,
    /// Room for those that wait for more than memory.
    waiting: Arc<Semaphore>,
    runtime: Handle,
    tasks: TaskTracker,
    uploads: TaskTracker,
}

impl Tier {
    /// A tier that is called `name` in metrics and in the log.
    #[must_use]
    pub fn new(name: &'static str, store: Arc<dyn Store>, metrics: &Metrics) -> Self {
        Self {
            name,
            store,
            metrics: metrics.tier(name),
        }
    }
}

/// A write that has its key.
struct KeyWrite {
    key: EntryKey,
    /// What is put; `None` deletes.
    entry: Option<Entry>,
    ack: Ack,
    deadline: Deadline,
    _waiting: OwnedSemaphorePermit,
    writing: WriteGuard,
}

impl KeyWrite {
    fn op(&self) -> Op {
        op_of(self.entry.as_ref())
    }
}

fn op_of(entry: Option<&Entry>) -> Op {
    entry.map_or(Op::Delete, |_| Op::Put)
}

impl Operation {
    /// Operations over `copies`, fastest first, and `durable`. If one keeps what is dirty, it is the last of
    /// `copies`. What waits for a tier runs on `runtime`, but for a dirty write that its caller waits for.
    #[must_use]
    pub fn new(
        copies: Vec<Tier>,
        write_back: Option<WriteBack>,
        durable: Tier,
        limits: Limits,
        clock: Clock,
        metrics: Arc<Metrics>,
        runtime: Handle,
    ) -> Self {
        let tasks = TaskTracker::new();
        let loads = SingleFlight::new(runtime.clone(), tasks.clone());
        let keys = KeyLocks::new();
        let waiting = Arc::new(Semaphore::new(WAITING_MAX));
        Self(Arc::new(Shared {
            copies,
            dirty: write_back.map(DirtyTier::from),
            durable,
            limits,
            clock,
            metrics,
            keys,
            misses: Misses::new(limits.miss_life),
            loads,
            waiting,
            runtime,
            tasks,
            uploads: TaskTracker::new(),
        }))
    }

    /// Waits until nothing is under way any more, not even what its caller has left.
    pub async fn finish(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Makes `entry` the value of `key`, or deletes it if there is none. A write whose caller leaves before it has
    /// the key is not made: it could otherwise come after one that its caller begins later.
    async fn write(
        &self,
        key: EntryKey,
        entry: Option<Entry>,
        ack: Ack,
        deadline: Deadline,
    ) -> Result<()> {
        let (op, begun) = (op_of(entry.as_ref()), self.0.clock.monotonic());
        let waiting = self.0.wait_turn()?;
        let written = match self.0.write_lock(&key, deadline).await {
            Ok(writing) => {
                let write = KeyWrite {
                    key,
                    entry,
                    ack,
                    deadline,
                    _waiting: waiting,
                    writing,
                };
                self.to_the_end(write).await
            }
            Err(late) => Err(late),
        };
        self.0.metrics.observe(op, self.0.clock.monotonic() - begun);
        written
    }

    /// Runs a write to its end: here as far as nothing but the disk is waited for, else in the background. The caller
    /// waits until its deadline, and a moment for what is said of it.
    fn to_the_end(&self, write: KeyWrite) -> impl Future<Output = Result<()>> + use<> {
        let last_word = write.deadline.instant() + LAST_WORD;
        let shared = Arc::clone(&self.0);
        let end = match shared.begin_dirty(&write) {
            Some(begun) => {
                let end = self.0.tasks.track_future(shared.end_dirty(write, begun));
                Either::Left(ToTheEnd::new(end, self.0.runtime.clone()))
            }
            None => Either::Right(shared.in_background(write)),
        };
        let late = |_| {
            Err(Error::S3Error(Cause::new(
                "the write was not done by the deadline; it may be yet",
            )))
        };
        tokio::time::timeout_at(last_word, end).map(move |in_time| in_time.unwrap_or_else(late))
    }
}

impl Shared {
    /// When the durable tier's answer is due: as the caller wants it, or within `S3_TIMEOUT`.
    fn durable_deadline(&self, caller: Option<Deadline>) -> Deadline {
        let own = self.clock.deadline_in(self.limits.durable_timeout);
        caller.map_or(own, |caller| caller.min(own))
    }

    /// Room to wait for more than memory.
    fn wait_turn(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.waiting)
            .try_acquire_owned()
            .map_err(|_| Error::RateLimitExceeded {
                limit: format!("{WAITING_MAX} operations waiting for disk or S3"),
                retry_after: WAITING_RETRY_AFTER,
            })
    }

    /// Runs a write to its end in the background, also if this is dropped.
    fn in_background(self: Arc<Self>, write: KeyWrite) -> impl Future<Output = Result<()>> + use<> {
        let (tasks, runtime) = (self.tasks.clone(), self.runtime.clone());
        let written = tasks.spawn_on(async move { self.write(write).await }, &runtime);
        let panicked = |panic| {
            Err(Error::InternalError(Cause::with_source(
                "a write panicked",
                panic,
            )))
        };
        written.map(move |written| written.unwrap_or_else(panicked))
    }

    /// The right to write `key`. Until it is given back no miss of it is remembered.
    async fn write_lock(&self, key: &EntryKey, deadline: Deadline) -> Result<WriteGuard> {
        let writing = self.keys.write(key, deadline).await.ok_or_else(|| {
            Error::S3Error(Cause::new(
                "an earlier write to this key is still waiting for S3",
            ))
        })?;
        self.misses.forget(key);
        Ok(writing)
    }

    /// Puts a copy into one tier. The caller holds the key.
    async fn copy_to(&self, tier: &Tier, key: &EntryKey, copy: &Entry) -> Result<()> {
        let deadline = self.clock.deadline_in(COPY_TIMEOUT);
        self.timed(Op::Put, tier, tier.store.put(key, copy.clone(), deadline))
            .await
            .map(drop)
    }

    /// Removes all copies, of which none is dirty; tries every tier, whatever fails. The slowest tier goes first, so that the
    /// fastest, which is asked first, is the last to change. The caller holds the key.
    async fn forget(&self, key: &EntryKey) -> Result<()> {
        let mut result = Ok(());
        for tier in self.copies.iter().rev() {
            if let Err(error) = self.forget_in(tier, key).await {
                result = Err(error);
            }
        }
        result
    }

    async fn forget_in(&self, tier: &Tier, key: &EntryKey) -> Result<()> {
        let deadline = self.clock.deadline_in(COPY_TIMEOUT);
        let delete = tier.store.delete(key, deadline);
        self.timed(Op::Delete, tier, delete).await?;
        tier.metrics.invalidations.inc();
        Ok(())
    }

    /// Awaits one call to a tier; notes how long it took and whether it failed.
    async fn timed<T>(
        &self,
        op: Op,
        tier: &Tier,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let begun = self.clock.monotonic();
        let result = call.await;
        tier.metrics.observe(op, self.clock.monotonic() - begun);
        if let Err(error) = &result {
            tier.metrics.failures.inc();
            tracing::debug!(tier = tier.name, %error, "a call to a tier failed");
        }
        result
    }
}
