//! The service `Router`: messages in, messages out.
//!
//! Checks what a message holds; everything behind it may rely on that. Join, Leave and Flush do not count
//! against the rate limit: nodes and operators must get through when callers are too many.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use milena_client::raw::{RawAnswer, Verb};
use milena_client::{Ack, Address, PutOptions};
use milena_cluster::key::EntryKey;
use milena_h2::WireMessage;
use milena_protos::STALE_METADATA;
use milena_protos::router_server::router_server::Router;
use milena_protos::router_server::{
    DeleteRequest, DeleteResponse, FlushRequest, FlushResponse, GetRequest, GetResponse,
    JoinRequest, JoinResponse, LeaveRequest, LeaveResponse, PutRequest, PutResponse,
};
use milena_server::clock::{Clock, Deadline};
use milena_server::grpc::{answer_due, answer_due_within};
use milena_server::metrics::Outcome;
use milena_server::rate_limit::RateLimit;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use super::looked_at::LookedAt;
use super::status::{outcome_of, status_of};
use crate::error::{Error, Result};
use crate::forward::{Forward, op_of};
use crate::membership::Membership;
use crate::metrics::{Metrics, Op};

/// How long a call may take whose caller gave no deadline.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// What the wire gets.
type Answer<T> = std::result::Result<Response<T>, Status>;

/// What the service needs.
pub struct RouterService {
    /// Where gets, puts and deletes go.
    pub forward: Forward,
    /// Where joins and leaves go.
    pub membership: Arc<Membership>,
    /// How many gets, puts and deletes are let through.
    pub rate_limit: RateLimit,
    /// The longest value that a put may have.
    pub value_bytes_max: usize,
    /// What happened is counted here.
    pub metrics: Arc<Metrics>,
    /// Counts down the deadlines.
    pub clock: Clock,
}

#[tonic::async_trait]
impl Router for RouterService {
    async fn get(&self, request: Request<GetRequest>) -> Answer<GetResponse> {
        let deadline = self.due(&request);
        let GetRequest { key, bucket } = request.into_inner();
        let answer = self.answer(Op::Get, async {
            let key = self.admit(&bucket, &key)?;
            let found = self.forward.get(&key, deadline).await?;
            found.ok_or(Error::KeyNotFound)
        });
        let found = answer.await?;
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

    async fn put(&self, request: Request<PutRequest>) -> Answer<PutResponse> {
        let deadline = self.due(&request);
        let PutRequest {
            key,
            bucket,
            value,
            ttl_seconds,
            ack,
        } = request.into_inner();
        self.answer(Op::Put, async {
            let key = self.admit(&bucket, &key)?;
            let options = PutOptions {
                // Its limits are the node's to check.
                life: ttl_seconds.map(Duration::from_secs),
                ack: self.check_put(value.len(), ack.unwrap_or_default())?,
            };
            self.forward.put(&key, value, options, deadline).await?;
            Ok(PutResponse { successful: true })
        })
        .await
        .map(Response::new)
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Answer<DeleteResponse> {
        let deadline = self.due(&request);
        let DeleteRequest { key, bucket } = request.into_inner();
        self.answer(Op::Delete, async {
            let key = self.admit(&bucket, &key)?;
            self.forward.delete(&key, deadline).await?;
            Ok(DeleteResponse { successful: true })
        })
        .await
        .map(Response::new)
    }

    async fn join(&self, request: Request<JoinRequest>) -> Answer<JoinResponse> {
        self.answer(Op::Join, async {
            let node = Address::parse(&request.get_ref().address)?;
            self.membership.join(&node).await?;
            Ok(JoinResponse { successful: true })
        })
        .await
        .map(Response::new)
    }

    async fn leave(&self, request: Request<LeaveRequest>) -> Answer<LeaveResponse> {
        self.answer(Op::Leave, async {
            let node = Address::parse(&request.get_ref().address)?;
            self.membership.leave(&node).await?;
            Ok(LeaveResponse { successful: true })
        })
        .await
        .map(Response::new)
    }

    async fn flush(&self, request: Request<FlushRequest>) -> Answer<FlushResponse> {
        let deadline = self.due(&request);
        // Its limit is the node's to apply.
        let wait = Duration::from_millis(request.get_ref().wait_ms.into());
        self.answer(Op::Flush, async {
            let left = self.forward.flush(wait, deadline).await?;
            Ok(FlushResponse {
                entries: left.entries,
                bytes: left.bytes,
            })
        })
        .await
        .map(Response::new)
    }
}

impl RouterService {
    /// When the call of `request`, which has just arrived, is given up.
    fn due<T>(&self, request: &Request<T>) -> Deadline {
        answer_due(request, &self.clock).unwrap_or_else(|| self.due_within(None))
    }

    /// The same, of a call that has just arrived and whose caller waits for `timeout`.
    pub(super) fn due_within(&self, timeout: Option<Duration>) -> Deadline {
        match timeout {
            Some(timeout) => answer_due_within(timeout, &self.clock),
            None => self.clock.deadline_in(TIMEOUT_DEFAULT),
        }
    }

    /// Passes on a call of `verb` whose message has been looked at.
    pub(super) async fn pass_on(
        &self,
        verb: Verb,
        request: &LookedAt,
        message: WireMessage,
        deadline: Deadline,
    ) -> std::result::Result<RawAnswer, Status> {
        let answer = async {
            let key = self.admit(&request.bucket, &request.key)?;
            if verb == Verb::Put {
                self.check_put(request.value_bytes, request.ack)?;
            }
            self.forward.pass_on(verb, &key, message, deadline).await
        }
        .await;
        self.ended(op_of(verb), answer)
    }

    /// Waits for the answer; the rest is as with [`Self::ended`].
    async fn answer<T>(
        &self,
        op: Op,
        work: impl Future<Output = Result<T>>,
    ) -> std::result::Result<T, Status> {
        self.ended(op, work.await)
    }

    /// Counts how a request ended and puts its error as the wire has it.
    fn ended<T>(&self, op: Op, answer: Result<T>) -> std::result::Result<T, Status> {
        match answer {
            Ok(message) => {
                self.metrics.count_request(op, Outcome::Ok);
                Ok(message)
            }
            Err(error) => {
                self.metrics.count_request(op, outcome_of(&error));
                self.metrics.count_error(&error);
                Err(status_of(&error, &self.clock))
            }
        }
    }

    /// The key, if the rate limit lets the call through.
    fn admit(&self, bucket: &str, key: &[u8]) -> Result<EntryKey> {
        self.rate_limit.admit()?;
        Ok(EntryKey::new(bucket, key)?)
    }

    /// When a put of so many bytes is to be acknowledged.
    fn check_put(&self, bytes: usize, ack: i32) -> Result<Ack> {
        let bytes_max = self.value_bytes_max;
        if bytes > bytes_max {
            return Err(Error::InvalidInput(format!(
                "value has {bytes} bytes; expected at most {bytes_max} (MAX_VALUE_BYTES)"
            )));
        }
        Ack::from_wire(ack).ok_or_else(|| unknown_ack(ack))
    }
}

fn unknown_ack(number: i32) -> Error {
    Error::InvalidInput(format!(
        "ack is {number}; expected 0 (ACK_DEFAULT), 1 (ACK_DISK) or 2 (ACK_S3)"
    ))
}
