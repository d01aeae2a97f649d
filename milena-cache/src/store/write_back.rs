//! What write-back asks of a local store: to keep writes that the durable tier does not have yet.
//!
//! Such a write is *dirty* until the durable tier has it. A store may drop any entry but a dirty one.

use std::time::Duration;

use async_trait::async_trait;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Deadline, UnixMillis};
use tokio::sync::oneshot;

use super::{Entry, Store};
use crate::error::Result;

/// Names one dirty write; a later one of the same key has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteId(pub(crate) u64);

/// What of a key is dirty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dirty {
    /// It was put.
    Put {
        /// As [`Entry::expires_at`].
        expires_at: Option<UnixMillis>,
    },
    /// It was deleted.
    Deleted,
    /// A write of it failed half way: it may be there after a restart, or not.
    Unknown,
}

/// A dirty write to be uploaded.
#[derive(Clone, Debug)]
pub struct Unsent {
    /// Which write it is.
    pub id: WriteId,
    /// What was written.
    pub write: UnsentWrite,
}

/// What a dirty write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnsentWrite {
    /// It put this.
    Put(Entry),
    /// It deleted the key.
    Delete,
    /// It put something that is damaged now, and that nobody else has. The older value that the durable tier
    /// may hold must not be served in its place.
    Lost,
}

/// How much is dirty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirtyStats {
    /// Keys with a dirty write.
    pub entries: u64,
    /// What counts against the limit.
    pub bytes: u64,
    /// For how long the oldest has been dirty, since this store was opened at most.
    pub oldest: Option<Duration>,
}

/// A local store that keeps dirty writes, across restarts too.
///
/// As with [`Store`], the caller serialises the writes to one key. Of each key only the newest write is
/// dirty: an older one that was not uploaded yet is forgotten. Whoever [takes](WriteBackStore::take_dirty) a
/// key gives it back by [`uploaded`](WriteBackStore::uploaded) or [`not_uploaded`](WriteBackStore::not_uploaded);
/// nobody else is given it meanwhile, so that the durable tier sees the writes to a key in order.
#[async_trait]
pub trait WriteBackStore: Store {
    /// Begins what [`write_dirty`](WriteBackStore::write_dirty) does, if it is short and nothing has to be waited for
    /// first; `None`: that has to be asked. Gives how it ends, which the caller has to wait for before anything else is
    /// done with the key: as there, or dropped if it cannot be told.
    fn begin_dirty(
        &self,
        key: &EntryKey,
        entry: Option<Entry>,
    ) -> Option<oneshot::Receiver<Result<()>>>;

    /// Makes `entry` the value of `key`, dirty, or removes the key if there is none: until the durable tier has removed
    /// it too, it is known to have no value. Waits until `deadline` for room among what is dirty.
    ///
    /// # Errors
    /// [`RateLimitExceeded`](crate::error::Error::RateLimitExceeded) if there is no room by then: nothing has
    /// changed. Any other: the store cannot keep it. If [`dirty`](WriteBackStore::dirty) knows the key then, it
    /// has kept what the key had before or cannot tell; else nothing of the key is dirty.
    async fn write_dirty(
        &self,
        key: &EntryKey,
        entry: Option<Entry>,
        deadline: Deadline,
    ) -> Result<()>;

    /// What of `key` is dirty. While it is, the durable tier does not tell the truth about it.
    fn dirty(&self, key: &EntryKey) -> Option<Dirty>;

    /// The key that has been dirty for longest, or the first that somebody waits for, of those that nobody has
    /// taken.
    fn take_dirty(&self) -> Option<EntryKey>;

    /// Waits until there may be something to take.
    async fn dirty_changed(&self);

    /// The dirty write of `key`, which the caller has taken; `None` if there is none any more.
    ///
    /// # Errors
    /// When it cannot be read now.
    async fn unsent(&self, key: &EntryKey) -> Result<Option<Unsent>>;

    /// The durable tier has this write. Gives the key back, which is dirty on if it was written since.
    ///
    /// # Errors
    /// When it cannot be remembered: it will be uploaded again after a restart.
    async fn uploaded(&self, key: &EntryKey, id: WriteId) -> Result<()>;

    /// Gives the key back as it was; it is taken again after those that are dirty now.
    fn not_uploaded(&self, key: &EntryKey);

    /// Waits until the durable tier has the newest write of `key`; it is uploaded before those that nobody waits for.
    ///
    /// # Errors
    /// When it has not by `deadline`.
    async fn clean(&self, key: &EntryKey, deadline: Deadline) -> Result<()>;

    /// Waits until nothing is dirty.
    async fn all_clean(&self);

    /// How much is dirty.
    fn dirty_stats(&self) -> DirtyStats;
}
