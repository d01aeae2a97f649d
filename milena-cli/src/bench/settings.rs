//! What the bench is told, and what the words on its command line mean.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, value_parser};
use milena_server::settings::{EXPECTED_DURATION, parse_bytes, parse_duration};

use crate::failure::Failure;
use crate::target::{Server, VALUE_BYTES_MAX};

/// The most clients, connections or threads: what a machine has ports and memory for.
const PARALLEL_MAX: i64 = 16_384;

/// The most requests a second that can be asked for: beyond it the pace is the bench's own limit.
const RATE_MAX: i64 = 10_000_000;

/// The most keys.
pub(super) const KEYS_MAX: u32 = 2_000_000_000;

/// The longest that a request is waited for: what gRPC can write in milliseconds.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What the bench is told.
#[derive(Args)]
pub(super) struct Settings {
    #[command(flatten)]
    pub(super) server: Server,

    /// The bucket: 1 to 63 of A-Z a-z 0-9 . _ -
    #[arg(long, default_value = "bench")]
    pub(super) bucket: String,

    /// Requests under way at once, at most
    #[arg(long, default_value_t = 16, value_parser = value_parser!(u32).range(1..=PARALLEL_MAX))]
    pub(super) clients: u32,

    /// Connections that the clients share
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u32).range(1..=PARALLEL_MAX))]
    pub(super) connections: u32,

    /// Threads of the bench; each has its own clients and connections
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=PARALLEL_MAX))]
    pub(super) threads: u32,

    /// Requests a second that are due, whether the server keeps up or not; without it, as many as the
    /// clients manage
    #[arg(long, value_parser = value_parser!(u64).range(1..=RATE_MAX.unsigned_abs()))]
    pub(super) rate: Option<u64>,

    /// How long it measures
    #[arg(long, default_value = "10s", value_parser = parse_some_time)]
    pub(super) duration: Duration,

    /// How long it asks before it measures
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_time)]
    pub(super) warm_up: Duration,

    /// End after so many requests instead
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["duration", "warm_up"], value_parser = value_parser!(u64).range(1..))]
    pub(super) requests: Option<u64>,

    /// How many keys there are
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u32).range(1..=i64::from(KEYS_MAX)))]
    pub(super) keys: u32,

    /// Which key is asked for: uniform, zipf:EXPONENT (zipf alone is zipf:0.99), or sequential
    #[arg(long, default_value = "uniform")]
    pub(super) distribution: Distribution,

    /// What is asked, as OPERATION=WEIGHT of get, put and delete
    #[arg(long, default_value = "get=90,put=10")]
    pub(super) mix: Mix,

    /// The size of a value, or MIN-MAX, or several with weights, as in 100B:9,1KiB-64KiB:1
    #[arg(long, value_name = "SIZE", default_value = "1KiB")]
    pub(super) value_size: ValueSizes,

    /// Decides keys, operations and sizes; the same seed asks for the same
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,

    /// How much time there is in one line of progress, and in one of the intervals of the JSON output
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_some_time)]
    pub(super) interval: Duration,

    /// Print the result as JSON, with every interval
    #[arg(long)]
    pub(super) json: bool,

    /// Show no progress
    #[arg(long)]
    pub(super) quiet: bool,
}

impl Settings {
    /// Host and port of the server; checks on the way what no argument shows alone.
    pub(super) fn authority(&self) -> Result<&str, Failure> {
        let refuse = |text: &str| Err(Failure::invalid_input(text));
        let Some(authority) = self.server.addr().as_str().strip_prefix("http://") else {
            return refuse("the bench does not speak TLS; expected an address with http://");
        };
        if self.server.timeout() > TIMEOUT_MAX {
            return refuse("--timeout is more than a day");
        }
        if self.clients < self.connections {
            return refuse(
                "there are fewer clients than connections; give fewer --connections or more --clients",
            );
        }
        if self.connections < self.threads {
            return refuse(
                "there are fewer connections than threads; give fewer --threads or more --connections",
            );
        }
        Ok(authority)
    }
}

/// Which key is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Distribution {
    /// Each as often as any other.
    Uniform,
    /// The key of rank r in proportion to r to the power of minus this.
    Zipf(f64),
    /// One after the other.
    Sequential,
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let exponent = match text.split_once(':') {
            None if text == "uniform" => return Ok(Self::Uniform),
            None if text == "sequential" => return Ok(Self::Sequential),
            None if text == "zipf" => Some(0.99),
            Some(("zipf", exponent)) => exponent.parse().ok(),
            _ => None,
        };
        exponent
            .filter(|exponent| (0.01..=10.0).contains(exponent))
            .map(Self::Zipf)
            .ok_or_else(|| {
                "expected uniform, sequential, zipf or zipf:EXPONENT, 0.01 to 10".to_owned()
            })
    }
}

/// How often each operation is asked for, as weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mix {
    pub(super) get: u32,
    pub(super) put: u32,
    pub(super) delete: u32,
}

impl Mix {
    /// All weights together.
    pub(super) fn total(self) -> u64 {
        u64::from(self.get) + u64::from(self.put) + u64::from(self.delete)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self::default();
        for part in text.split(',') {
            let (operation, weight) = part.split_once('=').unwrap_or((part, ""));
            let weight = weight.parse();
            let place = match operation {
                "get" => &mut mix.get,
                "put" => &mut mix.put,
                "delete" => &mut mix.delete,
                _ => return Err("the operations are get, put and delete".into()),
            };
            *place = weight.map_err(|_| format!("{operation} needs a weight, as in get=90"))?;
        }
        if mix.total() == 0 {
            return Err("nothing would be asked for".into());
        }
        Ok(mix)
    }
}

/// How long values are: ranges in bytes, both ends included, each with a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ValueSizes(pub(super) Vec<SizeRange>);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SizeRange {
    pub(super) bytes_min: usize,
    pub(super) bytes_max: usize,
    pub(super) weight: u32,
}

impl FromStr for ValueSizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ranges: Option<Vec<_>> = text.split(',').map(parse_range).collect();
        let ranges = ranges.filter(|ranges| ranges.iter().any(|range| range.weight > 0));
        ranges.map(Self).ok_or_else(|| {
            "expected SIZE, MIN-MAX, or several with weights, as in 100B:9,1KiB-64KiB:1; 1GiB at most"
                .to_owned()
        })
    }
}

fn parse_range(text: &str) -> Option<SizeRange> {
    let (sizes, weight) = text.split_once(':').unwrap_or((text, "1"));
    let (min, max) = sizes.split_once('-').unwrap_or((sizes, sizes));
    let parse = |size| usize::try_from(parse_bytes(size)?).ok();
    let (bytes_min, bytes_max) = (parse(min)?, parse(max)?);
    let weight = weight.parse().ok()?;
    (bytes_min <= bytes_max && bytes_max <= VALUE_BYTES_MAX).then_some(SizeRange {
        bytes_min,
        bytes_max,
        weight,
    })
}

fn parse_time(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("expected {EXPECTED_DURATION}"))
}

fn parse_some_time(text: &str) -> Result<Duration, String> {
    parse_time(text).and_then(|time| {
        let some = (!time.is_zero()).then_some(time);
        some.ok_or_else(|| "expected more than no time".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_weights_of_operations() {
        let mix = |get, put, delete| Mix { get, put, delete };
        for (text, parsed) in [
            ("get=80,put=20", mix(80, 20, 0)),
            ("delete=1", mix(0, 0, 1)),
            ("put=3,get=0,delete=4", mix(0, 3, 4)),
        ] {
            assert_eq!(text.parse(), Ok(parsed), "{text}");
        }
        for wrong in [
            "",
            "get",
            "get=",
            "get=-1",
            "get=0,put=0",
            "read=1",
            "get:1",
        ] {
            wrong.parse::<Mix>().expect_err(wrong);
        }
    }

    #[test]
    fn sizes_are_fixed_ranges_or_weighted() {
        let range = |bytes_min, bytes_max, weight| SizeRange {
            bytes_min,
            bytes_max,
            weight,
        };
        for (text, parsed) in [
            ("0", vec![range(0, 0, 1)]),
            ("1KiB", vec![range(1_024, 1_024, 1)]),
            ("100B-4KiB", vec![range(100, 4_096, 1)]),
            (
                "100B:9,1KiB-64KiB:1",
                vec![range(100, 100, 9), range(1_024, 65_536, 1)],
            ),
        ] {
            assert_eq!(text.parse(), Ok(ValueSizes(parsed)), "{text}");
        }
        for wrong in ["", "many", "2KiB-1KiB", "1KiB:", "1KiB:0", "2GiB", "1,,2"] {
            wrong.parse::<ValueSizes>().expect_err(wrong);
        }
    }

    #[test]
    fn a_distribution_has_a_name_and_zipf_an_exponent() {
        assert_eq!("uniform".parse(), Ok(Distribution::Uniform));
        assert_eq!("sequential".parse(), Ok(Distribution::Sequential));
        assert_eq!("zipf".parse(), Ok(Distribution::Zipf(0.99)));
        assert_eq!("zipf:0.9".parse(), Ok(Distribution::Zipf(0.9)));
        for wrong in [
            "",
            "normal",
            "zipf:",
            "zipf:0",
            "zipf:NaN",
            "zipf:11",
            "uniform:1",
        ] {
            wrong.parse::<Distribution>().expect_err(wrong);
        }
    }
}
