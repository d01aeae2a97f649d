//! `DeleteObject` and `DeleteObjects`.

use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETagCondition, Error,
};
use s3s::{S3Error, S3Result, s3_error};

use super::{Front, bucket_name, conditions};

/// The most keys that one request may delete. S3's own limit.
const DELETED_KEYS_MAX: usize = 1_000;

impl Front {
    pub(super) async fn delete(&self, input: DeleteObjectInput) -> S3Result<DeleteObjectOutput> {
        let is_for_directory_buckets =
            input.if_match_size.is_some() || input.if_match_last_modified_time.is_some();
        if is_for_directory_buckets || input.version_id.is_some() {
            return Err(s3_error!(
                NotImplemented,
                "Deleting by version, size or date"
            ));
        }
        let bucket = bucket_name(&input.bucket)?;
        let condition = conditions::of_write(input.if_match, None)?;
        self.store.delete(&bucket, &input.key, condition).await?;
        Ok(DeleteObjectOutput::default())
    }

    pub(super) async fn delete_many(
        &self,
        input: DeleteObjectsInput,
    ) -> S3Result<DeleteObjectsOutput> {
        let objects = input.delete.objects;
        if objects.is_empty() || objects.len() > DELETED_KEYS_MAX {
            return Err(s3_error!(
                MalformedXML,
                "1 to {DELETED_KEYS_MAX} keys may be deleted at once"
            ));
        }
        self.bucket_must_exist(&input.bucket).await?;
        let bucket = bucket_name(&input.bucket)?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in objects {
            let condition = conditions::of_write(object.e_tag.map(ETagCondition::ETag), None)?;
            match self.store.delete(&bucket, &object.key, condition).await {
                Ok(()) => deleted.push(DeletedObject {
                    key: Some(object.key),
                    ..DeletedObject::default()
                }),
                Err(error) => errors.push(error_of(object.key, &error.into())),
            }
        }
        let is_quiet = input.delete.quiet.unwrap_or_default();
        Ok(DeleteObjectsOutput {
            deleted: (!is_quiet).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        })
    }
}

fn error_of(key: String, error: &S3Error) -> Error {
    Error {
        key: Some(key),
        code: Some(error.code().as_str().to_owned()),
        message: error.message().map(str::to_owned),
        ..Error::default()
    }
}
