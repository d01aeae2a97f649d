//! Sealing: ending the segment that is being written, and what is remembered of it from then on.
//!
//! A footer that cannot be written is done without: it only makes opening the store and reclaim faster.

use std::io::{self, IoSlice};

use super::footer::Contents;
use super::format::{SEGMENT_HEADER_BYTES, Until};
use super::log::Log;
use super::record::Head;
use super::segment::Segment;

/// A segment that is no longer written.
pub(super) struct Sealed {
    pub(super) file_bytes: u64,
    /// A write or sync of it failed, or the machine stopped before it was synced: nothing is to be written into
    /// its file again.
    pub(super) has_failed: bool,
    /// Where its records end; `None` as long as it has not been scanned.
    pub(super) end: Option<u32>,
    /// The bytes of the records in it that are the newest of their keys and no tombstones; at most so
    /// many, because what expires is not noticed.
    pub(super) live_bytes: u64,
    /// The bytes that were carried over from it.
    pub(super) carried_bytes: u64,
    /// What its records need; `None` as long as it has not been read.
    pub(super) lives: Option<Lives>,
}

/// How long the records of a segment matter.
#[derive(Clone, Copy)]
pub(super) struct Lives {
    /// The latest death of its puts.
    pub(super) last_death: Until,
    /// The latest moment until which one of its records is needed.
    pub(super) needed_until: Until,
    /// Carrying over what is needed was considered, and would free too little.
    pub(super) is_kept: bool,
}

impl Lives {
    pub(super) fn of(contents: &Contents) -> Self {
        Self {
            last_death: contents.last_death,
            needed_until: contents.needed_until,
            is_kept: false,
        }
    }
}

impl Log {
    /// Ends the active segment with its footer.
    pub(super) fn seal_active(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        // Counted before it is written, and whatever part of it is.
        let dirty = self.site.shared.dirty.locations();
        let footer_bytes = active.contents.footer_bytes(0, 0, dirty.len());
        active.contents.dirty = Some(dirty);
        let with_footer = u64::from(active.end) + footer_bytes;
        active.file_bytes = active.file_bytes.max(with_footer);
        self.publish_bytes();
        if let Some(active) = self.active.take() {
            self.write_footer(&active.segment, active.end, &active.contents);
            self.active = Some(active);
        }
        self.cut_off_unused(with_footer);
        self.end_active(false);
    }

    /// Writes the footer of a segment whose records end at `end`, with `always` to the medium, and takes note that it
    /// says what is dirty, if it does.
    pub(super) fn write_footer(&mut self, segment: &Segment, end: u32, contents: &Contents) {
        match write_footer(segment, end, contents, self.site.is_durable()) {
            Ok(()) if contents.dirty.is_some() => {
                self.dirty_listed = self.dirty_listed.max(Some(segment.id));
            }
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "the disk store could not write a segment's footer");
            }
        }
    }

    /// A segment that is sealed early, because of the value files that go with it, does not keep all of a file
    /// that it was written into.
    fn cut_off_unused(&mut self, used_bytes: u64) {
        let unused_min = u64::from(self.site.config.segment_bytes / 2);
        if let Some(active) = &mut self.active
            && active.file_bytes.saturating_sub(used_bytes) >= unused_min
            // If it cannot be cut off, it counts on.
            && active.segment.file.shorten(used_bytes).is_ok()
        {
            active.file_bytes = used_bytes;
        }
    }

    /// Ends the active segment, which has failed, where its last acknowledged record ends.
    pub(super) fn abandon_active(&mut self) {
        self.end_active(true);
    }

    fn end_active(&mut self, has_failed: bool) {
        let Some(active) = self.active.take() else {
            return;
        };
        self.sealed.insert(
            active.segment.id,
            Sealed {
                file_bytes: active.file_bytes,
                has_failed,
                end: Some(active.end),
                live_bytes: active.live_bytes,
                carried_bytes: 0,
                lives: Some(Lives::of(&active.contents)),
            },
        );
        self.publish_bytes();
    }

    /// Ends the active segment if all its records have had their time.
    pub(super) fn seal_active_if_expired(&mut self) {
        let now = self.site.clock.now();
        if self.active.as_ref().is_some_and(|active| {
            active.end > SEGMENT_HEADER_BYTES
                && active.contents.needed_until.has_passed(now)
                && !self.site.shared.dirty.is_in(active.segment.id)
        }) {
            self.seal_active();
        }
    }
}

fn write_footer(segment: &Segment, end: u32, contents: &Contents, durable: bool) -> io::Result<()> {
    let value = contents.encode();
    let head = Head::of_footer(&value);
    let mut encoded = Vec::new();
    head.encode(segment.place(end), [&[], &[]], &mut encoded);
    let mut slices = [IoSlice::new(&encoded), IoSlice::new(&value)];
    segment.file.write_all_at(&mut slices, end.into())?;
    if durable { segment.file.sync() } else { Ok(()) }
}
