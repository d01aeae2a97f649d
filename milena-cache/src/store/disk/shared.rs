//! What readers and the writer share: the index, the segments, the counters; and the lookup itself.
//!
//! Knows nothing of how the log is written. A lookup may block on the file system, unless it is told not to.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, UnixMillis};
use tokio::sync::watch;

use super::dirty::DirtyRecords;
use super::files::Files;
use super::index::{Candidate, Index, Location};
use super::planted::{Bug, Planted};
use super::record::{Head, Kind, Name};
use super::segment::{Segment, Segments, WouldWait};
use super::trust::Trust;
use crate::store::{Entry, StoreStats};

/// See the file's head.
pub(super) struct Shared {
    pub(super) index: Index,
    pub(super) segments: Segments,
    pub(super) counters: Counters,
    pub(super) dirty: Arc<DirtyRecords>,
    pub(super) planted: Planted,
    /// Where value files are.
    pub(super) files: Arc<dyn Files>,
    pub(super) trust: Trust,
    /// Whether the whole log has been read since the store was opened.
    pub(super) recovered: watch::Sender<bool>,
    /// What keeps the store from doing all it should, if something does.
    trouble: Mutex<Option<String>>,
}

/// What a lookup found.
pub(super) struct Found {
    pub(super) entry: Entry,
    /// If the value is in a file of its own, where its record is; the entry's value is then a reference.
    pub(super) file: Option<InFile>,
}

/// The record of a value in a file of its own.
#[derive(Clone)]
pub(super) struct InFile {
    pub(super) segment: Arc<Segment>,
    pub(super) hash: u64,
    pub(super) candidate: Candidate,
}

/// What [`StoreStats`] counts and the index does not know.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) bytes: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) damaged: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, entries: u64) {
        counter.fetch_add(entries, Ordering::Relaxed);
    }
}

impl Shared {
    pub(super) fn new(planted: Planted, files: Arc<dyn Files>, clock: Clock) -> Self {
        Self {
            dirty: Arc::new(DirtyRecords::new(clock)),
            planted,
            files,
            index: Index::new(),
            segments: Segments::default(),
            counters: Counters::default(),
            trust: Trust::default(),
            recovered: watch::Sender::new(false),
            trouble: Mutex::new(None),
        }
    }

    /// The entry of `key`, whose hash is `hash`, if there is one that may be served at `now`. Reads from
    /// the medium if it has to.
    pub(super) fn lookup(&self, key: &EntryKey, hash: u64, now: UnixMillis) -> Option<Entry> {
        let (entry, value) = self.lookup_and_open(key, hash, now)?;
        let Some(value) = value else {
            return Some(entry);
        };
        let value = self.whole(&value)?;
        Some(Entry { value, ..entry })
    }

    /// As [`Shared::lookup`], but a value in a file of its own is only found, and not read.
    pub(super) fn find(&self, key: &EntryKey, hash: u64, now: UnixMillis) -> Option<Found> {
        let read = |segment: &Segment, location| Ok::<_, Infallible>(segment.record_at(location));
        let Ok(found) = self.find_by(read, key, hash, now);
        found
    }

    /// The same from what is in memory of the files.
    ///
    /// # Errors
    /// When only the medium can tell.
    pub(super) fn cached_lookup(
        &self,
        key: &EntryKey,
        hash: u64,
        now: UnixMillis,
    ) -> Result<Option<Entry>, WouldWait> {
        match self.find_by(Segment::cached_record_at, key, hash, now)? {
            Some(Found { file: Some(_), .. }) => Err(WouldWait),
            found => Ok(found.map(|found| found.entry)),
        }
    }

    fn find_by<E>(
        &self,
        read: impl Fn(&Segment, Location) -> Result<Option<(Head, Bytes)>, E>,
        key: &EntryKey,
        hash: u64,
        now: UnixMillis,
    ) -> Result<Option<Found>, E> {
        match self.find_indexed(&read, key, hash, now)? {
            None if self.dirty.count() > 0 => self.find_dirty(&read, key, hash, now),
            found => Ok(found),
        }
    }

    fn find_indexed<E>(
        &self,
        read: impl Fn(&Segment, Location) -> Result<Option<(Head, Bytes)>, E>,
        key: &EntryKey,
        hash: u64,
        now: UnixMillis,
    ) -> Result<Option<Found>, E> {
        let candidates = self.index.candidates(hash);
        let live = candidates.into_iter().filter(|found| !found.is_retired);
        for candidate in live {
            // A segment that is gone was dropped since the index was asked: a miss.
            let Some(segment) = self.segments.find(candidate.location.segment) else {
                continue;
            };
            let Some((head, record)) = read(&segment, candidate.location)? else {
                self.retire_damaged(&segment, hash, candidate, "a record");
                continue;
            };
            if head.kind != Kind::Put || head.name(&record) != Name::from(key) {
                continue;
            }
            let entry = if self.planted.has(Bug::SkipsChecksum) {
                Some(head.unverified_entry(&record))
            } else {
                head.entry(&record)
            };
            let Some(mut entry) = entry else {
                self.retire_damaged(&segment, hash, candidate, "a value");
                return Ok(None);
            };
            entry.needs_revalidation = self.is_doubtful(segment.id);
            if entry.needs_revalidation && !entry.version.is_known() {
                return Ok(None);
            }
            if entry.is_live(now) {
                if !candidate.is_hot {
                    self.index.mark_hot(hash, candidate.location);
                }
                let file = head.is_in_file.then_some(InFile {
                    segment,
                    hash,
                    candidate,
                });
                return Ok(Some(Found { entry, file }));
            }
            if self.index.retire(hash, candidate.location) {
                Counters::add(&self.counters.expired, 1);
            }
            return Ok(None);
        }
        Ok(None)
    }

    /// From now on the damaged record is a miss; it goes on hiding what is older.
    pub(super) fn retire_damaged(
        &self,
        segment: &Segment,
        hash: u64,
        damaged: Candidate,
        what: &str,
    ) {
        if self.index.retire(hash, damaged.location) {
            Counters::add(&self.counters.damaged, 1);
            segment.log_damage(what);
        }
    }

    pub(super) fn stats(&self) -> StoreStats {
        let counters = &self.counters;
        StoreStats {
            entries: self.index.entries(),
            bytes: counters.bytes.load(Ordering::Relaxed),
            evicted_for_entries: 0,
            evicted_for_bytes: counters.evicted.load(Ordering::Relaxed),
            expired: counters.expired.load(Ordering::Relaxed),
            damaged: counters.damaged.load(Ordering::Relaxed),
        }
    }

    /// What keeps the store from doing all it should, if something does.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Says what keeps the store from doing all it should, or that nothing does.
    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *lock(&self.trouble) = trouble;
    }
}

fn lock(trouble: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    trouble.lock().unwrap_or_else(PoisonError::into_inner)
}
