//! The identity of an entry: a bucket and a key, checked once where they enter the system.
//!
//! An [`EntryKey`] that exists is within the limits; nothing further in checks again. Its `Debug`
//! shows the bucket and a hash, never the key: keys may be personal data and do not go into logs.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

/// The longest bucket name, in bytes.
pub const BUCKET_BYTES_MAX: usize = 63;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1_024;

/// A bucket and a key within the limits; cheap to clone.
///
/// One buffer, `bucket length (1 byte) · bucket · key`, which is injective: two different pairs never
/// share it. This form is what is hashed for placement, so it must not change.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey(Bytes);

/// Why a bucket and a key are no [`EntryKey`]. The text names the limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The bucket's name is empty or too long.
    #[error("bucket name has {bytes} bytes; expected 1 to {BUCKET_BYTES_MAX}")]
    BucketLength {
        /// What was given.
        bytes: usize,
    },
    /// The bucket's name has a character that is not allowed.
    #[error("bucket name has the character {found:?}; expected only A-Z a-z 0-9 . _ -")]
    BucketCharacter {
        /// The first such character.
        found: char,
    },
    /// The bucket's name is `.` or `..`.
    #[error("bucket name is {name:?}; expected a name other than \".\" and \"..\"")]
    BucketDots {
        /// What was given.
        name: String,
    },
    /// The key is empty or too long.
    #[error("key has {bytes} bytes; expected 1 to {KEY_BYTES_MAX}")]
    KeyLength {
        /// What was given.
        bytes: usize,
    },
}

impl EntryKey {
    /// Checks `bucket` (1 to 63 of `[A-Za-z0-9._-]`, not `.` or `..`) and `key` (1 to 1,024 bytes,
    /// any bytes) and copies them out of whatever buffer they came in.
    ///
    /// # Errors
    /// [`InvalidKey`], naming the limit that was passed.
    pub fn new(bucket: &str, key: &[u8]) -> Result<Self, InvalidKey> {
        check_bucket(bucket)?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(InvalidKey::KeyLength { bytes: key.len() });
        }
        let bucket_bytes =
            u8::try_from(bucket.len()).expect("a checked bucket name has at most 63 bytes");
        let mut buffer = BytesMut::with_capacity(1 + bucket.len() + key.len());
        buffer.put_u8(bucket_bytes);
        buffer.put_slice(bucket.as_bytes());
        buffer.put_slice(key);
        Ok(Self(buffer.freeze()))
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        std::str::from_utf8(&self.0[1..self.key_start()]).expect("a checked bucket name is ASCII")
    }

    /// The key, without its bucket.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0[self.key_start()..]
    }

    /// `bucket length (1 byte) · bucket · key`: the form that is hashed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// XXH3-64 of [`EntryKey::as_bytes`], pinned by golden data: the same on every machine, for ever.
    #[must_use]
    pub fn hash64(&self) -> u64 {
        xxh3_64(&self.0)
    }

    fn key_start(&self) -> usize {
        1 + usize::from(self.0[0])
    }
}

fn check_bucket(bucket: &str) -> Result<(), InvalidKey> {
    if bucket.is_empty() || bucket.len() > BUCKET_BYTES_MAX {
        return Err(InvalidKey::BucketLength {
            bytes: bucket.len(),
        });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(found) = bucket.chars().find(|c| !allowed(*c)) {
        return Err(InvalidKey::BucketCharacter { found });
    }
    if bucket == "." || bucket == ".." {
        return Err(InvalidKey::BucketDots {
            name: bucket.to_owned(),
        });
    }
    Ok(())
}

impl fmt::Debug for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/#{:016x}", self.bucket(), self.hash64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_apart_what_it_was_made_of() {
        let key = EntryKey::new("photos", b"\x00\xff/cat\n").expect("within the limits");
        assert_eq!(key.bucket(), "photos");
        assert_eq!(key.key(), b"\x00\xff/cat\n");
    }

    #[test]
    fn a_byte_moved_from_key_to_bucket_is_another_entry() {
        assert_ne!(
            EntryKey::new("a", b"bc").unwrap(),
            EntryKey::new("ab", b"c").unwrap()
        );
    }

    #[test]
    fn limits_hold_on_both_sides() {
        assert!(EntryKey::new(&"b".repeat(63), &[0; 1_024]).is_ok());
        assert_eq!(
            EntryKey::new("", b"k"),
            Err(InvalidKey::BucketLength { bytes: 0 })
        );
        assert_eq!(
            EntryKey::new(&"b".repeat(64), b"k"),
            Err(InvalidKey::BucketLength { bytes: 64 })
        );
        assert_eq!(
            EntryKey::new("b", b""),
            Err(InvalidKey::KeyLength { bytes: 0 })
        );
        assert_eq!(
            EntryKey::new("b", &[0; 1_025]),
            Err(InvalidKey::KeyLength { bytes: 1_025 })
        );
        assert_eq!(
            EntryKey::new("a/b", b"k"),
            Err(InvalidKey::BucketCharacter { found: '/' })
        );
        assert_eq!(
            EntryKey::new("..", b"k"),
            Err(InvalidKey::BucketDots { name: "..".into() })
        );
        assert!(EntryKey::new("...", b"k").is_ok());
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let key = EntryKey::new("b", b"secret").unwrap();
        assert!(!format!("{key:?}").contains("secret"));
    }
}
