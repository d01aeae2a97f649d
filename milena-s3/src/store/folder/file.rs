//! The file of one object: a header that says everything of the object, then its content.
//!
//! ```text
//! milena-s3 1 cccccccc llllllll\n    the format and its version, the CRC-32C of the JSON, its length, in hex
//! {"key":…,"size":…,"meta":…}\n      the header as JSON, readable with `head -2`
//! content                            to the end of the file
//! ```
//!
//! Knows nothing of directories or of names. Invariant: damage is found, never served. The header is
//! checked when a file is opened, the content whenever all of it is read.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use crc_fast::crc32_iscsi;
use serde::{Deserialize, Serialize};

use crate::store::object::Meta;
use crate::store::{Result, StoreError};

const FORMAT: &str = "milena-s3 1 ";

/// The length of the first line: the format, two numbers of 8 hex digits, a space and a line feed.
const PREAMBLE_BYTES: usize = FORMAT.len() + 8 + 1 + 8 + 1;

/// The longest header, in bytes of JSON; far more than the HTTP headers of a request can fill.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// What the header says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) key: String,
    pub(super) size: u64,
    content_crc32c: u32,
    pub(super) meta: Meta,
}

/// What is written before the content.
///
/// # Errors
/// When the header would be too long to be read again.
pub(super) fn encode_header(key: &str, meta: &Meta, content: &[u8]) -> Result<Vec<u8>> {
    let header = Header {
        key: key.to_owned(),
        size: content.len() as u64,
        content_crc32c: crc32_iscsi(content),
        meta: meta.clone(),
    };
    let json = serde_json::to_vec(&header).map_err(io::Error::other)?;
    if json.len() > HEADER_BYTES_MAX {
        let reason = format!("a header of {} bytes is too long", json.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason).into());
    }
    let mut bytes = format!("{FORMAT}{:08x} {:08x}\n", crc32_iscsi(&json), json.len()).into_bytes();
    bytes.extend_from_slice(&json);
    bytes.push(b'\n');
    Ok(bytes)
}

/// The file of an object, open: later writes of the key go to another file and do not touch it.
#[derive(Debug)]
pub(crate) struct ObjectFile {
    file: File,
    content_at: u64,
    size: u64,
    content_crc32c: u32,
}

impl ObjectFile {
    /// Opens the file at `path` and reads its header. Blocks.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`] when it is not there, [`StoreError::Damaged`] when it is not whole.
    pub(super) fn open(path: &Path) -> Result<(Header, Self)> {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NoSuchKey,
            _ => error.into(),
        })?;
        let mut preamble = [0; PREAMBLE_BYTES];
        read_at(&file, &mut preamble, 0)?;
        let (crc32c, json_bytes) = parse_preamble(&preamble)
            .filter(|(_, json_bytes)| *json_bytes <= HEADER_BYTES_MAX)
            .ok_or_else(|| damaged("it does not begin like an object"))?;
        let mut json = vec![0; json_bytes];
        read_at(&file, &mut json, PREAMBLE_BYTES as u64)?;
        if crc32_iscsi(&json) != crc32c {
            return Err(damaged("its header does not match its checksum"));
        }
        let header: Header = serde_json::from_slice(&json)
            .map_err(|error| damaged(&format!("its header cannot be read: {error}")))?;
        let object = Self {
            content_at: (PREAMBLE_BYTES + json_bytes + 1) as u64,
            size: header.size,
            content_crc32c: header.content_crc32c,
            file,
        };
        if object.file.metadata()?.len() != object.content_at + object.size {
            return Err(damaged("its length is not the one it was written with"));
        }
        Ok((header, object))
    }

    /// The length of the content in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The content in `range`.
    ///
    /// # Errors
    /// When it cannot be read, or when all of it was read and does not match its checksum.
    pub(crate) async fn read(self, range: Range<u64>) -> Result<Bytes> {
        let reading = tokio::task::spawn_blocking(move || self.read_blocking(range));
        reading.await.map_err(io::Error::other)?
    }

    fn read_blocking(&self, range: Range<u64>) -> Result<Bytes> {
        let bytes = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut content = vec![0; bytes];
        read_at(&self.file, &mut content, self.content_at + range.start)?;
        let is_whole = content.len() as u64 == self.size;
        if is_whole && crc32_iscsi(&content) != self.content_crc32c {
            return Err(damaged("its content does not match its checksum"));
        }
        Ok(content.into())
    }
}

fn parse_preamble(preamble: &[u8; PREAMBLE_BYTES]) -> Option<(u32, usize)> {
    let line = std::str::from_utf8(preamble).ok()?;
    let (crc32c, json_bytes) = line
        .strip_prefix(FORMAT)?
        .strip_suffix('\n')?
        .split_once(' ')?;
    Some((
        u32::from_str_radix(crc32c, 16).ok()?,
        usize::from_str_radix(json_bytes, 16).ok()?,
    ))
}

/// Fills `buffer` from the file; a file that is too short for that is damaged.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> Result<()> {
    file.read_exact_at(buffer, at)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
            _ => error.into(),
        })
}

fn damaged(how: &str) -> StoreError {
    StoreError::Damaged(how.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(content: &[u8]) -> Vec<u8> {
        let meta = Meta {
            etag: "e".to_owned(),
            ..Meta::default()
        };
        let mut bytes = encode_header("a\nkey", &meta, content).unwrap();
        bytes.extend_from_slice(content);
        bytes
    }

    /// Opens and reads a file of these bytes.
    fn read_back(bytes: &[u8]) -> Result<Bytes> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let (header, object) = ObjectFile::open(file.path())?;
        assert_eq!(header.key, "a\nkey");
        assert_eq!(header.meta.etag, "e");
        object.read_blocking(0..object.size)
    }

    #[test]
    fn what_was_written_is_read() {
        for content in [&b""[..], b"x", &[0xff; 70_000]] {
            assert_eq!(read_back(&written(content)).unwrap(), content);
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let whole = written(b"content");
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            // The line feed after the header is the one byte that says nothing.
            let says_nothing = at == whole.len() - b"content".len() - 1;
            match read_back(&flipped) {
                Err(StoreError::Damaged(_)) => assert!(!says_nothing),
                Ok(content) => assert!(says_nothing && content == "content", "byte {at}"),
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
    }

    #[test]
    fn every_missing_end_is_found() {
        let whole = written(b"content");
        for bytes in 0..whole.len() {
            let cut = read_back(&whole[..bytes]);
            assert!(matches!(cut, Err(StoreError::Damaged(_))), "{bytes} bytes");
        }
    }

    #[test]
    fn a_range_is_read_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), written(b"0123456789")).unwrap();
        let (_, object) = ObjectFile::open(file.path()).unwrap();
        assert_eq!(object.read_blocking(3..6).unwrap(), &b"345"[..]);
        assert_eq!(object.read_blocking(10..10).unwrap(), &b""[..]);
    }
}
