//! One unary call on the direct path: the message read, the answer or refusal written.
//!
//! Knows nothing of what the message means.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use milena_h2::{Malformed, MessageReader, WireMessage};
use tonic::{Code, Status};

use super::Shared;
use crate::grpc::{Answer, Unary, over_long_message, timeout_of};

/// The header block of every answer.
static ANSWER_HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let grpc = HeaderValue::from_static("application/grpc");
    HeaderMap::from_iter([(CONTENT_TYPE, grpc)])
});

/// The trailers of every answer.
static ANSWER_TRAILERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let ok = HeaderValue::from_static("0");
    HeaderMap::from_iter([(Status::GRPC_STATUS.clone(), ok)])
});

/// A call that could not be answered at once.
pub(super) struct Incoming {
    request: Request<RecvStream>,
    /// What was read of its body.
    first: Bytes,
    respond: SendResponse<Bytes>,
}

/// Answers one call of `method` if its message is there and nothing has to be waited for.
pub(super) fn answer_now<U: Unary>(
    shared: &Shared<U>,
    method: U::Method,
    mut request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    cx: &mut Context<'_>,
) -> Option<Incoming> {
    let mut first = Bytes::new();
    if let Poll::Ready(Ok(Some(chunk))) = poll_chunk(request.body_mut(), cx) {
        first = chunk;
    }
    let is_all = request.body().is_end_stream();
    let message = is_all.then(|| WireMessage::encoded_in(&first, shared.message_bytes_max));
    let message = message.and_then(|message| message.ok().flatten());
    match message.and_then(|message| shared.unary.call_now(method, message)) {
        Some(result) => {
            let _sent = finish(shared, &mut respond, result);
            None
        }
        None => Some(Incoming {
            request,
            first,
            respond,
        }),
    }
}

/// Answers one call of `method`.
pub(super) async fn answer<U: Unary>(
    shared: Arc<Shared<U>>,
    method: U::Method,
    incoming: Incoming,
) -> Result<(), h2::Error> {
    let Incoming {
        request,
        first,
        mut respond,
    } = incoming;
    let timeout = timeout_of(request.headers());
    let call = pin!(async {
        let message = read(request.into_body(), first, &shared).await?;
        shared.unary.call(method, message, timeout).await
    });
    match outcome(call, &mut respond, timeout).await {
        Some(result) => finish(&shared, &mut respond, result),
        None => Ok(()),
    }
}

fn finish<U>(
    shared: &Shared<U>,
    respond: &mut SendResponse<Bytes>,
    result: Result<Answer, Status>,
) -> Result<(), h2::Error> {
    match result {
        Ok(answer) => send(respond, answer),
        // As on tonic: so clients, ours among them, call an answer that is over their limit.
        Err(status) if status.code() == Code::OutOfRange => {
            refuse(respond, &over_long_message(shared.value_bytes_max))
        }
        Err(status) => refuse(respond, &status),
    }
}

/// Awaits `call` for as long as its caller does; `None` once the stream is reset.
pub(super) async fn outcome<T>(
    mut call: Pin<&mut impl Future<Output = Result<T, Status>>>,
    respond: &mut SendResponse<Bytes>,
    timeout: Option<Duration>,
) -> Option<Result<T, Status>> {
    // Made once it is seen that there is something to wait for: most answers are there at once.
    let mut expired = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(result) = call.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        if respond.poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        let Some(timeout) = timeout else {
            return Poll::Pending;
        };
        if expired.is_none() {
            expired.set(Some(tokio::time::sleep(timeout)));
        }
        let expired = expired.as_mut().as_pin_mut().expect("it was just made");
        expired.poll(cx).map(|()| {
            Some(Err(Status::deadline_exceeded(
                "the caller's deadline has passed",
            )))
        })
    })
    .await
}

/// Reads the one message of a request, of which `first` was read.
async fn read<U>(
    mut body: RecvStream,
    first: Bytes,
    shared: &Shared<U>,
) -> Result<WireMessage, Status> {
    // Most messages come in one frame.
    if let Some(message) = shared.whole_message(&body, &first)? {
        return Ok(message);
    }
    let refuse = |malformed| shared.refusal(malformed);
    let mut reader = MessageReader::new(shared.message_bytes_max);
    reader.push(first).map_err(refuse)?;
    while let Some(chunk) = chunk(&mut body).await? {
        reader.push(chunk).map_err(refuse)?;
    }
    reader.finish().map_err(refuse)
}

/// The next part of a body, which makes room for one more; `None` at its end.
async fn chunk(body: &mut RecvStream) -> Result<Option<Bytes>, Status> {
    poll_fn(|cx| poll_chunk(body, cx)).await
}

fn poll_chunk(body: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
    let gone = |_| Status::cancelled("the caller has gone away");
    let Some(chunk) = ready!(body.poll_data(cx)) else {
        return Poll::Ready(Ok(None));
    };
    let chunk = chunk.map_err(gone)?;
    body.flow_control()
        .release_capacity(chunk.len())
        .map_err(gone)?;
    Poll::Ready(Ok(Some(chunk)))
}

impl<U> Shared<U> {
    /// The message of a request, if `first` is all of its body.
    fn whole_message(
        &self,
        body: &RecvStream,
        first: &Bytes,
    ) -> Result<Option<WireMessage>, Status> {
        if !body.is_end_stream() {
            return Ok(None);
        }
        WireMessage::whole(first, self.message_bytes_max)
            .map_err(|malformed| self.refusal(malformed))
    }

    /// What the caller is told whose request is no message. A grpc-encoding would have gone to tonic, which knows how
    /// to refuse it.
    fn refusal(&self, malformed: Malformed) -> Status {
        match malformed {
            Malformed::TooLong(_) => over_long_message(self.value_bytes_max),
            _ => Status::internal(format!("the request is no message: {malformed}")),
        }
    }
}

fn send(respond: &mut SendResponse<Bytes>, answer: Answer) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    response.headers_mut().clone_from(&ANSWER_HEADERS);
    response.headers_mut().extend(answer.metadata);
    let mut stream = respond.send_response(response, false)?;
    // What the caller's window has no room for yet waits in the stream.
    stream.send_data(answer.first, false)?;
    for piece in answer.rest {
        stream.send_data(piece, false)?;
    }
    stream.send_trailers(ANSWER_TRAILERS.clone())
}

/// Answers with trailers only.
pub(super) fn refuse(respond: &mut SendResponse<Bytes>, status: &Status) -> Result<(), h2::Error> {
    let response = status.clone().into_http();
    respond.send_response(response, true).map(drop)
}
