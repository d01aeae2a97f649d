//! The sweep: every entry's object under the prefix is looked at, and what has expired is given to somebody
//! who removes it.
//!
//! A listing, and a HEAD for each object that may be an entry's; all else under the prefix is left alone.
//! Bounded: a page of names in memory, so many requests at once.

use std::future::Future;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::stream::{self, StreamExt as _};
use milena_cluster::key::EntryKey;
use milena_server::clock::Deadline;

use super::S3Store;
use super::object_key::{entry_key, is_hashed_name, object_key};
use super::objects::Page;
use crate::error::{Cause, Error, Result};

/// Objects that may fail before the sweep is given up.
const FAILURES_MAX: u32 = 100;

/// How a sweep goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// Objects that are looked at at once.
    pub concurrency: usize,
    /// How long ago a life must have ended.
    pub expired_for: Duration,
}

impl Sweep {
    /// S3 refuses whose clock is further off than this from its own, so by S3's clock nothing is removed before
    /// its time.
    pub const EXPIRED_FOR: Duration = Duration::from_secs(15 * 60);
}

/// What became of an entry's object that a sweep looked at.
#[derive(Clone, Debug)]
pub enum Examined {
    /// It has not expired, or not long ago, or has no life of its own, or was just removed.
    Live,
    /// It had expired and was removed.
    Removed,
    /// It had expired, and was removed or replaced by somebody else.
    Gone,
    /// It is not known.
    Failed(Error),
}

impl S3Store {
    /// Looks at every entry's object, gives the key of each that has expired to `remove`, which says whether
    /// it removed it, and tells `tell` what became of each.
    ///
    /// # Errors
    /// When the objects cannot be listed, or a hundred of them cannot be looked at.
    pub async fn sweep<F>(
        &self,
        how: Sweep,
        remove: impl Fn(EntryKey) -> F,
        tell: impl Fn(&Examined),
    ) -> Result<()>
    where
        F: Future<Output = Result<bool>>,
    {
        let mut failures = 0;
        let mut from = None;
        loop {
            let Page { names, next } = self.entries(from.as_deref()).await?;
            let mut examined = stream::iter(names)
                .map(|name| self.examine(name, how, &remove))
                .buffer_unordered(how.concurrency);
            while let Some(examined) = examined.next().await {
                tell(&examined);
                let Examined::Failed(error) = examined else {
                    continue;
                };
                failures += 1;
                if failures == FAILURES_MAX {
                    let text = format!("{FAILURES_MAX} objects failed; the last one");
                    return Err(Error::S3Error(Cause::with_source(text, error)));
                }
            }
            if next.is_none() {
                return Ok(());
            }
            from = next;
        }
    }

    /// How many objects there are that a sweep looks at, told page by page.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn count_entries(&self, tell: impl Fn(usize)) -> Result<()> {
        let mut from = None;
        loop {
            let Page { names, next } = self.entries(from.as_deref()).await?;
            tell(names.len());
            if next.is_none() {
                return Ok(());
            }
            from = next;
        }
    }

    /// A page of the names of objects that may be entries'.
    async fn entries(&self, from: Option<&str>) -> Result<Page> {
        let mut page = self.list(from, self.deadline()).await?;
        page.names.retain(|name| self.may_hold_entry(name));
        Ok(page)
    }

    async fn examine<F>(&self, name: String, how: Sweep, remove: impl Fn(EntryKey) -> F) -> Examined
    where
        F: Future<Output = Result<bool>>,
    {
        match self.expired_key(&name, how.expired_for).await {
            Err(error) => Examined::Failed(error),
            Ok(None) => Examined::Live,
            Ok(Some(key)) => match remove(key).await {
                Ok(true) => Examined::Removed,
                Ok(false) => Examined::Gone,
                Err(error) => Examined::Failed(error),
            },
        }
    }

    /// The key of the entry in the object called `name`, if it has been expired for so long.
    async fn expired_key(&self, name: &str, expired_for: Duration) -> Result<Option<EntryKey>> {
        let Some(known) = self.head(name, self.deadline()).await? else {
            return Ok(None);
        };
        let now = self.clock.now();
        if known
            .expires_at
            .is_none_or(|end| end.after(expired_for) > now)
        {
            return Ok(None);
        }
        Ok(entry_key(&self.config.prefix, name)
            .or_else(|| self.hashed_entry_key(name, &known.key_base64?)))
    }

    /// The key in the metadata of the object called `name`, if the name is that key's.
    fn hashed_entry_key(&self, name: &str, key_base64: &str) -> Option<EntryKey> {
        let prefix = &self.config.prefix;
        let (bucket, _) = name.strip_prefix(prefix)?.split_once('/')?;
        let key = EntryKey::new(bucket, &BASE64.decode(key_base64).ok()?).ok()?;
        (object_key(prefix, &key).name == name).then_some(key)
    }

    fn may_hold_entry(&self, name: &str) -> bool {
        entry_key(&self.config.prefix, name).is_some() || is_hashed_name(name)
    }

    fn deadline(&self) -> Deadline {
        self.clock.deadline_in(self.config.timeout)
    }
}
