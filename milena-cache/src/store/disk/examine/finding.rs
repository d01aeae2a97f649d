//! What an examination can find, and what follows from it.

use std::fmt;
use std::io;

use milena_cluster::key::EntryKey;

/// Something in one file that is damaged or strange.
#[derive(Debug)]
pub struct Finding {
    /// The file's name in the store's directory.
    pub file: String,
    /// Where in the file, in bytes from its start; `None` if it is about the whole file.
    pub offset: Option<u64>,
    /// What it is.
    pub fault: Fault,
}

/// What is wrong, or strange. Its text ends with what a node will make of it.
#[derive(Debug)]
pub enum Fault {
    /// There is no lock file.
    LockMissing,
    /// There are segments and no manifest.
    ManifestMissing,
    /// No copy of the manifest can be read.
    ManifestDamaged,
    /// No copy of the manifest can be read, and the first says to be of this version.
    ManifestVersion(u16),
    /// One of the manifest's two copies is damaged.
    ManifestCopy,
    /// The store was not closed before the machine was started anew.
    PowerLost,
    /// A segment from before that is not there, or is not itself.
    LostWithPower,
    /// A listed segment is not there.
    SegmentMissing,
    /// Listed segments at the oldest end are not there.
    DroppedForSpace,
    /// The file is another segment, or of another store or version, or the medium does not give it.
    Unreadable(io::Error),
    /// The file ends before its records do.
    CutShort {
        /// Where the manifest says that its records end.
        end: u32,
    },
    /// The segment's header is damaged.
    SegmentHeader,
    /// The footer is damaged or was only begun, and the records can be followed without it.
    Footer,
    /// A record's head is damaged where no footer says what follows.
    LogLost,
    /// A record's head is damaged, or is not what the footer says of it.
    Head {
        /// The hash of the record's key.
        key_hash: u64,
    },
    /// A value does not match its checksum.
    Value {
        /// Whose value it is.
        key: EntryKey,
    },
    /// The file of a large value is not what was written, or not there.
    ValueFile {
        /// Whose value it is.
        key: EntryKey,
        /// What is wrong with it.
        error: io::Error,
    },
    /// The file ends within a record that was never acknowledged.
    TornTail {
        /// What is left of the record.
        bytes: u64,
    },
    /// A segment that the manifest does not list.
    Unlisted,
    /// The file of a large value that no record refers to which a node would serve.
    Orphan,
    /// The file of a large value that was being written.
    ValueTemporary,
    /// A manifest that was being written.
    ManifestTemporary,
    /// A file that is not the store's.
    Foreign,
}

impl Fault {
    /// Whether something was lost or changed that the store had. What is left by a crash or by a
    /// neighbour is none.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        !matches!(
            self,
            Self::LockMissing
                | Self::PowerLost
                | Self::LostWithPower
                | Self::DroppedForSpace
                | Self::TornTail { .. }
                | Self::Unlisted
                | Self::Orphan
                | Self::ValueTemporary
                | Self::ManifestTemporary
                | Self::Foreign
        )
    }
}

/// What follows where the log cannot be followed.
const ALL_OLDER_GO: &str = "a node will drop this segment and all older ones";

/// What follows where the log is not known.
const ALL_GO: &str = "a node will remove all segments and start empty";

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LockMissing => {
                f.write_str("missing, so nothing says whether a node has the store open")
            }
            Self::ManifestMissing => write!(f, "missing; {ALL_GO}"),
            Self::ManifestDamaged => write!(f, "both copies are damaged; {ALL_GO}"),
            Self::ManifestVersion(version) => {
                write!(f, "of version {version}, which is not known here; {ALL_GO}")
            }
            Self::ManifestCopy => {
                f.write_str("this copy is damaged and the other is not; nothing is lost")
            }
            Self::PowerLost => write!(
                f,
                "not closed before the machine was started anew, and DISK_SYNC was os: the newest records may be \
                 lost; the node asks S3 about each that is left before it serves it"
            ),
            Self::LostWithPower => f.write_str(
                "missing or another segment: lost when the power was; no older one goes with it",
            ),
            Self::SegmentMissing => write!(f, "missing; {ALL_OLDER_GO}"),
            Self::DroppedForSpace => {
                f.write_str("gone at the log's oldest end: dropped for space; nothing is lost")
            }
            Self::Unreadable(error) => write!(f, "{error}; {ALL_OLDER_GO}"),
            Self::CutShort { end } => {
                write!(
                    f,
                    "cut short, its records end at byte {end}; {ALL_OLDER_GO}"
                )
            }
            Self::SegmentHeader => f.write_str("the header is damaged; nothing is lost"),
            Self::Footer => f.write_str("the footer is damaged or unfinished; nothing is lost"),
            Self::LogLost => {
                write!(
                    f,
                    "a record's head is damaged and no footer lists the rest; {ALL_OLDER_GO}"
                )
            }
            Self::Head { key_hash } => {
                write!(
                    f,
                    "the head of a record of key #{key_hash:016x} is damaged; it is a miss"
                )
            }
            Self::Value { key } => {
                write!(
                    f,
                    "the value of {key:?} does not match its checksum; it is a miss"
                )
            }
            Self::ValueFile { key, error } => {
                write!(f, "{error}; the value of {key:?} is a miss")
            }
            Self::TornTail { bytes } => {
                write!(
                    f,
                    "{bytes} bytes of a record that was never acknowledged; nothing is lost"
                )
            }
            Self::Unlisted => f.write_str("not listed in the manifest; a node will remove it"),
            Self::Orphan => f.write_str("no record refers to it; a node will remove it"),
            Self::ManifestTemporary | Self::ValueTemporary => {
                f.write_str("left by a crash; a node will remove it")
            }
            Self::Foreign => f.write_str("not a file of the store; it is left alone"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A foreign file's name may hold anything, also a line's end.
        write!(f, "{}", self.file.escape_debug())?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.fault)
    }
}
