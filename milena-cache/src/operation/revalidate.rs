//! Revalidation: asking the durable tier whether a copy that may be out of date is still its value.
//!
//! One request a copy, in which the value comes along if it is another one. A copy may be out of date because
//! its time of being fresh has passed, or because its tier says so. Invariant: while the durable tier cannot
//! tell, only the former may be served, marked as stale, for `STALE_IF_ERROR` at most.

use std::time::Duration;

use milena_cluster::key::EntryKey;
use milena_server::clock::{Deadline, UnixMillis};

use super::{Limits, Shared, Tier};
use crate::error::Result;
use crate::metrics::Op;
use crate::store::{Entry, Revalidated};

/// How long it may take to find a stale copy for a caller whose deadline has passed.
const LAST_LOOK: Duration = Duration::from_millis(20);

/// A copy that may be out of date, and the tier that it was found in.
pub(super) struct Doubtful<'a> {
    pub(super) tier: &'a Tier,
    pub(super) copy: Entry,
}

impl Shared {
    /// Until when a copy is kept of which the durable tier was asked then.
    pub(super) fn kept_until(&self, asked_at: UnixMillis) -> UnixMillis {
        let Limits {
            lives, stale_life, ..
        } = self.limits;
        lives.fresh_until(asked_at, &self.clock).after(stale_life)
    }

    /// Whether the copy, which a tier has just given, may be served without asking the durable tier.
    pub(super) fn is_fresh(&self, copy: &Entry) -> bool {
        let stale_life = self.limits.stale_life;
        !copy.needs_revalidation
            && (stale_life.is_zero()
                || copy
                    .fresh_until
                    .is_none_or(|end| self.clock.now().after(stale_life) < end))
    }

    /// The copy, marked as stale, if it may be served although the durable tier has failed.
    pub(super) fn stale(&self, Doubtful { tier, copy }: &Doubtful<'_>) -> Option<Entry> {
        if copy.needs_revalidation || !copy.is_live(self.clock.now()) {
            return None;
        }
        tier.metrics.hits.inc();
        Some(Entry {
            needs_revalidation: true,
            ..copy.clone()
        })
    }

    /// A copy for a caller that cannot wait for the durable tier any longer.
    pub(super) async fn last_look(&self, key: &EntryKey) -> Option<Entry> {
        if self.limits.stale_life.is_zero() {
            return None;
        }
        let deadline = self.clock.deadline_in(LAST_LOOK);
        for tier in &self.copies {
            if let Ok(Some(copy)) = self.ask(tier, key, deadline).await {
                if self.is_fresh(&copy) {
                    return Some(copy);
                }
                return self.stale(&Doubtful { tier, copy });
            }
        }
        None
    }

    /// The entry of `key` as the durable tier has it, whether that is the copy or another one.
    ///
    /// # Errors
    /// When the durable tier cannot tell.
    pub(super) async fn revalidate(
        &self,
        key: &EntryKey,
        doubtful: &Doubtful<'_>,
        deadline: Deadline,
    ) -> Result<Option<Entry>> {
        let Doubtful { tier, copy } = doubtful;
        let (durable, counts) = (&self.durable, &self.metrics.revalidations);
        let asked = durable.store.get_if_changed(key, &copy.version, deadline);
        let answer = self.timed(Op::Get, durable, asked).await;
        Ok(match answer.inspect_err(|_| counts.failed.inc())? {
            Revalidated::Unchanged => {
                counts.unchanged.inc();
                tier.metrics.hits.inc();
                Some(Entry {
                    needs_revalidation: false,
                    ..copy.clone()
                })
            }
            Revalidated::Changed(Some(entry)) => {
                counts.changed.inc();
                durable.metrics.hits.inc();
                Some(entry)
            }
            Revalidated::Changed(None) => {
                counts.gone.inc();
                None
            }
        })
    }
}
