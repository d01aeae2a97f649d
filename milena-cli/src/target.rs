//! What put, get, delete and flush have in common: which server, which entry.
//!
//! Checks neither bucket nor key: the server does, and its answer names the limit.

use std::cell::Cell;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use clap::Args;
use milena_client::{Address, Client, ClientError, InvalidAddress, Options};
use milena_server::settings::{EXPECTED_DURATION, parse_duration};

use crate::dev::DEV_ROUTER_ADDR;
use crate::failure::Failure;

/// How long a server has to show which service it has: one that has not the one that it is asked by says so at once.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest value that is sent or taken, in bytes: the most that any server can be told to allow, so
/// that it is the server's own limit that decides.
pub(crate) const VALUE_BYTES_MAX: usize = 1 << 30;

/// Where the server is.
#[derive(Args)]
pub(crate) struct Place {
    /// The address of a router or of a node, as host:port or https://host:port
    #[arg(long, env = "MILENA_ADDR", default_value_t = default_address(), value_parser = parse_address)]
    addr: Address,
}

/// The server that is asked.
#[derive(Args)]
pub(crate) struct Server {
    #[command(flatten)]
    place: Place,

    /// How long the server may take to answer, such as 500ms, 30s or 2m
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_timeout)]
    timeout: Duration,
}

/// Which of the two services a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Router,
    Node,
}

/// The entry that is meant.
#[derive(Args)]
pub(crate) struct Entry {
    /// The bucket: 1 to 63 of A-Z a-z 0-9 . _ -
    pub(crate) bucket: String,

    /// The key: 1 to 1,024 bytes, any bytes
    key: OsString,

    /// KEY is in hexadecimal: 00ff is two bytes
    #[arg(long)]
    key_hex: bool,
}

impl Server {
    pub(crate) fn addr(&self) -> &Address {
        &self.place.addr
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Which service the server has; found out by a get, which has to be answered, with whatever it be, or to keep
    /// waiting: what S3 has to be asked for may.
    pub(crate) async fn service(&self, bucket: &str) -> Result<Service, Failure> {
        let service = Cell::new(Service::Node);
        let wait = self.timeout.min(PROBE_TIMEOUT);
        let asking = self.place.call(wait, async |client, asked| {
            service.set(asked);
            client.get(bucket, "probe").await
        });
        match asking.await? {
            Err(error @ (ClientError::Unreachable(_) | ClientError::InvalidInput(_))) => {
                Err(error.into())
            }
            _ => Ok(service.get()),
        }
    }

    /// As [`Place::ask`].
    pub(crate) async fn ask<T>(
        &self,
        call: impl AsyncFn(Client) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        self.place.ask(self.timeout, call).await
    }
}

impl Place {
    /// Asks the server, which has until `deadline` for each answer: as a router, and if it says that it is none,
    /// as a node.
    pub(crate) async fn ask<T>(
        &self,
        deadline: Duration,
        call: impl AsyncFn(Client) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        let answer = self.call(deadline, async |client, _| call(client).await);
        Ok(answer.await??)
    }

    async fn call<T>(
        &self,
        deadline: Duration,
        call: impl AsyncFn(Client, Service) -> Result<T, ClientError>,
    ) -> Result<Result<T, ClientError>, Failure> {
        let options = Options {
            deadline,
            value_bytes_max: VALUE_BYTES_MAX,
            ..Options::default()
        };
        let address = self.addr.as_str();
        let unusable = |error: InvalidAddress| Failure::invalid_input(error.to_string());
        let router = Client::connect_with(address, &options).map_err(unusable)?;
        Ok(match call(router, Service::Router).await {
            Err(error) if error.is_unimplemented() => {
                let node = Client::connect_to_node(address, &options).map_err(unusable)?;
                call(node, Service::Node).await
            }
            answer => answer,
        })
    }
}

impl Entry {
    /// The key's bytes.
    pub(crate) fn key(&self) -> Result<Vec<u8>, Failure> {
        let given = self.key.clone().into_vec();
        if !self.key_hex {
            return Ok(given);
        }
        from_hex(&given).ok_or_else(|| {
            Failure::invalid_input(
                "the key is not in hexadecimal; expected two digits for each byte",
            )
        })
    }
}

fn default_address() -> Address {
    parse_address(&DEV_ROUTER_ADDR.to_string()).expect("an IP address and a port are an address")
}

fn parse_address(text: &str) -> Result<Address, InvalidAddress> {
    if text.contains("://") {
        Address::parse(text)
    } else {
        Address::parse(&format!("http://{text}"))
    }
}

pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|timeout| !timeout.is_zero())
        .ok_or_else(|| format!("expected {EXPECTED_DURATION}"))
}

fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| match *pair {
        [high, low] => u8::try_from(value(high)? * 16 + value(low)?).ok(),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_its_scheme() {
        for (text, address) in [
            ("127.0.0.1:50050", "http://127.0.0.1:50050"),
            ("http://router:1", "http://router:1"),
            ("https://router:1", "https://router:1"),
        ] {
            assert_eq!(parse_address(text).unwrap().as_str(), address);
        }
        assert!(parse_address("router").is_err(), "it has no port");
        assert!(parse_address("").is_err());
    }

    #[test]
    fn hexadecimal_is_two_digits_a_byte() {
        assert_eq!(from_hex(b"00fF0a"), Some(vec![0, 255, 10]));
        assert_eq!(from_hex(b""), Some(vec![]));
        for wrong in ["0", "0g", "+f", "abc"] {
            assert_eq!(from_hex(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_timeout_of_nothing_is_refused() {
        assert_eq!(parse_timeout("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_timeout("0s").is_err());
        assert!(parse_timeout("soon").is_err());
    }
}
