//! Put: the durable tier first, then the copies.

use std::time::Duration;

use bytes::Bytes;
use milena_cluster::key::EntryKey;
use milena_server::clock::Deadline;

use super::write_back::Ack;
use super::{Operation, Shared};
use crate::error::Result;
use crate::metrics::Op;
use crate::store::Entry;

/// What a put may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// The entry's own life, from the put on: when it has passed, the entry is gone from every tier. `None`: it
    /// has none.
    pub life: Option<Duration>,
    /// When it is acknowledged.
    pub ack: Ack,
}

impl Operation {
    /// Makes `value` the value of `key`. Answered once every tier has it or, with write-back, once the disk
    /// has it. Once begun it goes on to its end when the caller goes away.
    ///
    /// # Errors
    /// When the durable tier did not take it by `deadline`. It may have it all the same, or get it: the
    /// local copies are dropped, so that the next get finds out, unless nothing was sent to it at all. With
    /// write-back, when there was no room for it by `deadline`: nothing has changed.
    pub async fn put(
        &self,
        key: EntryKey,
        value: Bytes,
        options: PutOptions,
        deadline: Option<Deadline>,
    ) -> Result<()> {
        let deadline = self.0.durable_deadline(deadline);
        let (lives, clock) = (&self.0.limits.lives, &self.0.clock);
        let entry = Entry {
            expires_at: lives.expires_at(options.life, clock.now(), clock),
            ..Entry::new(value)
        };
        self.write(key, Some(entry), options.ack, deadline).await
    }
}

impl Shared {
    /// The caller holds the key, of which nothing is dirty.
    pub(super) async fn put_through(
        &self,
        key: &EntryKey,
        entry: Entry,
        deadline: Deadline,
    ) -> Result<()> {
        let fresh_until = self.kept_until(self.clock.now());
        let store = &self.durable.store;
        let stored = self
            .timed(
                Op::Put,
                &self.durable,
                store.put(key, entry.clone(), deadline),
            )
            .await;
        let installed = match stored {
            Ok(version) => {
                self.install(
                    key,
                    Entry {
                        fresh_until: Some(fresh_until),
                        version,
                        ..entry
                    },
                )
                .await
            }
            // What there was before is there still, and the copies of it are as good as they were.
            Err(error) if error.is_nothing_sent() => return Err(error),
            Err(error) => Err(error),
        };
        if installed.is_err() {
            self.forget(key).await?;
        }
        installed
    }

    /// Puts the copy into every tier before the durable one, the fastest last.
    async fn install(&self, key: &EntryKey, copy: Entry) -> Result<()> {
        for tier in self.copies.iter().rev() {
            self.copy_to(tier, key, &copy).await?;
        }
        Ok(())
    }
}
