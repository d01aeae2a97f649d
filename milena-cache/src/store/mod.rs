//! What a storage backend is: [`Store`], and the [`Entry`] it keeps.
//!
//! Each backend is a file of its own and knows none of its siblings. `contract.rs` is the suite that
//! every one of them passes. To add one: implement [`Store`], pass the suite, add it to the tiers of
//! `operation::Operation`, add its settings.

use async_trait::async_trait;
use bytes::Bytes;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Deadline, UnixMillis};

use crate::error::Result;

mod chunks;
pub mod contract;
mod crc32c;
pub mod disk;
pub mod memory;
pub mod s3;
mod version;
pub mod write_back;

pub use self::version::Version;

/// A value and what has to travel with it from tier to tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes that were put. May be empty.
    pub value: Bytes,
    /// When the entry's own life ends, in every tier, measured from the put. `None`: never.
    pub expires_at: Option<UnixMillis>,
    /// Until when a local copy may be given. It is fresh until `STALE_IF_ERROR` before that, and then has to be
    /// revalidated. `None` in S3 itself.
    pub fresh_until: Option<UnixMillis>,
    /// What the durable tier called this very value.
    pub version: Version,
    /// It may be out of date, so the durable tier has to be asked whether this is still its version. Said by a
    /// store of what it gives; of no meaning in what it is given. Said by an operation: the durable tier could
    /// not be asked, and this is stale.
    pub needs_revalidation: bool,
}

impl Entry {
    /// An entry that lives for ever and whose version nobody has given yet.
    #[must_use]
    pub fn new(value: Bytes) -> Self {
        Self {
            value,
            expires_at: None,
            fresh_until: None,
            version: Version::default(),
            needs_revalidation: false,
        }
    }

    /// Whether it may still be served at `now`: before its own end and before its copy's.
    #[must_use]
    pub fn is_live(&self, now: UnixMillis) -> bool {
        self.dies_at().is_none_or(|end| now < end)
    }

    /// The earlier of the two ends, if there is one.
    #[must_use]
    pub fn dies_at(&self) -> Option<UnixMillis> {
        [self.expires_at, self.fresh_until]
            .into_iter()
            .flatten()
            .min()
    }
}

/// What a store holds of a key, for somebody who has a copy of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revalidated {
    /// The copy's version is the store's.
    Unchanged,
    /// It is not: this is what the store holds.
    Changed(Option<Entry>),
}

/// What a store holds and what it let go, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Entries held now; those whose time has passed count until their space is reclaimed.
    pub entries: u64,
    /// Bytes held now, as the store's byte limit counts them.
    pub bytes: u64,
    /// Entries removed for space because there were too many of them.
    pub evicted_for_entries: u64,
    /// Entries removed for space because they had too many bytes.
    pub evicted_for_bytes: u64,
    /// Entries removed because their time had passed.
    pub expired: u64,
    /// Records found damaged, and dropped.
    pub damaged: u64,
}

/// A place that keeps entries.
///
/// A store is a cache unless it is the last tier, so it may decline or drop an entry at any time. What
/// it must never do is answer with an *older* value than the last one it was told of: after a put or
/// delete was answered `Ok`, a get gives that put's entry or a miss, also after a crash and a restart.
/// An `Err` from put or delete says that this could not be assured.
///
/// Calls for one key are serialised by the caller; calls for different keys run at once. Every call
/// may be cancelled by dropping it; a cancelled put or delete has happened or not.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The entry of `key`, or `None`: a miss is never an error. An entry whose time has passed is a
    /// miss.
    ///
    /// # Errors
    /// When the store cannot tell. A local tier that fails so is served around.
    async fn get(&self, key: &EntryKey, deadline: Deadline) -> Result<Option<Entry>>;

    /// The entry of `key` if the store can give it without waiting and within microseconds; `None` says nothing.
    fn get_now(&self, _key: &EntryKey) -> Option<Entry> {
        None
    }

    /// As [`Store::get`] for one that has a copy of this version, so that its value need not be sent if it is
    /// the store's own. A store that gives no versions is simply asked.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn get_if_changed(
        &self,
        key: &EntryKey,
        _version: &Version,
        deadline: Deadline,
    ) -> Result<Revalidated> {
        Ok(Revalidated::Changed(self.get(key, deadline).await?))
    }

    /// Makes `entry` the value of `key` and gives the version by which this store knows it: its own
    /// if it gives versions, else the entry's.
    ///
    /// # Errors
    /// When it is not known that no older value will be served.
    async fn put(&self, key: &EntryKey, entry: Entry, deadline: Deadline) -> Result<Version>;

    /// Removes `key`. Removing what is not there succeeds.
    ///
    /// # Errors
    /// When it is not known that no older value will be served.
    async fn delete(&self, key: &EntryKey, deadline: Deadline) -> Result<()>;

    /// Removes what `key` holds if its own life has ended, and says whether it did; what was put meanwhile
    /// stays. A store that reclaims what has expired by itself leaves this as it is.
    ///
    /// # Errors
    /// When it is not known to have happened.
    async fn remove_expired(&self, _key: &EntryKey, _deadline: Deadline) -> Result<bool> {
        Ok(false)
    }

    /// Whether the store can serve now, found out as cheaply as it can be.
    ///
    /// # Errors
    /// Says what is wrong.
    async fn check(&self, deadline: Deadline) -> Result<()>;

    /// What it holds and what it let go.
    fn stats(&self) -> StoreStats;

    /// Makes what it holds ready for a restart. Nothing is called after it.
    ///
    /// # Errors
    /// Says what could not be written.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
