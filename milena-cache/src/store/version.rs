//! [`Version`]: what the durable tier calls one value of a key.

use std::fmt;
use std::sync::Arc;

/// The durable tier's name for one value of a key (S3: the ETag, at most [`Version::BYTES_MAX`] bytes
/// of ASCII without its quotes). Empty when it is not known. Cheap to clone.
#[derive(Clone)]
pub struct Version(Name);

/// Bytes that a version holds in itself: every ETag of S3's own. Only what is longer is allocated and shared.
const SHORT_BYTES_MAX: usize = 46;

#[derive(Clone)]
enum Name {
    Short {
        bytes: [u8; SHORT_BYTES_MAX],
        len: u8,
    },
    Long(Arc<[u8]>),
}

impl Version {
    /// The longest version, in bytes. S3's ETags have 32 to 38.
    pub const BYTES_MAX: usize = 128;

    /// A version as the durable tier gave it; one that is over-long is treated as not known.
    #[must_use]
    pub fn new(name: &[u8]) -> Self {
        if name.len() > Self::BYTES_MAX {
            return Self::default();
        }
        let mut bytes = [0; SHORT_BYTES_MAX];
        let Some(short) = bytes.get_mut(..name.len()) else {
            return Self(Name::Long(Arc::from(name)));
        };
        short.copy_from_slice(name);
        let len = u8::try_from(name.len()).expect("a short name has at most 46 bytes");
        Self(Name::Short { bytes, len })
    }

    /// Whether it names anything.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.as_bytes().is_empty()
    }

    /// Its bytes; empty when it is not known.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Name::Short { bytes, len } => &bytes[..usize::from(*len)],
            Name::Long(bytes) => bytes,
        }
    }
}

impl Default for Version {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Version {}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_any_length_is_kept_up_to_the_longest() {
        for len in [
            1,
            32,
            SHORT_BYTES_MAX,
            SHORT_BYTES_MAX + 1,
            Version::BYTES_MAX,
        ] {
            let name: Vec<u8> = (0..len).map(|index| index.to_le_bytes()[0]).collect();
            let version = Version::new(&name);
            assert!(version.is_known());
            assert_eq!(version.as_bytes(), name);
            assert_eq!(version, version.clone());
            assert_ne!(version, Version::new(&name[1..]));
        }
    }

    #[test]
    fn an_empty_and_an_over_long_one_are_not_known() {
        for len in [0, Version::BYTES_MAX + 1, 257] {
            let version = Version::new(&vec![b'v'; len]);
            assert!(!version.is_known());
            assert_eq!(version, Version::default());
        }
    }
}
