//! Get: the tiers from the fastest to the durable one; what is found is promoted.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use milena_cluster::key::EntryKey;
use milena_server::clock::Deadline;

use super::key_lock::{KeyHandle, Stamp};
use super::revalidate::Doubtful;
use super::{Operation, Shared, Tier};
use crate::error::{Cause, Error, Result};
use crate::metrics::Op;
use crate::store::Entry;

impl Operation {
    /// The entry of `key`, or `None` when no tier holds it. One that [needs
    /// revalidation](Entry::needs_revalidation) is stale: the durable tier fails, and `STALE_IF_ERROR` allows it.
    ///
    /// # Errors
    /// When the durable tier cannot tell by `deadline`: a failure is not a miss.
    pub async fn get(&self, key: &EntryKey, deadline: Option<Deadline>) -> Result<Option<Entry>> {
        if let Some(entry) = self.get_now(key) {
            return Ok(Some(entry));
        }
        let begun = self.0.clock.monotonic();
        let result = self.look_up(key, deadline).await;
        self.0
            .metrics
            .observe(Op::Get, self.0.clock.monotonic() - begun);
        match &result {
            Ok(None) => self.0.metrics.misses.inc(),
            Ok(Some(entry)) if entry.needs_revalidation => self.0.metrics.stale_answers.inc(),
            _ => {}
        }
        result
    }

    /// The entry of `key` if a tier that holds copies can give it at once; `None` says nothing.
    #[must_use]
    pub fn get_now(&self, key: &EntryKey) -> Option<Entry> {
        let shared = &self.0;
        let fastest = shared.copies.first()?;
        let found = shared.ask_now(fastest, key);
        let (entry, took) = found.or_else(|| shared.promoted_now(key))?;
        shared.metrics.observe(Op::Get, took);
        Some(entry)
    }

    async fn look_up(&self, key: &EntryKey, caller: Option<Deadline>) -> Result<Option<Entry>> {
        let deadline = self.0.durable_deadline(caller);
        if self.0.misses.holds(key, self.0.clock.now()) {
            self.0.metrics.negative_hits.inc();
            return Ok(None);
        }
        let _waiting = self.0.wait_turn()?;
        let handle = self.0.keys.handle(key);
        let seen = handle.stamp();
        // Only a load begun since the last write to this key is joined: an older one may have read what
        // that write replaced.
        let load = self.0.loads.join((key.clone(), seen), || {
            let shared = Arc::clone(&self.0);
            async move { shared.load(&handle, seen).await }
        });
        match tokio::time::timeout_at(deadline.instant(), load).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_lost)) => Err(Error::InternalError(Cause::new("a load panicked"))),
            Err(_) => self.0.last_look(key).await.map(Some).ok_or_else(|| {
                Error::S3Error(Cause::new("no answer within the caller's deadline"))
            }),
        }
    }
}

impl Shared {
    /// What `tier` can give at once, and how long it took.
    fn ask_now(&self, tier: &Tier, key: &EntryKey) -> Option<(Entry, Duration)> {
        let begun = self.clock.monotonic();
        let entry = tier.store.get_now(key)?;
        if !self.is_fresh(&entry) {
            return None;
        }
        let took = self.clock.monotonic() - begun;
        tier.metrics.observe(Op::Get, took);
        tier.metrics.hits.inc();
        Some((entry, took))
    }

    /// The same of the tiers after the fastest; what is found is promoted as far as that can be done at once.
    fn promoted_now(&self, key: &EntryKey) -> Option<(Entry, Duration)> {
        if self.copies.len() < 2 {
            return None;
        }
        let seen = self.keys.shard_stamp(key);
        let mut tiers = self.copies.iter().enumerate().skip(1);
        let (depth, (copy, took)) =
            tiers.find_map(|(depth, tier)| Some((depth, self.ask_now(tier, key)?)))?;
        let copy = self.with_limit(copy);
        if let Some(_filling) = self.keys.fill_now(key, seen) {
            // Memory never waits. Whatever does goes without, and is asked again.
            let _ = self.fill(key, &copy, &self.copies[..depth]).now_or_never();
        }
        Some((copy, took))
    }

    /// Asks every tier in turn and promotes what it finds. Serves all callers of one flight, so it keeps
    /// to no single caller's deadline.
    async fn load(&self, handle: &KeyHandle, seen: Stamp) -> Result<Option<Entry>> {
        let deadline = self.durable_deadline(None);
        let mut doubtful = None;
        // The fastest too: what an earlier load has just put there is not fetched again.
        for (depth, tier) in self.copies.iter().enumerate() {
            // A local tier that fails is served around.
            let Ok(Some(copy)) = self.ask(tier, handle.key(), deadline).await else {
                continue;
            };
            if !self.is_fresh(&copy) {
                doubtful = Some(Doubtful { tier, copy });
                break;
            }
            let copy = self.with_limit(copy);
            self.promote(handle, seen, &copy, &self.copies[..depth])
                .await;
            return Ok(Some(copy));
        }
        if let Some(answer) = self.answer_of_dirty(handle.key()).await {
            return answer;
        }
        // The life of a copy, and of a miss, is counted from before S3 was asked: from then on what is there may
        // change.
        let asked_at = self.clock.now();
        let fresh_until = Some(self.kept_until(asked_at));
        let found = match &doubtful {
            None => self.ask(&self.durable, handle.key(), deadline).await?,
            Some(doubtful) => match self.revalidate(handle.key(), doubtful, deadline).await {
                Err(error @ Error::S3Error(_)) => {
                    return self.stale(doubtful).map(Some).ok_or(error);
                }
                answer => answer?,
            },
        };
        let Some(entry) = found else {
            if let Some(_filling) = handle.fill(seen) {
                if doubtful.is_some() {
                    // What cannot be dropped goes on being doubtful.
                    let _ = self.forget(handle.key()).await;
                }
                self.misses.remember(handle.key(), asked_at);
            }
            return Ok(None);
        };
        let copy = Entry {
            fresh_until,
            ..entry
        };
        self.promote(handle, seen, &copy, &self.copies).await;
        Ok(Some(copy))
    }

    /// The same, with an end to how long it is served without asking the durable tier: a dirty one has none.
    fn with_limit(&self, copy: Entry) -> Entry {
        let now = self.clock.now();
        Entry {
            fresh_until: copy.fresh_until.or_else(|| Some(self.kept_until(now))),
            ..copy
        }
    }

    pub(super) async fn ask(
        &self,
        tier: &Tier,
        key: &EntryKey,
        deadline: Deadline,
    ) -> Result<Option<Entry>> {
        let found = self
            .timed(Op::Get, tier, tier.store.get(key, deadline))
            .await?;
        if found.as_ref().is_some_and(|copy| self.is_fresh(copy)) {
            tier.metrics.hits.inc();
        }
        Ok(found)
    }

    /// Copies what was found into the tiers before it, unless the key was written since `seen`.
    async fn promote(&self, handle: &KeyHandle, seen: Stamp, copy: &Entry, into: &[Tier]) {
        if let Some(_filling) = handle.fill(seen) {
            self.fill(handle.key(), copy, into).await;
        }
    }

    /// Copies it there. The caller holds the right to fill the key.
    async fn fill(&self, key: &EntryKey, copy: &Entry, into: &[Tier]) {
        self.misses.forget(key);
        for tier in into.iter().rev() {
            if self.copy_to(tier, key, copy).await.is_ok() {
                tier.metrics.promotions.inc();
            }
        }
    }
}
