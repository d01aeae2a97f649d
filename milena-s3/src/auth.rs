//! The one pair of keys that requests are signed with.

use std::fmt;

use async_trait::async_trait;
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

/// An access key and its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Says who signs.
    pub access_key_id: String,
    /// Signs.
    pub secret_access_key: String,
}

impl Credentials {
    /// The pair that `milena dev` and the tests use; no secret, so for 127.0.0.1 only.
    #[must_use]
    pub fn development() -> Self {
        Self {
            access_key_id: "milena".to_owned(),
            secret_access_key: "milena-development".to_owned(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl S3Auth for Credentials {
    async fn get_secret_key(&self, access_key_id: &str) -> S3Result<SecretKey> {
        if access_key_id == self.access_key_id {
            Ok(self.secret_access_key.clone().into())
        } else {
            Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            ))
        }
    }
}
