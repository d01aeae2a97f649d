//! The log: the segments in their order, one of them being written. Records go in at its end.
//!
//! Owned by the one writer, so nothing here is locked. Knows nothing of queues and callers.
//!
//! Invariants: the files never pass `max_bytes`, because room is made before a segment is opened; nothing in a
//! segment is acknowledged before the manifest lists the segment. `append.rs` has those of what goes in.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use milena_cluster::key::EntryKey;
use milena_server::clock::Clock;
use tokio::time::Instant;

use super::closer::Closer;
use super::config::{DiskConfig, DiskSync};
use super::dirty::NewDirty;
use super::files::Files;
use super::footer::Contents;
use super::forget::Forgetting;
use super::format::{SEGMENT_HEADER_BYTES, SegmentId};
use super::index::Location;
use super::observer::Observer;
use super::record::Head;
use super::reservation::Era;
use super::seal::Sealed;
use super::segment::{Segment, file_name};
use super::shared::Shared;
use super::spares::Spares;
use super::value_file::Reference;
use super::value_files::ValueFiles;

/// What the log is made of and by; stays the same when the store starts again.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) files: Arc<dyn Files>,
    pub(super) config: Arc<DiskConfig>,
    pub(super) clock: Clock,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) shared: Arc<Shared>,
    /// A key's hash; a test chooses one that collides.
    pub(super) key_hash: fn(&EntryKey) -> u64,
}

impl Site {
    pub(super) fn is_durable(&self) -> bool {
        self.config.sync == DiskSync::Always
    }

    /// Reclaim has kept writes waiting since `started`.
    pub(super) fn say_paused(&self, started: Instant) {
        self.observer.paused(self.clock.monotonic() - started);
    }
}

/// A record to be appended. What it borrows is written as it is.
pub(super) struct Record<'a> {
    pub(super) head: Head,
    pub(super) key_hash: u64,
    /// The bucket's bytes and then the key's.
    pub(super) bucket_and_key: &'a [u8],
    pub(super) version: &'a [u8],
    pub(super) value: &'a [u8],
    /// The record that the index points at until now.
    pub(super) superseded: Option<Location>,
    /// If it makes its key dirty. One that is dirty without it is carried over.
    pub(super) new_dirty: Option<NewDirty<'a>>,
}

impl<'a> Record<'a> {
    /// The record that says which dirty ones the durable tier has: `marks`, encoded.
    pub(super) fn of_marks(marks: &'a [u8]) -> Self {
        Self {
            head: Head::of_marks(marks),
            key_hash: 0,
            bucket_and_key: &[],
            version: &[],
            value: marks,
            superseded: None,
            new_dirty: None,
        }
    }
    /// What it refers to, if its value is in a file of its own.
    pub(super) fn reference(&self) -> Option<Reference> {
        let in_file = self.head.is_in_file.then_some(self.value)?;
        Reference::parse(in_file)
    }
}

/// See the file's head.
pub(super) struct Log {
    pub(super) site: Site,
    pub(super) store_id: u64,
    pub(super) next_segment: SegmentId,
    /// The segments that are no longer written, by age.
    pub(super) sealed: BTreeMap<SegmentId, Sealed>,
    /// Whether the index knows everything that the segments hold.
    pub(super) is_read: bool,
    /// What may still be carried over before the next upkeep.
    pub(super) carry_budget_bytes: u64,
    /// A segment was opened, and the next one will need room.
    pub(super) is_room_due: bool,
    /// The newest segment whose footer says what is dirty.
    pub(super) dirty_listed: Option<SegmentId>,
    /// Dirty records are being carried over: they may take the room that is kept free for that.
    pub(super) is_pinning: bool,
    /// Where from and where to, since what is being appended was planned: it may supersede such a record.
    pub(super) carried: HashMap<Location, Location>,
    /// Whether puts are declined, so that the file system does not fill up.
    pub(super) is_short_of_space: bool,
    /// What was dropped and is still in the index.
    pub(super) forgetting: Forgetting,
    /// What the next segments are written into.
    pub(super) spares: Spares,
    pub(super) active: Option<Active>,
    pub(super) values: ValueFiles,
    /// Of value files found at opening, the newest of the segments not read yet that refers to each. Only
    /// found out if one of these is dropped.
    pub(super) unread_values: Option<HashMap<u64, SegmentId>>,
    pub(super) closer: Closer,
    /// How many segments the manifest lists, as it was written last.
    pub(super) listed: Cell<usize>,
    /// Over once nothing may be added any more.
    pub(super) era: Arc<Era>,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.era.end();
    }
}

/// The segment that is being written.
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// Where the next record goes: all before is acknowledged or about to be.
    pub(super) end: u32,
    /// The file's length; more than `end` while it is written, and after a failed write.
    pub(super) file_bytes: u64,
    /// As [`Sealed::live_bytes`].
    pub(super) live_bytes: u64,
    pub(super) contents: Contents,
}

impl Log {
    /// A log of these segments, of which nothing was read yet.
    pub(super) fn new(
        site: Site,
        store_id: u64,
        next_segment: SegmentId,
        sealed: BTreeMap<SegmentId, Sealed>,
    ) -> Self {
        Self {
            site,
            store_id,
            next_segment,
            is_read: sealed.is_empty(),
            sealed,
            carry_budget_bytes: 0,
            is_room_due: false,
            dirty_listed: None,
            is_pinning: false,
            carried: HashMap::new(),
            is_short_of_space: false,
            forgetting: Forgetting::default(),
            spares: Spares::default(),
            active: None,
            values: ValueFiles::new(next_segment),
            unread_values: None,
            closer: Closer::default(),
            listed: Cell::new(0),
            era: Arc::default(),
        }
    }

    /// The segment that is being written, and the length of its file.
    pub(super) fn active(&self) -> Option<(SegmentId, u64)> {
        let active = self.active.as_ref()?;
        Some((active.segment.id, active.file_bytes))
    }

    /// Ends the segment that is being written, and begins another one.
    ///
    /// # Errors
    /// When none can be begun. Nothing is lost by it.
    pub(super) fn begin_segment(&mut self) -> io::Result<()> {
        self.seal_active();
        let opened = self.open_segment();
        if opened.is_err() {
            // As above.
            self.abandon_active();
        }
        opened
    }

    /// Makes room for a new segment and opens it.
    pub(super) fn open_segment(&mut self) -> io::Result<()> {
        self.look_at_free_space();
        let Site { files, config, .. } = &self.site.clone();
        let started = self.site.clock.monotonic();
        self.make_room_for_segment()?;
        self.site.say_paused(started);
        if self.active.is_some() {
            // What was carried over to make room is at the start of a new one.
            return Ok(());
        }
        let id = self.next_segment;
        self.next_segment = SegmentId(id.0 + 1);
        let (store_id, bytes_max) = (self.store_id, config.segment_bytes);
        let spare = self.spares.take();
        let file_bytes = spare.as_ref().map_or(0, |spare| spare.bytes);
        let spare_name = spare.as_ref().map(|spare| spare.name.clone());
        let durable = self.site.is_durable();
        let segment = match spare {
            None => Segment::create(files.as_ref(), store_id, id, bytes_max),
            Some(spare) => {
                Segment::create_in(spare, files.as_ref(), store_id, id, bytes_max, durable)
            }
        };
        let segment = segment.and_then(|segment| {
            if durable {
                segment.file.sync()?;
                files.sync_names()?;
            }
            Ok(segment)
        });
        let segment = match segment {
            Ok(segment) => Arc::new(segment),
            Err(error) => {
                // It is no longer counted, whatever it is called.
                for name in spare_name.into_iter().chain([file_name(id)]) {
                    files.remove(&name)?;
                }
                return Err(error);
            }
        };
        self.site.shared.segments.insert(Arc::clone(&segment));
        self.active = Some(Active {
            segment,
            end: SEGMENT_HEADER_BYTES,
            file_bytes: file_bytes.max(SEGMENT_HEADER_BYTES.into()),
            live_bytes: 0,
            contents: Contents::new(),
        });
        self.publish_bytes();
        self.is_room_due = self.will_need_room();
        self.prepare_spare();
        self.list_segments()
    }
}
