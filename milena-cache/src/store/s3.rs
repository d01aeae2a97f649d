//! The S3 tier: every entry an object in one S3 bucket. The only file that knows the S3 client.
//!
//! One request each: a get is one GET, a put one PUT, a delete one DELETE (and what the client retries).
//! Objects that others wrote are served as they are. Invariants: only S3's own NoSuchKey is a miss, every
//! other failure is an error; nothing leaves this file whose length and checksum were not checked; no call
//! goes on past its deadline, also while a body trickles in.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Credentials, RequestChecksumCalculation, ResponseChecksumValidation, retry::RetryConfig,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::Builder as HttpClient;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline, UnixMillis};
use tokio::sync::Semaphore;

use self::object_key::{ObjectKey, object_key};
use super::{Entry, Store, StoreStats, Version};
use crate::error::{Cause, Error, Result};

pub mod object_key;

/// Requests under way at once; more wait for their turn, until their deadline.
const REQUESTS_INFLIGHT_MAX: usize = 256;

/// Attempts at one operation, the first included; the client waits with jitter between them.
const ATTEMPTS_MAX: u32 = 3;

/// How long a connection may take to open, unless `S3_TIMEOUT` is shorter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The object that is asked for to see whether S3 answers. No bucket's name begins so, so no entry is there.
const PROBE_NAME: &str = "!probe";

/// Object metadata (`x-amz-meta-…`) that we write.
mod meta {
    /// The version of this format.
    pub(super) const FORMAT: &str = "milena-format";
    /// The only version there is.
    pub(super) const FORMAT_1: &str = "1";
    /// When the entry's own life ends, in ms since the Unix epoch; absent: never.
    pub(super) const EXPIRES_MS: &str = "milena-expires-ms";
    /// Names the write, so that one whose answer was lost can be recognised.
    pub(super) const WRITE_ID: &str = "milena-write-id";
    /// CRC32C of the value, 8 lowercase hex digits.
    pub(super) const CRC32C: &str = "milena-crc32c";
    /// The key, base64, where the object's name has only its hash.
    pub(super) const KEY: &str = "milena-key";
}

/// Where S3 is and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Config {
    /// `AWS_REGION`.
    pub region: String,
    /// `S3_BUCKET`.
    pub bucket: String,
    /// `S3_ENDPOINT`; `None` is AWS itself. Another endpoint is spoken to with path-style addresses and gets
    /// checksums only where S3 requires them, because not every store knows the newer ones.
    pub endpoint: Option<String>,
    /// `S3_PREFIX`; every object's name begins so.
    pub prefix: String,
    /// `S3_TIMEOUT`: how long one operation may take, with its retries and its body.
    pub timeout: Duration,
    /// `MAX_VALUE_BYTES`: an object over it is not read.
    pub value_bytes_max: usize,
    /// Who we are.
    pub credentials: S3Credentials,
}

/// Who we are to S3.
#[derive(Clone, PartialEq, Eq)]
pub enum S3Credentials {
    /// What the AWS chain finds: environment, profile, web identity, container or instance metadata.
    Chain,
    /// These. For the embedded endpoint of `milena dev` and of the tests.
    Static {
        /// The access key's id.
        access_key_id: String,
        /// Its secret.
        secret_access_key: String,
    },
}

impl std::fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Chain => "Chain",
            Self::Static { .. } => "Static",
        })
    }
}

/// The S3 tier.
#[derive(Debug)]
pub struct S3Store {
    client: Client,
    config: S3Config,
    clock: Clock,
    inflight: Semaphore,
}

impl S3Store {
    /// A client for S3. Asks nothing of it yet: the node starts while S3 is away.
    pub async fn new(config: S3Config, clock: Clock) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(config.timeout))
            .read_timeout(config.timeout / 2)
            .operation_attempt_timeout(config.timeout * 3 / 4)
            .operation_timeout(config.timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.region.clone()))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .timeout_config(timeouts);
        if let S3Credentials::Static {
            access_key_id,
            secret_access_key,
        } = &config.credentials
        {
            let credentials =
                Credentials::new(access_key_id, secret_access_key, None, None, "static");
            loader = loader.credentials_provider(credentials);
        }
        let mut builder = aws_sdk_s3::config::Builder::from(&loader.load().await);
        if let Some(endpoint) = &config.endpoint {
            builder = builder
                .endpoint_url(endpoint)
                .force_path_style(true)
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
            if is_on_this_machine(endpoint) {
                // Asked directly: a proxy that the environment names is for the world outside.
                builder = builder.http_client(HttpClient::new().build_http());
            }
        }
        let client = Client::from_conf(builder.build());
        Self {
            client,
            config,
            clock,
            inflight: Semaphore::new(REQUESTS_INFLIGHT_MAX),
        }
    }

    fn object_key(&self, key: &EntryKey) -> ObjectKey {
        object_key(&self.config.prefix, key)
    }

    /// Runs one operation when it is its turn, until `deadline` and for `S3_TIMEOUT` at most. The client's
    /// own time-outs do not cover the reading of a body, nor the wait for a turn.
    async fn within<T>(
        &self,
        deadline: Deadline,
        operation: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let deadline = deadline.min(self.clock.deadline_in(self.config.timeout));
        let in_turn = async {
            let _turn = self.inflight.acquire().await;
            operation.await
        };
        tokio::time::timeout_at(deadline.instant(), in_turn)
            .await
            .unwrap_or_else(|_| Err(Error::S3Error(Cause::new("no answer in time"))))
    }

    async fn fetch(&self, key: &EntryKey) -> Result<Option<Entry>> {
        let ObjectKey { name, is_hashed } = self.object_key(key);
        let request = self
            .client
            .get_object()
            .bucket(&self.config.bucket)
            .key(name);
        let object = match request.send().await {
            Ok(object) => object,
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(failure("GET", error)),
        };
        let expires_at = meta_of(&object, meta::EXPIRES_MS)
            .and_then(|ms| ms.parse().ok())
            .map(UnixMillis);
        if is_hashed
            && meta_of(&object, meta::KEY).is_some_and(|given| given != BASE64.encode(key.key()))
        {
            return Err(Error::S3Error(Cause::new(
                "the object of this key's hash holds another key",
            )));
        }
        if expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Ok(None);
        }
        let version = version_of(object.e_tag());
        let value = self.read_body(object).await?;
        Ok(Some(Entry {
            value,
            expires_at,
            fresh_until: None,
            version,
        }))
    }

    /// The whole body, its length and checksum checked.
    async fn read_body(&self, object: GetObjectOutput) -> Result<Bytes> {
        let crc32c =
            meta_of(&object, meta::CRC32C).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let bytes = object
            .content_length()
            .and_then(|bytes| usize::try_from(bytes).ok());
        let bytes =
            bytes.ok_or_else(|| Error::S3Error(Cause::new("GET: the answer has no length")))?;
        let limit = self.config.value_bytes_max;
        if bytes > limit {
            let text = format!(
                "the value has {bytes} bytes; a get gives at most {limit} (MAX_VALUE_BYTES)"
            );
            return Err(Error::InvalidInput(text));
        }
        let mut value = BytesMut::with_capacity(bytes);
        let mut body = object.body;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| {
                Error::S3Error(Cause::with_source("GET: the body broke off", error))
            })?;
            value.extend_from_slice(&chunk);
        }
        if value.len() != bytes {
            let text = format!(
                "GET: the body has {} bytes where {bytes} were promised",
                value.len()
            );
            return Err(Error::S3Error(Cause::new(text)));
        }
        if crc32c.is_some_and(|promised| promised != crc32c::crc32c(&value)) {
            return Err(Error::S3Error(Cause::new(
                "GET: the body does not match its checksum",
            )));
        }
        Ok(value.freeze())
    }

    async fn store(&self, key: &EntryKey, entry: Entry) -> Result<Version> {
        let ObjectKey { name, is_hashed } = self.object_key(key);
        let write_id = format!(
            "{:016x}{:016x}",
            self.clock.random_u64(),
            self.clock.random_u64()
        );
        let mut request = self
            .client
            .put_object()
            .bucket(&self.config.bucket)
            .key(&name)
            .metadata(meta::FORMAT, meta::FORMAT_1)
            .metadata(meta::WRITE_ID, &write_id)
            .metadata(
                meta::CRC32C,
                format!("{:08x}", crc32c::crc32c(&entry.value)),
            )
            .set_content_type(Some("application/octet-stream".to_owned()));
        if let Some(expires_at) = entry.expires_at {
            request = request.metadata(meta::EXPIRES_MS, expires_at.0.to_string());
        }
        if is_hashed {
            request = request.metadata(meta::KEY, BASE64.encode(key.key()));
        }
        match request.body(ByteStream::from(entry.value)).send().await {
            Ok(stored) => Ok(version_of(stored.e_tag())),
            Err(error) if is_conflict(&error) => {
                self.resolve_conflict(&name, &write_id, error).await
            }
            Err(error) => Err(failure("PUT", error)),
        }
    }

    /// A retry of a put met something: was it the attempt before it, whose answer was lost? The write id in
    /// the object tells.
    async fn resolve_conflict<
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    >(
        &self,
        name: &str,
        write_id: &str,
        conflict: SdkError<E>,
    ) -> Result<Version> {
        let request = self
            .client
            .head_object()
            .bucket(&self.config.bucket)
            .key(name);
        let object = request
            .send()
            .await
            .map_err(|error| failure("HEAD after a conflict", error))?;
        let found = object
            .metadata()
            .and_then(|metadata| metadata.get(meta::WRITE_ID));
        if found.is_some_and(|found| found == write_id) {
            Ok(version_of(object.e_tag()))
        } else {
            Err(failure("PUT", conflict))
        }
    }
}

/// Whether `endpoint` is plain HTTP on a loopback address, as that of `milena dev` is.
fn is_on_this_machine(endpoint: &str) -> bool {
    let Ok(uri) = endpoint.parse::<http::Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
    uri.scheme_str() == Some("http")
        && (host == "localhost" || ip.is_ok_and(|ip: IpAddr| ip.is_loopback()))
}

#[async_trait]
impl Store for S3Store {
    async fn get(&self, key: &EntryKey, deadline: Deadline) -> Result<Option<Entry>> {
        self.within(deadline, self.fetch(key)).await
    }

    async fn put(&self, key: &EntryKey, entry: Entry, deadline: Deadline) -> Result<Version> {
        self.within(deadline, self.store(key, entry)).await
    }

    async fn delete(&self, key: &EntryKey, deadline: Deadline) -> Result<()> {
        let request = self
            .client
            .delete_object()
            .bucket(&self.config.bucket)
            .key(self.object_key(key).name);
        let deletion = async {
            match request.send().await {
                Ok(_) => Ok(()),
                // Not every store answers a repeated delete with success.
                Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
                Err(error) => Err(failure("DELETE", error)),
            }
        };
        self.within(deadline, deletion).await
    }

    async fn check(&self, deadline: Deadline) -> Result<()> {
        let name = format!("{}{PROBE_NAME}", self.config.prefix);
        let request = self
            .client
            .get_object()
            .bucket(&self.config.bucket)
            .key(name);
        let probe = async {
            match request.send().await {
                Ok(_) => Ok(()),
                Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
                Err(error) => Err(failure("GET", error)),
            }
        };
        self.within(deadline, probe).await
    }

    fn stats(&self) -> StoreStats {
        // What is in S3 is S3's to count.
        StoreStats::default()
    }
}

fn meta_of<'a>(object: &'a GetObjectOutput, name: &str) -> Option<&'a str> {
    object
        .metadata()
        .and_then(|metadata: &HashMap<String, String>| metadata.get(name))
        .map(String::as_str)
}

/// The ETag without its quotes.
fn version_of(e_tag: Option<&str>) -> Version {
    Version::new(Bytes::copy_from_slice(
        e_tag.unwrap_or_default().trim_matches('"').as_bytes(),
    ))
}

/// 409 and 412: something else was or is at this object.
fn is_conflict<E>(error: &SdkError<E>) -> bool {
    error
        .raw_response()
        .is_some_and(|response| matches!(response.status().as_u16(), 409 | 412))
}

/// What a caller is told of a failed request. The full chain is the error's source, for the log.
fn failure<E>(verb: &str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let message = match &error {
        SdkError::TimeoutError(_) => format!("{verb}: no answer in time"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            format!("{verb}: no answer in time")
        }
        SdkError::DispatchFailure(failure) if failure.is_io() => {
            format!("{verb}: cannot be reached")
        }
        SdkError::ServiceError(refusal) => {
            let status = refusal.raw().status().as_u16();
            match error.code() {
                Some(code) => format!("{verb}: refused with {code} ({status})"),
                None => format!("{verb}: refused with status {status}"),
            }
        }
        _ => format!("{verb}: {}", DisplayErrorContext(&error)),
    };
    Error::S3Error(Cause::with_source(message, error))
}

#[cfg(test)]
mod tests {
    use super::is_on_this_machine;

    #[test]
    fn an_endpoint_on_this_machine_is_told_from_others() {
        for local in [
            "http://127.0.0.1:9000",
            "http://[::1]:9000",
            "http://localhost:9000/",
        ] {
            assert!(is_on_this_machine(local), "{local}");
        }
        for other in [
            "http://10.0.0.1:9000",
            "https://127.0.0.1:9000",
            "http://minio:9000",
            "",
        ] {
            assert!(!is_on_this_machine(other), "{other}");
        }
    }
}
