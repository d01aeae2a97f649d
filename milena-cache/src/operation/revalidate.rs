//! Revalidation: asking the durable tier whether a copy that may be out of date is still its value.
//!
//! One request a copy, in which the value comes along if it is another one. Invariant: while the durable tier
//! cannot tell, the copy is not served.

use milena_cluster::key::EntryKey;
use milena_server::clock::Deadline;

use super::{Shared, Tier};
use crate::error::Result;
use crate::metrics::Op;
use crate::store::{Entry, Revalidated};

/// A copy that may be out of date, and the tier that it was found in.
pub(super) struct Doubtful<'a> {
    pub(super) tier: &'a Tier,
    pub(super) copy: Entry,
}

impl Shared {
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
