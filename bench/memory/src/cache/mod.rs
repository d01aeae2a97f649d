//! What is measured: caches of so many entries, behind one small trait.

mod foyer;
mod hashlink;
mod milena;
mod moka;
mod quick_cache;

use std::fmt;

use clap::ValueEnum;
use milena_cache::store::Entry;
use milena_cache::store::memory::EvictionPolicy;
use milena_cluster::key::EntryKey;

/// A cache that is bounded by its number of entries.
pub trait Cache: Send + Sync {
    fn get(&self, key: &EntryKey) -> Option<Entry>;
    fn insert(&self, key: &EntryKey, entry: Entry);
    /// Entries held, once what is put off has been done.
    fn entries(&self) -> u64;
}

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Milena's memory tier with EVICTION_POLICY=lru
    Lru,
    /// Milena's memory tier with EVICTION_POLICY=s3-fifo
    S3Fifo,
    /// hashlink's map behind one lock: an LRU in its plainest form
    Hashlink,
    /// moka as it comes: TinyLFU
    Moka,
    /// quick_cache as it comes: a kind of Clock-PRO that resembles S3-FIFO
    QuickCache,
    /// foyer's memory cache as it comes
    Foyer,
    /// foyer's memory cache with its S3-FIFO
    FoyerS3Fifo,
}

impl Name {
    pub const ALL: [Self; 7] = [
        Self::Lru,
        Self::S3Fifo,
        Self::Hashlink,
        Self::Moka,
        Self::QuickCache,
        Self::Foyer,
        Self::FoyerS3Fifo,
    ];

    /// An empty cache of this kind.
    pub fn of(self, entries_max: usize) -> Box<dyn Cache> {
        match self {
            Self::Lru => Box::new(milena::cache(EvictionPolicy::Lru, entries_max)),
            Self::S3Fifo => Box::new(milena::cache(EvictionPolicy::S3Fifo, entries_max)),
            Self::Hashlink => Box::new(hashlink::Hashlink::new(entries_max)),
            Self::Moka => Box::new(moka::cache(entries_max)),
            Self::QuickCache => Box::new(quick_cache::cache(entries_max)),
            Self::Foyer => Box::new(foyer::as_it_comes(entries_max)),
            Self::FoyerS3Fifo => Box::new(foyer::s3_fifo(entries_max)),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("none is skipped");
        f.write_str(value.get_name())
    }
}
