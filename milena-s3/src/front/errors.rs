//! What goes wrong in a store, as S3 says it.

use s3s::{S3Error, S3ErrorCode, s3_error};

use super::OBJECT_BYTES_MAX;
use crate::store::StoreError;
use crate::store::object::Algorithm;

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSuchBucket => {
                s3_error!(NoSuchBucket, "The specified bucket does not exist")
            }
            StoreError::BucketExists => s3_error!(
                BucketAlreadyOwnedByYou,
                "The bucket exists, and you own it already"
            ),
            StoreError::NoSuchKey => s3_error!(NoSuchKey, "The specified key does not exist."),
            StoreError::ConditionFailed => precondition_failed(),
            StoreError::Damaged(_) | StoreError::Io(_) => {
                tracing::error!(%error, "the store of the S3 endpoint failed");
                S3Error::with_message(S3ErrorCode::InternalError, error.to_string())
            }
        }
    }
}

/// 412: a condition of the request does not hold.
pub(super) fn precondition_failed() -> S3Error {
    s3_error!(
        PreconditionFailed,
        "At least one of the pre-conditions you specified did not hold"
    )
}

/// 400: the content is not the one whose checksum the client gave.
pub(super) fn digest_mismatch(algorithm: Algorithm) -> S3Error {
    s3_error!(
        BadDigest,
        "The {algorithm:?} you specified did not match the calculated checksum"
    )
}

/// 400: more than an object may have.
pub(super) fn too_large() -> S3Error {
    s3_error!(
        EntityTooLarge,
        "An object may have {OBJECT_BYTES_MAX} bytes at most"
    )
}
