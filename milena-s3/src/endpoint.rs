//! The HTTP service around the S3 protocol: it counts every request, and does the faults.
//!
//! Knows nothing of objects. Whatever can be said about a fault without the wire is in `faults/`.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Request, Response};
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::AnswerBody;
use crate::faults::{Action, Failure, Faults, Strike};
use crate::requests::{Call, Requests};
use crate::wire::Wire;

/// No HTTP.
const GARBAGE: &[u8] = b"\x16\x03\x01 this is no HTTP\r\n\r\n";

/// An answer, which may go wrong on its way.
pub(crate) type Answer = Response<AnswerBody>;

/// What serves a request.
pub(crate) struct Endpoint {
    pub(crate) service: S3Service,
    pub(crate) faults: Faults,
    pub(crate) requests: Arc<Requests>,
    /// What goes on without its connection.
    pub(crate) tasks: TaskTracker,
    pub(crate) cut: CancellationToken,
}

/// No answer: the connection is to be closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// A fault wants it so.
    #[error("the connection is closed by an injected fault")]
    Injected,
    /// The connection could not be made to do what a fault wants.
    #[error("a fault could not be done: {0}")]
    Wire(#[from] io::Error),
    /// The protocol could not write its answer.
    #[error("no answer could be written: {0:?}")]
    Protocol(s3s::HttpError),
}

impl Endpoint {
    /// Answers a request.
    ///
    /// # Errors
    /// Closes the connection without an answer.
    pub(crate) async fn serve(
        &self,
        request: Request<Incoming>,
        wire: &Wire,
    ) -> Result<Answer, NoAnswer> {
        let call = Call::of(request.method(), request.uri());
        self.requests.count(call.operation);
        match self.faults.strike(&call) {
            None => self.answer(request).await,
            Some(strike) => self.answer_with_fault(request, strike, wire).await,
        }
    }

    async fn answer<B>(&self, request: Request<B>) -> Result<Answer, NoAnswer>
    where
        Body: From<B>,
    {
        let answering = self.service.call(request.map(Body::from));
        let answer = answering.await.map_err(NoAnswer::Protocol)?;
        Ok(answer.map(AnswerBody::whole))
    }

    async fn answer_with_fault(
        &self,
        request: Request<Incoming>,
        strike: Strike,
        wire: &Wire,
    ) -> Result<Answer, NoAnswer> {
        match strike.action().clone() {
            Action::Fail(failure) => {
                // Answered early, the failure could be lost: closing on unread data resets the connection.
                read_to_end(request.into_body()).await;
                strike.land();
                failed(failure)
            }
            Action::Delay(wait) => {
                strike.land();
                tokio::time::sleep(wait).await;
                self.answer(request).await
            }
            Action::Stall => {
                strike.land().released().await;
                self.answer(request).await
            }
            Action::Garbage => {
                read_to_end(request.into_body()).await;
                strike.land();
                wire.write(GARBAGE).await?;
                Err(NoAnswer::Injected)
            }
            Action::Reset => {
                strike.land();
                Err(NoAnswer::Injected)
            }
            Action::ApplyLate => self.answer_late(request, strike).await,
            _ => {
                let answer = self.answer(request).await?;
                spoil(answer, strike, wire).await
            }
        }
    }

    /// Does the request when it is released, whatever has become of its connection.
    async fn answer_late(
        &self,
        request: Request<Incoming>,
        strike: Strike,
    ) -> Result<Answer, NoAnswer> {
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, read_to_end(body).await);
        let hold = strike.land();
        let (service, cut) = (self.service.clone(), self.cut.clone());
        let doing = self.tasks.spawn(async move {
            cut.run_until_cancelled(hold.released()).await?;
            Some(service.call(request.map(Body::from)).await)
        });
        let answer = doing.await.ok().flatten().ok_or(NoAnswer::Injected)?;
        let answer = answer.map_err(NoAnswer::Protocol)?;
        Ok(answer.map(AnswerBody::whole))
    }
}

/// Does the faults that come after the request is done.
async fn spoil(answer: Answer, strike: Strike, wire: &Wire) -> Result<Answer, NoAnswer> {
    let action = strike.action().clone();
    if let Action::ResetBody { .. } = action {
        wire.reset_when_closed()?;
    }
    let hold = strike.land();
    match action {
        Action::ApplyThenFail(failure) => failed(failure),
        Action::ApplyThenReset => Err(NoAnswer::Injected),
        Action::StallBody { after_bytes } if !has_no_body(&answer) => {
            Ok(answer.map(|body| body.stalled(after_bytes, hold)))
        }
        Action::HoldAnswer | Action::StallBody { .. } => {
            hold.released().await;
            Ok(answer)
        }
        Action::Truncate { .. } | Action::ResetBody { .. } if has_no_body(&answer) => {
            Err(NoAnswer::Injected)
        }
        Action::Truncate { after_bytes } | Action::ResetBody { after_bytes } => {
            Ok(answer.map(|body| body.truncated(after_bytes)))
        }
        Action::Trickle { bytes, every } => Ok(answer.map(|body| body.trickling(bytes, every))),
        Action::Damage => Ok(answer.map(AnswerBody::damaged)),
        Action::CloseAfterAnswer => {
            let guard = wire.close_when_dropped();
            Ok(answer.map(|body| body.with_end(guard)))
        }
        Action::Fail(_)
        | Action::Delay(_)
        | Action::Stall
        | Action::Garbage
        | Action::Reset
        | Action::ApplyLate => unreachable!("done before the request is"),
    }
}

fn failed(failure: Failure) -> Result<Answer, NoAnswer> {
    if failure.is_page {
        let page = format!("<html><body><h1>{}</h1></body></html>\n", failure.status);
        let mut answer = Response::new(AnswerBody::whole(Body::from(page)));
        *answer.status_mut() = failure.status;
        let content_type = HeaderValue::from_static("text/html");
        answer.headers_mut().insert(CONTENT_TYPE, content_type);
        return Ok(answer);
    }
    let code = S3ErrorCode::from_bytes(failure.code.as_bytes());
    let code = code.unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(code, failure.message);
    error.set_status_code(failure.status);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if let Some(wait) = failure.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    error.set_headers(headers);
    let answer = error.to_http_response();
    let answer = answer.map_err(|error| NoAnswer::Protocol(s3s::HttpError::new(error.into())))?;
    Ok(answer.map(AnswerBody::whole))
}

fn has_no_body(answer: &Answer) -> bool {
    answer.body().size_hint().exact() == Some(0)
}

/// What came of a body.
async fn read_to_end(mut body: Incoming) -> Bytes {
    let mut bytes = BytesMut::new();
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    bytes.freeze()
}
