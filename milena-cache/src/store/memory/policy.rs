//! [`EvictionPolicy`]: which entries leave memory first. A policy is a file of its own that implements [`Policy`].

use std::fmt;

use super::lru::Lru;
use super::s3_fifo::S3Fifo;
use super::slots::{KeyHash, QueueId, Slot, Slots};

/// Which entries leave memory first (`EVICTION_POLICY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// The least recently used.
    Lru,
    /// What was not used again soon after it came; for loads with scans and many entries that are used once.
    S3Fifo,
}

impl EvictionPolicy {
    /// That of a node that is not told otherwise.
    pub const DEFAULT: Self = Self::Lru;

    /// All that there are.
    pub const ALL: [Self; 2] = [Self::Lru, Self::S3Fifo];

    /// A value of `EVICTION_POLICY`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == text)
    }

    /// The value of `EVICTION_POLICY` that asks for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::S3Fifo => "s3-fifo",
        }
    }

    /// With nothing to decide yet.
    pub(super) fn begin(self) -> Box<dyn Policy> {
        match self {
            Self::Lru => Box::new(Lru),
            Self::S3Fifo => Box::new(S3Fifo::new()),
        }
    }
}

/// A limit that is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Too many entries.
    Entries,
    /// Too many bytes.
    Bytes,
}

/// Keeps the queues in an order from which it tells what to evict.
pub(super) trait Policy: fmt::Debug + Send {
    /// The queue in which a new entry begins, as its newest.
    fn admit(&mut self, hash: KeyHash) -> QueueId;

    /// The entry in `slot` was asked for, or written over.
    fn used(&mut self, slots: &mut Slots, slot: Slot);

    /// The slot of the entry to evict, which the caller removes. `None` only if there are no entries.
    fn victim(&mut self, slots: &mut Slots, excess: Excess) -> Option<Slot>;
}
