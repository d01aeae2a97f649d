//! What the S3 tier tells, as metrics. The one place that knows both; every series is there from the start.

use milena_server::metrics::registered;
use prometheus::{IntCounter, IntGauge};

use crate::metrics::{Metrics, counters};
use crate::store::s3::observer::{BreakerState, NotSent, Observer, Outcome, Request};

/// The metrics that only the S3 tier has.
pub(crate) struct S3Metrics {
    requests: [[IntCounter; Outcome::LABELS.len()]; Request::LABELS.len()],
    not_sent: [IntCounter; NotSent::LABELS.len()],
    received: IntCounter,
    sent: IntCounter,
    hedges: IntCounter,
    hedges_won: IntCounter,
    limit: IntGauge,
    queued: IntGauge,
    breaker: IntGauge,
}

impl S3Metrics {
    /// All at zero, shown among `metrics`.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let registry = metrics.registry();
        let requests = counters(
            registry,
            "milena_s3_requests_total",
            "Requests to S3, retries included, by how they ended",
            &["op", "outcome"],
        );
        let not_sent = counters(
            registry,
            "milena_s3_not_sent_total",
            "Requests that were not sent to S3, by why",
            &["reason"],
        );
        let bytes = counters(
            registry,
            "milena_s3_bytes_total",
            "Bytes of values from and to S3, retries included",
            &["direction"],
        );
        let hedges = IntCounter::new(
            "milena_s3_hedges_total",
            "Second GETs that were sent because the first was slow",
        );
        let hedges_won = IntCounter::new(
            "milena_s3_hedges_won_total",
            "Those of them that gave the answer",
        );
        let limit = IntGauge::new(
            "milena_s3_concurrency_limit",
            "Requests that S3 is given at once, at most",
        );
        let queued = IntGauge::new(
            "milena_s3_queued_requests",
            "Requests that wait for their turn",
        );
        let breaker = IntGauge::new(
            "milena_s3_breaker_state",
            "What the circuit breaker lets through to S3: 0 everything, 1 one probe that is under way, 2 nothing",
        );
        Self {
            requests: Request::LABELS
                .map(|op| Outcome::LABELS.map(|how| requests.with_label_values(&[op, how]))),
            not_sent: NotSent::LABELS.map(|reason| not_sent.with_label_values(&[reason])),
            received: bytes.with_label_values(&["in"]),
            sent: bytes.with_label_values(&["out"]),
            hedges: registered(registry, hedges),
            hedges_won: registered(registry, hedges_won),
            limit: registered(registry, limit),
            queued: registered(registry, queued),
            breaker: registered(registry, breaker),
        }
    }
}

impl Observer for S3Metrics {
    fn requested(&self, request: Request, outcome: Outcome) {
        self.requests[request as usize][outcome as usize].inc();
    }

    fn not_sent(&self, why: NotSent) {
        self.not_sent[why as usize].inc();
    }

    fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    fn sent(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }

    fn hedged(&self, has_won: bool) {
        self.hedges.inc();
        self.hedges_won.inc_by(u64::from(has_won));
    }

    fn limit(&self, requests: usize) {
        self.limit.set(i64::try_from(requests).unwrap_or(i64::MAX));
    }

    fn queued(&self, change: i64) {
        self.queued.add(change);
    }

    fn breaker(&self, state: BreakerState) {
        self.breaker.set(match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_from_the_start_and_moved_by_its_own_event() {
        let metrics = Metrics::new();
        let s3 = S3Metrics::new(&metrics);
        let text = metrics.encode();
        let series = text
            .lines()
            .filter(|line| line.starts_with("milena_s3_requests_total{") && line.ends_with(" 0"));
        let all = Request::LABELS.len() * Outcome::LABELS.len();
        assert_eq!(series.count(), all, "{text}");

        s3.requested(Request::Probe, Outcome::Unusable);
        s3.requested(Request::Get, Outcome::Ok);
        s3.not_sent(NotSent::Queue);
        s3.received(3);
        s3.sent(4);
        s3.hedged(true);
        s3.hedged(false);
        s3.limit(7);
        s3.queued(9);
        s3.queued(-1);
        s3.breaker(BreakerState::Open);
        let text = metrics.encode();
        for line in [
            "milena_s3_requests_total{op=\"probe\",outcome=\"unusable\"} 1",
            "milena_s3_requests_total{op=\"get\",outcome=\"ok\"} 1",
            "milena_s3_requests_total{op=\"put\",outcome=\"ok\"} 0",
            "milena_s3_not_sent_total{reason=\"breaker\"} 0",
            "milena_s3_not_sent_total{reason=\"queue\"} 1",
            "milena_s3_bytes_total{direction=\"in\"} 3",
            "milena_s3_bytes_total{direction=\"out\"} 4",
            "milena_s3_hedges_total 2",
            "milena_s3_hedges_won_total 1",
            "milena_s3_concurrency_limit 7",
            "milena_s3_queued_requests 8",
            "milena_s3_breaker_state 2",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}:\n{text}");
        }
    }
}
