//! The same on the `h2` crate, with nothing that a server beside an echo needs: no limits, no errors, no deadlines.
//! Everything that has arrived is accepted before anything is answered, and all answers are written at once.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
// The node's own: the ceiling is to differ from it by nothing but what a node does.
use milena_h2::{Coalesced, Outgoing, PREFIX_BYTES};
use milena_protos::cache_server::{GetRequest, GetResponse};
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;

const WINDOW_BYTES: u32 = 1 << 20;

/// Serves what connects to `listener`.
pub async fn serve(listener: &TcpListener, value: Bytes) -> Result<(), Failure> {
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        let value = value.clone();
        tokio::spawn(async move {
            // How a client leaves is its own affair.
            let _gone = serve_connection(connection, value).await;
        });
    }
}

async fn serve_connection(connection: TcpStream, value: Bytes) -> Result<(), h2::Error> {
    let (io, outgoing) = Coalesced::new(connection);
    let mut handshake = Box::pin(
        h2::server::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(io),
    );
    let mut h2 = poll_fn(|cx| {
        let polled = handshake.as_mut().poll(cx);
        let _written = outgoing.poll_write_out(cx);
        polled
    })
    .await?;
    let (mut accepted, mut waiting) = (Vec::new(), FuturesUnordered::new());
    poll_fn(|cx| {
        loop {
            while let Poll::Ready(next) = h2.poll_accept(cx) {
                let Some(Ok((request, respond))) = next else {
                    return Poll::Ready(());
                };
                accepted.push(Box::pin(answer(request, respond, value.clone())));
            }
            let mut has_ended = false;
            for mut call in accepted.drain(..) {
                match call.as_mut().poll(cx) {
                    Poll::Ready(_) => has_ended = true,
                    Poll::Pending => waiting.push(call),
                }
            }
            while let Poll::Ready(Some(_)) = waiting.poll_next_unpin(cx) {
                has_ended = true;
            }
            if !has_ended {
                return write_out(&outgoing, cx);
            }
        }
    })
    .await;
    Ok(())
}

/// Ready only if the connection is of no more use.
fn write_out(outgoing: &Outgoing, cx: &mut Context<'_>) -> Poll<()> {
    match outgoing.poll_write_out(cx) {
        Poll::Ready(Err(_)) => Poll::Ready(()),
        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    value: Bytes,
) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    let mut message = Bytes::new();
    while let Some(chunk) = body.data().await {
        message = chunk?;
        body.flow_control().release_capacity(message.len())?;
    }
    let asked = GetRequest::decode(message.slice(PREFIX_BYTES.min(message.len())..));
    let found = GetResponse {
        successful: asked.is_ok(),
        value,
    };
    let mut encoded = BytesMut::with_capacity(PREFIX_BYTES + found.encoded_len());
    encoded.put_u8(0);
    encoded.put_u32(u32::try_from(found.encoded_len()).expect("a value is short"));
    found.encode(&mut encoded).expect("there is room for it");
    let mut response = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(encoded.freeze(), false)?;
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}
