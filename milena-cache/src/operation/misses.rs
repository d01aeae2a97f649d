//! Keys that the durable tier does not hold, remembered for a moment, so that hammering absent keys does not
//! reach it.
//!
//! Knows no tiers. Invariants, kept by its callers: a miss is remembered only under a fill's guard, so never
//! one that a write overlapped; a write forgets it while it holds the key. So it is never met after a write
//! that was answered.

use std::time::Duration;

use hashlink::LinkedHashMap;
use milena_cluster::key::EntryKey;
use milena_server::clock::UnixMillis;
use parking_lot::Mutex;

/// Misses remembered at once; the oldest goes first.
const ENTRIES_MAX: usize = 65_536;

/// Bytes of their keys, bucket included.
const KEY_BYTES_MAX: usize = 8 << 20;

/// Keys that are known not to be there.
pub(super) struct Misses {
    life: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Until when, the oldest first: as they all live equally long, that is also the first to end.
    until: LinkedHashMap<EntryKey, UnixMillis>,
    key_bytes: usize,
}

impl Misses {
    /// None known; each is remembered for `life`, or not at all if that is zero.
    #[must_use]
    pub(super) fn new(life: Duration) -> Self {
        Self {
            life,
            known: Mutex::default(),
        }
    }

    /// Remembers that `key` was not there at `seen_at`. The caller holds the right to fill the key.
    pub(super) fn remember(&self, key: &EntryKey, seen_at: UnixMillis) {
        if self.life.is_zero() {
            return;
        }
        let mut known = self.known.lock();
        known.remove(key);
        known.key_bytes += bytes_of(key);
        known.until.insert(key.clone(), seen_at.after(self.life));
        while let Some((oldest, until)) = known.until.front() {
            let has_ended = *until <= seen_at;
            let is_over = known.until.len() > ENTRIES_MAX || known.key_bytes > KEY_BYTES_MAX;
            if !has_ended && !is_over {
                break;
            }
            let oldest = oldest.clone();
            known.remove(&oldest);
        }
    }

    /// Whether `key` is known not to be there.
    #[must_use]
    pub(super) fn holds(&self, key: &EntryKey, now: UnixMillis) -> bool {
        if self.life.is_zero() {
            return false;
        }
        let until = self.known.lock().until.get(key).copied();
        // If the clock was set back, it would be remembered for too long.
        until.is_some_and(|until| now < until && until.since(now) <= self.life)
    }

    /// Forgets it, because `key` is about to be written or has been found.
    pub(super) fn forget(&self, key: &EntryKey) {
        if !self.life.is_zero() {
            self.known.lock().remove(key);
        }
    }
}

impl Known {
    fn remove(&mut self, key: &EntryKey) {
        if self.until.remove(key).is_some() {
            self.key_bytes -= bytes_of(key);
        }
    }
}

fn bytes_of(key: &EntryKey) -> usize {
    key.bucket().len() + key.key().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const LIFE: Duration = Duration::from_secs(1);

    fn key(name: &str) -> EntryKey {
        EntryKey::new("b", name.as_bytes()).unwrap()
    }

    #[test]
    fn a_miss_is_remembered_for_its_life_and_not_longer() {
        let misses = Misses::new(LIFE);
        assert!(!misses.holds(&key("k"), NOW));
        misses.remember(&key("k"), NOW);
        assert!(misses.holds(&key("k"), NOW));
        assert!(misses.holds(&key("k"), NOW.after(LIFE - Duration::from_millis(1))));
        assert!(!misses.holds(&key("k"), NOW.after(LIFE)));
        assert!(!misses.holds(&key("other"), NOW));
        misses.forget(&key("k"));
        assert!(!misses.holds(&key("k"), NOW));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_none_last() {
        let misses = Misses::new(LIFE);
        misses.remember(&key("k"), NOW);
        assert!(!misses.holds(&key("k"), UnixMillis(NOW.0 - 1)));
    }

    #[test]
    fn with_no_life_nothing_is_remembered() {
        let misses = Misses::new(Duration::ZERO);
        misses.remember(&key("k"), NOW);
        assert!(!misses.holds(&key("k"), NOW));
        assert!(misses.known.lock().until.is_empty());
    }

    #[test]
    fn those_that_have_ended_take_no_memory() {
        let misses = Misses::new(LIFE);
        (0..100).for_each(|index| misses.remember(&key(&format!("{index}")), NOW));
        misses.remember(&key("k"), NOW.after(LIFE));
        let known = misses.known.lock();
        assert_eq!((known.until.len(), known.key_bytes), (1, 2));
    }

    #[test]
    fn the_oldest_makes_room() {
        let misses = Misses::new(LIFE);
        let again = key("0");
        (0..ENTRIES_MAX).for_each(|index| misses.remember(&key(&format!("{index}")), NOW));
        misses.remember(&again, NOW);
        misses.remember(&key("one more"), NOW);
        assert_eq!(misses.known.lock().until.len(), ENTRIES_MAX);
        assert!(misses.holds(&again, NOW), "remembered anew");
        assert!(!misses.holds(&key("1"), NOW), "the oldest");
        assert!(misses.holds(&key("2"), NOW));
    }

    #[test]
    fn long_keys_are_bounded_by_their_bytes() {
        let misses = Misses::new(LIFE);
        for index in 0..10_000_u32 {
            let long = [&index.to_le_bytes()[..], &[0; 1_000]].concat();
            misses.remember(&EntryKey::new("b", &long).unwrap(), NOW);
        }
        let known = misses.known.lock();
        let held: usize = known.until.keys().map(bytes_of).sum();
        assert_eq!(held, known.key_bytes);
        assert!(
            (KEY_BYTES_MAX - 2_000..=KEY_BYTES_MAX).contains(&held),
            "{held}"
        );
    }
}
