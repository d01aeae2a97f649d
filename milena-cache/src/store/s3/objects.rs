//! Requests about objects by their names: what is known of one, a page of them, and writes that are made only
//! if an object is still the one that was seen.
//!
//! Knows no entries. Whoever calls decides what a condition that does not hold means. Every request is in a box:
//! with all that is awaited in it, it would be part of what calls it, and too deep a type for the compiler.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::EncodingType;
use bytes::Bytes;
use futures::FutureExt as _;
use milena_server::clock::{Deadline, UnixMillis};
use percent_encoding::percent_decode_str;

use super::failure::Failure;
use super::observer::{Outcome, Request};
use super::requests::{Attempt, Done};
use super::{S3Store, attempt, expiry_of, meta, outcome_of, version_of};
use crate::store::Version;

/// What is known of an object.
pub(super) struct Known {
    pub(super) version: Version,
    /// When the life of its entry ends; `None`: never.
    pub(super) expires_at: Option<UnixMillis>,
    /// The key in base64, if its metadata has it.
    pub(super) key_base64: Option<String>,
}

/// Some objects, in the order of their names.
pub(super) struct Page {
    pub(super) names: Vec<String>,
    /// Where the next page begins; `None`: this is the last one.
    pub(super) next: Option<String>,
}

/// When a write is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition<'a> {
    /// If there is no object.
    Absent,
    /// If the object is this one.
    Is(&'a Version),
}

/// How a conditional request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Conditional<T> {
    /// It was done.
    Done(T),
    /// The object is another one, or is not there: nothing was done.
    Refused,
}

impl S3Store {
    /// What is known of the object called `name`; `None`: it is not there.
    pub(super) async fn head(
        &self,
        name: &str,
        deadline: Deadline,
    ) -> Result<Option<Known>, Failure> {
        let attempt = || async {
            let request = self
                .client
                .head_object()
                .bucket(&self.config.bucket)
                .key(name);
            let found = attempt::answer_of_head(self.limits.first_byte, request.send()).await?;
            let known = found.as_ref().map(|found| Known {
                version: version_of(found.e_tag()),
                expires_at: expiry_of(found.metadata()),
                key_base64: found
                    .metadata()
                    .and_then(|metadata| metadata.get(meta::KEY).cloned()),
            });
            Ok(Done::new(outcome_of(&found), known))
        };
        let head = self.requests.run(Request::Head, deadline, attempt);
        head.boxed().await
    }

    /// A page of the names under our prefix.
    pub(super) async fn list(
        &self,
        from: Option<&str>,
        deadline: Deadline,
    ) -> Result<Page, Failure> {
        let attempt = || async {
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.config.bucket)
                .prefix(&self.config.prefix)
                // Others' names may hold what cannot be in XML.
                .encoding_type(EncodingType::Url)
                .set_continuation_token(from.map(str::to_owned));
            let limit = self.limits.first_byte;
            let Some(page) = attempt::answer("LIST", limit, request.send()).await? else {
                let text = "LIST: refused with NoSuchKey";
                return Err(Failure::new(Outcome::Refused, text));
            };
            let names = page.contents().iter().filter_map(|object| {
                let name = percent_decode_str(object.key()?).decode_utf8().ok()?;
                Some(name.into_owned())
            });
            let next = page.next_continuation_token();
            let is_last = page.is_truncated() != Some(true);
            let page = Page {
                names: names.collect(),
                next: next.filter(|_| !is_last).map(str::to_owned),
            };
            Ok(Done::new(Outcome::Ok, page))
        };
        let list = self.requests.run(Request::List, deadline, attempt);
        list.boxed().await
    }

    /// Removes the object called `name`, if it is `version`.
    pub(super) async fn delete_if(
        &self,
        name: &str,
        version: &Version,
        deadline: Deadline,
    ) -> Result<Conditional<()>, Failure> {
        let attempt = || async {
            let request = self
                .client
                .delete_object()
                .bucket(&self.config.bucket)
                .key(name)
                .if_match(quoted(version));
            let deleted = attempt::answer("DELETE", self.limits.first_byte, request.send()).await?;
            Ok(Done::new(outcome_of(&deleted), deleted.map(drop)))
        };
        let delete = self.requests.run(Request::Delete, deadline, attempt);
        conditional(delete.boxed().await)
    }

    /// Makes `content` the object called `name`, under a condition; gives its version.
    pub(super) async fn put_if(
        &self,
        name: &str,
        condition: Condition<'_>,
        content: &Bytes,
        deadline: Deadline,
    ) -> Result<Conditional<Version>, Failure> {
        let attempt = || async {
            let request = self
                .client
                .put_object()
                .bucket(&self.config.bucket)
                .key(name)
                .content_type("text/plain")
                .body(ByteStream::from(content.clone()));
            let request = match condition {
                Condition::Absent => request.if_none_match("*"),
                Condition::Is(version) => request.if_match(quoted(version)),
            };
            let stored = attempt::answer("PUT", self.limits.first_byte, request.send()).await?;
            let version = stored.as_ref().map(|stored| version_of(stored.e_tag()));
            Ok(Done::new(outcome_of(&stored), version))
        };
        let put = self.requests.run(Request::Put, deadline, attempt);
        conditional(put.boxed().await)
    }

    /// The content of a small object of our own, with its version; `None`: it is not there.
    pub(super) async fn get_own(
        &self,
        name: &str,
        deadline: Deadline,
    ) -> Result<Option<(Bytes, Version)>, Failure> {
        let get = || async { self.fetch_own(name).await };
        let get = self.requests.run(Request::Get, deadline, get);
        get.boxed().await
    }

    async fn fetch_own(&self, name: &str) -> Attempt<Option<(Bytes, Version)>> {
        let request = self
            .client
            .get_object()
            .bucket(&self.config.bucket)
            .key(name);
        let found = attempt::answer("GET", self.limits.first_byte, request.send()).await?;
        let outcome = outcome_of(&found);
        let Some(found) = found else {
            return Ok(Done::new(outcome, None));
        };
        let version = version_of(found.e_tag());
        let content = self.read_body(found).await?;
        Ok(Done::new(outcome, Some((content, version))))
    }
}

/// Of a conditional request, S3 says with 404, 409 or 412 that the condition does not hold.
fn conditional<T>(ended: Result<Option<T>, Failure>) -> Result<Conditional<T>, Failure> {
    match ended {
        Ok(Some(done)) => Ok(Conditional::Done(done)),
        Ok(None) => Ok(Conditional::Refused),
        Err(failure) if failure.outcome == Outcome::Conflict => Ok(Conditional::Refused),
        Err(failure) => Err(failure),
    }
}

/// The version as the header has it.
fn quoted(version: &Version) -> String {
    format!("\"{}\"", String::from_utf8_lossy(version.as_bytes()))
}
