//! A client that is written on HTTP/2 itself: what a server answers, as it is on the wire.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use prost::Message;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use tonic::Code;

/// Names and values.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

/// A connection to a server.
pub struct WireClient {
    sender: SendRequest<Bytes>,
}

/// What came back, without what HTTP servers say of themselves.
#[derive(Debug, PartialEq)]
pub struct WireAnswer {
    /// HTTP's status.
    pub http_status: u16,
    /// The headers, sorted.
    pub head: Vec<(String, Bytes)>,
    /// All data.
    pub body: Bytes,
    /// The trailers, sorted.
    pub trailers: Vec<(String, Bytes)>,
}

impl WireAnswer {
    /// gRPC's status.
    #[must_use]
    pub fn code(&self) -> Code {
        let end = if self.trailers.is_empty() {
            &self.head
        } else {
            &self.trailers
        };
        let status = end.iter().find(|(name, _)| name == "grpc-status");
        status.map_or(Code::Unknown, |(_, code)| Code::from_bytes(code))
    }
}

impl WireClient {
    /// Connects to the server at `addr`.
    ///
    /// # Panics
    /// When nobody is there.
    pub async fn connect(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).await.expect("somebody is there");
        socket.set_nodelay(true).expect("a TCP socket");
        let connected = h2::client::handshake(socket).await;
        let (sender, connection) = connected.expect("a connection begins with a preface");
        TaskTracker::new().spawn(connection);
        Self { sender }
    }

    /// Calls the method at `path` with `body`, which is sent as it is.
    ///
    /// # Panics
    /// When the connection or the stream ends before the answer does.
    pub async fn call(&mut self, path: &str, headers: Headers<'_>, body: Bytes) -> WireAnswer {
        let mut request = Request::post(format!("http://test{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a path and headers");
        let begun = self.sender.send_request(request, false);
        let (answer, mut sending) = begun.expect("the connection is there");
        sending.send_data(body, true).expect("the stream is there");
        let (head, mut body) = answer.await.expect("an answer").into_parts();
        let mut received = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.expect("the answer goes on");
            let room = body.flow_control().release_capacity(data.len());
            room.expect("no more than came");
            received.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.expect("the answer ends");
        WireAnswer {
            http_status: head.status.as_u16(),
            head: listed(&head.headers),
            body: received.into(),
            trailers: listed(&trailers.unwrap_or_default()),
        }
    }
}

fn listed(headers: &HeaderMap) -> Vec<(String, Bytes)> {
    let mut listed: Vec<_> = headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| (name.to_string(), Bytes::copy_from_slice(value.as_bytes())))
        .collect();
    listed.sort();
    listed
}

/// `message` as a body has it.
///
/// # Panics
/// When it has 4 GiB.
#[must_use]
pub fn frame(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a message of less than 4 GiB");
    Bytes::from([&[0], &length.to_be_bytes()[..], &message].concat())
}
