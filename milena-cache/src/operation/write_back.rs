//! Write-back: a write is acknowledged once the slowest local tier holds it, dirty, and S3 gets it later
//! (`upload.rs`).
//!
//! Invariants: while a key is dirty nobody asks the durable tier for it, and nobody writes it past the local store; a
//! key's dirty write is uploaded by one upload at a time. So what the durable tier gets of a key is in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use milena_cluster::key::EntryKey;
use milena_server::clock::Deadline;

use super::key_lock::WriteGuard;
use super::{Shared, Tier};
use crate::error::{Cause, Error, Result};
use crate::metrics::Op;
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

impl Shared {
    /// Makes `entry` the value of `key`, which the caller holds, or deletes it if there is none: dirty, or through
    /// every tier.
    pub(super) async fn write(
        &self,
        key: &EntryKey,
        writing: WriteGuard,
        entry: Option<Entry>,
        ack: Ack,
        deadline: Deadline,
    ) -> Result<()> {
        let written = self.write_dirty(key, entry.as_ref(), ack, deadline).await?;
        match (written, entry) {
            (Written::Dirty, _) => Ok(()),
            (Written::DirtyUntilClean, _) => self.until_clean(key, writing, deadline).await,
            (Written::NotYet, Some(entry)) => self.put_through(key, entry, deadline).await,
            (Written::NotYet, None) => self.delete_through(key, deadline).await,
        }
    }

    /// Makes a write dirty, if that is how it is to be made. The caller holds the key.
    async fn write_dirty(
        &self,
        key: &EntryKey,
        entry: Option<&Entry>,
        ack: Ack,
        deadline: Deadline,
    ) -> Result<Written> {
        let Some(dirty) = &self.dirty else {
            return Ok(Written::NotYet);
        };
        let waits_for_durable = match ack {
            Ack::Default => dirty.mode == WriteMode::WriteThrough,
            Ack::Disk => false,
            Ack::S3 => true,
        };
        // Past what is dirty it cannot be written: the upload under way may come after it.
        if waits_for_durable && dirty.store.dirty(key).is_none() {
            return Ok(Written::NotYet);
        }
        let copy = entry.map(|entry| Entry {
            fresh_until: Some(self.kept_until(self.clock.now())),
            ..entry.clone()
        });
        let written = self.keep_dirty(dirty, key, copy.clone(), deadline).await;
        self.say_refusing(dirty, &written);
        match written {
            Ok(()) => {
                self.update_faster(key, copy.as_ref()).await;
                Ok(if waits_for_durable {
                    Written::DirtyUntilClean
                } else {
                    Written::Dirty
                })
            }
            Err(error @ Error::RateLimitExceeded { .. }) => Err(error),
            Err(_) if dirty.store.dirty(key).is_none() => Ok(Written::NotYet),
            Err(error) => {
                self.forget_faster(key).await;
                Err(error)
            }
        }
    }

    /// Waits until the durable tier has what was written last to `key`, which is free again.
    async fn until_clean(
        &self,
        key: &EntryKey,
        writing: WriteGuard,
        deadline: Deadline,
    ) -> Result<()> {
        drop(writing);
        let Some(dirty) = &self.dirty else {
            return Ok(());
        };
        dirty.store.clean(key, deadline).await.map_err(|_| {
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

    async fn keep_dirty(
        &self,
        dirty: &DirtyTier,
        key: &EntryKey,
        copy: Option<Entry>,
        deadline: Deadline,
    ) -> Result<()> {
        let tier = self.copies.last().expect("what is dirty is in the last");
        match copy {
            Some(copy) => {
                let put = dirty.store.put_dirty(key, copy, deadline);
                self.timed(Op::Put, tier, put).await
            }
            None => {
                let delete = dirty.store.delete_dirty(key, deadline);
                self.timed(Op::Delete, tier, delete).await
            }
        }
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
        let (_, faster) = self.copies.split_last().expect("as above");
        faster
    }

    /// Says once when the store begins to refuse what is dirty, and when it takes it again.
    fn say_refusing(&self, dirty: &DirtyTier, written: &Result<()>) {
        let is_refusing = match written {
            Ok(()) => false,
            Err(Error::RateLimitExceeded { .. }) => return,
            Err(_) => true,
        };
        if dirty.is_refusing.swap(is_refusing, Ordering::Relaxed) == is_refusing {
            return;
        }
        self.metrics
            .write_back
            .is_refused
            .set(i64::from(is_refusing));
        match written {
            Ok(()) => tracing::info!("the disk tier takes writes again that S3 does not have"),
            Err(error) => tracing::warn!(
                %error,
                "the disk tier does not take writes that S3 does not have: they are written through"
            ),
        }
    }
}
