//! What the metrics of all our programs have in common.

use prometheus::{GaugeVec, Opts, Registry, TextEncoder};

use crate::build_info;

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
    let info = GaugeVec::new(options, &["version", "revision", "rust"]).expect("a sound metric");
    info.with_label_values(&[
        build_info::VERSION,
        build_info::GIT_REVISION,
        build_info::RUST_VERSION,
    ])
    .set(1.0);
    registry
        .register(Box::new(info))
        .expect("the registry is empty");
    registry
}

/// Everything in `registry`, in Prometheus' text format.
#[must_use]
pub fn encode(registry: &Registry) -> String {
    TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap_or_else(|error| format!("# metrics could not be encoded: {error}\n"))
}
