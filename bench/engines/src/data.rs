//! What is stored: keys in no order, and values that show which number they belong to.
//!
//! A value is a slice of one static pool of random bytes, at a place that its number gives. Making one costs
//! nothing, so that what is measured is the engine; two numbers share a value once in a million.

use bytes::Bytes;

const POOL_BYTES: usize = 8 << 20;

/// Of a value that was read, this many bytes at each end are always compared.
const EDGE_BYTES: usize = 64;

/// One value in so many is compared whole.
const WHOLE_EVERY: u64 = 16;

/// The bytes of a key.
pub const KEY_BYTES: usize = 16;

/// A key: 16 bytes, in an order that has nothing to do with the order of the numbers.
#[derive(Clone, Copy)]
pub struct Key(pub [u8; KEY_BYTES]);

impl Key {
    /// The key of this number; different numbers have different keys.
    pub fn of(number: u64) -> Self {
        let mut bytes = [0; KEY_BYTES];
        bytes[..8].copy_from_slice(&mix(number).to_be_bytes());
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }
}

/// Where values come from; cheap to copy.
#[derive(Clone, Copy)]
pub struct Values(&'static [u8]);

impl Values {
    /// The pool, the same in every process.
    pub fn new() -> Self {
        let mut random = Random::new(1);
        let words = (0..POOL_BYTES / 8).flat_map(|_| random.next().to_le_bytes());
        Self(Box::leak(words.collect()))
    }

    /// The value of this number.
    pub fn value(self, number: u64, bytes: usize) -> Bytes {
        Bytes::from_static(self.slice(number, bytes))
    }

    /// Whether `found` is the value of this number: its length and its ends, and now and then the whole.
    pub fn is_value(self, number: u64, bytes: usize, found: &[u8]) -> bool {
        let expected = self.slice(number, bytes);
        if found.len() != bytes {
            return false;
        }
        if number.is_multiple_of(WHOLE_EVERY) || bytes <= 2 * EDGE_BYTES {
            return found == expected;
        }
        let tail = bytes - EDGE_BYTES;
        found[..EDGE_BYTES] == expected[..EDGE_BYTES] && found[tail..] == expected[tail..]
    }

    fn slice(self, number: u64, bytes: usize) -> &'static [u8] {
        let places = (POOL_BYTES - bytes) as u64;
        let at = usize::try_from(mix(!number) % places).expect("within the pool");
        &self.0[at..at + bytes]
    }
}

/// Random numbers good enough to choose keys by, and fast (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A bijection that leaves no order (splitmix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_that_of_its_number_only() {
        let values = Values::new();
        for bytes in [8, 100, 1_024, 65_536] {
            for number in 0..200 {
                let value = values.value(number, bytes);
                assert!(values.is_value(number, bytes, &value));
                assert!(!values.is_value(number + 1, bytes, &value));
                assert!(!values.is_value(number, bytes, &value[1..]));
            }
        }
    }
}
