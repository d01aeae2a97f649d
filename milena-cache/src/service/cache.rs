//! The service `cache_server.Cache`: from the wire to the operations and back.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use milena_cluster::key::EntryKey;
use milena_protos::STALE_METADATA;
use milena_protos::cache_server::cache_server::Cache;
use milena_protos::cache_server::{
    DeleteRequest, DeleteResponse, FlushRequest, FlushResponse, GetRequest, GetResponse,
    PutRequest, PutResponse,
};
use milena_server::clock::Clock;
use milena_server::grpc::answer_due;
use milena_server::metrics::Outcome;
use milena_server::rate_limit::RateLimit;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use super::status::status;
use super::{ack, flush, life};
use crate::error::{Error, Result};
use crate::metrics::{Metrics, Op};
use crate::operation::{Operation, PutOptions};

/// The service `cache_server.Cache`.
pub struct CacheService {
    operation: Operation,
    rate_limit: RateLimit,
    value_bytes_max: usize,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl CacheService {
    /// Serves `operation`, values of up to `value_bytes_max` bytes.
    #[must_use]
    pub fn new(
        operation: Operation,
        rate_limit: RateLimit,
        value_bytes_max: usize,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        Self {
            operation,
            rate_limit,
            value_bytes_max,
            metrics,
            clock,
        }
    }

    /// The longest value, in bytes.
    #[must_use]
    pub fn value_bytes_max(&self) -> usize {
        self.value_bytes_max
    }

    /// Awaits `call`, counts how it ended, and puts its result as the wire has it.
    async fn answer<T>(
        &self,
        op: Op,
        call: impl Future<Output = Result<T>>,
    ) -> Result<Response<T>, Status> {
        let result = call.await;
        self.metrics.count_request(op, outcome_of(&result));
        result.map(Response::new).map_err(|error| {
            self.metrics.count_error(&error);
            status(&error, &self.clock)
        })
    }

    fn check_value(&self, value: &Bytes) -> Result<()> {
        let (bytes, bytes_max) = (value.len(), self.value_bytes_max);
        if bytes <= bytes_max {
            return Ok(());
        }
        let text =
            format!("value has {bytes} bytes; expected at most {bytes_max} (MAX_VALUE_BYTES)");
        Err(Error::InvalidInput(text))
    }
}

#[tonic::async_trait]
impl Cache for CacheService {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let deadline = answer_due(&request, &self.clock);
        let GetRequest { key, bucket } = request.into_inner();
        let call = async {
            self.rate_limit.admit()?;
            let found = self
                .operation
                .get(&EntryKey::new(&bucket, &key)?, deadline)
                .await?;
            found.ok_or(Error::KeyNotFound)
        };
        let found = self.answer(Op::Get, call).await?.into_inner();
        let mut answer = Response::new(GetResponse {
            successful: true,
            value: found.value,
        });
        if found.needs_revalidation {
            let metadata = answer.metadata_mut();
            metadata.insert(STALE_METADATA, MetadataValue::from_static("true"));
        }
        Ok(answer)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let deadline = answer_due(&request, &self.clock);
        let PutRequest {
            key,
            bucket,
            value,
            ttl_seconds,
            ack,
        } = request.into_inner();
        let call = async {
            self.rate_limit.admit()?;
            let key = EntryKey::new(&bucket, &key)?;
            self.check_value(&value)?;
            let options = PutOptions {
                life: life::of_seconds(ttl_seconds)?,
                ack: ack::of_wire(ack)?,
            };
            self.operation.put(key, value, options, deadline).await?;
            Ok(PutResponse { successful: true })
        };
        self.answer(Op::Put, call).await
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        let deadline = answer_due(&request, &self.clock);
        let DeleteRequest { key, bucket } = request.into_inner();
        let call = async {
            self.rate_limit.admit()?;
            self.operation
                .delete(EntryKey::new(&bucket, &key)?, deadline)
                .await?;
            Ok(DeleteResponse { successful: true })
        };
        self.answer(Op::Delete, call).await
    }

    /// Does not count against the rate limit: an operator gets through when callers are too many.
    async fn flush(
        &self,
        request: Request<FlushRequest>,
    ) -> Result<Response<FlushResponse>, Status> {
        let due = answer_due(&request, &self.clock);
        let wait_end = flush::wait_end(request.get_ref().wait_ms, due, &self.clock);
        let call = async {
            let left = self.operation.flush(wait_end).await;
            Ok(FlushResponse {
                entries: left.entries,
                bytes: left.bytes,
            })
        };
        self.answer(Op::Flush, call).await
    }
}

fn outcome_of<T>(result: &Result<T>) -> Outcome {
    match result {
        Ok(_) => Outcome::Ok,
        Err(Error::KeyNotFound) => Outcome::NotFound,
        Err(Error::InvalidInput(_)) => Outcome::Invalid,
        Err(Error::RateLimitExceeded { .. }) => Outcome::RateLimited,
        Err(Error::S3Error(_) | Error::RouterError(_)) => Outcome::Unavailable,
        Err(Error::StoreError(_) | Error::InternalError(_)) => Outcome::Error,
    }
}
