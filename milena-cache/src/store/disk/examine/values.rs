//! Value files: whether they are what the log's newest records refer to, and which of them nothing refers to.

use std::io;

use milena_cluster::key::EntryKey;

use super::examiner::Examiner;
use super::finding::Fault;
use crate::store::disk::value_file::{HEADER_BYTES, Reference, file_name, is_temporary, number_of};
use crate::store::disk::value_read::ValueReader;

/// The files of large values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValueFilesSummary {
    /// How many there are, unfinished ones included.
    pub files: u64,
    /// Their sizes.
    pub bytes: u64,
}

/// A record's value in a file of its own.
pub(super) struct InFile {
    pub(super) key: EntryKey,
    pub(super) reference: Reference,
}

impl Examiner {
    /// Verifies a value that a node would serve, chunk by chunk. `false` if it would be a miss.
    pub(super) fn verify_value(&mut self, store_id: u64, value: &InFile) -> bool {
        let reference = value.reference;
        let damaged = |error| Fault::ValueFile {
            key: value.key.clone(),
            error,
        };
        let file = file_name(reference.number);
        let reader = match ValueReader::open(&self.files, store_id, reference) {
            Ok(reader) => reader,
            Err(error) => {
                let error = match error.kind() {
                    io::ErrorKind::NotFound => io::Error::new(error.kind(), "missing"),
                    _ => error,
                };
                self.note(&file, damaged(error));
                return false;
            }
        };
        for index in 0..reader.chunks() {
            if let Err(error) = reader.chunk(index) {
                let (start, _) = reference.shape.chunk(index);
                let offset = u64::from(HEADER_BYTES) + start;
                self.note_at(&file, offset, damaged(error));
                return false;
            }
        }
        true
    }

    /// Notes the files that no record refers to which a node would keep.
    pub(super) fn note_orphans(&mut self) {
        let names: Vec<_> = self.found.keys().cloned().collect();
        for name in names {
            if is_temporary(&name) {
                self.note(&name, Fault::ValueTemporary);
            } else if number_of(&name).is_some_and(|number| !self.referred.contains(&number)) {
                self.note(&name, Fault::Orphan);
            }
        }
    }

    pub(super) fn value_files(&self) -> ValueFilesSummary {
        let values = self.found.iter();
        let values = values.filter(|(name, _)| number_of(name).is_some() || is_temporary(name));
        values.fold(ValueFilesSummary::default(), |sum, (_, bytes)| {
            ValueFilesSummary {
                files: sum.files + 1,
                bytes: sum.bytes + bytes,
            }
        })
    }
}
