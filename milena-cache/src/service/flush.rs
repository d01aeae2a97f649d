//! How long a flush waits, as the wire has it.

use std::time::Duration;

use milena_server::clock::{Clock, Deadline};

/// How long a flush waits, at most; whoever wants to wait for longer asks again.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// When a flush answers at the latest that wants to wait for `wait_ms`, and whose answer is due at `due`.
pub(super) fn wait_end(wait_ms: u32, due: Option<Deadline>, clock: &Clock) -> Deadline {
    let wait = Duration::from_millis(wait_ms.into()).min(WAIT_MAX);
    let end = clock.deadline_in(wait);
    due.map_or(end, |due| due.min(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flush_waits_as_long_as_it_wants_up_to_its_limit_and_its_deadline() {
        let clock = Clock::system();
        let waits = |wait_ms, due_ms: Option<u64>| {
            let due = due_ms.map(|ms| clock.deadline_in(Duration::from_millis(ms)));
            clock.until(wait_end(wait_ms, due, &clock)).as_millis()
        };
        assert_eq!(waits(0, None), 0);
        assert_eq!(waits(500, None), 500);
        assert_eq!(waits(500, Some(900)), 500);
        assert_eq!(waits(500, Some(100)), 100);
        assert_eq!(waits(u32::MAX, None), 10_000);
    }
}
