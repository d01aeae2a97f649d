//! Every metric of the router: its name, once, and a handle resolved at start, so that counting costs
//! an atomic add. Every series is there from the start, at zero.
//!
//! Knows handles; knows no nodes and no configuration.

use std::time::Duration;

use milena_server::metrics::{
    LATENCY_BUCKETS_SECONDS, Outcome, RESULTS, encode, registered, registry,
};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::error::Error;

/// The operations, as label values; [`Op`] indexes them.
const OPS: [&str; 6] = ["get", "put", "delete", "join", "leave", "flush"];

/// How many of [`OPS`], from the first, are forwarded to one node.
const FORWARDED_OPS: usize = 3;

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `get`
    Get,
    /// `put`
    Put,
    /// `delete`
    Delete,
    /// `join`
    Join,
    /// `leave`
    Leave,
    /// `flush`
    Flush,
}

/// The router's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: [[IntCounter; RESULTS.len()]; OPS.len()],
    errors: [IntCounter; Error::KINDS.len()],
    forward_durations: [Histogram; FORWARDED_OPS],
    nodes: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    ///
    /// # Panics
    /// Never: the names and labels are sound.
    #[must_use]
    pub fn new() -> Self {
        let registry = registry();
        let counters = |name, help, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let requests = counters(
            "milena_router_requests_total",
            "Requests by operation and result",
            &["op", "result"],
        );
        let errors = counters("milena_errors_total", "Errors by kind", &["kind"]);
        let durations = HistogramOpts::new(
            "milena_router_forward_duration_seconds",
            "Time from the start of a forwarded call to its node's answer",
        )
        .buckets(LATENCY_BUCKETS_SECONDS.to_vec());
        let durations = registered(&registry, HistogramVec::new(durations, &["op"]));
        let nodes = IntGauge::new("milena_router_nodes", "Nodes that have joined");
        Self {
            requests: OPS
                .map(|op| RESULTS.map(|outcome| requests.with_label_values(&[op, outcome]))),
            errors: Error::KINDS.map(|kind| errors.with_label_values(&[kind])),
            forward_durations: std::array::from_fn(|op| durations.with_label_values(&[OPS[op]])),
            nodes: registered(&registry, nodes),
            registry,
        }
    }

    /// Counts a request that ended so.
    pub fn count_request(&self, op: Op, outcome: Outcome) {
        self.requests[op as usize][outcome as usize].inc();
    }

    /// Counts an error of its kind.
    pub fn count_error(&self, error: &Error) {
        self.errors[error.kind_index()].inc();
    }

    /// Notes how long a node took to answer a forwarded call.
    pub fn observe_forward(&self, op: Op, took: Duration) {
        if let Some(durations) = self.forward_durations.get(op as usize) {
            durations.observe(took.as_secs_f64());
        }
    }

    /// Shows how many nodes have joined.
    pub fn show_nodes(&self, count: usize) {
        self.nodes.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn encode(&self) -> String {
        encode(&self.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_from_the_start() {
        let text = Metrics::new().encode();
        for series in [
            "milena_router_requests_total{op=\"get\",result=\"ok\"} 0",
            "milena_router_requests_total{op=\"leave\",result=\"error\"} 0",
            "milena_router_requests_total{op=\"flush\",result=\"ok\"} 0",
            "milena_router_forward_duration_seconds_bucket{op=\"get\",le=\"0.00005\"} 0",
            "milena_router_forward_duration_seconds_bucket{op=\"delete\",le=\"10\"} 0",
            "milena_router_nodes 0",
            "milena_errors_total{kind=\"node_unreachable\"} 0",
            "milena_build_info{",
        ] {
            assert!(text.contains(series), "{series} is missing in\n{text}");
        }
        assert!(!text.contains("duration_seconds_count{op=\"join\"}"));
    }
}
