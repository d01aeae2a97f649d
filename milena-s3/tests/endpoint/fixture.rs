//! A running server and a client of it.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use milena_s3::{Options, S3Server, Storage};
use milena_server::clock::{Clock, UnixMillis};
use tempfile::TempDir;

/// The bucket that every fixture has.
pub(crate) const BUCKET: &str = "bucket";

/// When the fixtures' clocks stand: 2023-11-14T22:13:20Z.
pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// A server with one bucket, and a client that does not retry.
pub(crate) struct Fixture {
    pub(crate) server: S3Server,
    pub(crate) client: Client,
    /// Where the objects are, if not in memory; removed with the fixture.
    _folder: Option<TempDir>,
}

/// Runs a test on both storages, one after the other.
pub(crate) async fn on_both_storages(test: impl AsyncFn(&Fixture)) {
    let fixture = Fixture::in_memory().await;
    test(&fixture).await;
    fixture.server.stop().await;
    let fixture = Fixture::in_folder().await;
    test(&fixture).await;
    fixture.server.stop().await;
}

/// The options of a server with the one bucket.
pub(crate) fn options(storage: Storage) -> Options {
    Options {
        buckets: vec![BUCKET.to_owned()],
        ..Options::new(storage, Clock::manual(NOW))
    }
}

/// A client that signs with these keys, does not retry, and gives up on its own only after a minute.
pub(crate) fn client(endpoint: &str, credentials: &milena_s3::Credentials) -> Client {
    let credentials = Credentials::new(
        &credentials.access_key_id,
        &credentials.secret_access_key,
        None,
        None,
        "test",
    );
    let timeouts = TimeoutConfig::builder()
        .operation_timeout(Duration::from_secs(60))
        .build();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(credentials)
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .build();
    Client::from_conf(config)
}

impl Fixture {
    pub(crate) async fn in_memory() -> Self {
        Self::start(Storage::Memory, None).await
    }

    pub(crate) async fn in_folder() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::start(Storage::Folder(folder.path().to_owned()), Some(folder)).await
    }

    async fn start(storage: Storage, folder: Option<TempDir>) -> Self {
        let server = S3Server::start(options(storage)).await.expect("start");
        Self {
            client: client(&server.endpoint(), &milena_s3::Credentials::development()),
            server,
            _folder: folder,
        }
    }

    /// Puts an object and gives its `ETag`, in quotes.
    pub(crate) async fn put(&self, key: &str, content: impl Into<Bytes>) -> String {
        let body = ByteStream::from(content.into());
        let put = self.client.put_object().bucket(BUCKET).key(key).body(body);
        let answer = Box::pin(put.send()).await.expect("put");
        answer.e_tag.expect("a put answers the ETag")
    }

    /// The content of an object, `None` if there is no such key.
    pub(crate) async fn get(&self, key: &str) -> Option<Bytes> {
        let get = self.client.get_object().bucket(BUCKET).key(key);
        match Box::pin(get.send()).await {
            Ok(found) => Some(found.body.collect().await.expect("body").into_bytes()),
            Err(error) if code(&error) == "NoSuchKey" => None,
            Err(error) => panic!("get: {error:?}"),
        }
    }

    pub(crate) async fn delete(&self, key: &str) {
        let delete = self.client.delete_object().bucket(BUCKET).key(key);
        Box::pin(delete.send()).await.expect("delete");
    }
}

/// The S3 code of an error, empty if the server sent none.
pub(crate) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    error.code().unwrap_or_default()
}

/// The HTTP status of an error that the server answered.
pub(crate) fn status<E>(error: &SdkError<E>) -> u16 {
    error
        .raw_response()
        .unwrap_or_else(|| panic!("no answer came"))
        .status()
        .as_u16()
}

/// The status and the S3 code of an error that the server answered.
pub(crate) fn status_and_code<E: ProvideErrorMetadata + Error>(error: &SdkError<E>) -> (u16, &str) {
    (status(error), code(error))
}

/// Bytes that differ from place to place and from seed to seed.
pub(crate) fn noise(bytes: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}
