//! What is said of a run: a line while it goes on, a table or JSON at its end.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::recorder::{Outcome, Sample, Totals};
use super::settings::Settings;

/// The percentiles that are told, with their names.
const PERCENTILES: [(&str, f64); 4] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99_9", 99.9)];

/// A run. Keeps of each interval only what is told of it, so that a long run takes no more memory than a short
/// one.
pub(super) struct Report {
    load: String,
    /// Requests of an open loop that were due and not begun.
    pub(super) not_sent: u64,
    /// Those for programs, if they are wanted.
    intervals: Option<Vec<Value>>,
    totals: Totals,
    elapsed: Duration,
}

impl Report {
    pub(super) fn new(settings: &Settings) -> Self {
        let load = match settings.rate {
            Some(rate) => format!("open loop, {rate} requests/s due"),
            None => "closed loop".to_owned(),
        };
        Self {
            load: format!(
                "{load}, {} clients, {} connections",
                settings.clients, settings.connections
            ),
            not_sent: 0,
            intervals: settings.json.then(Vec::new),
            totals: Totals::new(),
            elapsed: Duration::ZERO,
        }
    }

    /// Adds an interval, which no worker has anything to add to; they come in their order.
    pub(super) fn add(&mut self, sample: &Sample) {
        self.totals.add(&sample.totals);
        self.elapsed = self.elapsed.max(sample.to);
        if let Some(intervals) = &mut self.intervals {
            let mut interval = json_of(&sample.totals, sample.to - sample.from);
            interval.insert("from_seconds".into(), json!(sample.from.as_secs_f64()));
            intervals.push(Value::Object(interval));
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{:.0} requests/s for {:.1} s ({})\n\n",
            per_second(self.totals.requests(), self.elapsed),
            self.elapsed.as_secs_f64(),
            self.load
        );
        let mut add =
            |line: &str| writeln!(text, "{line}").expect("writing to a string cannot fail");
        add(&row(
            "",
            &[
                "count", "per s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms",
            ],
        ));
        for outcome in Outcome::ALL {
            let latencies = self.totals.of(outcome);
            if latencies.is_empty() {
                continue;
            }
            let percentiles = PERCENTILES.map(|(_, percentile)| {
                let nanos = latencies.value_at_percentile(percentile);
                format!("{:.3}", millis(nanos))
            });
            let mut cells = vec![
                latencies.len().to_string(),
                format!("{:.0}", per_second(latencies.len(), self.elapsed)),
            ];
            cells.extend(percentiles);
            cells.push(format!("{:.3}", millis(latencies.max())));
            let cells: Vec<_> = cells.iter().map(String::as_str).collect();
            add(&row(&outcome.name().replace('_', " "), &cells));
        }
        let (hits, misses) = (self.count(Outcome::Hit), self.count(Outcome::Miss));
        if hits + misses > 0 {
            let found = hits as f64 / (hits + misses) as f64 * 100.0;
            add(&format!(
                "\n{found:.1} % of the gets that were answered found a value"
            ));
        }
        for (refusal, count) in &self.totals.refusals {
            add(&format!("failed: {count} {refusal}"));
        }
        if self.not_sent > 0 {
            let not_sent = self.not_sent;
            add(&format!(
                "not sent: {not_sent} requests were due and no client was free in time; they are in no latency"
            ));
        }
        text
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let mut whole = json_of(&self.totals, self.elapsed);
        whole.insert("load".into(), json!(self.load));
        whole.insert("not_sent".into(), json!(self.not_sent));
        whole.insert("intervals".into(), json!(self.intervals));
        Value::Object(whole)
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.totals.of(outcome).len()
    }
}

/// A line of progress.
pub(super) fn progress_line(sample: &Sample) -> String {
    let elapsed = sample.to - sample.from;
    let mut line = format!(
        "{:>6.1} s {:>9.0}/s",
        sample.to.as_secs_f64(),
        per_second(sample.totals.requests(), elapsed)
    );
    for outcome in Outcome::ALL {
        let latencies = sample.totals.of(outcome);
        if !latencies.is_empty() {
            let text = format!(
                "   {} {}, p50 {:.2} ms, p99 {:.2} ms",
                outcome.name().replace('_', " "),
                latencies.len(),
                millis(latencies.value_at_percentile(50.0)),
                millis(latencies.value_at_percentile(99.0))
            );
            line.push_str(&text);
        }
    }
    line
}

fn json_of(totals: &Totals, elapsed: Duration) -> Map<String, Value> {
    let mut fields = Map::new();
    let requests = totals.requests();
    fields.insert("seconds".into(), json!(elapsed.as_secs_f64()));
    fields.insert("requests".into(), json!(requests));
    fields.insert(
        "requests_per_second".into(),
        json!(per_second(requests, elapsed)),
    );
    for outcome in Outcome::ALL {
        let latencies = totals.of(outcome);
        fields.insert(outcome.name().into(), json_of_latencies(latencies, elapsed));
    }
    let failures = totals.refusals.iter();
    let failures = failures.map(|(refusal, count)| (refusal.to_string(), json!(count)));
    fields.insert("failures".into(), Value::Object(failures.collect()));
    fields.insert("value_bytes_sent".into(), json!(totals.value_bytes_sent));
    fields.insert(
        "value_bytes_received".into(),
        json!(totals.value_bytes_received),
    );
    fields
}

fn json_of_latencies(latencies: &Histogram<u64>, elapsed: Duration) -> Value {
    let mut fields = Map::new();
    fields.insert("count".into(), json!(latencies.len()));
    fields.insert(
        "per_second".into(),
        json!(per_second(latencies.len(), elapsed)),
    );
    if !latencies.is_empty() {
        fields.insert("mean_ms".into(), json!(latencies.mean() / 1e6));
        for (name, percentile) in PERCENTILES {
            let nanos = latencies.value_at_percentile(percentile);
            fields.insert(format!("{name}_ms"), json!(millis(nanos)));
        }
        fields.insert("max_ms".into(), json!(millis(latencies.max())));
    }
    Value::Object(fields)
}

fn row(name: &str, cells: &[&str]) -> String {
    cells.iter().fold(format!("{name:<9}"), |row, cell| {
        format!("{row} {cell:>10}")
    })
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() {
        0.0
    } else {
        count as f64 / elapsed.as_secs_f64()
    }
}
