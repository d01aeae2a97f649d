//! Dirty writes through the store's face, and reading what is dirty back.
//!
//! The rest is in `dirty.rs` (what there is), `dirty_room.rs` (how much), `batch.rs` (how it gets into the log and is
//! marked there) and `pinned.rs` (how it is kept).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Deadline, UnixMillis};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::caller::WRITE_BYTES_MAX;
use super::dirty::DirtyWrite;
use super::dirty_room::Promise;
use super::index::{Candidate, Location};
use super::plan::Write;
use super::record::{Head, Kind, Name};
use super::segment::Segment;
use super::shared::{Found, InFile, Shared};
use super::value_file::Shape;
use super::value_lookup::OpenValue;
use super::writer::{Command, Uploaded};
use super::{DiskStore, ended, queued, queued_bytes, too_late};
use crate::error::{Cause, Error, Result};
use crate::store::Entry;
use crate::store::write_back::{Dirty, DirtyStats, Unsent, UnsentWrite, WriteBackStore, WriteId};

#[async_trait]
impl WriteBackStore for DiskStore {
    fn begin_dirty(
        &self,
        key: &EntryKey,
        entry: Option<Entry>,
    ) -> Option<oneshot::Receiver<Result<()>>> {
        let bytes = record_bytes(key, entry.as_ref());
        // What is done to a longer one here keeps the other tasks waiting.
        let is_short = bytes <= WRITE_BYTES_MAX as u64 && self.is_in_record(key, entry.as_ref());
        if !is_short || !self.config.keeps_dirty() {
            return None;
        }
        let courier = self.couriers.here(&self.queue)?;
        let promise = self.dirty_room.admit_now(bytes)?;
        let write = self.dirty_write(key, entry, promise);
        let room = Arc::clone(&self.room).try_acquire_many_owned(queued_bytes(&write));
        let (write, written) = queued(write, room.ok()?, Some(courier.answering.clone()));
        courier.bring(write);
        Some(written)
    }

    async fn write_dirty(
        &self,
        key: &EntryKey,
        entry: Option<Entry>,
        deadline: Deadline,
    ) -> Result<()> {
        if !self.config.keeps_dirty() {
            return Err(declined());
        }
        let bytes = record_bytes(key, entry.as_ref());
        let entry = match entry {
            Some(entry) if !self.is_in_record(key, Some(&entry)) => {
                let value_bytes = entry.value.len() as u64;
                let shape = Shape::new(value_bytes, self.config.segment_bytes);
                let bytes = bytes - value_bytes + shape.ok_or_else(declined)?.file_bytes();
                let promise = self.dirty_room.admit(bytes, deadline).await?;
                return self.put_large(key, entry, Some(promise), deadline).await;
            }
            in_record => in_record,
        };
        let promise = self.dirty_room.admit(bytes, deadline).await?;
        let write = self.dirty_write(key, entry, promise);
        self.write(write, deadline).await
    }

    fn dirty(&self, key: &EntryKey) -> Option<Dirty> {
        self.shared.dirty.find(key).map(|write| write.what)
    }

    fn take_dirty(&self) -> Option<EntryKey> {
        self.shared.dirty.take()
    }

    async fn dirty_changed(&self) {
        self.shared.dirty.can_take.notified().await;
    }

    async fn unsent(&self, key: &EntryKey) -> Result<Option<Unsent>> {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        let hash = (self.key_hash)(&key);
        let read = spawn_blocking(move || shared.unsent(&key, hash)).await;
        read.map_err(|error| {
            Error::InternalError(Cause::with_source(
                "a read of what S3 does not have yet did not end",
                error,
            ))
        })
    }

    async fn uploaded(&self, key: &EntryKey, id: WriteId) -> Result<()> {
        let key = key.clone();
        let uploaded = |done| Command::Uploaded(Uploaded { key, id, done });
        self.ask(uploaded).await.map_err(|_| ended())?
    }

    fn not_uploaded(&self, key: &EntryKey) {
        self.shared.dirty.give_back(key);
    }

    async fn clean(&self, key: &EntryKey, deadline: Deadline) -> Result<()> {
        let Some(clean) = self.shared.dirty.wait_for(key) else {
            return Ok(());
        };
        match timeout_at(deadline.instant(), clean).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ended()),
            Err(_) => Err(too_late("write to S3")),
        }
    }

    async fn all_clean(&self) {
        self.shared.dirty.emptied().await;
    }

    fn dirty_stats(&self) -> DirtyStats {
        self.shared.dirty.stats()
    }
}

impl DiskStore {
    /// Whether all of what is written goes into its record.
    fn is_in_record(&self, key: &EntryKey, entry: Option<&Entry>) -> bool {
        entry.is_none_or(|it| self.takes_in_record(key, &it.version, it.value.len() as u64))
    }

    fn dirty_write(&self, key: &EntryKey, entry: Option<Entry>, promise: Promise) -> Write {
        let hash = (self.key_hash)(key);
        let write = match entry {
            Some(entry) => Write::put(key, hash, entry),
            None => Write::delete(key, hash),
        };
        write.dirty(promise)
    }
}

/// The length of the record of a write that goes into one.
fn record_bytes(key: &EntryKey, entry: Option<&Entry>) -> u64 {
    match entry {
        Some(entry) => Head::put_record_bytes(key, &entry.version, entry.value.len() as u64),
        None => Head::of_tombstone(key).record_bytes(),
    }
}

impl Shared {
    /// The dirty put of `key`, whatever the index has of it: its copy's time may have passed, but nobody else has it.
    pub(super) fn find_dirty<E>(
        &self,
        read: impl Fn(&Segment, Location) -> Result<Option<(Head, Bytes)>, E>,
        key: &EntryKey,
        hash: u64,
        now: UnixMillis,
    ) -> Result<Option<Found>, E> {
        while let Some(DirtyWrite {
            what: Dirty::Put { expires_at },
            location: Some(location),
            ..
        }) = self.dirty.find(key)
        {
            if expires_at.is_some_and(|end| end <= now) {
                break;
            }
            let Some(segment) = self.segments.find(location.segment) else {
                // It was carried over since.
                if self.dirty.is_at(location) {
                    break;
                }
                continue;
            };
            let record = read(&segment, location)?.filter(|(head, record)| {
                head.kind == Kind::Put && head.name(record) == Name::from(key)
            });
            let found = record.and_then(|record| whole_put(&segment, location, hash, &record));
            let Some(mut found) = found else {
                segment.log_damage("a value that S3 does not have yet");
                break;
            };
            found.entry.fresh_until = None;
            return Ok(Some(found));
        }
        Ok(None)
    }

    fn unsent(&self, key: &EntryKey, hash: u64) -> Option<Unsent> {
        loop {
            let DirtyWrite {
                id, what, location, ..
            } = self.dirty.find(key)?;
            let location = location?;
            let write = match what {
                Dirty::Deleted => Some(UnsentWrite::Delete),
                Dirty::Put { .. } => self.unsent_put(location, hash).map(UnsentWrite::Put),
                Dirty::Unknown => return None,
            };
            if let Some(write) = write {
                return Some(Unsent { id, write });
            }
            if self.dirty.is_at(location) {
                let write = UnsentWrite::Lost;
                return Some(Unsent { id, write });
            }
        }
    }

    fn unsent_put(&self, location: Location, hash: u64) -> Option<Entry> {
        let segment = self.segments.find(location.segment)?;
        let record = segment.record_at(location)?;
        let Found { entry, file } = whole_put(&segment, location, hash, &record)?;
        let Some(file) = file else {
            return Some(entry);
        };
        let reader = self.open_referred(&entry, &file).ok()?;
        let value = self.whole(&OpenValue { reader, file })?;
        Some(Entry { value, ..entry })
    }
}

/// The put whose record, undamaged, lies at `location`.
fn whole_put(
    segment: &Arc<Segment>,
    location: Location,
    hash: u64,
    (head, record): &(Head, Bytes),
) -> Option<Found> {
    let file = head.is_in_file.then(|| InFile {
        segment: Arc::clone(segment),
        hash,
        candidate: Candidate::new(location, false),
    });
    let entry = head.entry(record)?;
    Some(Found { entry, file })
}

pub(super) fn declined() -> Error {
    Error::StoreError(Cause::new("the disk store cannot keep it until S3 has it"))
}
