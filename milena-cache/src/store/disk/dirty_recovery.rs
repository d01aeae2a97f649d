//! What was dirty when the store stopped: found out before it serves anything, so that nobody is told what the
//! durable tier has in its place. And the marks, by which the log says what is dirty no more.
//!
//! The newest footer says what was dirty when its segment was ended; what came after it is gone through record by
//! record. Runs before the writer thread starts.

use std::io;
use std::sync::Arc;

use bytes::BufMut;

use super::dirty::{NewDirty, what};
use super::dirty_room::entry_bytes_min;
use super::format::{SegmentId, u32_at};
use super::index::Location;
use super::log::Log;
use super::planted::Bug;
use super::record::Kind;
use super::scan::{self, Said, Written};
use super::segment::Segment;

const MARK_BYTES: usize = 8;

/// The value of the record that says that the durable tier has what lies at these places.
pub(super) fn encode_marks(uploaded: &[Location]) -> Vec<u8> {
    let mut value = Vec::with_capacity(uploaded.len() * MARK_BYTES);
    for location in uploaded {
        value.put_u32_le(location.segment.0);
        value.put_u32_le(location.offset);
    }
    value
}

/// The segments and offsets that such a value says.
pub(super) fn marks_in(value: &[u8]) -> impl Iterator<Item = (SegmentId, u32)> {
    let marks = value.chunks_exact(MARK_BYTES);
    marks.map(|mark| (SegmentId(u32_at(mark, 0)), u32_at(mark, 4)))
}

/// A segment that was read, and where its records end.
pub(super) struct Newest {
    pub(super) segment: Arc<Segment>,
    pub(super) end: u32,
    /// Whether any of them says something of what is dirty.
    pub(super) may_say_of_dirty: bool,
}

impl Log {
    /// Takes note of what is dirty: what the footer before them says, `listed`, and what the `newest` segments, oldest
    /// first, have changed since.
    ///
    /// # Errors
    /// Says which file cannot be read.
    pub(super) fn recover_dirty(
        &self,
        listed: &[Location],
        newest: &[Newest],
        power_was_lost: bool,
    ) -> io::Result<()> {
        let forgets = self.site.shared.planted.has(Bug::ForgetsWhatIsDirty);
        for location in listed.iter().filter(|_| !forgets) {
            self.recover_listed(*location)?;
        }
        let dirty = &self.site.shared.dirty;
        for of in newest {
            // While nothing is dirty, a record that is not changes nothing.
            if of.may_say_of_dirty || dirty.count() > 0 {
                // Uploading does not wait until the log has been read.
                self.site.shared.segments.insert(Arc::clone(&of.segment));
                scan::dirty(&of.segment, of.end, power_was_lost, |said| self.hear(said))?;
            }
        }
        if dirty.count() > 0 {
            let stats = dirty.stats();
            tracing::info!(
                entries = stats.entries,
                bytes = stats.bytes,
                "the disk store holds writes that S3 does not have yet"
            );
        }
        Ok(())
    }

    fn recover_listed(&self, location: Location) -> io::Result<()> {
        // Dropped since, and not dirty then.
        if !self.sealed.contains_key(&location.segment) {
            return Ok(());
        }
        let files = self.site.files.as_ref();
        let segment = match self.site.shared.segments.find(location.segment) {
            Some(segment) => segment,
            None => Arc::new(Segment::open(files, self.store_id, location.segment)?),
        };
        let written = segment.head_at(location).and_then(|(head, read)| {
            // Of the value nothing is looked at, but for a reference to a file, which is short.
            let record = if head.is_in_file {
                segment.record_at(location)?.1
            } else {
                read.into()
            };
            Written::new(head, location, &record)
        });
        match written {
            Some(written) => {
                self.site.shared.segments.insert(segment);
                self.hear(Said::Written(written));
            }
            None => segment.log_damage("a write that S3 does not have yet, and that is lost"),
        }
        Ok(())
    }

    fn hear(&self, said: Said) {
        let dirty = &self.site.shared.dirty;
        match said {
            Said::Written(Written {
                key,
                head,
                location,
                file_bytes,
            }) if head.is_dirty => {
                let bytes = u64::from(location.bytes) + file_bytes;
                let new = NewDirty {
                    key: &key,
                    what: what(head.kind == Kind::Tombstone, head.expires_at),
                    needed_until: head.needed_until,
                    bytes: bytes.max(entry_bytes_min(&self.site.config)),
                };
                dirty.add(new, location);
            }
            Said::Written(Written { key, .. }) => dirty.remove(&key),
            Said::Uploaded { segment, offset } => dirty.remove_at(segment, offset),
        }
    }
}
