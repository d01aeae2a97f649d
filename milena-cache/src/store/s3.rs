//! The S3 tier: every entry an object in one S3 bucket.
//!
//! One request each: a get is one GET, a put one PUT, a delete one DELETE, and what `requests.rs` retries.
//! Objects that others wrote are served as they are. Invariants: only S3's own NoSuchKey is a miss, every
//! other failure is an error; nothing leaves this file whose length and checksum were not checked.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline, UnixMillis};

pub use self::client::{S3Config, S3Credentials};
use self::expired::Expired;
use self::failure::Failure;
pub use self::lease::{Lease, LeaseAnswer};
use self::object_key::{ObjectKey, object_key};
use self::observer::{Observer, Outcome, Request};
use self::requests::{Attempt, Done, ProbeRequest, Requests};
pub use self::sweep::{Examined, Sweep};
use self::time_limits::TimeLimits;
use super::{Entry, Revalidated, Store, StoreStats, Version, crc32c};
use crate::error::{Error, Result};

mod attempt;
mod breaker;
mod budget;
mod client;
mod credentials;
mod dates;
pub mod doctor;
mod expired;
mod failure;
mod hedge;
mod lease;
mod limiter;
pub mod object_key;
mod objects;
pub mod observer;
mod requests;
mod sweep;
mod time_limits;

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

/// The S3 tier.
pub struct S3Store {
    client: Client,
    config: S3Config,
    limits: TimeLimits,
    requests: Arc<Requests>,
    clock: Clock,
    observer: Arc<dyn Observer>,
    expired: Expired,
}

impl S3Store {
    /// A client for S3. Asks nothing of it yet: the node starts while S3 is away.
    pub async fn new(config: S3Config, clock: Clock) -> Self {
        Self::new_observed(config, clock, Arc::new(())).await
    }

    /// As [`S3Store::new`], with somebody who is told what goes on.
    pub async fn new_observed(config: S3Config, clock: Clock, observer: Arc<dyn Observer>) -> Self {
        let limits = TimeLimits::within(config.timeout);
        let client = client::client(&config, &limits).await;
        let probe = probe_request(&client, &config, limits);
        Self {
            requests: Requests::new(
                limits,
                config.hedges_gets,
                probe,
                clock.clone(),
                Arc::clone(&observer),
            ),
            client,
            config,
            limits,
            clock,
            observer,
            expired: Expired::new(),
        }
    }

    /// Waits until no probe of its own is under way.
    pub async fn finish(&self) {
        self.requests.finish().await;
    }

    fn object_key(&self, key: &EntryKey) -> ObjectKey {
        object_key(&self.config.prefix, key)
    }

    /// What the object holds. With the ETag of a copy, its value is sent only if it is another one.
    async fn fetch(
        &self,
        key: &EntryKey,
        object: &ObjectKey,
        copy: Option<&str>,
    ) -> Attempt<Option<Entry>> {
        let request = self
            .client
            .get_object()
            .bucket(&self.config.bucket)
            .key(&object.name)
            .set_if_none_match(copy.map(|e_tag| format!("\"{e_tag}\"")));
        let Some(found) = attempt::answer("GET", self.limits.first_byte, request.send()).await?
        else {
            return Ok(Done::new(Outcome::NotFound, None));
        };
        let expires_at = expiry_of(found.metadata());
        if object.is_hashed
            && meta_of(&found, meta::KEY).is_some_and(|given| given != BASE64.encode(key.key()))
        {
            let text = "the object of this key's hash holds another key";
            return Err(Failure::new(Outcome::Unusable, text));
        }
        if expires_at.is_some_and(|end| end <= self.clock.now()) {
            self.expired.tell(key);
            return Ok(Done::new(Outcome::Ok, None));
        }
        let version = version_of(found.e_tag());
        let entry = Entry {
            expires_at,
            version,
            ..Entry::new(self.read_body(found).await?)
        };
        let bytes = entry.value.len();
        Ok(Done::new(Outcome::Ok, Some(entry)).with_body(bytes))
    }

    /// The whole body, its length and checksum checked.
    async fn read_body(&self, object: GetObjectOutput) -> Result<Bytes, Failure> {
        let crc32c =
            meta_of(&object, meta::CRC32C).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let bytes = object
            .content_length()
            .and_then(|bytes| usize::try_from(bytes).ok());
        let Some(bytes) = bytes else {
            let text = "GET: the answer has no length";
            return Err(Failure::new(Outcome::Damaged, text));
        };
        let limit = self.config.value_bytes_max;
        if bytes > limit {
            let text = format!(
                "the value has {bytes} bytes; a get gives at most {limit} (MAX_VALUE_BYTES)"
            );
            return Err(Failure {
                error: Error::InvalidInput(text),
                ..Failure::new(Outcome::Unusable, "too long")
            });
        }
        let (limits, observer) = (&self.limits, &*self.observer);
        let value = attempt::read_body(object.body, bytes, limits, &self.clock, observer).await?;
        if crc32c.is_some_and(|promised| promised != crc32c::of(&value)) {
            let text = "GET: the body does not match its checksum";
            return Err(Failure::new(Outcome::Damaged, text));
        }
        Ok(value)
    }

    async fn store(&self, key: &EntryKey, entry: &Entry, deadline: Deadline) -> Result<Version> {
        let ObjectKey { name, is_hashed } = self.object_key(key);
        let write_id = format!(
            "{:016x}{:016x}",
            self.clock.random_u64(),
            self.clock.random_u64()
        );
        let mut metadata = HashMap::from([
            (meta::FORMAT.to_owned(), meta::FORMAT_1.to_owned()),
            (meta::WRITE_ID.to_owned(), write_id.clone()),
            (
                meta::CRC32C.to_owned(),
                format!("{:08x}", crc32c::of(&entry.value)),
            ),
        ]);
        if let Some(expires_at) = entry.expires_at {
            metadata.insert(meta::EXPIRES_MS.to_owned(), expires_at.0.to_string());
        }
        if is_hashed {
            metadata.insert(meta::KEY.to_owned(), BASE64.encode(key.key()));
        }
        let put = || self.send_put(&name, metadata.clone(), entry.value.clone());
        match self.requests.run(Request::Put, deadline, put).await {
            Ok(version) => Ok(version),
            Err(failure) if failure.outcome == Outcome::Conflict => {
                self.resolve_conflict(&name, &write_id, failure, deadline)
                    .await
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn send_put(
        &self,
        name: &str,
        metadata: HashMap<String, String>,
        value: Bytes,
    ) -> Attempt<Version> {
        let bytes = value.len();
        let limit = self.limits.first_byte_after(bytes);
        self.observer.sent(bytes);
        let request = self
            .client
            .put_object()
            .bucket(&self.config.bucket)
            .key(name)
            .set_metadata(Some(metadata))
            .content_type("application/octet-stream")
            .body(ByteStream::from(value));
        let sending = request.send();
        match attempt::answer("PUT", limit, sending).await? {
            Some(stored) => Ok(Done::new(Outcome::Ok, version_of(stored.e_tag())).with_body(bytes)),
            None => Err(Failure::new(
                Outcome::Refused,
                "PUT: refused with NoSuchKey",
            )),
        }
    }

    /// A put met something: was it an attempt of its own, whose answer was lost? The write id in the object
    /// tells.
    async fn resolve_conflict(
        &self,
        name: &str,
        write_id: &str,
        conflict: Failure,
        deadline: Deadline,
    ) -> Result<Version> {
        let head = || async {
            let request = self
                .client
                .head_object()
                .bucket(&self.config.bucket)
                .key(name);
            let limit = self.limits.first_byte;
            let found = attempt::answer("HEAD after a conflict", limit, request.send()).await?;
            Ok(Done::new(outcome_of(&found), found))
        };
        let found = self.requests.run(Request::Head, deadline, head).await?;
        let is_ours = |id: &String| id == write_id;
        match found {
            Some(object)
                if object
                    .metadata()
                    .and_then(|metadata| metadata.get(meta::WRITE_ID))
                    .is_some_and(is_ours) =>
            {
                Ok(version_of(object.e_tag()))
            }
            _ => Err(conflict.into()),
        }
    }

    async fn send_delete(&self, name: &str) -> Attempt<()> {
        let request = self
            .client
            .delete_object()
            .bucket(&self.config.bucket)
            .key(name);
        // Not every store answers a repeated delete with success.
        let deleted = attempt::answer("DELETE", self.limits.first_byte, request.send()).await?;
        Ok(Done::new(outcome_of(&deleted), ()))
    }
}

/// Asks for an object that is not there.
fn probe_request(client: &Client, config: &S3Config, limits: TimeLimits) -> ProbeRequest {
    let name = config.own_object(PROBE_NAME);
    let request = client.get_object().bucket(&config.bucket).key(name);
    Box::new(move || {
        let request = request.clone();
        Box::pin(async move {
            let found = attempt::answer("GET", limits.first_byte, request.send()).await?;
            Ok(Done::new(outcome_of(&found), ()))
        })
    })
}

#[async_trait]
impl Store for S3Store {
    async fn get(&self, key: &EntryKey, deadline: Deadline) -> Result<Option<Entry>> {
        let (object, deadline) = (self.object_key(key), self.requests.deadline(deadline));
        let get = || self.fetch(key, &object, None);
        Ok(self.requests.run(Request::Get, deadline, get).await?)
    }

    async fn get_if_changed(
        &self,
        key: &EntryKey,
        version: &Version,
        deadline: Deadline,
    ) -> Result<Revalidated> {
        let (object, deadline) = (self.object_key(key), self.requests.deadline(deadline));
        let e_tag = std::str::from_utf8(version.as_bytes());
        let e_tag = e_tag.ok().filter(|e_tag| !e_tag.is_empty());
        let get = || async {
            match self.fetch(key, &object, e_tag).await {
                Err(failure) if failure.outcome == Outcome::NotModified => {
                    Ok(Done::new(Outcome::NotModified, Revalidated::Unchanged))
                }
                other => other.map(|done| done.map(Revalidated::Changed)),
            }
        };
        Ok(self.requests.run(Request::Get, deadline, get).await?)
    }

    async fn put(&self, key: &EntryKey, entry: Entry, deadline: Deadline) -> Result<Version> {
        self.store(key, &entry, self.requests.deadline(deadline))
            .await
    }

    async fn delete(&self, key: &EntryKey, deadline: Deadline) -> Result<()> {
        let (object, deadline) = (self.object_key(key), self.requests.deadline(deadline));
        let delete = || self.send_delete(&object.name);
        Ok(self.requests.run(Request::Delete, deadline, delete).await?)
    }

    async fn remove_expired(&self, key: &EntryKey, deadline: Deadline) -> Result<bool> {
        let (object, deadline) = (self.object_key(key), self.requests.deadline(deadline));
        self.remove_if_expired(&object.name, deadline).await
    }

    async fn check(&self, deadline: Deadline) -> Result<()> {
        let deadline = self.requests.deadline(deadline);
        Ok(self.requests.check(deadline).await?)
    }

    fn stats(&self) -> StoreStats {
        // What is in S3 is S3's to count.
        StoreStats {
            expired: self.expired.removed(),
            ..StoreStats::default()
        }
    }
}

fn outcome_of<T>(answer: &Option<T>) -> Outcome {
    if answer.is_some() {
        Outcome::Ok
    } else {
        Outcome::NotFound
    }
}

/// When the life of an object ends that has this metadata; `None`: never.
fn expiry_of(metadata: Option<&HashMap<String, String>>) -> Option<UnixMillis> {
    let text = metadata?.get(meta::EXPIRES_MS)?;
    text.parse().ok().map(UnixMillis)
}

fn meta_of<'a>(object: &'a GetObjectOutput, name: &str) -> Option<&'a str> {
    object
        .metadata()
        .and_then(|metadata: &HashMap<String, String>| metadata.get(name))
        .map(String::as_str)
}

/// The ETag without its quotes.
fn version_of(e_tag: Option<&str>) -> Version {
    Version::new(e_tag.unwrap_or_default().trim_matches('"').as_bytes())
}
