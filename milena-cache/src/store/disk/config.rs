//! The disk store's settings and their limits.

use std::path::PathBuf;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskSync {
    /// Once the operating system has it: survives `kill -9`. After a power loss what is left has to be
    /// [revalidated](crate::store::Entry::needs_revalidation).
    #[default]
    Os,
    /// Once the medium has it: survives power loss.
    Always,
}

/// Where a disk store keeps its files, and how much.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// The directory, made if it is not there. No two stores may share one.
    pub path: PathBuf,
    /// The limit of all its files' sizes together, in bytes; at least [`DiskConfig::MAX_BYTES_MIN`]
    /// with segments of the derived size, and [`DiskConfig::SEGMENTS_MIN`] segments with any.
    pub max_bytes: u64,
    /// When a write is acknowledged.
    pub sync: DiskSync,
    /// The limit of one segment file, in bytes; [`DiskConfig::new`] derives it from `max_bytes`.
    pub segment_bytes: u32,
    /// The longest record of a put, in bytes; the value of a longer one goes into a file of its own.
    /// [`DiskConfig::new`] makes it a quarter of a segment.
    pub record_bytes_max: u32,
    /// While fewer bytes than this are free in the file system, puts are declined; [`DiskConfig::new`]
    /// makes it four segments.
    pub free_bytes_min: u64,
    /// Tells one boot of the machine from the next (see [`boot_id`]); empty: not known.
    pub boot_id: String,
    /// How long copies are kept beyond their freshness, in seconds. What a store holds that kept them longer has
    /// to be revalidated: how fresh it is cannot be told any more.
    pub stale_seconds: u32,
    /// What may be dirty at once, in bytes; [`DiskConfig::new`] makes it 256 MiB, or an eighth of `max_bytes` if
    /// that is less.
    pub dirty_bytes_max: u64,
    /// For how long the oldest dirty write may have been so before further ones wait; [`DiskConfig::new`]
    /// makes it an hour.
    pub dirty_age_max: Duration,
    /// How often the store looks for expired segments, and, if it is off, tries to start again.
    pub maintenance_every: Duration,
}

impl DiskConfig {
    /// The least `max_bytes`: 16 MiB.
    pub const MAX_BYTES_MIN: u64 = 16 * MIB;

    /// A store holds at least this many segments, so that dropping the oldest costs at most a quarter.
    pub const SEGMENTS_MIN: u64 = 4;

    /// What is being written to value files leaves three quarters to what is there, and with that room for
    /// a segment.
    const VALUES_MIN: u64 = 4;

    /// With less, headers and manifest would not fit beside the records.
    const SEGMENT_BYTES_LEAST: u64 = 4 << 10;
    const SEGMENT_BYTES_USUAL_MIN: u64 = 4 * MIB;
    pub(super) const SEGMENT_BYTES_MAX: u64 = 64 * MIB;
    const SEGMENT_BYTES_USUAL_MAX: u64 = 32 * MIB;
    const BIG_STORE_BYTES: u64 = 64 * 1_024 * MIB;
    const SEGMENTS_USUAL: u64 = 8;
    const FREE_SEGMENTS_MIN: u64 = 4;
    const RECORDS_PER_SEGMENT_MIN: u32 = 4;
    const MAINTENANCE_EVERY: Duration = Duration::from_secs(1);

    /// A store keeps dirty writes if it holds at least this many segments: two are left free to carry them over.
    const DIRTY_SEGMENTS_MIN: u64 = 8;
    /// What is dirty takes at most this part of the store.
    pub const DIRTY_PART: u64 = 4;
    const DIRTY_PART_USUAL: u64 = 8;
    const DIRTY_BYTES_USUAL_MAX: u64 = 256 * MIB;
    const DIRTY_AGE_USUAL: Duration = Duration::from_secs(3_600);

    /// A store at `path` of at most `max_bytes`, with segments of a size that suits them.
    #[must_use]
    pub fn new(path: PathBuf, max_bytes: u64, sync: DiskSync, boot_id: String) -> Self {
        let segment_bytes = if max_bytes >= Self::BIG_STORE_BYTES {
            Self::SEGMENT_BYTES_MAX
        } else {
            (max_bytes / Self::SEGMENTS_USUAL)
                .clamp(Self::SEGMENT_BYTES_USUAL_MIN, Self::SEGMENT_BYTES_USUAL_MAX)
        };
        let free_bytes_min = segment_bytes * Self::FREE_SEGMENTS_MIN;
        let segment_bytes =
            u32::try_from(segment_bytes).expect("a segment has at most SEGMENT_BYTES_MAX bytes");
        Self {
            path,
            max_bytes,
            sync,
            segment_bytes,
            record_bytes_max: segment_bytes / Self::RECORDS_PER_SEGMENT_MIN,
            free_bytes_min,
            boot_id,
            stale_seconds: 0,
            dirty_bytes_max: (max_bytes / Self::DIRTY_PART_USUAL).min(Self::DIRTY_BYTES_USUAL_MAX),
            dirty_age_max: Self::DIRTY_AGE_USUAL,
            maintenance_every: Self::MAINTENANCE_EVERY,
        }
    }

    /// Whether a store of this size can keep dirty writes.
    #[must_use]
    pub fn keeps_dirty(&self) -> bool {
        // A record, and the list of all that is dirty, fit into one segment.
        self.max_bytes >= u64::from(self.segment_bytes) * Self::DIRTY_SEGMENTS_MIN
            && self.record_bytes_max <= self.segment_bytes / 2
    }

    /// The longest file of one value, and the most that all those may have which are being written.
    pub(super) fn value_file_bytes_max(&self) -> u64 {
        self.max_bytes / Self::VALUES_MIN
    }

    /// Whether a store can keep to these limits; if not, why.
    pub(super) fn check(&self) -> Result<(), String> {
        let segment_bytes = u64::from(self.segment_bytes);
        let least = Self::SEGMENT_BYTES_LEAST;
        if segment_bytes < least || segment_bytes > Self::SEGMENT_BYTES_MAX {
            let most = Self::SEGMENT_BYTES_MAX;
            return Err(format!(
                "segments of {segment_bytes} bytes; expected {least} to {most}"
            ));
        }
        let needed = segment_bytes * Self::SEGMENTS_MIN;
        if self.max_bytes < needed {
            let max_bytes = self.max_bytes;
            return Err(format!(
                "a limit of {max_bytes} bytes; expected {needed} or more"
            ));
        }
        let (dirty_max, part) = (self.dirty_bytes_max, self.max_bytes / Self::DIRTY_PART);
        if dirty_max > part {
            return Err(format!(
                "{dirty_max} bytes of dirty writes; expected at most a quarter of the limit, {part}"
            ));
        }
        Ok(())
    }
}

/// What the operating system calls this boot of the machine; empty where it does not say.
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment_mib(max_mib: u64) -> u64 {
        let config = DiskConfig::new(PathBuf::new(), max_mib * MIB, DiskSync::Os, String::new());
        assert_eq!(config.check(), Ok(()), "{max_mib} MiB");
        u64::from(config.segment_bytes) / MIB
    }

    #[test]
    fn segments_are_small_where_the_store_is() {
        assert_eq!(segment_mib(16), 4);
        assert_eq!(segment_mib(64), 8);
        assert_eq!(segment_mib(10 * 1_024), 32, "holds a value of 17 MiB");
        assert_eq!(segment_mib(1_024 * 1_024), 64);
    }

    #[test]
    fn a_store_too_small_for_four_segments_is_refused() {
        let config = DiskConfig::new(
            PathBuf::new(),
            DiskConfig::MAX_BYTES_MIN - 1,
            DiskSync::Os,
            String::new(),
        );
        assert!(config.check().unwrap_err().contains("16777216"));
    }
}
