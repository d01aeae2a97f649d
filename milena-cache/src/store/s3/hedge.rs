//! Hedging: when a second GET is sent because the first one takes long, and whether there is one left to send.
//!
//! Knows no requests: told how long GETs take, it says after how long one is slow. Invariant: hedges are never more
//! than a fiftieth of the GETs.

use std::time::Duration;

use parking_lot::Mutex;

use super::budget::Budget;

/// GETs that earn one hedge.
const GETS_A_HEDGE: u32 = 50;

/// Hedges that can be saved up.
const SAVED_MAX: u32 = 10;

/// What the percentile is taken of: so many GETs, the last ones.
const WINDOW: usize = 256;

/// Nothing is slow before so many GETs were answered.
const WINDOW_MIN: usize = 64;

/// The percentile is taken anew after so many GETs.
const REFRESH_EVERY: usize = 16;

/// GETs that take longer than this share of all are slow.
const SLOW_PERCENT: usize = 95;

/// See the file's head.
pub(super) struct Hedging {
    budget: Budget,
    durations: Mutex<Durations>,
}

#[derive(Default)]
struct Durations {
    /// A ring once it is full.
    last: Vec<Duration>,
    noted: usize,
    slow_after: Option<Duration>,
}

impl Hedging {
    /// Nothing known and nothing saved up.
    pub(super) fn new() -> Self {
        Self {
            budget: Budget::empty(GETS_A_HEDGE, SAVED_MAX),
            durations: Mutex::default(),
        }
    }

    /// A GET begins. After how long it is slow; `None`: that is not known yet.
    pub(super) fn begin(&self) -> Option<Duration> {
        self.budget.earn();
        self.durations.lock().slow_after
    }

    /// Whether a hedge may be sent; it is paid for then.
    pub(super) fn spend(&self) -> bool {
        self.budget.spend()
    }

    /// A GET was answered after this long, whether by itself or by its hedge.
    pub(super) fn note(&self, took: Duration) {
        let mut durations = self.durations.lock();
        let at = durations.noted % WINDOW;
        match durations.last.get_mut(at) {
            Some(oldest) => *oldest = took,
            None => durations.last.push(took),
        }
        durations.noted += 1;
        if durations.noted >= WINDOW_MIN && durations.noted.is_multiple_of(REFRESH_EVERY) {
            let mut sorted = durations.last.clone();
            let rank = sorted.len() * SLOW_PERCENT / 100;
            durations.slow_after = Some(*sorted.select_nth_unstable(rank).1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_slow_is_known_after_a_while_and_follows_what_gets_take() {
        let hedging = Hedging::new();
        for number in 0..WINDOW_MIN {
            assert_eq!(hedging.begin(), None, "{number}");
            hedging.note(ms(10));
        }
        assert_eq!(hedging.begin(), Some(ms(10)));
        // A twentieth takes longer than that.
        for number in 0..WINDOW as u64 {
            hedging.note(ms(number));
        }
        let slow_after = hedging.begin().unwrap();
        assert!((ms(240)..ms(247)).contains(&slow_after), "{slow_after:?}");
        (0..WINDOW).for_each(|_| hedging.note(ms(3)));
        assert_eq!(hedging.begin(), Some(ms(3)));
    }

    #[test]
    fn hedges_are_a_fiftieth_of_the_gets_from_the_start() {
        let hedging = Hedging::new();
        let mut hedges = 0;
        for gets in 1..=10_000 {
            hedging.begin();
            hedges += usize::from(hedging.spend());
            assert!(hedges * 50 <= gets, "{hedges} of {gets}");
        }
        assert_eq!(hedges, 200);
    }
}
