//! Room among what is dirty: how much there may be, and for how long the oldest may have been. Whoever wants to add
//! to it waits here.
//!
//! Knows nothing of records. Invariant: what is dirty and what is promised do not pass the limit, unless the store
//! was opened with more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use milena_server::clock::Deadline;
use tokio::sync::Mutex;
use tokio::time::timeout_at;

use super::config::DiskConfig;
use super::dirty::DirtyRecords;
use super::footer::FOOTER_DIRTY_BYTES;
use crate::error::{Error, Result};

/// When somebody who found no room may come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The part of a segment that a footer's list of dirty records may take.
const LIST_PART_MAX: u64 = 4;

/// See the file's head.
pub(super) struct DirtyRoom {
    dirty: Arc<DirtyRecords>,
    bytes_max: u64,
    age_max: Duration,
    /// What each counts for at least: so that there are no more than a footer can list.
    entry_bytes_min: u64,
    promised: Arc<AtomicU64>,
    /// Whoever waits, one after the other.
    turn: Mutex<()>,
}

/// Room for one write. Given back when it is dropped: then the write is dirty, and counts as that, or is not.
pub(super) struct Promise {
    pub(super) bytes: u64,
    promised: Arc<AtomicU64>,
    dirty: Arc<DirtyRecords>,
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.bytes, Ordering::AcqRel);
        self.dirty.has_shrunk.notify_one();
    }
}

impl DirtyRoom {
    pub(super) fn new(config: &DiskConfig, dirty: Arc<DirtyRecords>) -> Self {
        Self {
            dirty,
            bytes_max: config.dirty_bytes_max,
            age_max: config.dirty_age_max,
            entry_bytes_min: entry_bytes_min(config),
            promised: Arc::default(),
            turn: Mutex::default(),
        }
    }

    /// Waits for room for a write of so many bytes.
    ///
    /// # Errors
    /// `RateLimitExceeded` when there is none by `deadline`; at once if there never will be.
    pub(super) async fn admit(&self, bytes: u64, deadline: Deadline) -> Result<Promise> {
        let bytes = self.counted(bytes);
        if bytes > self.bytes_max {
            return Err(self.full());
        }
        let admitted = async {
            let _turn = self.turn.lock().await;
            loop {
                let shrunk = self.dirty.has_shrunk.notified();
                if let Some(promise) = self.try_admit(bytes) {
                    return promise;
                }
                shrunk.await;
            }
        };
        let admitted = timeout_at(deadline.instant(), admitted).await;
        admitted.map_err(|_| self.full())
    }

    /// The same if there is room now, and nobody waits for it.
    pub(super) fn admit_now(&self, bytes: u64) -> Option<Promise> {
        let _turn = self.turn.try_lock().ok()?;
        self.try_admit(self.counted(bytes))
    }

    fn counted(&self, bytes: u64) -> u64 {
        bytes.max(self.entry_bytes_min)
    }

    /// The one who asks has the turn: nobody else adds to what is promised.
    fn try_admit(&self, bytes: u64) -> Option<Promise> {
        let stats = self.dirty.stats();
        let is_too_old = stats.oldest.is_some_and(|age| age > self.age_max);
        let promised = self.promised.load(Ordering::Acquire);
        if is_too_old || stats.bytes + promised + bytes > self.bytes_max {
            return None;
        }
        self.promised.fetch_add(bytes, Ordering::AcqRel);
        Some(Promise {
            bytes,
            promised: Arc::clone(&self.promised),
            dirty: Arc::clone(&self.dirty),
        })
    }

    fn full(&self) -> Error {
        let Self {
            bytes_max, age_max, ..
        } = self;
        Error::RateLimitExceeded {
            limit: format!(
                "{bytes_max} bytes (WRITE_BACK_MAX_BYTES) or {} s (WRITE_BACK_MAX_AGE) of writes that S3 does not \
                 have yet",
                age_max.as_secs()
            ),
            retry_after: RETRY_AFTER,
        }
    }
}

/// What a dirty record counts for at least.
pub(super) fn entry_bytes_min(config: &DiskConfig) -> u64 {
    let listed_max = u64::from(config.segment_bytes) / LIST_PART_MAX / FOOTER_DIRTY_BYTES as u64;
    config.dirty_bytes_max.div_ceil(listed_max.max(1))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use milena_cluster::key::EntryKey;
    use milena_server::clock::Clock;

    use super::super::config::DiskSync;
    use super::super::dirty::{NewDirty, what};
    use super::super::format::{SegmentId, Until};
    use super::super::index::Location;
    use super::*;

    fn room(clock: &Clock) -> (DirtyRoom, Arc<DirtyRecords>) {
        let config = DiskConfig {
            dirty_age_max: Duration::from_secs(60),
            ..DiskConfig::new(PathBuf::new(), 1 << 30, DiskSync::Os, String::new())
        };
        let dirty = Arc::new(DirtyRecords::new(clock.clone()));
        (DirtyRoom::new(&config, Arc::clone(&dirty)), dirty)
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_oldest_is_too_old_nothing_is_added() {
        let clock = Clock::system();
        let (room, dirty) = room(&clock);
        let key = EntryKey::new("b", b"k").unwrap();
        let new = NewDirty {
            key: &key,
            what: what(true, None),
            needed_until: Until::FOREVER,
            bytes: 100,
        };
        let location = Location {
            segment: SegmentId(1),
            offset: 64,
            bytes: 100,
        };
        dirty.add(new, location);
        tokio::time::advance(Duration::from_secs(60)).await;
        drop(
            room.admit(100, clock.deadline_in(Duration::ZERO))
                .await
                .unwrap(),
        );
        tokio::time::advance(Duration::from_secs(1)).await;
        // Written again it is not younger.
        dirty.add(new, location);
        let refused = room
            .admit(100, clock.deadline_in(Duration::from_secs(5)))
            .await;
        assert!(matches!(refused, Err(Error::RateLimitExceeded { .. })));
        let cleaned = async { dirty.remove(&key) };
        let admitted = room.admit(100, clock.deadline_in(Duration::from_secs(5)));
        let (admitted, ()) = tokio::join!(biased; admitted, cleaned);
        admitted.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_promised_counts_until_it_is_given_back() {
        let clock = Clock::system();
        let (room, _) = room(&clock);
        let half = room.bytes_max / 2 + 1;
        let first = room
            .admit(half, clock.deadline_in(Duration::ZERO))
            .await
            .unwrap();
        let soon = clock.deadline_in(Duration::from_secs(1));
        assert!(room.admit(half, soon).await.is_err());
        drop(first);
        room.admit(half, clock.deadline_in(Duration::ZERO))
            .await
            .unwrap();
    }
}
