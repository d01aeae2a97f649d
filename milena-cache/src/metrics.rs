//! Every metric of the node: its name, once, and a handle resolved at start, so that counting costs an
//! atomic add. Every series is there from the start, at zero.
//!
//! Knows handles; knows no store and no configuration.

use std::time::Duration;

use milena_server::metrics::{LATENCY_BUCKETS_SECONDS, Outcome, RESULTS, registered, registry};
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use crate::error::Error;

/// The operations, as label values; [`Op`] indexes them.
const OPS: [&str; 4] = ["get", "put", "delete", "flush"];

/// How many of [`OPS`], from the first, are calls to a tier.
const TIER_OPS: usize = 3;

/// The label `tier` of what an operation took in all.
const ALL_TIERS: &str = "all";

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `get`
    Get,
    /// `put`
    Put,
    /// `delete`
    Delete,
    /// `flush`
    Flush,
}

/// The node's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: [[IntCounter; RESULTS.len()]; OPS.len()],
    errors: [IntCounter; Error::KINDS.len()],
    durations: [Histogram; TIER_OPS],
    /// Gets that no tier could answer.
    pub misses: IntCounter,
    /// Those of them that were answered from memory.
    pub negative_hits: IntCounter,
    /// Gets that were answered with a stale copy, because S3 failed.
    pub stale_answers: IntCounter,
    /// Copies that S3 was asked about.
    pub revalidations: RevalidationMetrics,
    /// Routers that know of this node.
    pub joined_routers: IntGauge,
    /// What only the disk tier has.
    pub disk: DiskMetrics,
    /// Writes that S3 does not have yet.
    pub write_back: WriteBackMetrics,
    tiers: TierFamilies,
}

/// The metrics of one tier.
#[derive(Clone, Debug)]
pub struct TierMetrics {
    /// Gets that this tier answered.
    pub hits: IntCounter,
    /// Entries copied into this tier on a read.
    pub promotions: IntCounter,
    /// Entries removed from this tier because somebody asked.
    pub invalidations: IntCounter,
    /// Calls to this tier that failed.
    pub failures: IntCounter,
    /// 1 while the tier says that it serves.
    pub up: IntGauge,
    durations: [Histogram; TIER_OPS],
    evicted_for_entries: IntCounter,
    evicted_for_bytes: IntCounter,
    expirations: IntCounter,
    damaged: IntCounter,
    bytes: IntGauge,
    entries: IntGauge,
}

/// Copies that may have been out of date, by what S3 said of them.
#[derive(Clone, Debug)]
pub struct RevalidationMetrics {
    /// S3 has the same.
    pub unchanged: IntCounter,
    /// S3 has another value.
    pub changed: IntCounter,
    /// S3 has nothing.
    pub gone: IntCounter,
    /// S3 did not say.
    pub failed: IntCounter,
}

impl RevalidationMetrics {
    fn new(registry: &Registry) -> Self {
        let all = counters(
            registry,
            "milena_revalidations_total",
            "Copies that may have been out of date, by what S3 said of them",
            &["result"],
        );
        let [unchanged, changed, gone, failed] = ["unchanged", "changed", "gone", "failed"]
            .map(|result| all.with_label_values(&[result]));
        Self {
            unchanged,
            changed,
            gone,
            failed,
        }
    }
}

/// The metrics that only the disk tier has.
#[derive(Clone, Debug)]
pub struct DiskMetrics {
    pauses: Histogram,
    unread_segments: IntGauge,
}

impl DiskMetrics {
    fn new(registry: &Registry) -> Self {
        let pauses = HistogramOpts::new(
            "milena_disk_reclaim_pause_seconds",
            "How long writes to disk have waited for reclaim at a time",
        )
        .buckets(LATENCY_BUCKETS_SECONDS.to_vec());
        let unread = IntGauge::new(
            "milena_disk_unread_segments",
            "Segments whose records are still to be read since the start",
        );
        Self {
            pauses: registered(registry, Histogram::with_opts(pauses)),
            unread_segments: registered(registry, unread),
        }
    }

    /// Notes how long writes have waited for reclaim.
    pub fn observe_pause(&self, took: Duration) {
        self.pauses.observe(took.as_secs_f64());
    }

    /// Shows how many segments are still to be read.
    pub fn show_unread(&self, segments: u64) {
        self.unread_segments
            .set(i64::try_from(segments).unwrap_or(i64::MAX));
    }
}

/// The metrics of writes that S3 does not have yet.
#[derive(Clone, Debug)]
pub struct WriteBackMetrics {
    entries: IntGauge,
    bytes: IntGauge,
    oldest_seconds: Gauge,
    /// 1 while the disk tier does not take such writes, so that they are written through.
    pub is_refused: IntGauge,
    /// Uploads that S3 took.
    pub uploaded: IntCounter,
    /// Uploads that failed, and are tried again.
    pub not_uploaded: IntCounter,
    /// Values that were damaged before S3 had them.
    pub lost: IntCounter,
}

impl WriteBackMetrics {
    fn new(registry: &Registry) -> Self {
        let gauge = |name, help| registered(registry, IntGauge::new(name, help));
        let oldest = Gauge::new(
            "milena_write_back_oldest_seconds",
            "For how long S3 has not had the oldest of these writes",
        );
        let uploads = counters(
            registry,
            "milena_write_back_uploads_total",
            "Uploads of these writes, by outcome",
            &["outcome"],
        );
        let [uploaded, not_uploaded, lost] =
            ["ok", "failed", "lost"].map(|outcome| uploads.with_label_values(&[outcome]));
        Self {
            entries: gauge(
                "milena_write_back_entries",
                "Keys whose newest write S3 does not have yet",
            ),
            bytes: gauge(
                "milena_write_back_bytes",
                "What these writes count against WRITE_BACK_MAX_BYTES",
            ),
            oldest_seconds: registered(registry, oldest),
            is_refused: gauge(
                "milena_write_back_refused",
                "1 while the disk tier takes no such writes, so that they are written through",
            ),
            uploaded,
            not_uploaded,
            lost,
        }
    }

    /// Shows how much S3 does not have.
    pub fn show(&self, entries: u64, bytes: u64, oldest: Option<Duration>) {
        self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.oldest_seconds
            .set(oldest.unwrap_or_default().as_secs_f64());
    }
}

/// What a tier holds and what it let go since its start, to be shown as metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holdings {
    /// Entries now.
    pub entries: u64,
    /// Bytes now.
    pub bytes: u64,
    /// Entries evicted because there were too many.
    pub evicted_for_entries: u64,
    /// Entries evicted because they had too many bytes.
    pub evicted_for_bytes: u64,
    /// Entries removed because their time had passed.
    pub expired: u64,
    /// Records dropped because they were damaged.
    pub damaged: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero, but for those of the tiers: see [`Metrics::tier`].
    #[must_use]
    pub fn new() -> Self {
        let registry = registry();
        let requests = counters(
            &registry,
            "milena_requests_total",
            "Requests by operation and result",
            &["op", "result"],
        );
        let errors = counters(
            &registry,
            "milena_errors_total",
            "Errors by kind",
            &["kind"],
        );
        let misses = IntCounter::new(
            "milena_cache_misses_total",
            "Gets that no tier could answer",
        );
        let negative_hits = IntCounter::new(
            "milena_cache_negative_hits_total",
            "Misses that were remembered, so that S3 was not asked",
        );
        let stale_answers = IntCounter::new(
            "milena_stale_answers_total",
            "Gets that were answered with a stale copy, because S3 failed",
        );
        let joined = IntGauge::new("milena_routers_joined", "Routers that know of this node");
        let tiers = TierFamilies::new(&registry);
        Self {
            requests: OPS.map(|op| RESULTS.map(|result| requests.with_label_values(&[op, result]))),
            errors: Error::KINDS.map(|kind| errors.with_label_values(&[kind])),
            durations: tiers.durations_of(ALL_TIERS),
            misses: registered(&registry, misses),
            negative_hits: registered(&registry, negative_hits),
            stale_answers: registered(&registry, stale_answers),
            revalidations: RevalidationMetrics::new(&registry),
            joined_routers: registered(&registry, joined),
            disk: DiskMetrics::new(&registry),
            write_back: WriteBackMetrics::new(&registry),
            tiers,
            registry,
        }
    }

    /// The handles of the tier called `name`, which is shown from now on.
    #[must_use]
    pub fn tier(&self, name: &str) -> TierMetrics {
        self.tiers.handles(name)
    }

    /// Where further metrics are to be registered.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Counts a request that ended so.
    pub fn count_request(&self, op: Op, outcome: Outcome) {
        self.requests[op as usize][outcome as usize].inc();
    }

    /// Counts an error of its kind.
    pub fn count_error(&self, error: &Error) {
        let index = Error::KINDS.iter().position(|kind| *kind == error.kind());
        self.errors[index.expect("every kind is listed in KINDS")].inc();
    }

    /// Notes how long a whole operation took.
    pub fn observe(&self, op: Op, took: Duration) {
        observe(&self.durations, op, took);
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn encode(&self) -> String {
        milena_server::metrics::encode(&self.registry)
    }
}

impl TierMetrics {
    /// Notes how long one call to the tier's store took.
    pub fn observe(&self, op: Op, took: Duration) {
        observe(&self.durations, op, took);
    }

    /// Shows what the tier holds and let go.
    pub fn show(&self, holdings: &Holdings) {
        let gauge =
            |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&self.entries, holdings.entries);
        gauge(&self.bytes, holdings.bytes);
        let counter =
            |counter: &IntCounter, value: u64| counter.inc_by(value.saturating_sub(counter.get()));
        counter(&self.evicted_for_entries, holdings.evicted_for_entries);
        counter(&self.evicted_for_bytes, holdings.evicted_for_bytes);
        counter(&self.expirations, holdings.expired);
        counter(&self.damaged, holdings.damaged);
    }
}

/// The metric families that have a label `tier`, registered.
#[derive(Debug)]
struct TierFamilies {
    durations: HistogramVec,
    hits: IntCounterVec,
    promotions: IntCounterVec,
    invalidations: IntCounterVec,
    failures: IntCounterVec,
    evictions: IntCounterVec,
    expirations: IntCounterVec,
    damaged: IntCounterVec,
    up: IntGaugeVec,
    bytes: IntGaugeVec,
    entries: IntGaugeVec,
}

impl TierFamilies {
    fn new(registry: &Registry) -> Self {
        let by_tier = |name, help| counters(registry, name, help, &["tier"]);
        let gauges =
            |name, help| registered(registry, IntGaugeVec::new(Opts::new(name, help), &["tier"]));
        let durations = HistogramOpts::new(
            "milena_operation_duration_seconds",
            "Time spent in one call to a tier's store; tier=\"all\" is the whole operation",
        )
        .buckets(LATENCY_BUCKETS_SECONDS.to_vec());
        let evictions = "Entries removed from a tier for space";
        Self {
            durations: registered(registry, HistogramVec::new(durations, &["op", "tier"])),
            hits: by_tier("milena_cache_hits_total", "Gets by the tier that answered"),
            promotions: by_tier(
                "milena_promotions_total",
                "Entries copied into a tier on a read",
            ),
            invalidations: by_tier(
                "milena_invalidations_total",
                "Entries removed from a tier because somebody asked",
            ),
            failures: by_tier("milena_tier_failures_total", "Calls to a tier that failed"),
            evictions: counters(
                registry,
                "milena_evictions_total",
                evictions,
                &["tier", "reason"],
            ),
            expirations: by_tier(
                "milena_expirations_total",
                "Entries removed from a tier because their time had passed",
            ),
            damaged: by_tier(
                "milena_damaged_records_total",
                "Records found damaged, and dropped",
            ),
            up: gauges("milena_tier_up", "1 while a tier says that it serves"),
            bytes: gauges(
                "milena_tier_bytes",
                "Bytes that a tier holds; 0 for S3, which is not counted",
            ),
            entries: gauges(
                "milena_tier_entries",
                "Entries that a tier holds; 0 for S3, which is not counted",
            ),
        }
    }

    fn durations_of(&self, tier: &str) -> [Histogram; TIER_OPS] {
        std::array::from_fn(|op| self.durations.with_label_values(&[OPS[op], tier]))
    }

    fn handles(&self, tier: &str) -> TierMetrics {
        TierMetrics {
            hits: self.hits.with_label_values(&[tier]),
            promotions: self.promotions.with_label_values(&[tier]),
            invalidations: self.invalidations.with_label_values(&[tier]),
            failures: self.failures.with_label_values(&[tier]),
            up: self.up.with_label_values(&[tier]),
            durations: self.durations_of(tier),
            evicted_for_entries: self.evictions.with_label_values(&[tier, "entries"]),
            evicted_for_bytes: self.evictions.with_label_values(&[tier, "bytes"]),
            expirations: self.expirations.with_label_values(&[tier]),
            damaged: self.damaged.with_label_values(&[tier]),
            bytes: self.bytes.with_label_values(&[tier]),
            entries: self.entries.with_label_values(&[tier]),
        }
    }
}

/// Notes how long an operation took, if it is one of those that are calls to a tier.
fn observe(durations: &[Histogram; TIER_OPS], op: Op, took: Duration) {
    if let Some(durations) = durations.get(op as usize) {
        durations.observe(took.as_secs_f64());
    }
}

/// A family of counters, registered.
pub(crate) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_from_the_start() {
        let metrics = Metrics::new();
        for tier in ["memory", "disk", "s3"] {
            drop(metrics.tier(tier));
        }
        let text = metrics.encode();
        for series in [
            "milena_requests_total{op=\"delete\",result=\"rate_limited\"} 0",
            "milena_requests_total{op=\"flush\",result=\"ok\"} 0",
            "milena_cache_hits_total{tier=\"s3\"} 0",
            "milena_cache_misses_total 0",
            "milena_cache_negative_hits_total 0",
            "milena_stale_answers_total 0",
            "milena_revalidations_total{result=\"unchanged\"} 0",
            "milena_operation_duration_seconds_count{op=\"put\",tier=\"all\"} 0",
            "milena_operation_duration_seconds_bucket{op=\"get\",tier=\"memory\",le=\"0.00005\"} 0",
            "milena_operation_duration_seconds_bucket{op=\"get\",tier=\"s3\",le=\"10\"} 0",
            "milena_errors_total{kind=\"s3_error\"} 0",
            "milena_evictions_total{reason=\"entries\",tier=\"memory\"} 0",
            "milena_evictions_total{reason=\"bytes\",tier=\"disk\"} 0",
            "milena_disk_reclaim_pause_seconds_bucket{le=\"0.01\"} 0",
            "milena_disk_unread_segments 0",
            "milena_write_back_entries 0",
            "milena_write_back_uploads_total{outcome=\"failed\"} 0",
            "milena_tier_bytes{tier=\"disk\"} 0",
            "milena_tier_entries{tier=\"memory\"} 0",
            "milena_build_info{",
        ] {
            assert!(text.contains(series), "{series} is missing from:\n{text}");
        }
    }

    #[test]
    fn holdings_are_shown_and_their_counters_only_grow() {
        let metrics = Metrics::new();
        let memory = metrics.tier("memory");
        let holdings = Holdings {
            entries: 2,
            bytes: 30,
            expired: 4,
            ..Holdings::default()
        };
        memory.show(&holdings);
        memory.show(&holdings);
        let text = metrics.encode();
        assert!(
            text.contains("milena_tier_bytes{tier=\"memory\"} 30"),
            "{text}"
        );
        assert!(
            text.contains("milena_expirations_total{tier=\"memory\"} 4"),
            "{text}"
        );
    }
}
