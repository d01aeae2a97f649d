//! A budget: what is sent beyond what was asked for is never more than a share of the requests, and what was saved
//! up, so that an outage adds no more than that to the load on S3.

use parking_lot::Mutex;

/// Requests that earn one retry: a tenth of them.
const REQUESTS_A_RETRY: u32 = 10;

/// Retries that can be saved up, and that there are at the start: the floor that lets a quiet node get over a
/// passing failure.
pub(super) const RESERVE: u32 = 10;

/// A token bucket that requests fill and extra requests empty.
#[derive(Debug)]
pub(super) struct Budget {
    /// Requests that earn one extra.
    requests_an_extra: u32,
    saved_max: u32,
    /// In requests.
    saved: Mutex<u32>,
}

impl Budget {
    /// That of retries, full.
    pub(super) fn of_retries() -> Self {
        let budget = Self::empty(REQUESTS_A_RETRY, RESERVE);
        *budget.saved.lock() = budget.saved_max;
        budget
    }

    /// One extra request for so many that were asked for; so many extras can be saved up.
    pub(super) fn empty(requests_an_extra: u32, extras_max: u32) -> Self {
        Self {
            requests_an_extra,
            saved_max: extras_max * requests_an_extra,
            saved: Mutex::new(0),
        }
    }

    /// Notes a request that is no extra.
    pub(super) fn earn(&self) {
        let mut saved = self.saved.lock();
        *saved = (*saved + 1).min(self.saved_max);
    }

    /// Whether one more extra may be sent; it is paid for then.
    pub(super) fn spend(&self) -> bool {
        let mut saved = self.saved.lock();
        let rest = saved.checked_sub(self.requests_an_extra);
        *saved = rest.unwrap_or(*saved);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_adds_a_tenth_and_the_reserve() {
        let budget = Budget::of_retries();
        let retries = (0..1_000)
            .filter(|_| {
                budget.earn();
                budget.spend()
            })
            .count();
        // The first request finds the bucket full and earns nothing.
        assert_eq!(retries, 1_000 / 10 + 10 - 1);
    }

    #[test]
    fn no_more_than_the_reserve_is_saved_up() {
        for budget in [Budget::of_retries(), Budget::empty(10, 10)] {
            (0..1_000).for_each(|_| budget.earn());
            assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 10);
        }
    }
}
