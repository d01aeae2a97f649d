//! How a request is made: gRPC written directly on HTTP/2, because a client of the usual kind costs more than
//! the server that is to be measured.
//!
//! A connection is made when it is first needed, and again after it broke. All of one belongs to one thread.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use tokio::net::TcpStream;
use tonic::Code;

use super::workload::{Op, Request};
use crate::target::Service;

/// How long after a request's deadline its answer is still waited for: the server ends it by itself, and how
/// late it does is a result.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// By when a connection has to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long nobody tries to connect after an attempt that failed.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// HTTP/2 windows, in bytes: far above what is under way, so that the bench is never what holds answers back.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;

/// What is asked, and what goes along with every request.
#[derive(Clone)]
pub(super) struct Target {
    /// Host and port.
    authority: String,
    get: Uri,
    put: Uri,
    delete: Uri,
    head: HeaderMap,
    timeout: Duration,
}

impl Target {
    /// The methods of `service` at `authority`, host and port; each call with this deadline.
    pub(super) fn new(authority: &str, service: Service, timeout: Duration) -> Self {
        let name = match service {
            Service::Router => "router_server.Router",
            Service::Node => "cache_server.Cache",
        };
        let method = |method: &str| {
            let uri = format!("http://{authority}/{name}/{method}").parse();
            uri.expect("an address and a path are a URI")
        };
        let deadline = HeaderValue::from_str(&format!("{}m", timeout.as_millis()))
            .expect("digits may stand in a header");
        let head = [
            (
                http::header::CONTENT_TYPE,
                HeaderValue::from_static("application/grpc"),
            ),
            (http::header::TE, HeaderValue::from_static("trailers")),
            (HeaderName::from_static("grpc-timeout"), deadline),
        ];
        Self {
            authority: authority.to_owned(),
            get: method("Get"),
            put: method("Put"),
            delete: method("Delete"),
            head: head.into_iter().collect(),
            timeout,
        }
    }

    fn request(&self, op: Op) -> http::Request<()> {
        let uri = match op {
            Op::Get => &self.get,
            Op::Put => &self.put,
            Op::Delete => &self.delete,
        };
        let mut request = http::Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = self.head.clone();
        request
    }
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// OK, and a message of so many bytes.
    Done {
        message_bytes: u64,
    },
    Refused(Refusal),
}

/// Why it was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The server's answer.
    Status(Code),
    /// No connection could be made.
    NoConnection,
    /// The connection or the stream broke before the answer.
    Broken,
    /// No answer came, not even some time after the deadline.
    NoAnswer,
}

impl Refusal {
    fn order(self) -> i32 {
        match self {
            Self::Status(code) => code.into(),
            Self::NoConnection => 100,
            Self::Broken => 101,
            Self::NoAnswer => 102,
        }
    }
}

impl PartialOrd for Refusal {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Refusal {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(code) => name_of(*code),
            Self::NoConnection => "no connection",
            Self::Broken => "broken connection",
            Self::NoAnswer => "no answer",
        })
    }
}

/// As gRPC's own documents write it.
fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// A connection that several clients share.
pub(super) struct Connection {
    target: Target,
    open: RefCell<Option<Open>>,
    /// How many were made; held while somebody connects, and for a while after that failed.
    connecting: tokio::sync::Mutex<u64>,
}

/// A connection that was made, which may have broken since.
#[derive(Clone)]
struct Open {
    /// Which of those that were made in its place.
    number: u64,
    sender: SendRequest<Bytes>,
}

impl Connection {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            open: RefCell::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Makes the request and waits for what comes of it, in any case until some time after its deadline.
    pub(super) async fn call(&self, request: &Request) -> Answer {
        let patience = self.target.timeout + ANSWER_GRACE;
        let waited = tokio::time::timeout(patience, self.call_patiently(request));
        waited.await.unwrap_or(Answer::Refused(Refusal::NoAnswer))
    }

    async fn call_patiently(&self, request: &Request) -> Answer {
        let open = self.open.borrow().clone();
        let open = match open {
            Some(open) => open,
            None => match self.connect().await {
                Some(open) => open,
                None => return Answer::Refused(Refusal::NoConnection),
            },
        };
        let number = open.number;
        match self.ask(open.sender, request).await {
            Ok(answer) => answer,
            Err(error) => {
                let mut open = self.open.borrow_mut();
                // The server may end one request alone, and others may have connected anew by now.
                if !error.is_reset() && open.as_ref().is_some_and(|open| open.number == number) {
                    *open = None;
                }
                Answer::Refused(Refusal::Broken)
            }
        }
    }

    async fn ask(
        &self,
        sender: SendRequest<Bytes>,
        request: &Request,
    ) -> Result<Answer, h2::Error> {
        let head = self.target.request(request.op);
        let (answer, mut body) = sender.ready().await?.send_request(head, false)?;
        body.send_data(request.frame.clone(), true)?;
        read(answer).await
    }

    async fn connect(&self) -> Option<Open> {
        let mut made = self.connecting.lock().await;
        if let Some(open) = &*self.open.borrow() {
            return Some(open.clone());
        }
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, connect(&self.target.authority));
        if let Ok(Ok(sender)) = connecting.await {
            *made += 1;
            let open = Open {
                number: *made,
                sender,
            };
            *self.open.borrow_mut() = Some(open.clone());
            return Some(open);
        }
        tokio::time::sleep(CONNECT_PAUSE).await;
        None
    }
}

async fn connect(authority: &str) -> io::Result<SendRequest<Bytes>> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .enable_push(false)
        .handshake(stream)
        .await
        .map_err(io::Error::other)?;
    // It ends with its last user; what broke it is told to each of them.
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// Reads an answer to its end.
async fn read(answer: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut body) = answer.await?.into_parts();
    let mut message_bytes = 0;
    while let Some(data) = body.data().await {
        let bytes = data?.len();
        body.flow_control().release_capacity(bytes)?;
        message_bytes += bytes as u64;
    }
    // Without a message the status stands in the head.
    let trailers = body.trailers().await?;
    let status = trailers
        .as_ref()
        .unwrap_or(&head.headers)
        .get("grpc-status");
    Ok(
        match status.map(|status| Code::from_bytes(status.as_bytes())) {
            Some(Code::Ok) => Answer::Done { message_bytes },
            Some(code) => Answer::Refused(Refusal::Status(code)),
            None => Answer::Refused(Refusal::Status(Code::Unknown)),
        },
    )
}
