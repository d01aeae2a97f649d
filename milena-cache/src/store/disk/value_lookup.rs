//! Lookups of values that are in files of their own: from a key to the open file, and what to make of one
//! that cannot be read.
//!
//! Blocks on the file system. Invariant: a file that is not what its record refers to is a miss, and damage
//! only if the record is still the newest of its key.

use std::io;

use bytes::Bytes;
use milena_cluster::key::EntryKey;
use milena_server::clock::UnixMillis;

use super::files::is_lack_of_descriptors;
use super::planted::Bug;
use super::shared::{InFile, Shared};
use super::value_file::Reference;
use super::value_read::ValueReader;
use crate::store::Entry;

/// An open value file, and whose it is.
pub(super) struct OpenValue {
    pub(super) reader: ValueReader,
    pub(super) file: InFile,
}

impl Shared {
    /// The entry of `key`, as [`Shared::lookup`] finds it, and the file of its value if it has one to itself:
    /// the entry's own value is then to be replaced.
    pub(super) fn lookup_and_open(
        &self,
        key: &EntryKey,
        hash: u64,
        now: UnixMillis,
    ) -> Option<(Entry, Option<OpenValue>)> {
        loop {
            let found = self.find(key, hash, now)?;
            let Some(file) = found.file else {
                return Some((found.entry, None));
            };
            match self.open_referred(&found.entry, &file) {
                Ok(reader) => return Some((found.entry, Some(OpenValue { reader, file }))),
                Err(error) if is_lack_of_descriptors(&error) => return None,
                // Its record was replaced after it was found, and the file removed.
                Err(_) if !self.is_current(&file) => {}
                Err(_) => {
                    self.retire_damaged_file(&file);
                    return None;
                }
            }
        }
    }

    /// The file that `entry`, as its record has it, refers to.
    pub(super) fn open_referred(&self, entry: &Entry, file: &InFile) -> io::Result<ValueReader> {
        let reference = Reference::parse(&entry.value);
        let reference = reference.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        ValueReader::open(self.files.as_ref(), file.segment.store_id, reference)
    }

    /// The whole value.
    pub(super) fn whole(&self, value: &OpenValue) -> Option<Bytes> {
        let read = if self.planted.has(Bug::SkipsChecksum) {
            value.reader.unverified()
        } else {
            value.reader.whole()
        };
        if read.is_err() {
            self.retire_damaged_file(&value.file);
        }
        read.ok()
    }

    /// From now on the value is a miss.
    pub(super) fn retire_damaged_file(&self, file: &InFile) {
        self.retire_damaged(&file.segment, file.hash, file.candidate, "a value's file");
    }

    /// Whether a lookup would find the same record again.
    fn is_current(&self, file: &InFile) -> bool {
        let location = file.candidate.location;
        let is_there = self.segments.find(location.segment).is_some();
        let candidates = self.index.candidates(file.hash);
        let mut same = candidates.iter().filter(|it| it.location == location);
        is_there && (same.any(|it| !it.is_retired) || self.dirty.is_at(location))
    }
}
