//! Keys, entries and the order in which they are asked for.

use bytes::Bytes;
use milena_cache::store::{Entry, Version};
use milena_cluster::key::EntryKey;

/// The exponent of every zipf distribution here.
pub const ZIPF: f64 = 0.9;

/// Keys of a zipf distribution, and entries that a cache of them may hold.
pub const KEYS: u32 = 1_000_000;
pub const CACHE_ENTRIES: usize = 100_000;

/// The value of an entry where it does not matter.
pub const VALUE_BYTES: usize = 100;

/// As long as an ETag of S3.
const VERSION: &[u8; 32] = b"5d41402abc4b2a76b9719d911017c592";

/// A key in memory of its own, as it comes from the network.
pub fn key(number: u64) -> EntryKey {
    let mut name = *b"a/typical/key/########";
    name[14..].copy_from_slice(&number.to_le_bytes());
    EntryKey::new("bench", &name).expect("it is short")
}

/// An entry in memory of its own, as it comes from the network.
pub fn entry(value_bytes: usize) -> Entry {
    Entry {
        version: Version::new(VERSION),
        ..Entry::new(Bytes::from(vec![7; value_bytes]))
    }
}

/// Bytes of key, version and value of an entry with this key.
pub fn bytes_of(key: &EntryKey, value_bytes: usize) -> usize {
    key.as_bytes().len() + VERSION.len() + value_bytes
}

/// Numbers below `keys` whose frequency falls with their rank by [`ZIPF`].
pub struct Zipf {
    /// The sum of the weights up to each number.
    sums: Vec<f64>,
}

impl Zipf {
    pub fn new(keys: u32) -> Self {
        let mut sum = 0.0;
        let weights = (1..=keys).map(|rank| f64::from(rank).powf(-ZIPF));
        let sums = weights.map(|weight| {
            sum += weight;
            sum
        });
        Self {
            sums: sums.collect(),
        }
    }

    /// `len` of them, the same for the same seed.
    pub fn draw(&self, seed: u64, len: usize) -> Vec<u32> {
        let mut random = fastrand::Rng::with_seed(seed);
        let total = self.sums.last().expect("there are keys");
        let mut number = || {
            let at = random.f64() * total;
            self.sums.partition_point(|sum| *sum <= at) as u32
        };
        (0..len).map(|_| number()).collect()
    }
}
