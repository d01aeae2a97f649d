//! The requests of an examination, each about its one object.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::primitives::ByteStream;

use super::super::attempt;
use super::super::failure::Failure;
use super::super::observer::Outcome;
use super::{CONTENT, Doctor};

/// Under which condition a put is made.
pub(super) enum If<'a> {
    Nothing,
    Absent,
    Is(&'a str),
}

impl Doctor {
    pub(super) async fn send_get(&self) -> Result<Option<GetObjectOutput>, Failure> {
        let get = self.client.get_object().bucket(&self.store.config.bucket);
        let sending = get.key(&self.name).send();
        attempt::answer("GET", self.store.limits.first_byte, sending).await
    }

    pub(super) async fn read(&self) -> Result<Vec<u8>, Failure> {
        let Some(found) = self.send_get().await? else {
            return Err(Failure::new(Outcome::Refused, "GET: it is not there"));
        };
        let collecting = tokio::time::timeout(self.store.limits.first_byte, found.body.collect());
        match collecting.await {
            Ok(Ok(content)) => Ok(content.to_vec()),
            Ok(Err(error)) => Err(Failure::new(
                Outcome::Broken,
                format!("GET: the body broke off: {error}"),
            )),
            Err(_) => Err(Failure::new(Outcome::Timeout, "GET: the body stalls")),
        }
    }

    pub(super) async fn send_put(&self, condition: If<'_>) -> Result<PutObjectOutput, Failure> {
        let put = self.client.put_object().bucket(&self.store.config.bucket);
        let put = put.key(&self.name).content_type("text/plain");
        let put = match condition {
            If::Nothing => put,
            If::Absent => put.if_none_match("*"),
            If::Is(version) => put.if_match(version),
        };
        let sending = put.body(ByteStream::from_static(CONTENT)).send();
        let stored = attempt::answer("PUT", self.store.limits.first_byte, sending).await?;
        stored.ok_or_else(|| Failure::new(Outcome::Refused, "PUT: refused with NoSuchKey"))
    }

    pub(super) async fn send_delete(&self) -> Result<(), Failure> {
        let delete = self
            .client
            .delete_object()
            .bucket(&self.store.config.bucket);
        let sending = delete.key(&self.name).send();
        let answer = attempt::answer("DELETE", self.store.limits.first_byte, sending).await?;
        answer
            .map(drop)
            .ok_or_else(|| Failure::new(Outcome::Refused, "DELETE: it is not there"))
    }
}
