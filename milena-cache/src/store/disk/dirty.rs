//! The dirty records: those that the durable tier does not have yet, by key, by place and by age.
//!
//! Kept in memory, made anew when the store is opened (`dirty_recovery.rs`). The writer says what becomes
//! dirty or clean and where it lies; whoever uploads takes keys from it. Knows nothing of files. Invariants: a
//! key is here exactly while its newest record is dirty; what is here is never dropped for space.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, UnixMillis};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::format::SegmentId;
use super::index::Location;
use super::record::Name;
use crate::store::write_back::{Dirty, DirtyStats, WriteId};

/// See the file's head.
pub(super) struct DirtyRecords {
    state: Mutex<State>,
    /// How many there are: looked at where it mostly is none.
    count: AtomicUsize,
    clock: Clock,
    /// Something became dirty, or was given back.
    pub(super) can_take: Notify,
    /// Something became clean.
    pub(super) has_shrunk: Notify,
    /// Nothing is dirty any more.
    has_emptied: Notify,
}

#[derive(Default)]
struct State {
    by_key: HashMap<EntryKey, Record>,
    by_place: BTreeMap<(SegmentId, u32), EntryKey>,
    /// Those that nobody has taken.
    by_turn: BTreeMap<Turn, EntryKey>,
    /// In the order in which they became dirty.
    by_age: BTreeMap<u64, Instant>,
    bytes: u64,
    next_id: u64,
}

/// Those that somebody waits for come first, then in the order of numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    nobody_waits: bool,
    number: u64,
}

struct Record {
    id: WriteId,
    what: Dirty,
    /// `None` if it is not known whether there is one.
    location: Option<Location>,
    bytes: u64,
    turn: Turn,
    /// When the key became dirty, in `by_age`.
    age: u64,
    is_taken: bool,
    /// The durable tier has it, and this cannot be written down.
    is_unmarked: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

/// A record that is about to be dirty.
#[derive(Clone, Copy)]
pub(super) struct NewDirty<'a> {
    pub(super) key: &'a EntryKey,
    pub(super) what: Dirty,
    /// What it counts for.
    pub(super) bytes: u64,
}

impl DirtyRecords {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            state: Mutex::default(),
            count: AtomicUsize::new(0),
            clock,
            can_take: Notify::new(),
            has_shrunk: Notify::new(),
            has_emptied: Notify::new(),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until there are none.
    pub(super) async fn emptied(&self) {
        loop {
            // From here on it is told, though it is not waited for yet.
            let emptied = self.has_emptied.notified();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// The record at `location` is the newest of its key, and dirty. What was dirty of the key before is not any
    /// more; whoever waits for that waits for this.
    pub(super) fn add(&self, new: NewDirty<'_>, location: Location) {
        self.lock(|state| state.add(new, Some(location), self.clock.monotonic()));
        self.can_take.notify_one();
    }

    /// It cannot be told whether a dirty write of this key will be found by the next opening.
    pub(super) fn add_unknown(&self, key: &EntryKey) {
        let new = NewDirty {
            key,
            what: Dirty::Unknown,
            bytes: 0,
        };
        self.lock(|state| state.add(new, None, self.clock.monotonic()));
    }

    /// A dirty record lies elsewhere now.
    pub(super) fn moved(&self, from: Location, to: Location) {
        self.lock(|state| {
            let Some(key) = state.by_place.remove(&place(from)) else {
                return;
            };
            if let Some(record) = state.by_key.get_mut(&key) {
                record.location = Some(to);
            }
            state.by_place.insert(place(to), key);
        });
    }

    /// Nothing of `key` is dirty any more. Whoever waits for it learns that.
    pub(super) fn remove(&self, key: &EntryKey) {
        if self.count() > 0 {
            self.lock(|state| state.remove(key));
            self.has_shrunk.notify_one();
        }
    }

    /// As [`DirtyRecords::remove`], by where its record lies.
    pub(super) fn remove_at(&self, segment: SegmentId, offset: u32) {
        self.lock(|state| {
            if let Some(key) = state.by_place.get(&(segment, offset)).cloned() {
                state.remove(&key);
            }
        });
    }

    /// The durable tier has this write. Nothing of the key is dirty any more, unless it was written since.
    pub(super) fn clean(&self, key: &EntryKey, id: WriteId) {
        self.lock(|state| match state.by_key.get(key) {
            Some(record) if record.id == id => state.remove(key),
            Some(_) => state.give_back(key, false),
            None => {}
        });
        self.has_shrunk.notify_one();
        self.can_take.notify_one();
    }

    /// As [`DirtyRecords::clean`], but it cannot be written down: the key stays, and is not taken again.
    pub(super) fn clean_unmarked(&self, key: &EntryKey, id: WriteId) {
        self.lock(|state| {
            if let Some(record) = state.by_key.get_mut(key)
                && record.id == id
            {
                record.is_unmarked = true;
                tell(record.waiting.drain(..));
            }
        });
    }

    /// Whether the durable tier has all that can be read.
    pub(super) fn is_all_sent(&self) -> bool {
        self.lock(|state| state.is_all_sent())
    }

    /// Where the record of this write lies, if it is still the newest of its key.
    pub(super) fn location_of(&self, key: &EntryKey, id: WriteId) -> Option<Location> {
        self.lock(|state| {
            let record = state.by_key.get(key).filter(|record| record.id == id)?;
            record.location
        })
    }

    /// The dirty write of `key`, and where its record lies.
    pub(super) fn find(&self, key: &EntryKey) -> Option<(WriteId, Dirty, Option<Location>)> {
        if self.count() == 0 {
            return None;
        }
        self.lock(|state| {
            let record = state.by_key.get(key)?;
            Some((record.id, record.what, record.location))
        })
    }

    /// Whether a record of this key is dirty that does not lie at `location`.
    pub(super) fn is_elsewhere(&self, name: Name<'_>, location: Location) -> bool {
        if self.count() == 0 {
            return false;
        }
        let found = name.key().and_then(|key| self.find(&key));
        found.is_some_and(|(_, _, known)| known != Some(location))
    }

    pub(super) fn is_at(&self, location: Location) -> bool {
        self.count() > 0 && self.lock(|state| state.by_place.contains_key(&place(location)))
    }

    /// Whether one lies in this segment.
    pub(super) fn is_in(&self, segment: SegmentId) -> bool {
        self.count() > 0 && self.lock(|state| state.of_segment(segment).next().is_some())
    }

    /// Those that lie in this segment, in the order of the log.
    pub(super) fn of_segment(&self, segment: SegmentId) -> Vec<(EntryKey, Location)> {
        self.lock(|state| {
            let keys = state.of_segment(segment);
            let found = keys.filter_map(|key| {
                let location = state.by_key.get(key)?.location?;
                Some((key.clone(), location))
            });
            found.collect()
        })
    }

    /// Where they lie, in the order of the log.
    pub(super) fn locations(&self) -> Vec<Location> {
        self.lock(|state| {
            let keys = state.by_place.values();
            keys.filter_map(|key| state.by_key.get(key)?.location)
                .collect()
        })
    }

    /// Forgets those of a segment that is lost; says how many.
    pub(super) fn lose_segment(&self, segment: SegmentId) -> usize {
        let lost = self.of_segment(segment);
        for (key, _) in &lost {
            self.remove(key);
        }
        lost.len()
    }

    pub(super) fn clear(&self) {
        self.lock(|state| {
            let next_id = state.next_id;
            *state = State {
                next_id,
                ..State::default()
            };
        });
        self.has_shrunk.notify_one();
    }

    /// See `WriteBackStore::take_dirty`.
    pub(super) fn take(&self) -> Option<EntryKey> {
        self.lock(|state| {
            let (_, key) = state.by_turn.pop_first()?;
            if let Some(record) = state.by_key.get_mut(&key) {
                record.is_taken = true;
            }
            Some(key)
        })
    }

    /// See `WriteBackStore::not_uploaded`.
    pub(super) fn give_back(&self, key: &EntryKey) {
        self.lock(|state| state.give_back(key, true));
        self.can_take.notify_one();
    }

    /// What is sent something, or dropped if that will not be known, once the key is not dirty any more; `None` if it
    /// is not now.
    pub(super) fn wait_for(&self, key: &EntryKey) -> Option<oneshot::Receiver<()>> {
        let waiting = self.lock(|state| {
            let record = state.by_key.get_mut(key)?;
            if record.is_unmarked {
                return None;
            }
            let (done, waiting) = oneshot::channel();
            record.waiting.push(done);
            let before = record.turn;
            record.turn.nobody_waits = false;
            let after = record.turn;
            if let Some(key) = state.by_turn.remove(&before) {
                state.by_turn.insert(after, key);
            }
            Some(waiting)
        });
        self.can_take.notify_one();
        waiting
    }

    pub(super) fn stats(&self) -> DirtyStats {
        self.lock(|state| DirtyStats {
            entries: state.by_key.len() as u64,
            bytes: state.bytes,
            oldest: state
                .by_age
                .values()
                .next()
                .map(|since| self.clock.monotonic() - *since),
        })
    }

    fn lock<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state: MutexGuard<'_, State> =
            self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut state);
        let count = state.by_key.len();
        if self.count.swap(count, Ordering::AcqRel) > 0 && count == 0 {
            self.has_emptied.notify_waiters();
        }
        done
    }
}

impl State {
    fn add(&mut self, new: NewDirty<'_>, location: Option<Location>, now: Instant) {
        self.next_id += 1;
        let number = self.next_id;
        let before = self.by_key.remove(new.key);
        if let Some(before) = &before {
            self.bytes -= before.bytes;
            self.forget_place(before.location);
        } else {
            self.by_age.insert(number, now);
        }
        self.bytes += new.bytes;
        let mut record = Record {
            id: WriteId(number),
            what: new.what,
            location,
            bytes: new.bytes,
            turn: Turn {
                nobody_waits: true,
                number,
            },
            age: number,
            is_taken: false,
            is_unmarked: false,
            waiting: Vec::new(),
        };
        if let Some(before) = before {
            record.turn = before.turn;
            record.age = before.age;
            record.is_taken = before.is_taken;
            record.waiting = before.waiting;
        }
        // What cannot be read cannot be uploaded.
        if !record.is_taken && location.is_some() {
            self.by_turn.insert(record.turn, new.key.clone());
        }
        if let Some(location) = location {
            self.by_place.insert(place(location), new.key.clone());
        }
        self.by_key.insert(new.key.clone(), record);
    }

    fn remove(&mut self, key: &EntryKey) {
        let Some(record) = self.by_key.remove(key) else {
            return;
        };
        self.bytes -= record.bytes;
        self.by_turn.remove(&record.turn);
        self.by_age.remove(&record.age);
        self.forget_place(record.location);
        tell(record.waiting.into_iter());
    }

    fn forget_place(&mut self, location: Option<Location>) {
        if let Some(location) = location {
            self.by_place.remove(&place(location));
        }
    }

    fn give_back(&mut self, key: &EntryKey, is_last: bool) {
        self.next_id += 1;
        let Some(record) = self.by_key.get_mut(key) else {
            return;
        };
        if is_last {
            record.turn.number = self.next_id;
        }
        record.is_taken = false;
        let turn = record.turn;
        self.by_turn.insert(turn, key.clone());
    }

    fn of_segment(&self, segment: SegmentId) -> impl Iterator<Item = &EntryKey> {
        let places = (segment, 0)..=(segment, u32::MAX);
        self.by_place.range(places).map(|(_, key)| key)
    }

    fn is_all_sent(&self) -> bool {
        let mut records = self.by_key.values();
        records.all(|record| record.is_unmarked || record.location.is_none())
    }
}

fn tell(waiting: impl Iterator<Item = oneshot::Sender<()>>) {
    for waiting in waiting {
        // Who waited may have gone.
        let _ = waiting.send(());
    }
}

fn place(location: Location) -> (SegmentId, u32) {
    (location.segment, location.offset)
}

/// What of a key is dirty once this was written.
pub(super) fn what(is_deleted: bool, expires_at: Option<UnixMillis>) -> Dirty {
    if is_deleted {
        Dirty::Deleted
    } else {
        Dirty::Put { expires_at }
    }
}
