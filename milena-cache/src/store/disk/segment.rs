//! Segment files: making one, and reading records out of it.
//!
//! Knows where a record lies from its caller; does not know which keys there are. Everything that is
//! read is verified, and what does not verify is `None`. Every operation blocks.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::files::{DataFile, Files};
use super::footer::Contents;
use super::format::{
    HeaderSays, Place, SEGMENT_HEADER_BYTES, Seed, SegmentId, read_segment_header, segment_header,
};
use super::index::Location;
use super::record::{HEAD_BYTES_MAX, Head, Kind};
use super::spares::Spare;

const NAME_PREFIX: &str = "segment-";

/// The name of a segment's file.
pub(super) fn file_name(id: SegmentId) -> String {
    format!("{NAME_PREFIX}{:08x}", id.0)
}

/// The segment whose file has this name.
pub(super) fn id_of(name: &str) -> Option<SegmentId> {
    let digits = name.strip_prefix(NAME_PREFIX)?;
    let id = SegmentId(u32::from_str_radix(digits, 16).ok()?);
    (file_name(id) == name).then_some(id)
}

/// What the system reads from the medium when a write covers only a part of it and it is not in memory.
const PAGE_BYTES: u32 = 4 << 10;

static ZEROS: [u8; PAGE_BYTES as usize] = [0; PAGE_BYTES as usize];

/// What is written after a write that ends at `end` in a file of `file_bytes`, so that the system need not
/// read the rest of the page from the medium.
pub(super) fn padding(end: u32, file_bytes: u64) -> &'static [u8] {
    let page_end = u64::from(end).next_multiple_of(PAGE_BYTES.into());
    let bytes = page_end.min(file_bytes).saturating_sub(end.into());
    &ZEROS[..usize::try_from(bytes).expect("less than a page")]
}

/// Only the medium can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WouldWait;

/// Longer records are not copied on a thread that has others to serve: some 30 µs.
const CACHED_RECORD_BYTES_MAX: u32 = 256 << 10;

/// An open segment file.
pub(super) struct Segment {
    pub(super) id: SegmentId,
    pub(super) file: Arc<dyn DataFile>,
    pub(super) store_id: u64,
    /// Whether the file held something else before, as far as is known.
    pub(super) is_reused: bool,
    seed: Seed,
    is_damage_logged: AtomicBool,
}

impl Segment {
    /// A new segment, its header written.
    pub(super) fn create(
        files: &dyn Files,
        store_id: u64,
        id: SegmentId,
        bytes_max: u32,
    ) -> io::Result<Self> {
        let file = files.create(&file_name(id))?;
        let header = segment_header(store_id, id, bytes_max, false);
        file.write_all_at(&mut [IoSlice::new(&header)], 0)?;
        Ok(Self::new(store_id, id, file, false))
    }

    /// A new segment in a file that held something else before; with `durable` its name is on the medium
    /// before anything in it changes, so that it is never met under the name that it had.
    pub(super) fn create_in(
        spare: Spare,
        files: &dyn Files,
        store_id: u64,
        id: SegmentId,
        bytes_max: u32,
        durable: bool,
    ) -> io::Result<Self> {
        files.rename(&spare.name, &file_name(id))?;
        if durable {
            files.sync_names()?;
        }
        let header = segment_header(store_id, id, bytes_max, true);
        let padding = padding(SEGMENT_HEADER_BYTES, spare.bytes);
        let mut slices = [IoSlice::new(&header), IoSlice::new(padding)];
        spare.file.write_all_at(&mut slices, 0)?;
        Ok(Self::new(store_id, id, spare.file, true))
    }

    /// A segment that is there. A damaged header alone costs nothing, because every record proves by its
    /// checksum that it belongs there.
    ///
    /// # Errors
    /// `InvalidData` if the file is another segment, of another store or of another version.
    pub(super) fn open(files: &dyn Files, store_id: u64, id: SegmentId) -> io::Result<Self> {
        let file = files.open(&file_name(id))?;
        let header = file.read_at(0, SEGMENT_HEADER_BYTES as usize)?;
        match read_segment_header(&header, store_id, id) {
            HeaderSays::Own { is_reused } => Ok(Self::new(store_id, id, file, is_reused)),
            HeaderSays::Nothing => {
                let segment = Self::new(store_id, id, file, true);
                segment.log_damage("the segment's header");
                Ok(segment)
            }
            HeaderSays::Foreign => {
                let why = "it is another segment, of another store or of another version";
                Err(io::Error::new(io::ErrorKind::InvalidData, why))
            }
        }
    }

    fn new(store_id: u64, id: SegmentId, file: Arc<dyn DataFile>, is_reused: bool) -> Self {
        Self {
            id,
            file,
            store_id,
            is_reused,
            seed: Seed::new(store_id, id),
            is_damage_logged: AtomicBool::new(false),
        }
    }

    /// Where a record at `offset` lies.
    pub(super) fn place(&self, offset: u32) -> Place {
        Place {
            seed: self.seed,
            segment: self.id,
            offset,
        }
    }

    /// The head of the record at `location`, and the bytes it was read from.
    pub(super) fn head_at(&self, location: Location) -> Option<(Head, Vec<u8>)> {
        let bytes = location.bytes.min(HEAD_BYTES_MAX) as usize;
        let read = self.file.read_at(location.offset.into(), bytes).ok()?;
        let head = Head::parse(&read, self.place(location.offset))?;
        (head.record_bytes() == u64::from(location.bytes)).then_some((head, read))
    }

    /// Whether [`Segment::head_at`] need not wait for the medium, as far as the system can tell.
    pub(super) fn has_head_in_memory(&self, location: Location) -> bool {
        let bytes = location.bytes.min(HEAD_BYTES_MAX) as usize;
        matches!(
            self.file.read_cached_at(location.offset.into(), bytes),
            Ok(Some(_))
        )
    }

    /// The whole record at `location`, its head verified and its value not yet.
    pub(super) fn record_at(&self, location: Location) -> Option<(Head, Bytes)> {
        let bytes = location.bytes as usize;
        let read = self.file.read_at(location.offset.into(), bytes).ok()?;
        self.parsed(location, read)
    }

    /// The same if the system has it in memory.
    pub(super) fn cached_record_at(
        &self,
        location: Location,
    ) -> Result<Option<(Head, Bytes)>, WouldWait> {
        if location.bytes > CACHED_RECORD_BYTES_MAX {
            return Err(WouldWait);
        }
        let bytes = location.bytes as usize;
        match self.file.read_cached_at(location.offset.into(), bytes) {
            Ok(Some(read)) => Ok(self.parsed(location, read)),
            Ok(None) => Err(WouldWait),
            Err(_) => Ok(None),
        }
    }

    fn parsed(&self, location: Location, read: Vec<u8>) -> Option<(Head, Bytes)> {
        let head = Head::parse(&read, self.place(location.offset))?;
        Some((head, read.into()))
    }

    /// What the footer at `end` says, if there is an undamaged one.
    pub(super) fn footer(&self, end: u32) -> Option<Contents> {
        let fixed = Head::of_footer(&[]).bytes() as usize;
        let read = self.file.read_at(end.into(), fixed).ok()?;
        let head = Head::parse(&read, self.place(end))?;
        let value_at = u64::from(end) + fixed as u64;
        let value = self
            .file
            .read_at(value_at, head.value_bytes as usize)
            .ok()?;
        let is_intact = head.kind == Kind::Footer && head.is_value(&value);
        is_intact.then(|| Contents::parse(&value, end))?
    }

    /// Logs that something in this segment is damaged, the first time.
    pub(super) fn log_damage(&self, what: &str) {
        if !self.is_damage_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                segment = self.id.0,
                what,
                "the disk store found damage; each damaged record is a miss"
            );
        }
    }
}

/// The segments that can be read from.
#[derive(Default)]
pub(super) struct Segments(RwLock<BTreeMap<SegmentId, Arc<Segment>>>);

impl Segments {
    pub(super) fn find(&self, id: SegmentId) -> Option<Arc<Segment>> {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        segments.get(&id).cloned()
    }

    pub(super) fn insert(&self, segment: Arc<Segment>) {
        let mut segments = self.0.write().unwrap_or_else(PoisonError::into_inner);
        segments.insert(segment.id, segment);
    }

    /// Nobody finds it any more; who has found it may still be reading.
    pub(super) fn remove(&self, id: SegmentId) -> Option<Arc<Segment>> {
        let mut segments = self.0.write().unwrap_or_else(PoisonError::into_inner);
        segments.remove(&id)
    }

    pub(super) fn clear(&self) {
        self.keep(|_| false);
    }

    /// Nobody finds any other from now on.
    pub(super) fn keep(&self, is_kept: impl Fn(SegmentId) -> bool) {
        let mut segments = self.0.write().unwrap_or_else(PoisonError::into_inner);
        segments.retain(|id, _| is_kept(*id));
    }

    pub(super) fn all(&self) -> Vec<Arc<Segment>> {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        segments.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_padded_to_the_page_within_the_file() {
        assert_eq!(padding(64, 64).len(), 0, "a file that grows");
        assert_eq!(padding(64, 10_000).len(), 4_032);
        assert_eq!(padding(8_193, 10_000).len(), 1_807, "up to the file's end");
        assert_eq!(padding(4_096, 10_000).len(), 0);
        assert_eq!(padding(20_000, 10_000).len(), 0);
    }

    #[test]
    fn a_segments_name_is_read_back_and_no_other_name_is() {
        assert_eq!(file_name(SegmentId(0xab)), "segment-000000ab");
        assert_eq!(id_of("segment-000000ab"), Some(SegmentId(0xab)));
        for other in [
            "segment-ab",
            "segment-000000AB",
            "segment-+00000ab",
            "segment-000000ab.bak",
            "MANIFEST",
            "",
        ] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }
}
