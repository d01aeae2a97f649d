//! The S3 endpoint that the S3 tier asks, in a process of its own.

use std::time::Duration;

use milena_cache::store::s3::{S3Config, S3Credentials};
use milena_s3::{Credentials, Options, S3Server, Storage};
use milena_server::clock::Clock;

use crate::VALUE_BYTES;
use crate::served::{Served, serve_at};

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
    serve_at(server.addr());
}

/// A running endpoint.
pub(crate) struct Endpoint(Served);

impl Endpoint {
    pub(crate) fn start() -> Self {
        Self(Served::start(ARGUMENT))
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
            endpoint: Some(format!("http://{}", self.0.addr())),
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
