//! Delete: the durable tier first, then the copies.

use milena_cluster::key::EntryKey;
use milena_server::clock::Deadline;

use super::write_back::Ack;
use super::{Operation, Shared};
use crate::error::Result;
use crate::metrics::Op;

impl Operation {
    /// Removes `key` from every tier; with write-back, from the durable one later. Removing what is not there
    /// succeeds. Once begun it goes on to its end when the caller goes away.
    ///
    /// # Errors
    /// When the durable tier did not confirm it by `deadline`. The local copies are dropped all the same,
    /// so that the next get finds out, unless nothing was sent to it at all.
    pub async fn delete(&self, key: EntryKey, deadline: Option<Deadline>) -> Result<()> {
        let deadline = self.0.durable_deadline(deadline);
        self.write(key, None, Ack::Default, deadline).await
    }
}

impl Shared {
    /// The caller holds the key, of which nothing is dirty.
    pub(super) async fn delete_through(&self, key: &EntryKey, deadline: Deadline) -> Result<()> {
        let store = &self.durable.store;
        let removed = self
            .timed(Op::Delete, &self.durable, store.delete(key, deadline))
            .await;
        // Of what was never sent the durable tier knows nothing: it holds what it held.
        if !matches!(&removed, Err(error) if error.is_nothing_sent()) {
            self.forget(key).await?;
        }
        removed
    }
}
