//! Objects whose entry's life has ended: those that a read met are told of, and each is removed only if it is
//! still the one that expired.
//!
//! A removal is a HEAD, and a DELETE on the condition that the object has the ETag that the HEAD gave. The
//! HEAD is needed all the same: the same value put again, with a longer life, has the same ETag. A store
//! that does not know that condition would remove whatever is there, so nothing is removed from it.

use std::sync::atomic::{AtomicU64, Ordering};

use milena_cluster::key::EntryKey;
use milena_server::clock::Deadline;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, mpsc};

use super::objects::Conditional;
use super::observer::Request;
use super::{PROBE_NAME, S3Store};
use crate::error::{Cause, Error, Result};
use crate::store::Version;

/// Keys that wait to be removed, at most; a further one is told of again by its next read.
const TOLD_MAX: usize = 1_024;

/// An ETag that no object has.
const NO_VERSION: &[u8] = b"none";

/// What the store knows of expired objects.
pub(super) struct Expired {
    tell: mpsc::Sender<EntryKey>,
    told: Mutex<Option<mpsc::Receiver<EntryKey>>>,
    removed: AtomicU64,
    /// Whether the store minds conditions of a DELETE.
    minds_conditions: OnceCell<bool>,
}

impl Expired {
    pub(super) fn new() -> Self {
        let (tell, told) = mpsc::channel(TOLD_MAX);
        Self {
            tell,
            told: Mutex::new(Some(told)),
            removed: AtomicU64::new(0),
            minds_conditions: OnceCell::new(),
        }
    }

    /// Says that the object of `key` has expired. Never waits.
    pub(super) fn tell(&self, key: &EntryKey) {
        if self.minds_conditions.get() == Some(&false) {
            return;
        }
        // What finds no room is told of by the next read.
        let _no_room = self.tell.try_send(key.clone());
    }

    /// How many objects were removed.
    pub(super) fn removed(&self) -> u64 {
        self.removed.load(Ordering::Relaxed)
    }
}

impl S3Store {
    /// The keys whose reads met an expired object, as they are met; for one listener.
    ///
    /// # Panics
    /// When somebody listens already.
    pub fn expired_keys(&self) -> mpsc::Receiver<EntryKey> {
        self.expired.told.lock().take().expect("one listener")
    }

    /// Whether this S3 minds the condition of a conditional DELETE. It is asked once, with a DELETE of an
    /// object that is never there: who minds the condition says that it does not hold, and who does not says
    /// that it is done.
    ///
    /// # Errors
    /// When S3 does not say.
    pub async fn minds_conditions(&self, deadline: Deadline) -> Result<bool> {
        let ask = || async {
            let name = self.config.own_object(PROBE_NAME);
            let of_nothing = Version::new(NO_VERSION);
            let answer = self.delete_if(&name, &of_nothing, deadline).await?;
            Ok(answer == Conditional::Refused)
        };
        self.expired
            .minds_conditions
            .get_or_try_init(ask)
            .await
            .copied()
    }

    /// Removes the object called `name` if its entry's life has ended; says whether it did.
    pub(super) async fn remove_if_expired(&self, name: &str, deadline: Deadline) -> Result<bool> {
        if !self.minds_conditions(deadline).await? {
            let text =
                "this store does not mind If-Match of a DELETE, so what has expired is not removed";
            return Err(Error::S3Error(Cause::new(text)));
        }
        let Some(version) = self.expired_version(name, deadline).await? else {
            return Ok(false);
        };
        let removed = self.delete_if(name, &version, deadline).await?;
        let is_removed = removed == Conditional::Done(());
        self.expired
            .removed
            .fetch_add(u64::from(is_removed), Ordering::Relaxed);
        Ok(is_removed)
    }

    /// As [`Store::remove_expired`], without a condition: a value that is put between the HEAD and the DELETE
    /// is lost. For a store that does not mind conditions, while nobody writes.
    ///
    /// # Errors
    /// When it is not known to have happened.
    ///
    /// [`Store::remove_expired`]: crate::store::Store::remove_expired
    pub async fn remove_expired_unconditionally(
        &self,
        key: &EntryKey,
        deadline: Deadline,
    ) -> Result<bool> {
        let name = self.object_key(key).name;
        if self.expired_version(&name, deadline).await?.is_none() {
            return Ok(false);
        }
        let delete = || self.send_delete(&name);
        self.requests.run(Request::Delete, deadline, delete).await?;
        Ok(true)
    }

    /// The version of the object called `name`, if its entry's life has ended.
    async fn expired_version(&self, name: &str, deadline: Deadline) -> Result<Option<Version>> {
        let known = self.head(name, deadline).await?;
        let now = self.clock.now();
        let expired = known.filter(|known| known.expires_at.is_some_and(|end| end <= now));
        Ok(expired.map(|known| known.version))
    }
}
