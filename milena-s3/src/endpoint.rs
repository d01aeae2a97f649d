//! The HTTP service around the S3 protocol: it counts every request, and does the faults.
//!
//! Knows nothing of objects. Whatever can be said about a fault without the wire is in `faults/`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Request, Response};
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode};

use crate::answer::AnswerBody;
use crate::faults::{Action, Failure, Faults, Strike};
use crate::requests::{Call, Requests};

/// An answer, which may go wrong on its way.
pub(crate) type Answer = Response<AnswerBody>;

/// What serves a request.
pub(crate) struct Endpoint {
    pub(crate) service: S3Service,
    pub(crate) faults: Faults,
    pub(crate) requests: Arc<Requests>,
}

/// No answer: the connection is to be closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// A fault wants it so.
    #[error("the connection is closed by an injected fault")]
    Injected,
    /// The protocol could not write its answer.
    #[error("no answer could be written: {0:?}")]
    Protocol(s3s::HttpError),
}

impl Endpoint {
    /// Answers a request.
    ///
    /// # Errors
    /// Closes the connection without an answer.
    pub(crate) async fn serve(&self, request: Request<Incoming>) -> Result<Answer, NoAnswer> {
        let call = Call::of(request.method(), request.uri());
        self.requests.count(call.operation);
        match self.faults.strike(&call) {
            None => self.answer(request).await,
            Some(strike) => self.answer_with_fault(request, strike).await,
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, NoAnswer> {
        let answering = self.service.call(request.map(Body::from));
        let answer = answering.await.map_err(NoAnswer::Protocol)?;
        Ok(answer.map(AnswerBody::whole))
    }

    async fn answer_with_fault(
        &self,
        request: Request<Incoming>,
        strike: Strike,
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
            Action::HoldAnswer => {
                let answer = self.answer(request).await;
                strike.land().released().await;
                answer
            }
            Action::StallBody { after_bytes } => {
                let answer = self.answer(request).await?;
                let hold = strike.land();
                if has_no_body(&answer) {
                    hold.released().await;
                    return Ok(answer);
                }
                Ok(answer.map(|body| body.stalled(after_bytes, hold)))
            }
            Action::Truncate { after_bytes } => {
                let answer = self.answer(request).await?;
                strike.land();
                if has_no_body(&answer) {
                    return Err(NoAnswer::Injected);
                }
                Ok(answer.map(|body| body.truncated(after_bytes)))
            }
            Action::Reset => {
                strike.land();
                Err(NoAnswer::Injected)
            }
            Action::ApplyThenFail(failure) => {
                self.answer(request).await?;
                strike.land();
                failed(failure)
            }
            Action::ApplyThenReset => {
                self.answer(request).await?;
                strike.land();
                Err(NoAnswer::Injected)
            }
        }
    }
}

fn failed(failure: Failure) -> Result<Answer, NoAnswer> {
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

async fn read_to_end(mut body: Incoming) {
    while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
}
