//! The sweep's lease: one small object under our own prefix that says until when somebody sweeps, or has swept.
//!
//! Its content is `HOLDER UNTIL\n`, the second in ms since the Unix epoch. It is taken and extended by
//! conditional PUTs, so that of several that try only one succeeds. It saves requests and is no lock: what two
//! sweeps do at once is done safely by both.

use bytes::Bytes;
use milena_server::clock::{Deadline, UnixMillis};

use super::S3Store;
use super::objects::{Condition, Conditional};
use crate::error::Result;
use crate::store::Version;

/// The object. No bucket's name begins so, so no entry is there.
const LEASE_NAME: &str = "!sweep";

/// The right to sweep.
#[derive(Debug)]
pub struct Lease {
    holder: String,
    version: Version,
    /// Until when it holds.
    pub until: UnixMillis,
}

/// What becomes of a wish for the lease.
#[derive(Debug)]
pub enum LeaseAnswer {
    /// It is ours.
    Taken(Lease),
    /// Somebody sweeps, or has swept, so that nobody needs to before this moment.
    HeldUntil(UnixMillis),
}

impl S3Store {
    /// Takes the lease for `holder` until `until`, unless it is held.
    ///
    /// # Errors
    /// When S3 does not say.
    pub async fn take_lease(
        &self,
        holder: &str,
        until: UnixMillis,
        deadline: Deadline,
    ) -> Result<LeaseAnswer> {
        let deadline = self.requests.deadline(deadline);
        let found = self.get_own(&self.lease_name(), deadline).await?;
        let held_until = found.as_ref().and_then(|(content, _)| until_in(content));
        if let Some(held_until) = held_until.filter(|end| *end > self.clock.now()) {
            return Ok(LeaseAnswer::HeldUntil(held_until));
        }
        let condition = match &found {
            None => Condition::Absent,
            Some((_, version)) => Condition::Is(version),
        };
        let written = self.write_lease(holder, until, condition, deadline).await?;
        Ok(match written {
            Conditional::Done(version) => LeaseAnswer::Taken(Lease {
                holder: holder.to_owned(),
                version,
                until,
            }),
            // Somebody else was faster, and will hold it for as long as we would have.
            Conditional::Refused => LeaseAnswer::HeldUntil(until),
        })
    }

    /// Makes the lease hold until `until`; says whether it was still ours.
    ///
    /// # Errors
    /// When S3 does not say.
    pub async fn extend_lease(
        &self,
        lease: &mut Lease,
        until: UnixMillis,
        deadline: Deadline,
    ) -> Result<bool> {
        let deadline = self.requests.deadline(deadline);
        let condition = Condition::Is(&lease.version);
        match self
            .write_lease(&lease.holder, until, condition, deadline)
            .await?
        {
            Conditional::Done(version) => {
                (lease.version, lease.until) = (version, until);
                Ok(true)
            }
            Conditional::Refused => Ok(false),
        }
    }

    async fn write_lease(
        &self,
        holder: &str,
        until: UnixMillis,
        condition: Condition<'_>,
        deadline: Deadline,
    ) -> Result<Conditional<Version>> {
        let content = Bytes::from(format!("{holder} {}\n", until.0));
        Ok(self
            .put_if(&self.lease_name(), condition, &content, deadline)
            .await?)
    }

    fn lease_name(&self) -> String {
        self.config.own_object(LEASE_NAME)
    }
}

/// Until when the lease with this content holds; `None` if nobody could have written it.
fn until_in(content: &[u8]) -> Option<UnixMillis> {
    let (_, until) = std::str::from_utf8(content)
        .ok()?
        .trim_end()
        .rsplit_once(' ')?;
    until.parse().ok().map(UnixMillis)
}
