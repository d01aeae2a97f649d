//! The settings of the disk tier, and of the writes that it holds before S3 has them.

use std::path::PathBuf;
use std::time::Duration;

use milena_server::settings::{
    EXPECTED_DURATION, Presence, Raw, Setting, parse_bytes, parse_duration,
};

use crate::operation::WriteMode;
use crate::store::disk::{DiskConfig, DiskSync, boot_id};

pub(super) static DISK_PATH: Setting = Setting {
    name: "DISK_PATH",
    also: &[],
    presence: Presence::Default("milena-data"),
    expected: "a directory, or none",
    example: "/var/lib/milena",
    help: "Where the disk tier keeps its files; none for no disk tier",
};
pub(super) static DISK_MAX_BYTES: Setting = Setting {
    name: "DISK_MAX_BYTES",
    also: &[],
    presence: Presence::Default("10GiB"),
    expected: "a size of 16MiB or more, such as 10GiB (units B, KiB, MiB, GiB, TiB, KB, MB, GB, TB)",
    example: "100GiB",
    help: "Bytes that the disk tier's files may take",
};
pub(super) static DISK_SYNC: Setting = Setting {
    name: "DISK_SYNC",
    also: &[],
    presence: Presence::Default("os"),
    expected: "os or always",
    example: "always",
    help: "When the disk tier acknowledges: os (survives a crash of the node) or always (survives a power loss)",
};
pub(super) static WRITE_MODE: Setting = Setting {
    name: "WRITE_MODE",
    also: &[],
    presence: Presence::Default("write-through"),
    expected: "write-through or write-back, which needs a DISK_PATH and a DISK_MAX_BYTES of 32MiB or more",
    example: "write-back",
    help: "When a write is acknowledged: write-through (once S3 has it) or write-back (once the disk has it; S3 follows)",
};
pub(super) static WRITE_BACK_MAX_BYTES: Setting = Setting {
    name: "WRITE_BACK_MAX_BYTES",
    also: &[],
    presence: Presence::Optional("256MiB, or an eighth of DISK_MAX_BYTES if that is less"),
    expected: "a size of at most a quarter of DISK_MAX_BYTES, such as 1GiB (units B, KiB, MiB, GiB, TiB, KB, MB, GB, TB)",
    example: "1GiB",
    help: "Bytes of writes that S3 need not have yet; beyond it writes wait",
};
pub(super) static WRITE_BACK_MAX_AGE: Setting = Setting {
    name: "WRITE_BACK_MAX_AGE",
    also: &[],
    presence: Presence::Default("1h"),
    expected: EXPECTED_DURATION,
    example: "10m",
    help: "For how long S3 need not have a write; once the oldest is older, further ones wait",
};
pub(super) static DRAIN_TIMEOUT: Setting = Setting {
    name: "DRAIN_TIMEOUT",
    also: &[],
    presence: Presence::Default("20s"),
    expected: EXPECTED_DURATION,
    example: "60s",
    help: "How long a node that stops goes on uploading what S3 does not have yet; the rest waits on its disk",
};

/// What was read; `None` where it was missing or wrong.
pub(super) struct DiskSettings {
    path: Option<Option<PathBuf>>,
    max_bytes: Option<u64>,
    sync: Option<DiskSync>,
    pub(super) write_mode: Option<WriteMode>,
    /// Also `None` if it is as usual.
    dirty_bytes_max: Option<u64>,
    dirty_age_max: Option<Duration>,
    pub(super) drain_timeout: Option<Duration>,
}

impl DiskSettings {
    pub(super) fn read(raw: &mut Raw) -> Self {
        let path = raw.read(&DISK_PATH, |text| {
            Some((text != "none").then(|| PathBuf::from(text)))
        });
        let max_bytes = raw.read(&DISK_MAX_BYTES, parse_disk_bytes);
        let sync = raw.read(&DISK_SYNC, parse_disk_sync);
        let has_disk = path.as_ref().is_none_or(Option::is_some);
        // What is wrong with the disk's size is said once.
        let known_max_bytes = max_bytes.unwrap_or(u64::MAX);
        let can_write_back = has_disk && keeps_dirty(known_max_bytes);
        let write_mode = raw.read(&WRITE_MODE, |text| {
            let mode = parse_write_mode(text);
            mode.filter(|mode| *mode == WriteMode::WriteThrough || can_write_back)
        });
        let dirty_bytes_max = raw.read(&WRITE_BACK_MAX_BYTES, |text| {
            parse_bytes(text).filter(|bytes| *bytes <= known_max_bytes / DiskConfig::DIRTY_PART)
        });
        Self {
            path,
            max_bytes,
            sync,
            write_mode,
            dirty_bytes_max,
            dirty_age_max: raw.read(&WRITE_BACK_MAX_AGE, parse_duration),
            drain_timeout: raw.read(&DRAIN_TIMEOUT, parse_duration),
        }
    }

    /// The disk tier, if there is to be one.
    ///
    /// # Panics
    /// When something was missing or wrong.
    pub(super) fn tier(&self) -> Option<DiskConfig> {
        let given = "what is missing is a mistake";
        let path = self.path.clone().expect(given)?;
        let (max_bytes, sync) = (self.max_bytes.expect(given), self.sync.expect(given));
        let usual = DiskConfig::new(path, max_bytes, sync, boot_id());
        Some(DiskConfig {
            dirty_bytes_max: self.dirty_bytes_max.unwrap_or(usual.dirty_bytes_max),
            dirty_age_max: self.dirty_age_max.expect(given),
            ..usual
        })
    }
}

fn parse_disk_bytes(text: &str) -> Option<u64> {
    parse_bytes(text).filter(|bytes| *bytes >= DiskConfig::MAX_BYTES_MIN)
}

fn parse_write_mode(text: &str) -> Option<WriteMode> {
    match text {
        "write-through" => Some(WriteMode::WriteThrough),
        "write-back" => Some(WriteMode::WriteBack),
        _ => None,
    }
}

fn keeps_dirty(disk_bytes_max: u64) -> bool {
    DiskConfig::new(PathBuf::new(), disk_bytes_max, DiskSync::Os, String::new()).keeps_dirty()
}

fn parse_disk_sync(text: &str) -> Option<DiskSync> {
    match text {
        "os" => Some(DiskSync::Os),
        "always" => Some(DiskSync::Always),
        _ => None,
    }
}
