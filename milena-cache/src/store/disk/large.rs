//! Putting and getting values piece by piece, so that nobody holds the whole of a large one in memory.
//!
//! [`DiskStore`]'s own put of a large value goes this way too. Runs in the caller's tasks and on blocking
//! threads; asks the writer thread for room and for the record only. Invariant: until a put is finished,
//! the key has what it had.

use std::sync::Arc;

use bytes::Bytes;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Deadline, UnixMillis};
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::dirty_room::Promise;
use super::dirty_writes::declined;
use super::plan::Write;
use super::reservation::{Asked, Reservation};
use super::shared::Shared;
use super::value_file::Shape;
use super::value_lookup::OpenValue;
use super::value_write::NewValue;
use super::writer::Command;
use super::{DiskStore, ended, room, too_late};
use crate::error::{Cause, Error, Result};
use crate::store::{Entry, Version};

/// What is written before it is looked whether the caller is still there.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// An entry but for its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueMetadata {
    /// As [`Entry::expires_at`].
    pub expires_at: Option<UnixMillis>,
    /// As [`Entry::fresh_until`].
    pub fresh_until: Option<UnixMillis>,
    /// As [`Entry::version`].
    pub version: Version,
    /// As [`Entry::needs_revalidation`].
    pub needs_revalidation: bool,
}

impl ValueMetadata {
    fn with(self, value: Bytes) -> Entry {
        Entry {
            value,
            expires_at: self.expires_at,
            fresh_until: self.fresh_until,
            version: self.version,
            needs_revalidation: self.needs_revalidation,
        }
    }

    /// That of this entry.
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            expires_at: entry.expires_at,
            fresh_until: entry.fresh_until,
            version: entry.version.clone(),
            needs_revalidation: entry.needs_revalidation,
        }
    }
}

/// A put under way: its value is still to come. Dropped before it is [finished](ValueWriter::finish), it has not happened.
///
/// At most one piece of a large value is in memory, and a quarter of the store's bytes may be on their way at
/// once: whoever begins then waits.
pub struct ValueWriter<'a> {
    store: &'a DiskStore,
    key: EntryKey,
    metadata: ValueMetadata,
    deadline: Deadline,
    left_bytes: u64,
    to: To,
    /// The durable tier does not have it yet.
    dirty: Option<Promise>,
}

/// Where a value goes.
enum To {
    Record(Vec<u8>),
    File(Box<NewValue>),
    /// The put is declined.
    Nowhere,
}

impl DiskStore {
    /// Begins to put a value of exactly `value_bytes` bytes. Each step has to be done by `deadline`.
    ///
    /// # Errors
    /// When there was no room by the deadline, or the store is closed. Nothing has changed.
    pub async fn begin_put(
        &self,
        key: &EntryKey,
        metadata: ValueMetadata,
        value_bytes: u64,
        deadline: Deadline,
    ) -> Result<ValueWriter<'_>> {
        let to = if self.takes_in_record(key, &metadata.version, value_bytes) {
            To::Record(Vec::new())
        } else {
            let new = self.new_value(value_bytes);
            let new = timeout_at(deadline.instant(), new).await;
            let new = new.unwrap_or_else(|_| Err(too_late("write")))?;
            new.map_or(To::Nowhere, |new| To::File(Box::new(new)))
        };
        Ok(ValueWriter {
            store: self,
            key: key.clone(),
            metadata,
            deadline,
            left_bytes: value_bytes,
            to,
            dirty: None,
        })
    }

    /// The value of `key`, to be read piece by piece by `deadline`; `None` is a miss.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub async fn open_value(
        &self,
        key: &EntryKey,
        deadline: Deadline,
    ) -> Result<Option<ValueStream>> {
        let (shared, key, now) = (Arc::clone(&self.shared), key.clone(), self.clock.now());
        let hash = (self.key_hash)(&key);
        let found = spawn_blocking(move || shared.lookup_and_open(&key, hash, now));
        let found = timeout_at(deadline.instant(), found).await;
        let found = found.map_err(|_| too_late("read"))?;
        let Some((entry, value)) = found.map_err(|error| stopped(error, "a lookup"))? else {
            return Ok(None);
        };
        let metadata = ValueMetadata::of(&entry);
        Ok(Some(match value {
            None => ValueStream {
                metadata,
                value_bytes: entry.value.len() as u64,
                from: From::Record(Some(entry.value)),
                deadline,
            },
            Some(value) => ValueStream {
                metadata,
                value_bytes: value.reader.value_bytes(),
                from: From::File {
                    value: Arc::new(value),
                    next_chunk: 0,
                    shared: Arc::clone(&self.shared),
                },
                deadline,
            },
        }))
    }

    /// Whether a value of this length is written into its record.
    pub(super) fn takes_in_record(
        &self,
        key: &EntryKey,
        version: &Version,
        value_bytes: u64,
    ) -> bool {
        let record_bytes = super::record::Head::put_record_bytes(key, version, value_bytes);
        record_bytes <= room::record_bytes_max(&self.config)
    }

    /// Puts a value that does not go into its record.
    pub(super) async fn put_large(
        &self,
        key: &EntryKey,
        entry: Entry,
        dirty: Option<Promise>,
        deadline: Deadline,
    ) -> Result<()> {
        let bytes = entry.value.len() as u64;
        let metadata = ValueMetadata::of(&entry);
        let mut writer = self.begin_put(key, metadata, bytes, deadline).await?;
        writer.dirty = dirty;
        writer.write(entry.value).await?;
        writer.finish().await
    }

    /// A new file for a value of this length, once there is room; `None` if it is declined.
    async fn new_value(&self, value_bytes: u64) -> Result<Option<NewValue>> {
        let most = self.config.value_file_bytes_max();
        let shape = Shape::new(value_bytes, self.config.segment_bytes);
        let Some(shape) = shape.filter(|shape| shape.file_bytes() <= most) else {
            return Ok(None);
        };
        let file_bytes = shape.file_bytes();
        let room = self.value_room.acquire(file_bytes).await?;
        let queue = Arc::downgrade(&self.queue);
        let reserve = |done| {
            Command::Reserve(Asked {
                file_bytes,
                room,
                queue,
                done,
            })
        };
        let reserved = self.ask(reserve).await.map_err(|_| ended())?;
        Ok(reserved.map(|reservation: Reservation| NewValue::new(reservation, shape)))
    }
}

impl ValueWriter<'_> {
    /// Takes the next piece of the value.
    ///
    /// # Errors
    /// When it is more than the length that was said, or not written by the deadline. The put is not to be
    /// finished then.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        self.left_bytes = self
            .left_bytes
            .checked_sub(bytes.len() as u64)
            .ok_or_else(wrong_length)?;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
            match std::mem::replace(&mut self.to, To::Nowhere) {
                To::Record(mut value) => {
                    value.extend_from_slice(&piece);
                    self.to = To::Record(value);
                }
                To::File(mut new) => {
                    let written = move || {
                        new.append(&piece)?;
                        Ok(new)
                    };
                    if let Some(new) = self.on_disk(written).await? {
                        self.to = To::File(new);
                    }
                }
                To::Nowhere => {}
            }
        }
        Ok(())
    }

    /// Makes it the value of the key, all of it having been written. If the store has declined it, the key
    /// has no value from now on.
    ///
    /// # Errors
    /// As [`Store::put`](crate::store::Store::put).
    pub async fn finish(mut self) -> Result<()> {
        if self.left_bytes > 0 {
            return Err(wrong_length());
        }
        let hash = (self.store.key_hash)(&self.key);
        let write = match std::mem::replace(&mut self.to, To::Nowhere) {
            To::Record(value) => {
                let entry = self.metadata.with(value.into());
                Write::put(&self.key, hash, entry)
            }
            To::File(new) => match self.on_disk(move || new.finish()).await? {
                Some((reservation, reference)) => {
                    let entry = self.metadata.with(reference.encode().into());
                    Write::put_in_file(&self.key, hash, entry, reservation)
                }
                None => Write::delete(&self.key, hash),
            },
            To::Nowhere => Write::delete(&self.key, hash),
        };
        let write = match self.dirty.take() {
            None => write,
            Some(_) if write.put.is_none() => return Err(declined()),
            Some(promise) => write.dirty(promise),
        };
        self.store.write(write, self.deadline).await
    }

    /// Writes on a blocking thread; `None` if that failed: the put is declined then.
    async fn on_disk<T: Send + 'static>(
        &self,
        write: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        match timeout_at(self.deadline.instant(), spawn_blocking(write)).await {
            Ok(Ok(Ok(written))) => Ok(Some(written)),
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the disk store could not write a large value; it declines the put");
                Ok(None)
            }
            Ok(Err(error)) => Err(stopped(error, "a write")),
            Err(_) => Err(too_late("write")),
        }
    }
}

/// A value that is read piece by piece. It can be read to its end also if the key is put again meanwhile.
pub struct ValueStream {
    metadata: ValueMetadata,
    value_bytes: u64,
    from: From,
    deadline: Deadline,
}

/// Where a value comes from.
enum From {
    Record(Option<Bytes>),
    File {
        value: Arc<OpenValue>,
        next_chunk: u64,
        shared: Arc<Shared>,
    },
}

impl ValueStream {
    /// What travels with the value.
    #[must_use]
    pub fn metadata(&self) -> &ValueMetadata {
        &self.metadata
    }

    /// The length of the whole value.
    #[must_use]
    pub fn value_bytes(&self) -> u64 {
        self.value_bytes
    }

    /// The next piece, its checksum verified; `None` after the last. At most 256 KiB of a large value, all of
    /// a small one.
    ///
    /// # Errors
    /// When the value is damaged here, or the deadline has passed. Asked again it tries again.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let (value, next_chunk, shared) = match &mut self.from {
            From::Record(whole) => return Ok(whole.take().filter(|value| !value.is_empty())),
            From::File {
                value,
                next_chunk,
                shared,
            } => (value, next_chunk, shared),
        };
        let index = *next_chunk;
        if index == value.reader.chunks() {
            return Ok(None);
        }
        let (value, shared) = (Arc::clone(value), Arc::clone(shared));
        let chunk = spawn_blocking(move || {
            let chunk = value.reader.chunk(index);
            if chunk.is_err() {
                shared.retire_damaged_file(&value.file);
            }
            chunk
        });
        let chunk = timeout_at(self.deadline.instant(), chunk).await;
        let chunk = chunk.map_err(|_| too_late("read"))?;
        let chunk = chunk.map_err(|error| stopped(error, "a read"))?;
        let chunk = chunk.map_err(|error| {
            Error::StoreError(Cause::with_source("a large value is damaged", error))
        })?;
        *next_chunk += 1;
        Ok(Some(chunk))
    }
}

fn wrong_length() -> Error {
    Error::InvalidInput("a value has another length than was said when it was begun".to_owned())
}

fn stopped(error: tokio::task::JoinError, what: &str) -> Error {
    Error::InternalError(Cause::with_source(
        format!("{what} on disk did not end"),
        error,
    ))
}
