//! The retry budget: retries are never more than a tenth of all requests and [`RESERVE`] more, so that an
//! outage adds at most a tenth to the load on S3.

use parking_lot::Mutex;

/// Requests that earn one retry.
const REQUESTS_A_RETRY: u32 = 10;

/// Retries that can be saved up, and that there are at the start: the floor that lets a quiet node get over a
/// passing failure.
pub(super) const RESERVE: u32 = 10;

/// A token bucket that requests fill and retries empty.
#[derive(Debug)]
pub(super) struct RetryBudget {
    /// In tenths of a retry.
    saved: Mutex<u32>,
}

impl RetryBudget {
    /// Full.
    pub(super) fn new() -> Self {
        Self {
            saved: Mutex::new(RESERVE * REQUESTS_A_RETRY),
        }
    }

    /// Notes a request that is no retry.
    pub(super) fn earn(&self) {
        let mut saved = self.saved.lock();
        *saved = (*saved + 1).min(RESERVE * REQUESTS_A_RETRY);
    }

    /// Whether one more retry may be sent; it is paid for then.
    pub(super) fn spend(&self) -> bool {
        let mut saved = self.saved.lock();
        let rest = saved.checked_sub(REQUESTS_A_RETRY);
        *saved = rest.unwrap_or(*saved);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_adds_a_tenth_and_the_reserve() {
        let budget = RetryBudget::new();
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
        let budget = RetryBudget::new();
        (0..1_000).for_each(|_| budget.earn());
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 10);
    }
}
