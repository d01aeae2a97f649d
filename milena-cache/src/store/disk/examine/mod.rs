//! Examining a store that nobody has open: what its files hold, and what of it is damaged.
//!
//! Reads every byte that a node would rely on, by the code that a node reads them with, and says what the
//! node will make of it. Knows no runtime. Invariant: nothing is written; the files are opened for reading
//! only, and a lock keeps nodes out meanwhile.

mod examiner;
mod finding;
mod read_only;
mod segment;
mod values;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use milena_server::clock::UnixMillis;

pub use self::finding::{Fault, Finding};
pub use self::segment::{FooterState, RecordCounts, SegmentSummary};
pub use self::values::ValueFilesSummary;

use self::examiner::Examiner;
use self::read_only::ReadOnly;
use super::config::DiskSync;
use super::files::Files;
use super::manifest;
use super::open::LOCK_NAME;
use super::segment::id_of;

/// Why a store cannot be examined.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// A node has it open.
    #[error("{} is in use by a node; stop the node first", path.display())]
    InUse {
        /// The store's directory.
        path: PathBuf,
    },
    /// There is neither a manifest nor a segment.
    #[error("{} holds no disk store; expected the DISK_PATH of a node", path.display())]
    NotAStore {
        /// What was given.
        path: PathBuf,
    },
    /// The directory cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// What a store's files hold.
#[derive(Debug)]
pub struct Examination {
    /// `None` if there is no manifest that can be read, and so no log that can be followed.
    pub manifest: Option<ManifestSummary>,
    /// The segments that the manifest lists, oldest first.
    pub segments: Vec<SegmentSummary>,
    /// The files of large values.
    pub values: ValueFilesSummary,
    /// What is damaged or strange, by file and then by offset.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// The findings that are damage, and not only worth knowing.
    pub fn damage(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.fault.is_damage())
    }

    /// The sizes of all segment and value files, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let segments: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        segments + self.values.bytes
    }

    /// The records of all segments.
    #[must_use]
    pub fn records(&self) -> RecordCounts {
        self.segments
            .iter()
            .fold(RecordCounts::default(), |sum, segment| {
                sum + segment.records
            })
    }
}

/// What a store's manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestSummary {
    /// The version of the format.
    pub version: u16,
    /// Random, made when the store was.
    pub store_id: u64,
    /// When writes were acknowledged, as the store was last opened.
    pub sync: DiskSync,
    /// Whether the store was closed cleanly.
    pub is_closed: bool,
    /// Whether the machine has not been started anew since the store was opened.
    pub is_of_this_boot: bool,
}

/// Examines the store at `path`; `boot_id` tells this boot of the machine from others, `now` what has expired.
/// Reads all of it: that takes as long as the medium needs.
///
/// # Errors
/// [`ExamineError`]. Damage is no error.
pub fn examine(path: &Path, boot_id: &str, now: UnixMillis) -> Result<Examination, ExamineError> {
    let failed = |source| ExamineError::Io {
        path: path.to_owned(),
        source,
    };
    let files = ReadOnly::new(path.to_owned());
    let found: BTreeMap<_, _> = files.list().map_err(failed)?.into_iter().collect();
    let has_segments = found.keys().any(|name| id_of(name).is_some());
    if !has_segments && !found.contains_key(manifest::NAME) {
        return Err(ExamineError::NotAStore {
            path: path.to_owned(),
        });
    }
    // Held until all is read: no node can open the store meanwhile.
    let lock = lock(path, &found)?;
    let mut examiner = Examiner::new(files, found, now);
    if lock.is_none() {
        examiner.note(LOCK_NAME, Fault::LockMissing);
    }
    examiner.run(boot_id).map_err(failed)
}

/// A lock that keeps nodes out, and only them; `None` if there is nothing to lock.
fn lock(path: &Path, found: &BTreeMap<String, u64>) -> Result<Option<File>, ExamineError> {
    let failed = |source| ExamineError::Io {
        path: path.to_owned(),
        source,
    };
    if !found.contains_key(LOCK_NAME) {
        return Ok(None);
    }
    let file = File::open(path.join(LOCK_NAME)).map_err(failed)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(ExamineError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
