//! By when a call is answered or given up.

use std::time::Duration;

use milena_server::clock::{Clock, Deadline};
use milena_server::grpc::deadline_of;
use tonic::Request;

/// How long a call may take whose caller gave no deadline.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// How long before the caller's own deadline a call is given up, at most, so that the caller still gets
/// the sentence that says which node did not answer.
const ANSWER_MARGIN_MAX: Duration = Duration::from_millis(20);

/// When the call of `request`, which has just arrived, is given up.
pub(super) fn due<T>(request: &Request<T>, clock: &Clock) -> Deadline {
    let budget = deadline_of(request, clock).map_or(TIMEOUT_DEFAULT, |deadline| {
        let budget = clock.until(deadline);
        budget - ANSWER_MARGIN_MAX.min(budget / 10)
    });
    clock.deadline_in(budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_answer_is_due_a_little_before_the_caller_gives_up() {
        let clock = Clock::system();
        let budget = |timeout: &str| {
            let mut request = Request::new(());
            let value = timeout.parse().unwrap();
            request.metadata_mut().insert("grpc-timeout", value);
            clock.until(due(&request, &clock))
        };
        assert_eq!(budget("1S"), Duration::from_millis(980));
        assert_eq!(budget("10m"), Duration::from_millis(9));
        assert_eq!(budget("never"), TIMEOUT_DEFAULT);
        let without = due(&Request::new(()), &clock);
        assert_eq!(clock.until(without), TIMEOUT_DEFAULT);
    }
}
