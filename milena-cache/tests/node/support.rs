//! What the tests of the node share.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use milena_cache::store::s3::{S3Config, S3Credentials};
use milena_client::ClientError;
use milena_testing::node::{NodeSetup, TestNode};
use milena_testing::s3::TestS3;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// The bucket of most tests.
pub(crate) const BUCKET: &str = "b";

/// The object that holds the entry of a path-like `key`.
pub(crate) fn object_of(key: &str) -> String {
    format!("{BUCKET}/{key}")
}

/// An S3 endpoint and a node over it.
pub(crate) struct Bench {
    pub(crate) s3: TestS3,
    pub(crate) setup: NodeSetup,
    pub(crate) node: TestNode,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut NodeSetup)) -> Self {
        let s3 = TestS3::start().await;
        let mut setup = NodeSetup::new(&s3);
        change(&mut setup);
        let node = setup.start().await;
        Self { s3, setup, node }
    }

    /// The S3 bucket as others see it.
    pub(crate) fn objects(&self) -> Objects {
        Objects::of(&self.s3.config())
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, ClientError> {
        self.node.client.get(BUCKET, key).await
    }

    pub(crate) async fn put(&self, key: &str, value: &'static str) -> Result<(), ClientError> {
        self.node.client.put(BUCKET, key, value).await
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), ClientError> {
        self.node.client.delete(BUCKET, key).await
    }

    /// Starts a get whose answer is awaited later.
    pub(crate) fn begin_get(
        &self,
        key: &'static str,
    ) -> JoinHandle<Result<Option<Bytes>, ClientError>> {
        let client = self.node.client.clone();
        begin(async move { client.get(BUCKET, key).await })
    }

    /// Starts a put whose answer is awaited later.
    pub(crate) fn begin_put(
        &self,
        key: &'static str,
        value: &'static str,
    ) -> JoinHandle<Result<(), ClientError>> {
        let client = self.node.client.clone();
        begin(async move { client.put(BUCKET, key, value).await })
    }

    /// Starts a delete whose answer is awaited later.
    pub(crate) fn begin_delete(&self, key: &'static str) -> JoinHandle<Result<(), ClientError>> {
        let client = self.node.client.clone();
        begin(async move { client.delete(BUCKET, key).await })
    }

    /// Stops the node and starts it anew: its memory is empty, its disk tier holds what it held.
    pub(crate) async fn restart(self) -> Self {
        let Self { s3, setup, node } = self;
        node.stop().await;
        let node = setup.start().await;
        Self { s3, setup, node }
    }
}

/// Runs `call` beside the test.
pub(crate) fn begin<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    TaskTracker::new().spawn(call)
}

/// What a get gives that finds `text`.
pub(crate) fn value(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from(text))
}

/// Fails unless the node itself answered UNAVAILABLE; gives its words.
#[track_caller]
pub(crate) fn unavailable<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> String {
    match answer {
        Err(ClientError::Unavailable(status)) => status.message().to_owned(),
        other => panic!("expected UNAVAILABLE, not {other:?}"),
    }
}

/// The objects of one S3 bucket, read and written by somebody who knows nothing of Milena.
#[derive(Clone)]
pub(crate) struct Objects {
    client: Client,
    bucket: Arc<str>,
}

impl Objects {
    pub(crate) fn of(config: &S3Config) -> Self {
        let S3Credentials::Static {
            access_key_id,
            secret_access_key,
        } = &config.credentials
        else {
            panic!("the tests give their own keys");
        };
        let credentials = Credentials::new(access_key_id, secret_access_key, None, None, "test");
        let sdk = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials)
            .endpoint_url(config.endpoint.as_ref().unwrap())
            .force_path_style(true)
            .build();
        Self {
            client: Client::from_conf(sdk),
            bucket: config.bucket.as_str().into(),
        }
    }

    pub(crate) async fn create_bucket(&self) {
        let request = self.client.create_bucket().bucket(&*self.bucket);
        request.send().await.unwrap();
    }

    /// Writes an object without any metadata.
    pub(crate) async fn put(&self, object: &str, content: impl Into<Bytes>) {
        let request = self.client.put_object().bucket(&*self.bucket).key(object);
        let body = ByteStream::from(content.into());
        request.body(body).send().await.unwrap();
    }

    /// What an object holds, or `None` if there is none.
    pub(crate) async fn get(&self, object: &str) -> Option<Bytes> {
        let request = self.client.get_object().bucket(&*self.bucket).key(object);
        match request.send().await {
            Ok(found) => Some(found.body.collect().await.unwrap().into_bytes()),
            Err(error) if error.code() == Some("NoSuchKey") => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// What is known of an object that is there.
    pub(crate) async fn head(&self, object: &str) -> HeadObjectOutput {
        let request = self.client.head_object().bucket(&*self.bucket).key(object);
        request.send().await.unwrap()
    }

    /// Writes an object with this metadata.
    pub(crate) async fn put_with_metadata(
        &self,
        object: &str,
        content: impl Into<Bytes>,
        metadata: impl IntoIterator<Item = (&'static str, String)>,
    ) {
        let mut request = self.client.put_object().bucket(&*self.bucket).key(object);
        for (name, text) in metadata {
            request = request.metadata(name, text);
        }
        let body = ByteStream::from(content.into());
        request.body(body).send().await.unwrap();
    }

    pub(crate) async fn delete(&self, object: &str) {
        let request = self
            .client
            .delete_object()
            .bucket(&*self.bucket)
            .key(object);
        request.send().await.unwrap();
    }
}
