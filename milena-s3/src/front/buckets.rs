//! Buckets: make, find, list.

use s3s::S3Result;
use s3s::dto::{
    Bucket, CreateBucketInput, CreateBucketOutput, HeadBucketInput, HeadBucketOutput,
    ListBucketsOutput,
};

use super::{Front, bucket_name, timestamp};
use crate::store::StoreError;

impl Front {
    pub(super) async fn make_bucket(
        &self,
        input: &CreateBucketInput,
    ) -> S3Result<CreateBucketOutput> {
        let bucket = bucket_name(&input.bucket)?;
        self.store.create_bucket(&bucket, self.clock.now()).await?;
        Ok(CreateBucketOutput {
            location: Some(format!("/{}", input.bucket)),
        })
    }

    pub(super) async fn find_bucket(&self, input: &HeadBucketInput) -> S3Result<HeadBucketOutput> {
        self.bucket_must_exist(&input.bucket).await?;
        Ok(HeadBucketOutput::default())
    }

    pub(super) async fn all_buckets(&self) -> S3Result<ListBucketsOutput> {
        let buckets = self.store.buckets().await?.into_iter();
        let buckets = buckets.map(|(name, created)| Bucket {
            name: Some(name.as_str().to_owned()),
            creation_date: Some(timestamp(created.0)),
            ..Bucket::default()
        });
        Ok(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            ..ListBucketsOutput::default()
        })
    }

    /// Fails as S3 does when the bucket is not there.
    pub(super) async fn bucket_must_exist(&self, name: &str) -> S3Result<()> {
        let wanted = bucket_name(name)?;
        let buckets = self.store.buckets().await?;
        let found = buckets.iter().any(|(name, _)| *name == wanted);
        Ok(found.then_some(()).ok_or(StoreError::NoSuchBucket)?)
    }
}
