//! An S3 endpoint in this process that can go away and come back.

use milena_cache::store::s3::{S3Config, S3Credentials};
use milena_s3::{
    Action, Credentials, FaultHandle, Faults, Operation, Options, Rule, S3Server, Storage,
};
use milena_server::clock::Clock;
use tempfile::TempDir;

use crate::PATIENCE;
use crate::port::HeldPort;

/// The S3 bucket that every endpoint has.
pub const S3_BUCKET: &str = "milena-test";

/// The region that the tests say they are in.
pub const REGION: &str = "us-east-1";

/// An S3 endpoint with one bucket. What it holds stays while it is away.
pub struct TestS3 {
    port: HeldPort,
    folder: TempDir,
    running: Option<S3Server>,
}

impl TestS3 {
    /// Starts an endpoint that holds nothing.
    ///
    /// # Panics
    /// When it cannot start.
    pub async fn start() -> Self {
        let mut s3 = Self {
            port: HeldPort::take(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            running: None,
        };
        s3.start_again().await;
        s3
    }

    /// Starts an endpoint that is not there yet: [`TestS3::start_again`] brings it.
    ///
    /// # Panics
    /// When there is no folder for it.
    #[must_use]
    pub fn absent() -> Self {
        Self {
            port: HeldPort::take(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            running: None,
        }
    }

    /// Comes back at the same address, with what it held. Faults are gone.
    ///
    /// # Panics
    /// When it is not away or cannot start.
    pub async fn start_again(&mut self) {
        assert!(self.running.is_none(), "the endpoint is running");
        let storage = Storage::Folder(self.folder.path().to_owned());
        let options = Options {
            listen: self.port.addr(),
            buckets: vec![S3_BUCKET.to_owned()],
            ..Options::new(storage, Clock::system())
        };
        let server = self.port.lend(S3Server::start(options)).await;
        self.running = Some(server.expect("the endpoint starts"));
    }

    /// Goes away after it finished what it was asked. Then nothing that was sent to it is still under way.
    ///
    /// # Panics
    /// When it is away.
    pub async fn stop(&mut self) {
        self.running.take().expect("it is running").stop().await;
    }

    /// Goes away as a machine does that loses its network.
    ///
    /// # Panics
    /// When it is away.
    pub async fn cut(&mut self) {
        self.running.take().expect("it is running").cut().await;
    }

    /// The running endpoint.
    ///
    /// # Panics
    /// When it is away.
    #[must_use]
    pub fn server(&self) -> &S3Server {
        self.running.as_ref().expect("the endpoint is running")
    }

    /// What may go wrong, on demand.
    ///
    /// # Panics
    /// When the endpoint is away.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        self.server().faults()
    }

    /// Lets every such operation on the one object meet a fault.
    ///
    /// # Panics
    /// When the endpoint is away.
    #[must_use = "the rule is removed when its handle is dropped"]
    pub fn inject(&self, operation: Operation, object: &str, action: Action) -> FaultHandle {
        self.inject_next(u64::MAX, operation, object, action)
    }

    /// Lets the next `requests` such operations on the one object meet a fault.
    ///
    /// # Panics
    /// When the endpoint is away.
    #[must_use = "the rule is removed when its handle is dropped"]
    pub fn inject_next(
        &self,
        requests: u64,
        operation: Operation,
        object: &str,
        action: Action,
    ) -> FaultHandle {
        let object = object.to_owned();
        let rule = Rule::on(operation, action).with_key(move |key| key == object);
        self.faults().inject(rule.next(requests))
    }

    /// How a store reaches it.
    #[must_use]
    pub fn config(&self) -> S3Config {
        let Credentials {
            access_key_id,
            secret_access_key,
        } = Credentials::development();
        S3Config {
            region: REGION.to_owned(),
            bucket: S3_BUCKET.to_owned(),
            endpoint: Some(self.endpoint()),
            prefix: String::new(),
            timeout: PATIENCE,
            value_bytes_max: milena_client::Options::VALUE_BYTES_MAX,
            hedges_gets: false,
            credentials: S3Credentials::Static {
                access_key_id,
                secret_access_key,
            },
        }
    }

    /// How a program reaches it: environment variables.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let credentials = Credentials::development();
        vec![
            ("AWS_REGION", REGION.to_owned()),
            ("S3_BUCKET", S3_BUCKET.to_owned()),
            ("S3_ENDPOINT", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", credentials.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key),
        ]
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.port.addr())
    }
}
