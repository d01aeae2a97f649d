//! Settings → [`Config`]: checked once, all mistakes at once.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};

use milena_server::admin::interface_for;
use milena_server::grpc::{
    GRPC_STACK, GrpcStack, MAX_VALUE_BYTES, WORKER_THREADS, parse_value_bytes_max,
    parse_worker_threads,
};
use milena_server::logging::{self, LOG_FORMAT, LogFormat, LogLevel, Logging};
use milena_server::program::Checked;
use milena_server::rate_limit;
use milena_server::settings::{Mistakes, Presence, Raw, Setting};

static LISTEN_ADDR: Setting = Setting {
    name: "LISTEN_ADDR",
    also: &[],
    presence: Presence::Required,
    expected: "an IP address and a port, as 0.0.0.0:50050 or [::]:50050",
    example: "0.0.0.0:50050",
    help: "Where the router listens for gRPC",
};

static RATE_LIMIT: Setting = Setting {
    name: "RATE_LIMIT",
    also: &[],
    presence: Presence::Required,
    expected: rate_limit::EXPECTED,
    example: "10000",
    help: "Gets, puts and deletes per second that are let through, or off",
};

static LOG_LEVEL: Setting = Setting {
    name: "LOG_LEVEL",
    also: &[],
    presence: Presence::Required,
    expected: logging::EXPECTED_LEVEL,
    example: "info",
    help: "What is logged: error, warn, info, debug or trace, or directives per module",
};

static METRICS_PORT: Setting = Setting {
    name: "METRICS_PORT",
    also: &[],
    presence: Presence::Default("9101"),
    expected: "a port, 0 to 65535 (0: any free one)",
    example: "9101",
    help: "Where /metrics, /livez and /readyz are served over HTTP",
};

/// Every setting, in the order in which `--help` shows them.
pub static SETTINGS: [&Setting; 8] = [
    &LISTEN_ADDR,
    &RATE_LIMIT,
    &LOG_LEVEL,
    &METRICS_PORT,
    &MAX_VALUE_BYTES,
    &GRPC_STACK,
    &WORKER_THREADS,
    &LOG_FORMAT,
];

/// What a router needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it listens for gRPC. Port 0: any free one.
    pub listen_addr: SocketAddr,
    /// Where it serves `/metrics`, `/livez` and `/readyz` over HTTP. Port 0: any free one.
    pub metrics_addr: SocketAddr,
    /// Gets, puts and deletes per second that are let through. `None`: all.
    pub rate_limit: Option<NonZeroU32>,
    /// The longest value, in bytes.
    pub value_bytes_max: usize,
    /// What serves the hot methods (`GRPC_STACK`).
    pub grpc_stack: GrpcStack,
    /// Threads that serve gRPC. `None`: one for each core that the process may use.
    pub worker_threads: Option<NonZeroUsize>,
}

impl Config {
    /// Checks the settings.
    ///
    /// # Errors
    /// All mistakes at once.
    ///
    /// # Panics
    /// Never: what is missing is a mistake.
    pub fn check(mut raw: Raw) -> Result<Checked<Self>, Mistakes> {
        let listen_addr = raw.read(&LISTEN_ADDR, |text| text.parse::<SocketAddr>().ok());
        let rate_limit = raw.read(&RATE_LIMIT, rate_limit::parse);
        let level = raw.read(&LOG_LEVEL, LogLevel::parse);
        let metrics_port = raw.read(&METRICS_PORT, |text| text.parse().ok());
        let value_bytes_max = raw.read(&MAX_VALUE_BYTES, parse_value_bytes_max);
        let grpc_stack = raw.read(&GRPC_STACK, GrpcStack::parse);
        let worker_threads = raw.read(&WORKER_THREADS, parse_worker_threads);
        let format = raw.read(&LOG_FORMAT, LogFormat::parse);
        let effective = raw.into_result()?;
        let given = "what is missing is a mistake";
        let listen_addr = listen_addr.expect(given);
        let metrics_ip = interface_for(listen_addr.ip());
        Ok(Checked {
            config: Self {
                listen_addr,
                metrics_addr: (metrics_ip, metrics_port.expect(given)).into(),
                rate_limit: rate_limit.expect(given),
                value_bytes_max: value_bytes_max.expect(given),
                grpc_stack: grpc_stack.expect(given),
                worker_threads,
            },
            effective,
            logging: Logging {
                level: level.expect(given),
                format: format.expect(given),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;
    use milena_server::settings::{Invocation, parse};

    fn check(environment: &[(&str, &str)]) -> Result<Checked<Config>, Mistakes> {
        let lookup = |name: &str| {
            let given = environment.iter().find(|(known, _)| *known == name);
            given.map(|(_, value)| value.into())
        };
        match parse(Command::new("router"), &SETTINGS, ["router".into()], lookup) {
            Invocation::Run(raw) => Config::check(raw),
            other => panic!("expected a run, not {other:?}"),
        }
    }

    #[test]
    fn three_settings_are_enough() {
        let required = [
            ("LISTEN_ADDR", "0.0.0.0:50050"),
            ("RATE_LIMIT", "off"),
            ("LOG_LEVEL", "info"),
        ];
        let expected = Config {
            listen_addr: "0.0.0.0:50050".parse().unwrap(),
            metrics_addr: "0.0.0.0:9101".parse().unwrap(),
            rate_limit: None,
            value_bytes_max: milena_client::Options::VALUE_BYTES_MAX,
            grpc_stack: GrpcStack::H2,
            worker_threads: None,
        };
        assert_eq!(check(&required).unwrap().config, expected);
    }

    #[test]
    fn every_setting_is_read() {
        let checked = check(&[
            ("LISTEN_ADDR", "[::1]:1"),
            ("RATE_LIMIT", "7"),
            ("LOG_LEVEL", "warn"),
            ("METRICS_PORT", "2"),
            ("MAX_VALUE_BYTES", "3KiB"),
            ("GRPC_STACK", "tonic"),
            ("WORKER_THREADS", "4"),
            ("LOG_FORMAT", "json"),
        ])
        .unwrap();
        let expected = Config {
            listen_addr: "[::1]:1".parse().unwrap(),
            metrics_addr: "[::1]:2".parse().unwrap(),
            rate_limit: NonZeroU32::new(7),
            value_bytes_max: 3 << 10,
            grpc_stack: GrpcStack::Tonic,
            worker_threads: NonZeroUsize::new(4),
        };
        assert_eq!(checked.config, expected);
        assert_eq!(checked.logging.format, LogFormat::Json);
        assert_eq!(
            checked.effective.to_string().lines().count(),
            SETTINGS.len()
        );
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let mistakes = check(&[
            ("LISTEN_ADDR", "localhost"),
            ("LOG_LEVEL", "loud"),
            ("METRICS_PORT", "65536"),
            ("MAX_VALUE_BYTES", "2GiB"),
            ("GRPC_STACK", "http"),
            ("WORKER_THREADS", "0"),
            ("LOG_FORMAT", "xml"),
        ])
        .unwrap_err()
        .0;
        let named: Vec<_> = mistakes
            .iter()
            .map(|line| line.split([':', ' ']).next().unwrap())
            .collect();
        let expected: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(named, expected, "{mistakes:#?}");
    }
}
