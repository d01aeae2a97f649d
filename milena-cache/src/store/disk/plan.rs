//! From a put or delete to the record that is appended for it: what does it supersede?
//!
//! By the writer, in the order of the log. Reads the head of what it supersedes, to
//! verify that it is of the same key and to learn until when it is needed.

use milena_cluster::key::EntryKey;

use super::dirty::{self, NewDirty};
use super::dirty_room::Promise;
use super::format::Until;
use super::index::{Candidate, Location};
use super::log::{Log, Record};
use super::planted::Bug;
use super::record::{Head, Kind, Name};
use super::reservation::Reservation;
use super::shared::Shared;
use crate::store::Entry;
use crate::store::write_back::Dirty;

/// A put or delete on its way to the log.
pub(super) struct Write {
    pub(super) key: EntryKey,
    pub(super) key_hash: u64,
    /// What is put, and the head of its record; `None` deletes.
    pub(super) put: Option<(Head, Entry)>,
    /// The durable tier does not have it yet; and the room among what is dirty.
    pub(super) dirty: Option<Promise>,
    /// What holds the file of the value, if it is in a file of its own, until the record is written.
    pub(super) value_file: Option<Reservation>,
}

impl Write {
    pub(super) fn put(key: &EntryKey, key_hash: u64, entry: Entry) -> Self {
        let head = Head::of_put(key, &entry);
        Self {
            key: key.clone(),
            key_hash,
            // A value whose length does not even fit into a head is declined like one over a segment.
            put: head.map(|head| (head, entry)),
            dirty: None,
            value_file: None,
        }
    }

    /// A put of a value that has been written to a file of its own; that of `entry` is what refers to it.
    pub(super) fn put_in_file(
        key: &EntryKey,
        key_hash: u64,
        entry: Entry,
        value_file: Reservation,
    ) -> Self {
        let head = Head::of_put_in_file(key, &entry);
        Self {
            key: key.clone(),
            key_hash,
            put: head.map(|head| (head, entry)),
            dirty: None,
            value_file: Some(value_file),
        }
    }

    pub(super) fn delete(key: &EntryKey, key_hash: u64) -> Self {
        Self {
            key: key.clone(),
            key_hash,
            put: None,
            dirty: None,
            value_file: None,
        }
    }

    /// The same, which the durable tier does not have yet.
    pub(super) fn dirty(self, promise: Promise) -> Self {
        let put = self.put.map(|(head, entry)| (head.with_dirty(true), entry));
        Self {
            put,
            dirty: Some(promise),
            ..self
        }
    }

    /// About how much memory it takes while it waits.
    pub(super) fn bytes(&self) -> usize {
        let value = self.put.as_ref().map_or(0, |(_, entry)| entry.value.len());
        size_of::<Self>() + self.key.as_bytes().len() + value
    }

    /// The length of the record that it would make.
    pub(super) fn record_bytes(&self) -> u64 {
        let put = self.put.as_ref().map(|(head, _)| head.record_bytes());
        put.unwrap_or_else(|| Head::of_tombstone(&self.key).record_bytes())
    }
}

/// What the log holds of a key before a write.
struct Superseded {
    /// The record that the index points at, and whether it is a tombstone.
    record: Option<(Location, Kind)>,
    /// Until when what the log holds has to stay hidden.
    needed_until: Until,
}

/// Whether what is dirty about `write` would be kept: a put that is declined would not.
pub(super) fn is_kept(log: &Log, write: &Write) -> bool {
    let put = write.put.as_ref();
    write.dirty.is_none() || put.is_none_or(|(head, _)| log.takes_put(head.record_bytes()))
}

/// The record to append for `write`; `None` if the log needs none, because it holds nothing of the key.
pub(super) fn record<'a>(log: &Log, write: &'a Write) -> Option<Record<'a>> {
    let superseded = superseded(log, write);
    let put = write.put.as_ref();
    let put = put.filter(|(head, _)| log.takes_put(head.record_bytes()));
    let hides_nothing = superseded.needed_until == Until::PAST;
    let is_deleted = matches!(superseded.record, Some((_, Kind::Tombstone)));
    if put.is_none() && write.dirty.is_none() && (hides_nothing || is_deleted) {
        return None;
    }
    let planted = log.site.shared.planted;
    if put.is_none() && planted.has(Bug::DeletesWithoutRecord) {
        if let Some((location, _)) = superseded.record {
            log.site.shared.index.retire(write.key_hash, location);
        }
        return None;
    }
    let mut head = match put {
        Some((head, _)) => head.clone(),
        None => Head::of_tombstone(&write.key).with_dirty(write.dirty.is_some()),
    };
    head.needed_until = head.dies_at();
    if !planted.has(Bug::ForgetsWhatItHides) {
        head.needed_until = head.needed_until.max(superseded.needed_until);
    }
    let new_dirty = write.dirty.as_ref().map(|promise| NewDirty {
        key: &write.key,
        what: dirty::what(put.is_none(), head.expires_at),
        needed_until: head.needed_until,
        bytes: promise.bytes,
    });
    Some(Record {
        head,
        key_hash: write.key_hash,
        bucket_and_key: Name::from(&write.key).bucket_and_key,
        version: put.map_or(&[], |(_, entry)| entry.version.as_bytes()),
        value: put.map_or(&[], |(_, entry)| &entry.value),
        superseded: superseded.record.map(|(location, _)| location),
        new_dirty,
    })
}

fn superseded(log: &Log, write: &Write) -> Superseded {
    let shared = &log.site.shared;
    let candidates = shared.index.candidates(write.key_hash);
    if let Some(known) = superseded_dirty(shared, write, &candidates) {
        return known;
    }
    let mut known = Superseded {
        record: None,
        needed_until: Until::PAST,
    };
    for candidate in candidates {
        let Some(segment) = shared.segments.find(candidate.location.segment) else {
            continue;
        };
        match segment.head_at(candidate.location) {
            Some((head, record)) if head.name(&record) == Name::from(&write.key) => {
                known.record = Some((candidate.location, head.kind));
                known.needed_until = known.needed_until.max(head.needed_until);
            }
            Some(_) => {}
            // It may be of this key, and hide anything.
            None => {
                shared.retire_damaged(&segment, write.key_hash, candidate, "a record's head");
                known.needed_until = Until::FOREVER;
            }
        }
    }
    // What has not been read yet may hold this key.
    if known.record.is_none() && !log.is_read {
        known.needed_until = Until::FOREVER;
    }
    known
}

/// The same, if the one candidate is known to be dirty: nothing has to be read then.
fn superseded_dirty(
    shared: &Shared,
    write: &Write,
    candidates: &[Candidate],
) -> Option<Superseded> {
    let [only] = candidates else { return None };
    let dirty = shared.dirty.find(&write.key)?;
    let kind = match dirty.what {
        Dirty::Deleted => Kind::Tombstone,
        Dirty::Put { .. } | Dirty::Unknown => Kind::Put,
    };
    (dirty.location == Some(only.location)).then_some(Superseded {
        record: Some((only.location, kind)),
        needed_until: dirty.needed_until,
    })
}

/// Whether [`record`] need not wait for the medium, as far as the system can tell.
pub(super) fn is_from_memory(log: &Log, write: &Write) -> bool {
    let shared = &log.site.shared;
    let candidates = shared.index.candidates(write.key_hash);
    superseded_dirty(shared, write, &candidates).is_some()
        || candidates.iter().all(|Candidate { location, .. }| {
            let segment = shared.segments.find(location.segment);
            segment.is_none_or(|segment| segment.has_head_in_memory(*location))
        })
}
