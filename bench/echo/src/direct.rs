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
use crate::one_lock::OneLock;

/// What HTTP/2 leaves to the server, in bytes.
#[derive(Clone, Copy)]
pub struct Settings {
    /// What a client may send ahead, on a stream and on a connection.
    window: u32,
    /// The longest frame that a client may send.
    frame: u32,
    /// What a stream holds of an answer that the client does not take yet.
    send_buffer: usize,
}

impl Settings {
    /// The node's, but for what is said otherwise.
    pub fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut settings = Self {
            window: 1 << 20,
            frame: 16 << 10,
            send_buffer: 400 << 10,
        };
        for argument in arguments {
            match argument.split_once('=') {
                Some(("window", bytes)) => settings.window = bytes.parse()?,
                Some(("frame", bytes)) => settings.frame = bytes.parse()?,
                Some(("send-buffer", bytes)) => settings.send_buffer = bytes.parse()?,
                _ => return Err(format!("no such setting: {argument}").into()),
            }
        }
        Ok(settings)
    }
}

/// What every call is answered with, and how.
#[derive(Clone)]
pub struct Server {
    value: Bytes,
    settings: Settings,
    one_lock: Option<OneLock>,
}

impl Server {
    /// Answers with `value`.
    pub const fn new(value: Bytes, settings: Settings) -> Self {
        Self {
            value,
            settings,
            one_lock: None,
        }
    }

    /// The same, one call after the other.
    pub fn behind_one_lock(self) -> Self {
        let one_lock = Some(OneLock::default());
        Self { one_lock, ..self }
    }

    /// Serves what connects to `listener`.
    pub async fn serve(self, listener: TcpListener) -> Result<(), Failure> {
        loop {
            let (connection, _) = listener.accept().await?;
            self.spawn(connection)?;
        }
    }

    /// Serves `connection` in a task.
    pub fn spawn(&self, connection: TcpStream) -> Result<(), Failure> {
        connection.set_nodelay(true)?;
        let server = self.clone();
        tokio::spawn(async move {
            // How a client leaves is its own affair.
            let _gone = serve_connection(connection, &server).await;
        });
        Ok(())
    }
}

async fn serve_connection(connection: TcpStream, server: &Server) -> Result<(), h2::Error> {
    let (io, outgoing) = Coalesced::new(connection);
    let settings = server.settings;
    let mut handshake = Box::pin(
        h2::server::Builder::new()
            .initial_window_size(settings.window)
            .initial_connection_window_size(settings.window)
            .max_frame_size(settings.frame)
            .max_send_buffer_size(settings.send_buffer)
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
                accepted.push(Box::pin(answer(request, respond, server)));
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
    server: &Server,
) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    let mut message = Bytes::new();
    while let Some(chunk) = body.data().await {
        message = chunk?;
        body.flow_control().release_capacity(message.len())?;
    }
    let asked = GetRequest::decode(message.slice(PREFIX_BYTES.min(message.len())..));
    if let Some(one_lock) = &server.one_lock {
        one_lock.call().await;
    }
    let found = GetResponse {
        successful: asked.is_ok(),
        value: server.value.clone(),
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
