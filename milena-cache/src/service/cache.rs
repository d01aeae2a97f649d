//! The service `cache_server.Cache`: from the wire to the operations and back. What a method does stands here
//! once, for tonic and for the direct path.

use std::sync::Arc;

use bytes::Bytes;
use milena_cluster::key::EntryKey;
use milena_protos::STALE_METADATA;
use milena_protos::cache_server::cache_server::Cache;
use milena_protos::cache_server::{
    DeleteRequest, DeleteResponse, FlushRequest, FlushResponse, GetRequest, GetResponse,
    PutRequest, PutResponse,
};
use milena_server::clock::{Clock, Deadline};
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

/// What a get has found.
pub(super) struct Found {
    pub(super) value: Bytes,
    /// S3 failed, and the value is a copy whose time has passed.
    pub(super) is_stale: bool,
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

    /// The clock that callers' deadlines are measured by.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Answers a get that the fastest tier can answer at once, unless requests are limited; `None`: [`Self::find`]
    /// does.
    pub(super) fn find_now(&self, bucket: &str, key: &[u8]) -> Option<Found> {
        if self.rate_limit.is_set() {
            return None;
        }
        let key = EntryKey::new(bucket, key).ok()?;
        let entry = self.operation.get_now(&key)?;
        self.metrics.count_request(Op::Get, Outcome::Ok);
        Some(Found {
            value: entry.value,
            is_stale: false,
        })
    }

    /// Answers a get by `due`.
    pub(super) async fn find(
        &self,
        request: GetRequest,
        due: Option<Deadline>,
    ) -> Result<Found, Status> {
        let GetRequest { key, bucket } = request;
        let call = async {
            self.rate_limit.admit()?;
            let key = EntryKey::new(&bucket, &key)?;
            let found = self.operation.get(&key, due).await?;
            let entry = found.ok_or(Error::KeyNotFound)?;
            Ok(Found {
                value: entry.value,
                is_stale: entry.needs_revalidation,
            })
        };
        self.answer(Op::Get, call.await)
    }

    /// Answers a put by `due`.
    pub(super) async fn store(
        &self,
        request: PutRequest,
        due: Option<Deadline>,
    ) -> Result<PutResponse, Status> {
        let PutRequest {
            key,
            bucket,
            value,
            ttl_seconds,
            ack,
        } = request;
        let call = async {
            self.rate_limit.admit()?;
            let key = EntryKey::new(&bucket, &key)?;
            self.check_value(&value)?;
            let options = PutOptions {
                life: life::of_seconds(ttl_seconds)?,
                ack: ack::of_wire(ack)?,
            };
            self.operation.put(key, value, options, due).await?;
            Ok(PutResponse { successful: true })
        };
        self.answer(Op::Put, call.await)
    }

    /// Answers a delete by `due`.
    pub(super) async fn remove(
        &self,
        request: DeleteRequest,
        due: Option<Deadline>,
    ) -> Result<DeleteResponse, Status> {
        let DeleteRequest { key, bucket } = request;
        let call = async {
            self.rate_limit.admit()?;
            let key = EntryKey::new(&bucket, &key)?;
            self.operation.delete(key, due).await?;
            Ok(DeleteResponse { successful: true })
        };
        self.answer(Op::Delete, call.await)
    }

    /// Counts how a call has ended, and puts its error as the wire has it.
    fn answer<T>(&self, op: Op, result: Result<T>) -> Result<T, Status> {
        self.metrics.count_request(op, outcome_of(&result));
        result.map_err(|error| {
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
        let due = answer_due(&request, &self.clock);
        let found = self.find(request.into_inner(), due).await?;
        let mut answer = Response::new(GetResponse {
            successful: true,
            value: found.value,
        });
        if found.is_stale {
            let metadata = answer.metadata_mut();
            metadata.insert(STALE_METADATA, MetadataValue::from_static("true"));
        }
        Ok(answer)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let due = answer_due(&request, &self.clock);
        self.store(request.into_inner(), due)
            .await
            .map(Response::new)
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        let due = answer_due(&request, &self.clock);
        self.remove(request.into_inner(), due)
            .await
            .map(Response::new)
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
        self.answer(Op::Flush, call.await).map(Response::new)
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
