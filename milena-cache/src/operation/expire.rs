//! Expire: what has expired in the durable tier is removed from it, never a value that was put meanwhile.

use std::time::Duration;

use milena_cluster::key::EntryKey;

use super::Operation;
use crate::error::Result;
use crate::metrics::Op;

/// How long a removal may take, at most: a put to the same key waits for it.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(2);

impl Operation {
    /// Removes `key` from the durable tier if what that holds has expired; says whether it did. Does nothing
    /// while the key is being written, and keeps writers out meanwhile. The copies know their end themselves.
    ///
    /// # Errors
    /// When it is not known to have happened.
    pub async fn remove_expired(&self, key: &EntryKey) -> Result<bool> {
        let shared = &self.0;
        let handle = shared.keys.handle(key);
        let Some(_no_writer) = handle.fill(handle.stamp()) else {
            return Ok(false);
        };
        // An upload of it may be under way.
        if shared.is_dirty(key) {
            return Ok(false);
        }
        let deadline = shared.clock.deadline_in(REMOVAL_TIMEOUT);
        let deadline = shared.durable_deadline(Some(deadline));
        let store = &shared.durable.store;
        let removing = store.remove_expired(key, deadline);
        shared.timed(Op::Delete, &shared.durable, removing).await
    }
}
