//! [`Stored`]: an entry in the form in which memory holds it.
//!
//! Small, because there are many: one cache line, and two allocations for what has no fixed length.

use std::num::NonZero;

use bytes::Bytes;
use milena_cluster::key::EntryKey;
use milena_server::clock::UnixMillis;

use super::ENTRY_OVERHEAD_BYTES;
use crate::store::{Entry, Version};

/// Values up to this size are copied out of the buffer they came in; a slice would keep all of a receive
/// buffer alive for one small value. Above it the buffer is mostly value, and the copy would cost more.
const COPY_BYTES_MAX: usize = 16 << 10;

/// A key and its entry. That it needs revalidation is of no meaning in what a store is given, and is not kept.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Stored {
    value: Bytes,
    /// `version length (1 byte) · key · version`.
    head: Box<[u8]>,
    /// In milliseconds since the Unix epoch. The epoch's own is told as the next: both have long passed.
    expires_at: Option<NonZero<u64>>,
    fresh_until: Option<NonZero<u64>>,
}

impl Stored {
    /// The key and, if it is small, the value are copied.
    pub(super) fn new(key: &EntryKey, entry: Entry) -> Self {
        let version = entry.version.as_bytes();
        let version_bytes = u8::try_from(version.len()).expect("a version has at most 128 bytes");
        let is_small = entry.value.len() <= COPY_BYTES_MAX;
        Self {
            head: [&[version_bytes], key.as_bytes(), version].concat().into(),
            value: if is_small {
                Bytes::copy_from_slice(&entry.value)
            } else {
                entry.value
            },
            expires_at: entry.expires_at.map(non_zero),
            fresh_until: entry.fresh_until.map(non_zero),
        }
    }

    /// What was put, sharing the bytes of its value.
    pub(super) fn entry(&self) -> Entry {
        Entry {
            value: self.value.clone(),
            expires_at: self.expires_at.map(unix_millis),
            fresh_until: self.fresh_until.map(unix_millis),
            version: Version::new(&self.head[self.version_start()..]),
            needs_revalidation: false,
        }
    }

    /// Whether it is the entry of `key`.
    pub(super) fn is_of(&self, key: &EntryKey) -> bool {
        self.head[1..self.version_start()] == *key.as_bytes()
    }

    #[cfg(test)]
    pub(super) fn key(&self) -> EntryKey {
        let bucket_bytes = usize::from(self.head[1]);
        let (bucket, key) = self.head[2..self.version_start()].split_at(bucket_bytes);
        EntryKey::new(std::str::from_utf8(bucket).unwrap(), key).unwrap()
    }

    /// As [`Entry::is_live`].
    pub(super) fn is_live(&self, now: UnixMillis) -> bool {
        let has_passed = |end: Option<NonZero<u64>>| end.is_some_and(|end| end.get() <= now.0);
        !has_passed(self.expires_at) && !has_passed(self.fresh_until)
    }

    /// The bytes that it counts for.
    pub(super) fn charge(&self) -> u64 {
        let bytes = self.head.len() - 1 + self.value.len();
        ENTRY_OVERHEAD_BYTES + bytes as u64
    }

    fn version_start(&self) -> usize {
        self.head.len() - usize::from(self.head[0])
    }
}

fn non_zero(moment: UnixMillis) -> NonZero<u64> {
    NonZero::new(moment.0).unwrap_or(NonZero::<u64>::MIN)
}

fn unix_millis(moment: NonZero<u64>) -> UnixMillis {
    UnixMillis(moment.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_cache_line_also_where_it_may_be_absent() {
        assert_eq!(size_of::<Option<Stored>>(), 64);
    }

    #[test]
    fn only_a_small_value_is_copied() {
        let key = EntryKey::new("b", b"k").unwrap();
        for (bytes, is_copied) in [(COPY_BYTES_MAX, true), (COPY_BYTES_MAX + 1, false)] {
            let value = Bytes::from(vec![7; bytes]);
            let stored = Stored::new(&key, Entry::new(value.clone()));
            assert_eq!(stored.value, value);
            assert_eq!(stored.value.as_ptr() != value.as_ptr(), is_copied);
        }
    }

    #[test]
    fn a_key_is_told_from_one_that_continues_into_the_version() {
        let key = |text: &[u8]| EntryKey::new("b", text).unwrap();
        let entry = Entry {
            version: Version::new(b"v1"),
            ..Entry::new(Bytes::new())
        };
        let stored = Stored::new(&key(b"k"), entry.clone());
        assert_eq!(stored.entry(), entry);
        assert!(stored.is_of(&key(b"k")));
        for other in [&b"kv"[..], b"kv1", b"l"] {
            assert!(!stored.is_of(&key(other)));
        }
    }

    #[test]
    fn an_end_at_the_epoch_has_passed() {
        let key = EntryKey::new("b", b"k").unwrap();
        let ended = Entry {
            expires_at: Some(UnixMillis(0)),
            ..Entry::new(Bytes::new())
        };
        assert!(!Stored::new(&key, ended).is_live(UnixMillis(1)));
    }
}
