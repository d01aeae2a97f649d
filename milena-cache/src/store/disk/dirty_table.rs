//! The dirty records themselves: found by key and by place, in the order in which they became dirty, and in the order
//! in which they are to be uploaded.
//!
//! Knows no locks. Each record has a slot, by whose number everything else refers to it, and nothing that grows moves
//! records. Invariants: a record is in the index and in `by_age`; in `places` if it is known where it lies, and then
//! in a chain of turns unless somebody has taken it.

use std::hash::BuildHasher;
use std::ops::{Index, IndexMut};

use hashbrown::{DefaultHashBuilder, HashTable};
use milena_cluster::key::EntryKey;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::chain::Chain;
use super::dirty_places::Places;
use super::format::{SegmentId, Until};
use super::index::Location;
use crate::store::chunks::Chunks;
use crate::store::write_back::{Dirty, WriteId};

/// The number of a slot that holds a record.
pub(super) type Slot = u32;

/// When nothing is dirty, no more vacant slots are kept.
const VACANT_MAX: usize = 4_096;

/// See the file's head.
pub(super) struct DirtyTable {
    hasher: DefaultHashBuilder,
    index: HashTable<Indexed>,
    records: Chunks<Option<Record>>,
    vacant: Vec<Slot>,
    pub(super) places: Places,
    by_age: Chain,
    turns: Turns,
    /// What they count for.
    pub(super) bytes: u64,
    last_id: u64,
}

/// The hash is kept: to grow the index touches no record.
#[derive(Debug)]
struct Indexed {
    hash: u64,
    slot: Slot,
}

/// The records to be uploaded that nobody has taken. Those that somebody waits for come first.
struct Turns {
    awaited: Chain,
    others: Chain,
}

impl Turns {
    fn of(&mut self, record: &Record) -> Option<&mut Chain> {
        // What cannot be read cannot be uploaded.
        let has_turn = record.write.location.is_some() && !record.is_taken;
        has_turn.then_some(if record.is_awaited {
            &mut self.awaited
        } else {
            &mut self.others
        })
    }
}

/// The newest write of a key, which is dirty.
#[derive(Clone, Copy)]
pub(super) struct DirtyWrite {
    pub(super) id: WriteId,
    pub(super) what: Dirty,
    /// Where its record lies; `None` if it is not known whether there is one.
    pub(super) location: Option<Location>,
    /// Until when it hides what is older.
    pub(super) needed_until: Until,
}

/// A dirty record.
pub(super) struct Record {
    pub(super) key: EntryKey,
    pub(super) write: DirtyWrite,
    bytes: u64,
    /// When the key became dirty.
    since: Instant,
    is_taken: bool,
    /// The durable tier has it, and this cannot be written down.
    pub(super) is_unmarked: bool,
    is_awaited: bool,
    pub(super) waiting: Vec<oneshot::Sender<()>>,
}

/// A record that is about to be dirty.
#[derive(Clone, Copy)]
pub(super) struct NewDirty<'a> {
    pub(super) key: &'a EntryKey,
    pub(super) what: Dirty,
    /// Until when it hides what is older.
    pub(super) needed_until: Until,
    /// What it counts for.
    pub(super) bytes: u64,
}

impl DirtyTable {
    pub(super) fn new() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            index: HashTable::new(),
            records: Chunks::new(),
            vacant: Vec::new(),
            places: Places::default(),
            by_age: Chain::new(),
            turns: Turns {
                awaited: Chain::new(),
                others: Chain::new(),
            },
            bytes: 0,
            last_id: 0,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn find(&self, key: &EntryKey) -> Option<Slot> {
        self.find_by(self.hasher.hash_one(key), key)
    }

    fn find_by(&self, hash: u64, key: &EntryKey) -> Option<Slot> {
        let is_of = |it: &Indexed| self[it.slot].key == *key;
        let found = self.index.find(hash, is_of)?;
        Some(found.slot)
    }

    /// Since when the oldest is dirty.
    pub(super) fn oldest(&self) -> Option<Instant> {
        Some(self[self.by_age.first()?].since)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        (0..self.records.len()).filter_map(|slot| self.records[slot].as_ref())
    }

    /// Forgets all of them, but not which names were given.
    pub(super) fn clear(&mut self) {
        *self = Self {
            last_id: self.last_id,
            ..Self::new()
        };
    }

    /// The newest write of its key is this one, which lies at `location`, if that is known. Of the one before it stays
    /// how old it is, its turn, and who waits.
    pub(super) fn add(&mut self, new: NewDirty<'_>, location: Option<Location>, now: Instant) {
        let hash = self.hasher.hash_one(new.key);
        let known = self.find_by(hash, new.key);
        let slot = known.unwrap_or_else(|| self.insert(hash, new.key.clone(), now));
        let record = self.records[slot].as_mut().expect(HELD);
        let turn = self.turns.of(record);
        let had_turn = turn.is_some();
        if let Some(turn) = turn
            && location.is_none()
        {
            turn.remove(slot);
        }
        if let Some(before) = record.write.location {
            self.places.remove(before);
        }
        self.last_id += 1;
        self.bytes = self.bytes - record.bytes + new.bytes;
        record.write = DirtyWrite {
            id: WriteId(self.last_id),
            what: new.what,
            location,
            needed_until: new.needed_until,
        };
        record.bytes = new.bytes;
        record.is_unmarked = false;
        if let Some(location) = location {
            self.places.add(location, slot);
        }
        if !had_turn && let Some(turn) = self.turns.of(record) {
            turn.push_last(slot);
        }
    }

    /// A slot for a key that has none. What it holds lies nowhere yet.
    fn insert(&mut self, hash: u64, key: EntryKey, since: Instant) -> Slot {
        let record = Some(Record {
            key,
            write: DirtyWrite {
                id: WriteId(0),
                what: Dirty::Unknown,
                location: None,
                needed_until: Until::PAST,
            },
            bytes: 0,
            since,
            is_taken: false,
            is_unmarked: false,
            is_awaited: false,
            waiting: Vec::new(),
        });
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.records[slot] = record;
                slot
            }
            None => {
                self.records.push(record);
                self.records.len() - 1
            }
        };
        self.index
            .insert_unique(hash, Indexed { hash, slot }, |it| it.hash);
        self.by_age.push_last(slot);
        slot
    }

    /// Empties the slot; gives what was in it.
    pub(super) fn remove(&mut self, slot: Slot) -> Record {
        let record = self.records[slot].take().expect(HELD);
        let hash = self.hasher.hash_one(&record.key);
        let indexed = self.index.find_entry(hash, |it| it.slot == slot);
        indexed.expect("a record is in the index").remove();
        self.by_age.remove(slot);
        if let Some(turn) = self.turns.of(&record) {
            turn.remove(slot);
        }
        if let Some(location) = record.write.location {
            self.places.remove(location);
        }
        self.bytes -= record.bytes;
        self.vacant.push(slot);
        if self.index.is_empty() && self.vacant.len() > VACANT_MAX {
            // What an outage has filled.
            self.clear();
        }
        record
    }

    /// The record in this slot lies elsewhere now.
    pub(super) fn move_to(&mut self, slot: Slot, location: Location) {
        if let Some(before) = self[slot].write.location.replace(location) {
            self.places.remove(before);
        }
        self.places.add(location, slot);
    }

    /// Takes the first whose turn it is.
    pub(super) fn take(&mut self) -> Option<&Record> {
        let Turns { awaited, others } = &mut self.turns;
        let turn = if awaited.first().is_some() {
            awaited
        } else {
            others
        };
        let slot = turn.first()?;
        turn.remove(slot);
        self[slot].is_taken = true;
        Some(&self[slot])
    }

    /// Gives back what was taken: it comes last, or first.
    pub(super) fn give_back(&mut self, slot: Slot, is_last: bool) {
        let record = self.records[slot].as_mut().expect(HELD);
        if !std::mem::take(&mut record.is_taken) {
            return;
        }
        match self.turns.of(record) {
            Some(turn) if is_last => turn.push_last(slot),
            Some(turn) => turn.push_first(slot),
            None => {}
        }
    }

    /// Lets it come before those that nobody waits for.
    pub(super) fn prefer(&mut self, slot: Slot) {
        let record = self.records[slot].as_mut().expect(HELD);
        if record.is_awaited {
            return;
        }
        if let Some(turn) = self.turns.of(record) {
            turn.remove(slot);
        }
        record.is_awaited = true;
        if let Some(turn) = self.turns.of(record) {
            turn.push_last(slot);
        }
    }

    /// Those in this segment, in the order of the log.
    pub(super) fn of_segment(&self, segment: SegmentId) -> impl Iterator<Item = &Record> {
        self.places.slots(segment).map(|slot| &self[slot])
    }
}

const HELD: &str = "whoever has a slot's number knows that it holds a record";

impl Index<Slot> for DirtyTable {
    type Output = Record;

    fn index(&self, slot: Slot) -> &Record {
        self.records[slot].as_ref().expect(HELD)
    }
}

impl IndexMut<Slot> for DirtyTable {
    fn index_mut(&mut self, slot: Slot) -> &mut Record {
        self.records[slot].as_mut().expect(HELD)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use milena_server::clock::Clock;

    use super::*;

    fn key(name: &str) -> EntryKey {
        EntryKey::new("b", name.as_bytes()).unwrap()
    }

    fn at(offset: u32) -> Option<Location> {
        let segment = SegmentId(1);
        Some(Location {
            segment,
            offset,
            bytes: 100,
        })
    }

    impl DirtyTable {
        fn write(&mut self, name: &str, location: Option<Location>, now: Instant) {
            let new = NewDirty {
                key: &key(name),
                what: Dirty::Deleted,
                needed_until: Until::FOREVER,
                bytes: 100,
            };
            self.add(new, location, now);
        }

        fn take_name(&mut self) -> Option<String> {
            let record = self.take()?;
            Some(String::from_utf8(record.key.key().to_vec()).unwrap())
        }

        fn slot_of(&self, name: &str) -> Slot {
            self.find(&key(name)).unwrap()
        }

        fn id_of(&self, name: &str) -> WriteId {
            self[self.slot_of(name)].write.id
        }

        fn remove_key(&mut self, name: &str) {
            self.remove(self.slot_of(name));
        }
    }

    /// With these written in their order, a second apart.
    fn table(names: &[&str]) -> (DirtyTable, Instant) {
        let (mut table, begun) = (DirtyTable::new(), Clock::system().monotonic());
        for (offset, name) in (0..).zip(names) {
            let now = begun + Duration::from_secs(offset.into());
            table.write(name, at(offset), now);
        }
        (table, begun)
    }

    #[test]
    fn the_oldest_is_taken_first_and_one_that_is_waited_for_before_it() {
        let (mut table, begun) = table(&["a", "b", "c", "d"]);
        table.write("a", at(9), begun);
        table.prefer(table.slot_of("c"));
        table.prefer(table.slot_of("c"));
        let taken = [(); 5].map(|()| table.take_name());
        let expected = [Some("c"), Some("a"), Some("b"), Some("d"), None];
        assert_eq!(taken, expected.map(|name| name.map(str::to_owned)));
    }

    #[test]
    fn what_is_given_back_comes_last_or_if_it_was_written_since_first() {
        let (mut table, begun) = table(&["a", "b", "c"]);
        for name in ["a", "b"] {
            assert_eq!(table.take_name().as_deref(), Some(name));
        }
        table.give_back(table.slot_of("a"), true);
        table.write("b", at(9), begun);
        table.give_back(table.slot_of("b"), false);
        // Nobody has taken it.
        table.give_back(table.slot_of("c"), true);
        for name in ["b", "c", "a"] {
            assert_eq!(table.take_name().as_deref(), Some(name));
        }
        assert_eq!(table.take_name(), None);
    }

    #[test]
    fn what_cannot_be_read_has_no_turn_until_it_can() {
        let (mut table, begun) = table(&["a", "b"]);
        table.write("a", None, begun);
        assert_eq!(table.places.locations(), [at(1).unwrap()]);
        assert_eq!(table.take_name().as_deref(), Some("b"));
        assert_eq!(table.take_name(), None);
        table.write("a", at(9), begun);
        assert_eq!(table.take_name().as_deref(), Some("a"));
    }

    #[test]
    fn how_old_the_oldest_is_is_told_by_when_its_key_became_dirty() {
        let (mut table, begun) = table(&["a", "b"]);
        table.write("a", at(9), begun + Duration::from_secs(5));
        assert_eq!(table.oldest(), Some(begun));
        table.remove_key("a");
        assert_eq!(table.oldest(), Some(begun + Duration::from_secs(1)));
        assert_eq!((table.len(), table.bytes), (1, 100));
        table.remove_key("b");
        assert_eq!((table.oldest(), table.len(), table.bytes), (None, 0, 0));
    }

    #[test]
    fn what_many_have_taken_is_given_back_when_none_is_left() {
        let names: Vec<_> = (0..=VACANT_MAX).map(|number| number.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let (mut table, begun) = table(&names);
        let id = table.id_of("0");
        for name in &names[1..] {
            table.remove_key(name);
        }
        assert_eq!(table.take_name().as_deref(), Some("0"));
        table.remove_key("0");
        assert_eq!((table.records.len(), table.vacant.capacity()), (0, 0));
        table.write("0", at(0), begun);
        assert_ne!(table.id_of("0"), id);
    }

    #[test]
    fn names_of_writes_are_never_given_twice() {
        let (mut table, begun) = table(&["a"]);
        let id = table.id_of("a");
        table.clear();
        assert_eq!((table.len(), table.take_name()), (0, None));
        table.write("a", at(0), begun);
        assert_ne!(table.id_of("a"), id);
    }
}
