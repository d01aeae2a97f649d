//! What the metrics of all our programs have in common.

use prometheus::core::Collector;
use prometheus::{GaugeVec, Opts, Registry, TextEncoder};

use crate::build_info;

/// How a request ended, as values of the label `result`; [`Outcome`] indexes them.
pub const RESULTS: [&str; 6] = [
    "ok",
    "not_found",
    "invalid",
    "rate_limited",
    "unavailable",
    "error",
];

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; for a get: found.
    Ok,
    /// A get of a key that is not there.
    NotFound,
    /// Refused for what it asked.
    Invalid,
    /// Refused because there are too many.
    RateLimited,
    /// What it needs cannot be reached, or cannot serve now.
    Unavailable,
    /// Anything else.
    Error,
}

/// Upper bounds of the latency buckets in seconds: 50 µs to 10 s, about three a decade.
pub const LATENCY_BUCKETS_SECONDS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0, 10.0,
];

/// A registry that holds `milena_build_info`, always 1.
///
/// # Panics
/// Never: the metric's name is sound and the registry empty.
#[must_use]
pub fn registry() -> Registry {
    let registry = Registry::new();
    let options = Opts::new(
        "milena_build_info",
        "Always 1; the labels say what is running",
    );
    let info = registered(
        &registry,
        GaugeVec::new(options, &["version", "revision", "rust"]),
    );
    info.with_label_values(&[
        build_info::VERSION,
        build_info::GIT_REVISION,
        build_info::RUST_VERSION,
    ])
    .set(1.0);
    registry
}

/// `collector`, registered.
///
/// # Panics
/// When its name or labels are unsound, or its name is registered already.
pub fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> C {
    let collector = collector.expect("the metric's name and labels are sound");
    registry
        .register(Box::new(collector.clone()))
        .expect("each name is registered once");
    collector
}

/// Everything in `registry`, in Prometheus' text format.
#[must_use]
pub fn encode(registry: &Registry) -> String {
    TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap_or_else(|error| format!("# metrics could not be encoded: {error}\n"))
}
