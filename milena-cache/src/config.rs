//! From the raw environment to a checked [`Config`].
//!
//! The settings below are the one place where names, defaults and meanings stand: `--help`, the errors,
//! `--check-config` and the README's table follow them.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use milena_client::Address;
use milena_server::admin::interface_for;
use milena_server::grpc::{
    GRPC_STACK, GrpcStack, MAX_VALUE_BYTES, WORKER_THREADS, parse_value_bytes_max,
    parse_worker_threads,
};
use milena_server::logging::{LOG_FORMAT, LOG_LEVEL, LogFormat, LogLevel, Logging};
use milena_server::program::Checked;
use milena_server::rate_limit;
use milena_server::settings::{
    EXPECTED_BYTES, EXPECTED_DURATION, Mistakes, Presence, Raw, Setting, parse_bytes,
    parse_duration,
};

use self::disk::DiskSettings;
use crate::operation::{Lives, WriteMode};
use crate::store::disk::DiskConfig;
use crate::store::memory::{EvictionPolicy, MemoryConfig};
use crate::store::s3::{S3Config, S3Credentials};

mod disk;
mod lives;
mod s3;

use self::lives::{SWEEP_INTERVAL, TTL_JITTER, TTL_SCOPE, parse_sweep_interval};
pub use self::s3::{S3_SETTINGS, read_s3};

/// The longest `S3_PREFIX`, in bytes, so that bucket and hash always fit into S3's 1,024.
const PREFIX_BYTES_MAX: usize = 512;

/// The longest `S3_TIMEOUT`: no caller waits longer, and the client's clock has an end.
const S3_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// The longest `STALE_IF_ERROR`: a year.
const STALE_LIFE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Everything a node has to be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where gRPC is served (`LISTEN_ADDR`); port 0 is any free one.
    pub listen_addr: SocketAddr,
    /// What routers are told (`ADVERTISE_ADDR`); `None`: derived from `listen_addr`.
    pub advertise_addr: Option<Address>,
    /// The routers to join (`ROUTER_ADDR`); none is a node on its own.
    pub routers: Vec<Address>,
    /// Where metrics and health are shown (`METRICS_PORT`).
    pub metrics_addr: SocketAddr,
    /// The memory tier.
    pub memory: MemoryConfig,
    /// The disk tier; `None`: the node goes without.
    pub disk: Option<DiskConfig>,
    /// What serves the hot methods (`GRPC_STACK`).
    pub grpc_stack: GrpcStack,
    /// Threads that serve gRPC (`WORKER_THREADS`). `None`: one for each core that the process may use.
    pub worker_threads: Option<NonZeroUsize>,
    /// When a write is acknowledged (`WRITE_MODE`).
    pub write_mode: WriteMode,
    /// How long a node that stops goes on uploading (`DRAIN_TIMEOUT`).
    pub drain_timeout: Duration,
    /// The S3 tier.
    pub s3: S3Config,
    /// How long entries and their copies live (`TTL_SECONDS`, `TTL_SCOPE`, `TTL_JITTER`).
    pub lives: Lives,
    /// How long after that a copy may still be served while S3 fails (`STALE_IF_ERROR`), in whole seconds.
    pub stale_life: Duration,
    /// How long a miss is remembered (`NEGATIVE_TTL`); zero: not at all.
    pub miss_life: Duration,
    /// How often S3 is swept of what has expired (`SWEEP_INTERVAL`); `None`: never.
    pub sweep_interval: Option<Duration>,
    /// The longest value of a put or get, in bytes (`MAX_VALUE_BYTES`).
    pub value_bytes_max: usize,
    /// Requests per second, if there is a limit (`RATE_LIMIT`).
    pub rate_limit: Option<NonZeroU32>,
}

/// Every setting of the node, in the order in which `--help` shows them.
pub static SETTINGS: [&Setting; 32] = [
    &LISTEN_ADDR,
    &ROUTER_ADDR,
    &LRU_SIZE,
    &TTL_SECONDS,
    &METRICS_PORT,
    &AWS_REGION,
    &S3_BUCKET,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &ADVERTISE_ADDR,
    &LRU_MAX_BYTES,
    &EVICTION_POLICY,
    &disk::DISK_PATH,
    &disk::DISK_MAX_BYTES,
    &disk::DISK_SYNC,
    &disk::WRITE_MODE,
    &disk::WRITE_BACK_MAX_BYTES,
    &disk::WRITE_BACK_MAX_AGE,
    &disk::DRAIN_TIMEOUT,
    &S3_ENDPOINT,
    &S3_PREFIX,
    &S3_TIMEOUT,
    &S3_HEDGE,
    &TTL_SCOPE,
    &TTL_JITTER,
    &SWEEP_INTERVAL,
    &NEGATIVE_TTL,
    &STALE_IF_ERROR,
    &MAX_VALUE_BYTES,
    &RATE_LIMIT,
    &GRPC_STACK,
    &WORKER_THREADS,
];

static LISTEN_ADDR: Setting = Setting {
    name: "LISTEN_ADDR",
    also: &[],
    presence: Presence::Required,
    expected: "an IP address and a port such as 0.0.0.0:50051",
    example: "0.0.0.0:50051",
    help: "Where to serve gRPC",
};
static ROUTER_ADDR: Setting = Setting {
    name: "ROUTER_ADDR",
    also: &[],
    presence: Presence::Required,
    expected: "http://host:port, several separated by commas, or none",
    example: "http://router:50050",
    help: "The router to join; several separated by commas; none for a node on its own",
};
static LRU_SIZE: Setting = Setting {
    name: "LRU_SIZE",
    also: &[],
    presence: Presence::Required,
    expected: "a number of entries, 1 or more",
    example: "100000",
    help: "Entries that memory may hold",
};
static TTL_SECONDS: Setting = Setting {
    name: "TTL_SECONDS",
    also: &[],
    presence: Presence::Required,
    expected: "a number of seconds, 1 or more",
    example: "3600",
    help: "How long a local copy is served before S3 is asked again",
};
static METRICS_PORT: Setting = Setting {
    name: "METRICS_PORT",
    also: &[],
    presence: Presence::Required,
    expected: "a port, 0 to 65535 (0: any free one)",
    example: "9100",
    help: "Where /metrics, /livez and /readyz are shown, over HTTP",
};
static AWS_REGION: Setting = Setting {
    name: "AWS_REGION",
    also: &[],
    presence: Presence::Required,
    expected: "a region's name",
    example: "eu-central-1",
    help: "The region of the S3 bucket",
};
static S3_BUCKET: Setting = Setting {
    name: "S3_BUCKET",
    also: &[],
    presence: Presence::Required,
    expected: "an S3 bucket's name: 3 to 63 of a-z 0-9 . -",
    example: "my-cache",
    help: "The S3 bucket that holds every entry",
};
static ADVERTISE_ADDR: Setting = Setting {
    name: "ADVERTISE_ADDR",
    also: &[],
    presence: Presence::Optional("LISTEN_ADDR, or the address that routes to the router"),
    expected: "http://host:port or https://host:port",
    example: "http://10.0.0.5:50051",
    help: "The address that routers are told",
};
static LRU_MAX_BYTES: Setting = Setting {
    name: "LRU_MAX_BYTES",
    also: &[],
    presence: Presence::Default("256MiB"),
    expected: EXPECTED_BYTES,
    example: "4GiB",
    help: "Bytes that memory may hold",
};
static EVICTION_POLICY: Setting = Setting {
    name: "EVICTION_POLICY",
    also: &[],
    presence: Presence::Default(EvictionPolicy::DEFAULT.name()),
    expected: "lru or s3-fifo",
    example: "s3-fifo",
    help: "Which entries leave memory first: lru (the least recently used), or s3-fifo (those not used again soon; for loads with scans)",
};
static S3_ENDPOINT: Setting = Setting {
    name: "S3_ENDPOINT",
    also: &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
    presence: Presence::Optional("AWS"),
    expected: "http://host:port or https://host",
    example: "http://127.0.0.1:9000",
    help: "An S3-compatible store to use instead of AWS",
};
static S3_PREFIX: Setting = Setting {
    name: "S3_PREFIX",
    also: &[],
    presence: Presence::Optional("none"),
    expected: "up to 512 of A-Z a-z 0-9 . _ - and / not doubled and not in front",
    example: "cache/",
    help: "What the name of every S3 object begins with",
};
static S3_TIMEOUT: Setting = Setting {
    name: "S3_TIMEOUT",
    also: &[],
    presence: Presence::Default("10s"),
    expected: "a duration of 1ms to 1h, such as 5s (units ms, s, m, h)",
    example: "5s",
    help: "How long S3 may take for one operation, retries included",
};
static S3_HEDGE: Setting = Setting {
    name: "S3_HEDGE",
    also: &[],
    presence: Presence::Default("off"),
    expected: "on or off",
    example: "on",
    help: "Whether S3 is asked a second time when a get takes longer than 95 % of them, for at most 2 % of the gets",
};
static NEGATIVE_TTL: Setting = Setting {
    name: "NEGATIVE_TTL",
    also: &[],
    presence: Presence::Default("1s"),
    expected: EXPECTED_DURATION,
    example: "5s",
    help: "How long a miss is answered without asking S3 again; 0 for always asking",
};
static STALE_IF_ERROR: Setting = Setting {
    name: "STALE_IF_ERROR",
    also: &[],
    presence: Presence::Default("0"),
    expected: "a number of seconds up to a year, or a duration such as 10m (units s, m, h, d)",
    example: "10m",
    help: "How long after TTL_SECONDS a local copy may still be served if S3 fails; 0 for not at all",
};
static RATE_LIMIT: Setting = Setting {
    name: "RATE_LIMIT",
    also: &[],
    presence: Presence::Default("off"),
    expected: rate_limit::EXPECTED,
    example: "50000",
    help: "Requests per second; beyond it they are refused",
};

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// All mistakes at once.
    ///
    /// # Panics
    /// Never: what is missing is a mistake.
    pub fn read(mut raw: Raw) -> Result<Checked<Self>, Mistakes> {
        let listen_addr = raw.read(&LISTEN_ADDR, |text| text.parse::<SocketAddr>().ok());
        let routers = raw.read(&ROUTER_ADDR, parse_routers);
        let entries_max = raw.read(&LRU_SIZE, parse_positive);
        let copy_seconds = raw.read(&TTL_SECONDS, parse_positive);
        let metrics_port = raw.read(&METRICS_PORT, |text| text.parse::<u16>().ok());
        let region = raw.read(&AWS_REGION, parse_region);
        let bucket = raw.read(&S3_BUCKET, parse_s3_bucket);
        let logging = read_logging(&mut raw);
        let advertise_addr = raw.read(&ADVERTISE_ADDR, |text| Address::parse(text).ok());
        let memory_bytes_max = raw.read(&LRU_MAX_BYTES, parse_bytes);
        let policy = raw.read(&EVICTION_POLICY, EvictionPolicy::parse);
        let disk = DiskSettings::read(&mut raw);
        let endpoint = raw.read(&S3_ENDPOINT, parse_endpoint);
        let prefix = raw.read(&S3_PREFIX, parse_prefix).unwrap_or_default();
        let timeout = raw.read(&S3_TIMEOUT, parse_timeout);
        let hedges_gets = raw.read(&S3_HEDGE, parse_switch);
        let lives = lives::read(&mut raw, copy_seconds);
        let sweep_interval = raw.read(&SWEEP_INTERVAL, parse_sweep_interval);
        let miss_life = raw.read(&NEGATIVE_TTL, parse_duration);
        let stale_life = raw.read(&STALE_IF_ERROR, parse_stale_life);
        let value_bytes_max = raw.read(&MAX_VALUE_BYTES, parse_value_bytes_max);
        let rate_limit = raw.read(&RATE_LIMIT, rate_limit::parse);
        let grpc_stack = raw.read(&GRPC_STACK, GrpcStack::parse);
        let worker_threads = raw.read(&WORKER_THREADS, parse_worker_threads);

        let effective = raw.into_result()?;
        let given = "what is missing is a mistake";
        let listen_addr = listen_addr.expect(given);
        let metrics_ip = interface_for(listen_addr.ip());
        let value_bytes_max = value_bytes_max.expect(given);
        let config = Self {
            listen_addr,
            advertise_addr,
            routers: routers.expect(given),
            metrics_addr: (metrics_ip, metrics_port.expect(given)).into(),
            memory: MemoryConfig {
                entries_max: entries_max.expect(given),
                bytes_max: memory_bytes_max.expect(given),
                policy: policy.expect(given),
            },
            disk: disk.tier(),
            grpc_stack: grpc_stack.expect(given),
            worker_threads,
            write_mode: disk.write_mode.expect(given),
            drain_timeout: disk.drain_timeout.expect(given),
            s3: S3Config {
                region: region.expect(given),
                bucket: bucket.expect(given),
                endpoint,
                prefix,
                timeout: timeout.expect(given),
                value_bytes_max,
                hedges_gets: hedges_gets.expect(given),
                credentials: S3Credentials::Chain,
            },
            lives: lives.expect(given),
            stale_life: stale_life.expect(given),
            miss_life: miss_life.expect(given),
            sweep_interval: sweep_interval.expect(given),
            value_bytes_max,
            rate_limit: rate_limit.expect(given),
        };
        Ok(Checked {
            config,
            effective,
            logging: logging.expect(given),
        })
    }
}

/// `None`: one of the settings is a mistake, which has been noted.
fn read_logging(raw: &mut Raw) -> Option<Logging> {
    let level = raw.read(&LOG_LEVEL, LogLevel::parse);
    let format = raw.read(&LOG_FORMAT, LogFormat::parse);
    Some(Logging {
        level: level?,
        format: format?,
    })
}

fn parse_positive<T: FromStr + PartialOrd + Default>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number| *number > T::default())
}

/// `none`, or addresses separated by commas.
fn parse_routers(text: &str) -> Option<Vec<Address>> {
    if text == "none" {
        return Some(Vec::new());
    }
    text.split(',')
        .map(|address| Address::parse(address.trim()).ok())
        .collect()
}

fn parse_region(text: &str) -> Option<String> {
    let sound = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    sound.then(|| text.to_owned())
}

/// S3's own rule: 3 to 63 of `a-z 0-9 . -`, a letter or digit at both ends. Older buckets and other stores
/// also have capitals and underscores.
fn parse_s3_bucket(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let ends = |c: char| c.is_ascii_alphanumeric();
    let sound = (3..=63).contains(&text.len())
        && text.chars().all(allowed)
        && text.starts_with(ends)
        && text.ends_with(ends);
    sound.then(|| text.to_owned())
}

fn parse_prefix(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    let sound = text.len() <= PREFIX_BYTES_MAX
        && text.chars().all(allowed)
        && !text.starts_with('/')
        && !text.contains("//")
        && text
            .split('/')
            .all(|segment| segment != "." && segment != "..");
    sound.then(|| text.to_owned())
}

fn parse_endpoint(text: &str) -> Option<String> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))?;
    let sound = !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace);
    sound.then(|| text.trim_end_matches('/').to_owned())
}

fn parse_switch(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn parse_timeout(text: &str) -> Option<Duration> {
    parse_duration(text).filter(|time| !time.is_zero() && *time <= S3_TIMEOUT_MAX)
}

fn parse_stale_life(text: &str) -> Option<Duration> {
    parse_duration(text).filter(|life| life.subsec_nanos() == 0 && *life <= STALE_LIFE_MAX)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use milena_server::settings::{self, Invocation};

    use super::*;

    const REQUIRED: [(&str, &str); 7] = [
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("ROUTER_ADDR", "none"),
        ("LRU_SIZE", "1000"),
        ("TTL_SECONDS", "60"),
        ("METRICS_PORT", "0"),
        ("AWS_REGION", "us-east-1"),
        ("S3_BUCKET", "cache"),
    ];

    fn read(environment: &[(&str, &str)]) -> Result<Checked<Config>, Mistakes> {
        let lookup = |name: &str| {
            environment
                .iter()
                .rev()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        };
        let command = clap::Command::new("milena-cache");
        match settings::parse(command, &SETTINGS, [OsString::from("milena-cache")], lookup) {
            Invocation::Run(raw) => Config::read(raw),
            other => panic!("expected a run, not {other:?}"),
        }
    }

    fn with(changes: &[(&'static str, &'static str)]) -> Result<Config, Vec<String>> {
        let environment = [&REQUIRED[..], changes].concat();
        read(&environment)
            .map(|checked| checked.config)
            .map_err(|mistakes| mistakes.0)
    }

    #[test]
    fn the_seven_required_are_enough() {
        let config = with(&[]).unwrap();
        assert_eq!(
            config.memory,
            MemoryConfig {
                entries_max: 1_000,
                bytes_max: 256 << 20,
                policy: EvictionPolicy::Lru,
            }
        );
        let scanned = with(&[("EVICTION_POLICY", "s3-fifo")]).unwrap();
        assert_eq!(scanned.memory.policy, EvictionPolicy::S3Fifo);
        assert_eq!(config.lives, Lives::of_copies(Duration::from_secs(60)));
        assert_eq!(config.value_bytes_max, 16 << 20);
        assert_eq!(config.s3.timeout, Duration::from_secs(10));
        assert_eq!(config.miss_life, Duration::from_secs(1));
        assert_eq!(config.stale_life, Duration::ZERO);
        assert!(!config.s3.hedges_gets);
        assert!(with(&[("S3_HEDGE", "on")]).unwrap().s3.hedges_gets);
        assert!(with(&[("S3_HEDGE", "2%")]).is_err());
        assert_eq!(
            (config.routers, config.rate_limit, config.advertise_addr),
            (vec![], None, None)
        );
    }

    #[test]
    fn each_required_one_is_missed_with_an_example() {
        let mistakes = read(&[]).unwrap_err().0;
        assert_eq!(mistakes.len(), REQUIRED.len());
        for ((name, _), mistake) in REQUIRED.iter().zip(&mistakes) {
            assert!(
                mistake.starts_with(&format!("{name} is required: ")),
                "{mistake}"
            );
            assert!(mistake.contains(&format!("Example: {name}=")), "{mistake}");
        }
    }

    #[test]
    fn every_example_and_every_default_can_be_used() {
        let examples: Vec<_> = SETTINGS
            .iter()
            .map(|setting| (setting.name, setting.example))
            .collect();
        with(&examples).unwrap();
    }

    #[test]
    fn each_wrong_value_is_a_mistake_of_its_own() {
        let wrong = [
            ("LISTEN_ADDR", "localhost"),
            ("ROUTER_ADDR", "http://a:1,nonsense"),
            ("LRU_SIZE", "0"),
            ("TTL_SECONDS", "-1"),
            ("METRICS_PORT", "65536"),
            ("AWS_REGION", "eu central"),
            ("S3_BUCKET", "a/b"),
            ("LOG_LEVEL", "loud"),
            ("LOG_FORMAT", "xml"),
            ("ADVERTISE_ADDR", "10.0.0.1:50051"),
            ("LRU_MAX_BYTES", "much"),
            ("EVICTION_POLICY", "fifo"),
            ("DISK_MAX_BYTES", "1MiB"),
            ("DISK_SYNC", "never"),
            ("WRITE_MODE", "write-around"),
            ("WRITE_BACK_MAX_BYTES", "much"),
            ("WRITE_BACK_MAX_AGE", "old"),
            ("DRAIN_TIMEOUT", "soon"),
            ("S3_ENDPOINT", "localhost:9000"),
            ("S3_PREFIX", "/cache"),
            ("S3_TIMEOUT", "0s"),
            ("TTL_SCOPE", "everywhere"),
            ("TTL_JITTER", "91%"),
            ("SWEEP_INTERVAL", "59s"),
            ("NEGATIVE_TTL", "soon"),
            ("MAX_VALUE_BYTES", "2GiB"),
            ("RATE_LIMIT", "0"),
            ("GRPC_STACK", "http"),
            ("WORKER_THREADS", "0"),
        ];
        let mistakes = with(&wrong).unwrap_err();
        assert_eq!(mistakes.len(), wrong.len(), "{mistakes:#?}");
        for (name, value) in wrong {
            let named =
                |mistake: &String| mistake.starts_with(&format!("{name}: {value:?} was given"));
            assert!(
                mistakes.iter().any(named),
                "{name} is missing from {mistakes:#?}"
            );
        }
    }

    #[test]
    fn s3_may_take_an_hour_and_no_longer() {
        let config = with(&[("S3_TIMEOUT", "1h")]).unwrap();
        assert_eq!(config.s3.timeout, S3_TIMEOUT_MAX);
        for too_long in ["3601s", "106751991167d"] {
            let mistakes = with(&[("S3_TIMEOUT", too_long)]).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{too_long}");
            assert!(mistakes[0].contains("1ms to 1h"), "{}", mistakes[0]);
        }
    }

    #[test]
    fn ttl_seconds_may_be_the_life_of_entries_and_then_has_its_limit() {
        let lives = with(&[("TTL_SCOPE", "all"), ("TTL_JITTER", "10%")])
            .unwrap()
            .lives;
        assert_eq!(
            (lives.scope, lives.jitter_percent),
            (crate::operation::Scope::All, 10)
        );
        let too_long = ("TTL_SECONDS", "3153600001");
        assert!(with(&[too_long]).is_ok(), "a copy may live for ever");
        let mistakes = with(&[too_long, ("TTL_SCOPE", "all")]).unwrap_err();
        assert_eq!(mistakes.len(), 1);
        assert!(
            mistakes[0].contains("at most 3153600000"),
            "{}",
            mistakes[0]
        );
    }

    #[test]
    fn the_endpoint_is_also_read_where_the_aws_tools_read_it() {
        let config = with(&[
            ("AWS_ENDPOINT_URL", "http://b:9000"),
            ("AWS_ENDPOINT_URL_S3", "http://a:9000/"),
        ])
        .unwrap();
        assert_eq!(config.s3.endpoint.as_deref(), Some("http://a:9000"));
    }

    #[test]
    fn misses_need_not_be_remembered() {
        for off in ["0", "0s"] {
            assert_eq!(
                with(&[("NEGATIVE_TTL", off)]).unwrap().miss_life,
                Duration::ZERO
            );
        }
    }

    #[test]
    fn write_back_needs_a_disk_that_is_large_enough() {
        let write_back = ("WRITE_MODE", "write-back");
        let config = with(&[write_back]).unwrap();
        assert_eq!(config.write_mode, WriteMode::WriteBack);
        assert_eq!(config.disk.unwrap().dirty_bytes_max, 256 << 20);
        for missing in [("DISK_PATH", "none"), ("DISK_MAX_BYTES", "31MiB")] {
            let mistakes = with(&[write_back, missing]).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            assert!(mistakes[0].contains("needs a DISK_PATH"), "{}", mistakes[0]);
        }
        let small = [write_back, ("DISK_MAX_BYTES", "32MiB")];
        assert_eq!(with(&small).unwrap().disk.unwrap().dirty_bytes_max, 4 << 20);
        let too_much = [
            ("DISK_MAX_BYTES", "32MiB"),
            ("WRITE_BACK_MAX_BYTES", "9MiB"),
        ];
        assert_eq!(with(&too_much).unwrap_err().len(), 1);
    }

    #[test]
    fn stale_copies_are_kept_for_whole_seconds() {
        let stale_life = |text| with(&[("STALE_IF_ERROR", text)]).map(|config| config.stale_life);
        assert_eq!(stale_life("90").unwrap(), Duration::from_secs(90));
        assert_eq!(stale_life("1d").unwrap(), Duration::from_secs(86_400));
        for wrong in ["500ms", "366d", "long"] {
            let mistakes = stale_life(wrong).unwrap_err();
            assert!(mistakes[0].contains("STALE_IF_ERROR"), "{mistakes:?}");
        }
    }

    #[test]
    fn several_routers_and_no_disk() {
        let config = with(&[
            ("ROUTER_ADDR", "http://a:1, https://b:2"),
            ("DISK_PATH", "none"),
        ])
        .unwrap();
        let routers: Vec<_> = config.routers.iter().map(Address::as_str).collect();
        assert_eq!(routers, ["http://a:1", "https://b:2"]);
        assert!(config.disk.is_none());
    }
}
