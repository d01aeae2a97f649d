//! Write-back: a write is acknowledged once the slowest local tier holds it, dirty, and S3 gets it later
//! (`upload.rs`).
//!
//! Invariants: while a key is dirty nobody asks the durable tier for it, and nobody writes it past the local store; a
//! key's dirty write is uploaded by one upload at a time. So what the durable tier gets of a key is in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use milena_cluster::key::EntryKey;
use tokio::sync::oneshot;

use super::{KeyWrite, Shared, Tier};
use crate::error::{Cause, Error, Result};
use crate::store::Entry;
use crate::store::write_back::{Dirty, WriteBackStore};

/// When a write is acknowledged that does not say itself (`WRITE_MODE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteMode {
    /// Once every tier has it.
    #[default]
    WriteThrough,
    /// Once the disk has it.
    WriteBack,
}

/// When a put is to be acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// As `WRITE_MODE` says.
    #[default]
    Default,
    /// Once the disk has it; without a disk tier that takes it, once S3 has it.
    Disk,
    /// Once S3 has it.
    S3,
}

/// The local store that keeps dirty writes, which is the slowest of the copies, and when it does so unasked.
pub struct WriteBack {
    /// See there.
    pub store: Arc<dyn WriteBackStore>,
    /// What a write gets that does not say itself.
    pub mode: WriteMode,
}

/// The same, at work.
pub(super) struct DirtyTier {
    pub(super) store: Arc<dyn WriteBackStore>,
    mode: WriteMode,
    /// The store does not take what is dirty now, and the log says so.
    is_refusing: AtomicBool,
}

/// How a write was, or is to be, made.
enum Written {
    /// It is dirty, and may be acknowledged.
    Dirty,
    /// It is dirty, and to be acknowledged once it no longer is.
    DirtyUntilClean,
    /// It is to be written through every tier.
    NotYet,
}

impl From<WriteBack> for DirtyTier {
    fn from(WriteBack { store, mode }: WriteBack) -> Self {
        Self {
            store,
            mode,
            is_refusing: AtomicBool::new(false),
        }
    }
}

/// A dirty write under way.
pub(super) struct Begun {
    copy: Option<Entry>,
    written: oneshot::Receiver<Result<()>>,
}

impl DirtyTier {
    /// Whether a write that asks for `ack` is acknowledged only once the durable tier has it.
    fn waits_for_durable(&self, ack: Ack) -> bool {
        match ack {
            Ack::Default => self.mode == WriteMode::WriteThrough,
            Ack::Disk => false,
            Ack::S3 => true,
        }
    }
}

impl Shared {
    /// Does `write`: dirty, or through every tier.
    pub(super) async fn write(&self, write: KeyWrite) -> Result<()> {
        match (self.write_dirty(&write).await?, write) {
            (Written::Dirty, _) => Ok(()),
            (Written::DirtyUntilClean, write) => self.until_clean(write).await,
            (Written::NotYet, write) => self.write_through(write).await,
        }
    }

    async fn write_through(&self, write: KeyWrite) -> Result<()> {
        match write.entry {
            Some(entry) => self.put_through(&write.key, entry, write.deadline).await,
            None => self.delete_through(&write.key, write.deadline).await,
        }
    }

    /// Begins a write that is acknowledged once it is dirty, if nothing has to be waited for first.
    pub(super) fn begin_dirty(&self, write: &KeyWrite) -> Option<Begun> {
        let dirty = self.dirty.as_ref()?;
        if dirty.waits_for_durable(write.ack) {
            return None;
        }
        let copy = self.copy_of_dirty(write);
        let written = dirty.store.begin_dirty(&write.key, copy.clone())?;
        Some(Begun { copy, written })
    }

    /// Ends what was begun. If it has failed, it is done as any other, in the background.
    pub(super) async fn end_dirty(self: Arc<Self>, write: KeyWrite, begun: Begun) -> Result<()> {
        let ended = |_| Err(Error::StoreError(Cause::new("the disk tier has ended")));
        let written = async { begun.written.await.unwrap_or_else(ended) };
        let written = self.timed(write.op(), self.slowest(), written).await;
        if written.is_err() {
            return self.in_background(write).await;
        }
        self.kept_dirty(&write.key, begun.copy.as_ref()).await;
        Ok(())
    }

    /// Makes a write dirty, if that is how it is to be made.
    async fn write_dirty(&self, write: &KeyWrite) -> Result<Written> {
        let Some(dirty) = &self.dirty else {
            return Ok(Written::NotYet);
        };
        let key = &write.key;
        let waits_for_durable = dirty.waits_for_durable(write.ack);
        // Past what is dirty it cannot be written: the upload under way may come after it.
        if waits_for_durable && dirty.store.dirty(key).is_none() {
            return Ok(Written::NotYet);
        }
        let copy = self.copy_of_dirty(write);
        let written = dirty.store.write_dirty(key, copy.clone(), write.deadline);
        match self.timed(write.op(), self.slowest(), written).await {
            Ok(()) => {
                self.kept_dirty(key, copy.as_ref()).await;
                Ok(if waits_for_durable {
                    Written::DirtyUntilClean
                } else {
                    Written::Dirty
                })
            }
            Err(error @ Error::RateLimitExceeded { .. }) => Err(error),
            Err(error) => {
                self.say_refusing(dirty, Some(&error));
                if dirty.store.dirty(key).is_none() {
                    return Ok(Written::NotYet);
                }
                self.forget_faster(key).await;
                Err(error)
            }
        }
    }

    /// What the local tiers get of a dirty write.
    fn copy_of_dirty(&self, write: &KeyWrite) -> Option<Entry> {
        let entry = write.entry.as_ref()?;
        Some(Entry {
            fresh_until: Some(self.kept_until(self.clock.now())),
            ..entry.clone()
        })
    }

    /// The slowest of the copies holds a dirty write of `key`, which left this, or nothing.
    async fn kept_dirty(&self, key: &EntryKey, copy: Option<&Entry>) {
        if let Some(dirty) = &self.dirty {
            self.say_refusing(dirty, None);
        }
        self.update_faster(key, copy).await;
    }

    /// Waits until the durable tier has what was written last to the key, which is free again.
    async fn until_clean(&self, write: KeyWrite) -> Result<()> {
        drop(write.writing);
        let Some(dirty) = &self.dirty else {
            return Ok(());
        };
        dirty.store.clean(&write.key, write.deadline).await.map_err(|_| {
            Error::S3Error(Cause::new(
                "it is on the disk, and S3 has not taken it by the deadline; it will be tried on",
            ))
        })
    }

    /// What a get answers whose key is dirty; `None` if it is not. No copy of it was found.
    pub(super) async fn answer_of_dirty(&self, key: &EntryKey) -> Option<Result<Option<Entry>>> {
        let dirty = self.dirty.as_ref()?;
        let tier = self.copies.last()?;
        match dirty.store.dirty(key)? {
            Dirty::Deleted => return Some(Ok(None)),
            Dirty::Put { expires_at } if expires_at.is_some_and(|end| end <= self.clock.now()) => {
                return Some(Ok(None));
            }
            Dirty::Put { .. } | Dirty::Unknown => {}
        }
        // It may have become dirty after the copies were asked.
        let deadline = self.durable_deadline(None);
        if let Ok(Some(entry)) = self.ask(tier, key, deadline).await {
            return Some(Ok(Some(entry)));
        }
        dirty.store.dirty(key)?;
        Some(Err(Error::StoreError(Cause::new(
            "S3 does not have the newest value of this key, and the disk cannot read it",
        ))))
    }

    /// Whether the durable tier does not have the newest write of `key`.
    pub(super) fn is_dirty(&self, key: &EntryKey) -> bool {
        let dirty = self.dirty.as_ref();
        dirty.is_some_and(|dirty| dirty.store.dirty(key).is_some())
    }

    /// Brings the tiers before the one that has it in line.
    async fn update_faster(&self, key: &EntryKey, copy: Option<&Entry>) {
        let Some(copy) = copy else {
            self.forget_faster(key).await;
            return;
        };
        for tier in self.faster().iter().rev() {
            if self.copy_to(tier, key, copy).await.is_err() {
                // Nothing more can be done about a copy in memory.
                let _ = self.forget_in(tier, key).await;
            }
        }
    }

    async fn forget_faster(&self, key: &EntryKey) {
        for tier in self.faster().iter().rev() {
            // As above.
            let _ = self.forget_in(tier, key).await;
        }
    }

    /// The copies before the one that keeps what is dirty.
    fn faster(&self) -> &[Tier] {
        let (_, faster) = self.copies.split_last().expect("as below");
        faster
    }

    fn slowest(&self) -> &Tier {
        self.copies.last().expect("what is dirty is in the last")
    }

    /// Says once when the store begins to refuse what is dirty, for this reason, and when it takes it again.
    fn say_refusing(&self, dirty: &DirtyTier, refused: Option<&Error>) {
        let is_refusing = refused.is_some();
        if dirty.is_refusing.swap(is_refusing, Ordering::Relaxed) == is_refusing {
            return;
        }
        self.metrics
            .write_back
            .is_refused
            .set(i64::from(is_refusing));
        match refused {
            None => tracing::info!("the disk tier takes writes again that S3 does not have"),
            Some(error) => tracing::warn!(
                %error,
                "the disk tier does not take writes that S3 does not have: they are written through"
            ),
        }
    }
}
