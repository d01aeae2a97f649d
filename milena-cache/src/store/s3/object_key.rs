//! Which S3 object holds which entry. This is an interface: others read and write these objects.
//!
//! `{S3_PREFIX}{bucket}/{enc(key)}`, where `enc` leaves ordinary path-like keys as they are and writes every
//! other byte as `!xx`. A name over S3's limit keeps its first characters and ends in `!!` and a hash. The
//! mapping is injective; a name without `!!` can be turned back into its key. docs/s3-objects.md has the
//! rules and examples; the tests below pin them.

use std::fmt::Write as _;

use milena_cluster::key::EntryKey;
use sha2::{Digest, Sha256};

/// The longest object key that S3 takes, in bytes.
pub const OBJECT_KEY_BYTES_MAX: usize = 1_024;

/// Encoded characters of the key that a hashed name begins with.
const READABLE_CHARS_MAX: usize = 64;

/// Begins an escape.
const ESCAPE: char = '!';

/// Stands between the readable part and the hash; the encoding never writes it.
const HASH_MARK: &str = "!!";

/// Hexadecimal digits of the hash.
const HASH_CHARS: usize = 64;

/// An object's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectKey {
    /// The S3 object key.
    pub name: String,
    /// Whether the key was too long to stand in the name: the object's metadata then has to tell it.
    pub is_hashed: bool,
}

/// The name of the object that holds the entry of `key`.
#[must_use]
pub fn object_key(prefix: &str, key: &EntryKey) -> ObjectKey {
    let mut encoded = encode(key.key());
    let namespace = format!("{prefix}{}/", key.bucket());
    let is_hashed = namespace.len() + encoded.len() > OBJECT_KEY_BYTES_MAX;
    if is_hashed {
        encoded.truncate(cut_before_escape(&encoded, READABLE_CHARS_MAX));
        encoded.push_str(HASH_MARK);
        for byte in Sha256::digest(key.as_bytes()) {
            write!(encoded, "{byte:02x}").expect("writing to a string cannot fail");
        }
    }
    ObjectKey {
        name: namespace + &encoded,
        is_hashed,
    }
}

/// The entry that the object called `name` holds. `None` if the name is hashed, lies outside the prefix, or
/// is none that [`object_key`] gives.
#[must_use]
pub fn entry_key(prefix: &str, name: &str) -> Option<EntryKey> {
    let (bucket, encoded) = name.strip_prefix(prefix)?.split_once('/')?;
    let key = EntryKey::new(bucket, &decode(encoded)?).ok()?;
    (object_key(prefix, &key).name == name).then_some(key)
}

/// Whether `name` ends as a hashed name does.
pub(super) fn is_hashed_name(name: &str) -> bool {
    name.rsplit_once(HASH_MARK).is_some_and(|(_, hash)| {
        hash.len() == HASH_CHARS && hash.bytes().all(|c| c.is_ascii_hexdigit())
    })
}

fn encode(key: &[u8]) -> String {
    let mut encoded = String::with_capacity(key.len());
    let mut segment_start = 0;
    for (index, &byte) in key.iter().enumerate() {
        let is_last = index + 1 == key.len();
        match byte {
            b'/' if encoded.len() > segment_start && !is_last => {
                escape_dot_segment(&mut encoded, segment_start);
                encoded.push('/');
                segment_start = encoded.len();
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {
                encoded.push(char::from(byte));
            }
            _ => escape(&mut encoded, byte),
        }
    }
    escape_dot_segment(&mut encoded, segment_start);
    encoded
}

/// Escapes the dots of a segment that is `.` or `..`, which many tools would resolve.
fn escape_dot_segment(encoded: &mut String, segment_start: usize) {
    let dots = match &encoded[segment_start..] {
        "." => 1,
        ".." => 2,
        _ => return,
    };
    encoded.truncate(segment_start);
    for _ in 0..dots {
        escape(encoded, b'.');
    }
}

fn escape(encoded: &mut String, byte: u8) {
    write!(encoded, "{ESCAPE}{byte:02x}").expect("writing to a string cannot fail");
}

fn decode(encoded: &str) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some(first) = rest.chars().next() {
        if first == ESCAPE {
            key.push(u8::from_str_radix(rest.get(1..3)?, 16).ok()?);
            rest = &rest[3..];
        } else {
            key.extend_from_slice(&rest.as_bytes()[..first.len_utf8()]);
            rest = &rest[first.len_utf8()..];
        }
    }
    Some(key)
}

/// The greatest length up to `length` that does not end inside an escape.
fn cut_before_escape(encoded: &str, length: usize) -> usize {
    let inside = encoded[..length]
        .rfind(ESCAPE)
        .filter(|start| start + 3 > length);
    inside.unwrap_or(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(bucket: &str, key: &[u8]) -> String {
        object_key("", &EntryKey::new(bucket, key).unwrap()).name
    }

    /// Pinned: a change here loses sight of what is in S3.
    #[test]
    fn golden_names() {
        let golden: [(&[u8], &str); 24] = [
            (b"plain", "b/plain"),
            (
                b"photos/2024/cat_01.v2-final.jpg",
                "b/photos/2024/cat_01.v2-final.jpg",
            ),
            (b"a b", "b/a!20b"),
            (b"!", "b/!21"),
            (b"!2f", "b/!212f"),
            (b"/", "b/!2f"),
            (b"/a", "b/!2fa"),
            (b"a/", "b/a!2f"),
            (b"a//b", "b/a/!2fb"),
            (b"a///b", "b/a/!2f/b"),
            (b"//", "b/!2f!2f"),
            (b"///", "b/!2f/!2f"),
            (b".", "b/!2e"),
            (b"..", "b/!2e!2e"),
            (b"...", "b/..."),
            (b"a/./b", "b/a/!2e/b"),
            (b"../a", "b/!2e!2e/a"),
            (b"a/..", "b/a/!2e!2e"),
            (b"./", "b/.!2f"),
            (b".hidden", "b/.hidden"),
            (b"\x00\xff\n", "b/!00!ff!0a"),
            ("é".as_bytes(), "b/!c3!a9"),
            (b"100%", "b/100!25"),
            (b"a+b=c", "b/a!2bb!3dc"),
        ];
        for (key, expected) in golden {
            assert_eq!(name("b", key), expected, "{key:?}");
        }
        let key = EntryKey::new("b", b"k").unwrap();
        assert_eq!(object_key("cache/v1/", &key).name, "cache/v1/b/k");
    }

    #[test]
    fn golden_hashed_names() {
        let plain = object_key("", &EntryKey::new("b", &[b'k'; 1_024]).unwrap());
        assert!(plain.is_hashed, "two more than S3 takes");
        assert_eq!(
            plain.name,
            format!(
                "b/{}!!{}",
                "k".repeat(64),
                "9dcde5ba0b39dee923c96f891ae4288d0c20fe2b5881a77e819f00969a35685c"
            )
        );
        let binary = name("b", &[0xf1; 1_024]);
        assert!(
            binary.starts_with(&format!("b/{}!!", "!f1".repeat(21))),
            "cut at an escape: {binary}"
        );
        assert_eq!(binary.len(), 2 + 63 + 2 + 64);
    }

    #[test]
    fn the_longest_name_that_fits_is_not_hashed() {
        let fits = EntryKey::new("b", &[b'k'; 1_022]).unwrap();
        assert_eq!(object_key("", &fits).name.len(), OBJECT_KEY_BYTES_MAX);
        assert!(!object_key("", &fits).is_hashed);
        assert!(object_key("p", &fits).is_hashed, "the prefix counts");
    }

    #[test]
    fn a_name_that_the_mapping_never_gives_belongs_to_no_key() {
        for foreign in [
            "b", "b/", "b/a b", "b/!2", "b/!zz", "b/!2F", "b/!61", "b//a", "b/.", "a?/k", "b/é",
        ] {
            assert_eq!(entry_key("", foreign), None, "{foreign}");
        }
        assert_eq!(entry_key("p/", "b/k"), None, "outside the prefix");
    }

    proptest! {
        #[test]
        fn every_name_can_be_turned_back(key in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'/'), Just(b'.'), Just(b'!'), Just(b'a')], 1..300)) {
            let key = EntryKey::new("bucket", &key).unwrap();
            let object = object_key("pre/", &key);
            prop_assert!(object.name.len() <= OBJECT_KEY_BYTES_MAX);
            prop_assert!(!object.name.contains("//") && !object.name.ends_with('/'));
            prop_assert!(object.name.split('/').all(|segment| segment != "." && segment != ".."));
            prop_assert_eq!(entry_key("pre/", &object.name), (!object.is_hashed).then_some(key));
        }

        #[test]
        fn any_name_is_that_of_its_key_or_of_none(
            name in prop_oneof![any::<String>(), "[a-z.]{1,3}/[a-z./!0-9é]{0,12}"],
        ) {
            if let Some(key) = entry_key("", &name) {
                prop_assert_eq!(object_key("", &key).name, name);
            }
        }

        #[test]
        fn ordinary_keys_stay_as_they_are(key in "[A-Za-z0-9_-][A-Za-z0-9_.-]{0,20}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,20}){0,5}") {
            prop_assert_eq!(name("b", key.as_bytes()), format!("b/{key}"));
        }
    }
}
