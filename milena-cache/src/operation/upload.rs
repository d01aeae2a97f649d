//! Uploads: what is dirty goes to the durable tier, the oldest first, several at a time, of each key one.
//!
//! While uploads fail they are tried one at a time and ever more seldom: an outage costs it nothing. Invariant: a write
//! is called clean only after the durable tier has said that it has it.

use std::sync::Arc;
use std::time::Duration;

use milena_cluster::key::EntryKey;
use milena_server::clock::Deadline;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::write_back::DirtyTier;
use super::{Operation, Shared};
use crate::error::Result;
use crate::metrics::Op;
use crate::store::write_back::{DirtyStats, Unsent, UnsentWrite};

/// Uploads at once. The S3 tier has its own limit, which it adapts.
const UPLOADS_MAX: u32 = 64;

/// The wait after a failed upload is drawn from zero to this; doubled for each further one.
const FAILURE_WAIT: Duration = Duration::from_millis(100);

/// And never to more than this.
const FAILURE_WAIT_MAX: Duration = Duration::from_secs(2);

/// How often [`FAILURE_WAIT`] is doubled at most.
const DOUBLINGS_MAX: u32 = 5;

/// How the uploads go.
struct Pace {
    slots: Arc<Semaphore>,
    state: Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    /// In a row.
    count: u32,
    resume_at: Option<Instant>,
}

impl Operation {
    /// Uploads what is dirty, and what becomes so, until `stop`; then waits for those under way.
    pub async fn upload(&self, stop: CancellationToken) {
        let Some(dirty) = &self.0.dirty else {
            return;
        };
        let pace = Arc::new(Pace {
            slots: Arc::new(Semaphore::new(UPLOADS_MAX as usize)),
            state: Mutex::default(),
        });
        stop.run_until_cancelled(self.dispatch(dirty, &pace)).await;
        // The slots are never closed.
        let _ended = pace.slots.acquire_many(UPLOADS_MAX).await;
    }

    /// How much the durable tier does not have yet.
    #[must_use]
    pub fn dirty_stats(&self) -> DirtyStats {
        let dirty = self.0.dirty.as_ref();
        dirty
            .map(|dirty| dirty.store.dirty_stats())
            .unwrap_or_default()
    }

    /// Waits until the durable tier has everything.
    pub async fn all_clean(&self) {
        if let Some(dirty) = &self.0.dirty {
            dirty.store.all_clean().await;
        }
    }

    /// Waits until the durable tier has everything, until `deadline` at most; gives what it does not have then.
    pub async fn flush(&self, deadline: Deadline) -> DirtyStats {
        // Whether it was in time is seen in what is left.
        let _in_time = tokio::time::timeout_at(deadline.instant(), self.all_clean()).await;
        self.dirty_stats()
    }

    async fn dispatch(&self, dirty: &DirtyTier, pace: &Arc<Pace>) {
        loop {
            let slots = pace.turn().await;
            let key = loop {
                match dirty.store.take_dirty() {
                    Some(key) => break key,
                    None => dirty.store.dirty_changed().await,
                }
            };
            let (shared, pace) = (Arc::clone(&self.0), Arc::clone(pace));
            let upload = async move {
                shared.upload_one(&key, &pace).await;
                drop(slots);
            };
            self.0.uploads.spawn_on(upload, &self.0.runtime);
        }
    }
}

impl Pace {
    /// Waits until a further upload may begin. While they fail it is the only one.
    async fn turn(&self) -> OwnedSemaphorePermit {
        loop {
            let (failures, resume_at) = {
                let state = self.state.lock();
                (state.count, state.resume_at)
            };
            if let Some(resume_at) = resume_at {
                tokio::time::sleep_until(resume_at).await;
            }
            let wanted = if failures > 0 { UPLOADS_MAX } else { 1 };
            let slots = Arc::clone(&self.slots).acquire_many_owned(wanted).await;
            // Those that were under way have ended meanwhile.
            if wanted == 1 || self.state.lock().count >= failures {
                return slots.expect("nobody closes it");
            }
        }
    }

    fn succeeded(&self) {
        *self.state.lock() = Failures::default();
    }

    /// Says whether this is the first failure in a row.
    fn failed(&self, shared: &Shared) -> bool {
        let now = shared.clock.monotonic();
        let mut state = self.state.lock();
        // What failed together counts as one.
        if state.resume_at.is_some_and(|resume_at| now < resume_at) {
            return false;
        }
        let doubled = FAILURE_WAIT * 2_u32.pow(state.count.min(DOUBLINGS_MAX));
        let wait = shared.clock.jitter(doubled.min(FAILURE_WAIT_MAX));
        state.resume_at = Some(now + wait);
        state.count += 1;
        state.count == 1
    }
}

impl Shared {
    /// Uploads the dirty write of `key`, which was taken.
    async fn upload_one(&self, key: &EntryKey, pace: &Pace) {
        let Some(dirty) = &self.dirty else {
            return;
        };
        let uploaded = match dirty.store.unsent(key).await {
            Ok(None) => {
                dirty.store.not_uploaded(key);
                return;
            }
            Ok(Some(unsent)) => self.send(dirty, key, unsent).await,
            Err(error) => Err(error),
        };
        let metrics = &self.metrics.write_back;
        match uploaded {
            Ok(()) => {
                metrics.uploaded.inc();
                pace.succeeded();
            }
            Err(error) => {
                metrics.not_uploaded.inc();
                if pace.failed(self) {
                    tracing::warn!(%error, "an upload to S3 failed; it is tried again");
                }
                dirty.store.not_uploaded(key);
            }
        }
    }

    async fn send(&self, dirty: &DirtyTier, key: &EntryKey, unsent: Unsent) -> Result<()> {
        let (durable, deadline) = (&self.durable, self.durable_deadline(None));
        let entry = match unsent.write {
            UnsentWrite::Put(entry) => Some(entry),
            UnsentWrite::Delete => None,
            UnsentWrite::Lost => {
                self.metrics.write_back.lost.inc();
                tracing::error!(
                    ?key,
                    "a value that S3 did not have is damaged on disk: it is lost, and what S3 has of its key, \
                     which is older, is deleted"
                );
                None
            }
        };
        match entry {
            Some(mut entry) => {
                entry.fresh_until = None;
                let put = durable.store.put(key, entry, deadline);
                self.timed(Op::Put, durable, put).await.map(drop)?;
            }
            None => {
                let delete = durable.store.delete(key, deadline);
                self.timed(Op::Delete, durable, delete).await?;
            }
        }
        if let Err(error) = dirty.store.uploaded(key, unsent.id).await {
            tracing::debug!(%error, "an upload could not be marked");
        }
        Ok(())
    }
}
