//! The S3 endpoint that the S3 tier asks, in a process of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use milena_cache::store::s3::{S3Config, S3Credentials};
use milena_s3::{Credentials, Options, S3Server, Storage};
use milena_server::clock::Clock;

use crate::VALUE_BYTES;

/// The argument with which this program is the endpoint.
pub(crate) const ARGUMENT: &str = "s3-endpoint";

/// The S3 bucket.
const S3_BUCKET: &str = "milena-bench";

/// Serves from memory until standard input ends; says its address.
pub(crate) async fn serve() {
    let options = Options {
        buckets: vec![S3_BUCKET.to_owned()],
        ..Options::new(Storage::Memory, Clock::system())
    };
    let server = S3Server::start(options).await.expect("it starts");
    writeln!(std::io::stdout(), "{}", server.addr()).expect("somebody reads this");
    // On a thread that serves nothing.
    let until_end = std::io::stdin().read_to_end(&mut Vec::new());
    until_end.expect("standard input ends");
}

/// A running endpoint.
pub(crate) struct Endpoint {
    addr: String,
    process: Child,
    /// It serves until this is closed.
    stdin: Option<ChildStdin>,
}

impl Endpoint {
    pub(crate) fn start() -> Self {
        let mut process = crate::another(&[ARGUMENT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the endpoint starts");
        let said = process.stdout.take().expect("it is piped");
        let mut addr = String::new();
        let read = BufReader::new(said).read_line(&mut addr);
        read.expect("it says its address");
        Self {
            addr: addr.trim().to_owned(),
            stdin: process.stdin.take(),
            process,
        }
    }

    /// How a store reaches it, which may take `timeout` for a request.
    pub(crate) fn config(&self, timeout: Duration) -> S3Config {
        let Credentials {
            access_key_id,
            secret_access_key,
        } = Credentials::development();
        S3Config {
            region: "us-east-1".to_owned(),
            bucket: S3_BUCKET.to_owned(),
            endpoint: Some(format!("http://{}", self.addr)),
            prefix: String::new(),
            timeout,
            value_bytes_max: VALUE_BYTES,
            hedges_gets: false,
            credentials: S3Credentials::Static {
                access_key_id,
                secret_access_key,
            },
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let ended = self.process.wait();
        ended.expect("it ends with its standard input");
    }
}
