//! [`Places`]: which dirty record lies where, segment by segment, each in the order of the log.
//!
//! What is not dirty any more is struck out, and goes with the last one of its segment: so that to seal a segment,
//! which lists all that is dirty, is to read on.

use std::collections::BTreeMap;

use super::format::SegmentId;
use super::index::Location;

#[derive(Default)]
pub(super) struct Places(BTreeMap<SegmentId, InSegment>);

/// What lies in one segment.
#[derive(Default)]
struct InSegment {
    /// By offset.
    places: Vec<Place>,
    /// How many are not struck out.
    count: usize,
}

struct Place {
    offset: u32,
    bytes: u32,
    /// Whose it is; `None` once it is struck out.
    slot: Option<u32>,
}

impl InSegment {
    fn find(&self, offset: u32) -> Result<usize, usize> {
        let places = &self.places;
        places.binary_search_by_key(&offset, |place| place.offset)
    }
}

impl Places {
    /// Notes that the record in `slot` lies at `location`, where none is.
    pub(super) fn add(&mut self, location: Location, slot: u32) {
        let Location {
            segment,
            offset,
            bytes,
        } = location;
        let here = self.0.entry(segment).or_default();
        let place = Place {
            offset,
            bytes,
            slot: Some(slot),
        };
        here.count += 1;
        if here.places.last().is_none_or(|last| last.offset < offset) {
            here.places.push(place);
            return;
        }
        match here.find(offset) {
            Ok(at) => here.places[at] = place,
            Err(at) => here.places.insert(at, place),
        }
    }

    /// Strikes out what lies at `location`.
    pub(super) fn remove(&mut self, location: Location) {
        let Some(here) = self.0.get_mut(&location.segment) else {
            return;
        };
        if let Ok(at) = here.find(location.offset)
            && here.places[at].slot.take().is_some()
        {
            here.count -= 1;
        }
        if here.count == 0 {
            self.0.remove(&location.segment);
        }
    }

    /// Whose record lies there.
    pub(super) fn find(&self, segment: SegmentId, offset: u32) -> Option<u32> {
        let here = self.0.get(&segment)?;
        here.places[here.find(offset).ok()?].slot
    }

    /// Whether any lies in this segment.
    pub(super) fn has(&self, segment: SegmentId) -> bool {
        self.0.contains_key(&segment)
    }

    /// The slots of those in this segment, in the order of the log.
    pub(super) fn slots(&self, segment: SegmentId) -> impl Iterator<Item = u32> {
        let here = self.0.get(&segment).into_iter();
        here.flat_map(|here| here.places.iter().filter_map(|place| place.slot))
    }

    /// All, in the order of the log.
    pub(super) fn locations(&self) -> Vec<Location> {
        let mut locations = Vec::with_capacity(self.0.values().map(|here| here.count).sum());
        for (segment, here) in &self.0 {
            let places = here.places.iter().filter(|place| place.slot.is_some());
            locations.extend(places.map(|place| Location {
                segment: *segment,
                offset: place.offset,
                bytes: place.bytes,
            }));
        }
        locations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u32, offset: u32) -> Location {
        Location {
            segment: SegmentId(segment),
            offset,
            bytes: 10 * offset,
        }
    }

    #[test]
    fn places_are_in_the_order_of_the_log_whatever_comes_first() {
        let mut places = Places::default();
        for (slot, location) in [at(2, 7), at(1, 5), at(1, 3), at(1, 9)]
            .into_iter()
            .enumerate()
        {
            places.add(location, u32::try_from(slot).unwrap());
        }
        assert_eq!(places.locations(), [at(1, 3), at(1, 5), at(1, 9), at(2, 7)]);
        assert_eq!(places.slots(SegmentId(1)).collect::<Vec<_>>(), [2, 1, 3]);
        assert_eq!(places.find(SegmentId(1), 9), Some(3));
        assert_eq!(places.find(SegmentId(1), 4), None);
    }

    #[test]
    fn what_is_struck_out_is_not_there_and_can_come_again() {
        let mut places = Places::default();
        for (slot, offset) in [(0, 3), (1, 5), (2, 7)] {
            places.add(at(1, offset), slot);
        }
        places.remove(at(1, 5));
        places.remove(at(1, 5));
        assert_eq!(places.find(SegmentId(1), 5), None);
        assert_eq!(places.locations(), [at(1, 3), at(1, 7)]);
        places.add(at(1, 5), 4);
        assert_eq!(places.slots(SegmentId(1)).collect::<Vec<_>>(), [0, 4, 2]);
        for offset in [3, 5, 7] {
            assert!(places.has(SegmentId(1)));
            places.remove(at(1, offset));
        }
        assert!(!places.has(SegmentId(1)));
    }
}
