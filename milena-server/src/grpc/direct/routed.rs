//! What the direct path does not answer itself: handed to tonic's routes, on the same connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use tonic::Status;
use tonic::body::Body;
use tower::ServiceExt as _;

use super::Shared;
use super::call::{outcome, refuse};
use crate::grpc::{refuse_over_long_message, timeout_of};

/// Has tonic answer one call.
pub(super) async fn answer<U>(
    shared: Arc<Shared<U>>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let timeout = timeout_of(request.headers());
    let request = request.map(|body| Body::new(RequestBody(body)));
    let call = pin!(async {
        let answered = shared.routes.clone().oneshot(request).await;
        answered.map_err(|never| match never {})
    });
    let response = match outcome(call, &mut respond, timeout).await {
        None => return Ok(()),
        Some(Err(status)) => return refuse(&mut respond, &status),
        Some(Ok(response)) => refuse_over_long_message(response, shared.value_bytes_max),
    };
    let (head, body) = response.into_parts();
    let ended = body.is_end_stream();
    let stream = respond.send_response(Response::from_parts(head, ()), ended)?;
    if ended {
        return Ok(());
    }
    send_body(stream, body).await
}

/// Sends a body at the pace that the caller's windows allow, until the caller resets the stream.
async fn send_body(mut stream: SendStream<Bytes>, mut body: Body) -> Result<(), h2::Error> {
    loop {
        let next = tokio::select! {
            biased;
            next = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)) => next,
            _reset = poll_fn(|cx| stream.poll_reset(cx)) => return Ok(()),
        };
        let frame = match next {
            None => return stream.send_data(Bytes::new(), true),
            Some(Ok(frame)) => frame,
            Some(Err(status)) => return send_end(&mut stream, &status),
        };
        match frame.into_data() {
            Ok(data) => send_data(&mut stream, data).await?,
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return stream.send_trailers(trailers);
            }
        }
    }
}

fn send_end(stream: &mut SendStream<Bytes>, status: &Status) -> Result<(), h2::Error> {
    let mut trailers = HeaderMap::new();
    match status.add_header(&mut trailers) {
        Ok(()) => stream.send_trailers(trailers),
        Err(_) => {
            stream.send_reset(Reason::INTERNAL_ERROR);
            Ok(())
        }
    }
}

async fn send_data(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(room) => room?,
            // The stream is closed: sending says how.
            None => data.len(),
        };
        let piece = data.split_to(room.min(data.len()));
        stream.send_data(piece, false)?;
    }
    Ok(())
}

/// A request's body as tonic reads it; what is read makes room for more.
struct RequestBody(RecvStream);

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let body = &mut self.0;
        if let Some(data) = ready!(body.poll_data(cx)) {
            let data = data.and_then(|data| {
                body.flow_control().release_capacity(data.len())?;
                Ok(Frame::data(data))
            });
            return Poll::Ready(Some(data.map_err(|error| gone(&error))));
        }
        let trailers = ready!(body.poll_trailers(cx)).map_err(|error| gone(&error))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

fn gone(error: &h2::Error) -> Status {
    Status::cancelled(format!("the caller has gone away: {error}"))
}
