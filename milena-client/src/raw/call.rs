//! One call on the `h2` crate: the request sent, the answer read, its status found.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use milena_h2::{Malformed, MessageReader, WireMessage};
use tonic::{Code, Status};

use super::Verb;
use super::lanes::Lanes;
use crate::address::Address;
use crate::connection::Options;
use crate::error::ClientError;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Calls of one server.
#[derive(Debug)]
pub(super) struct Direct {
    lanes: Lanes,
    /// Of each of [`Verb::ALL`].
    uris: [Uri; Verb::ALL.len()],
    /// Those of every request, with a `grpc-timeout` to be replaced.
    headers: HeaderMap,
    message_bytes_max: usize,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server's own words.
    Status(Status),
    Connect(Arc<io::Error>),
    Broken(h2::Error),
}

impl Failure {
    /// The same, of the server at `address`, which was given so long.
    pub(super) fn at(self, address: &str, deadline: Duration) -> ClientError {
        let cause: &(dyn Error + 'static) = match &self {
            Self::Status(status) => {
                return ClientError::answered_in(status.clone(), address, deadline);
            }
            Self::Connect(error) => &**error,
            Self::Broken(error) => error,
        };
        ClientError::unreachable(address, cause)
    }
}

impl From<h2::Error> for Failure {
    fn from(error: h2::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl Direct {
    /// Calls of the server at `address`.
    pub(super) fn new(address: &Address, options: &Options) -> Self {
        let uri = |path: &str| -> Uri {
            let uri = format!("{address}{path}").parse();
            uri.expect("an address is a URI by its own check, and so it is with a path")
        };
        let mut headers = HeaderMap::new();
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_static("1S"));
        Self {
            lanes: Lanes::new(uri(""), options.connect_timeout),
            uris: Verb::ALL.map(|verb| uri(verb.path())),
            headers,
            message_bytes_max: options.message_bytes_max(),
        }
    }

    /// Calls `verb` and gives the answer's metadata and message. The server is told of `timeout`; to keep to it is the
    /// caller's.
    pub(super) async fn call(
        &self,
        verb: Verb,
        message: WireMessage,
        timeout: Duration,
    ) -> Result<(HeaderMap, WireMessage), Failure> {
        let sender = self.lanes.sender().await.map_err(Failure::Connect)?;
        let answer = send(sender, self.request(verb, timeout), message)?;
        let (head, mut body) = answer.await?.into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            return Err(refusal(status).into());
        }
        if head.status != StatusCode::OK {
            return Err(no_grpc(head.status).into());
        }
        let message = self.read(&mut body).await?;
        let trailers = body.trailers().await?;
        is_ok(trailers.as_ref())?;
        let message = message.finish().map_err(malformed)?;
        Ok((head.headers, message))
    }

    fn request(&self, verb: Verb, timeout: Duration) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uris[verb as usize].clone();
        let mut headers = self.headers.clone();
        headers.insert(GRPC_TIMEOUT, written(timeout));
        *request.headers_mut() = headers;
        request
    }

    /// Reads the body's data.
    async fn read(&self, body: &mut RecvStream) -> Result<MessageReader, Failure> {
        let mut reader = MessageReader::new(self.message_bytes_max);
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            reader.push(piece).map_err(malformed)?;
        }
        Ok(reader)
    }
}

fn send(
    mut sender: SendRequest<Bytes>,
    request: Request<()>,
    message: WireMessage,
) -> Result<h2::client::ResponseFuture, h2::Error> {
    let (answer, mut stream) = sender.send_request(request, false)?;
    let (first, rest) = message.into_pieces();
    let mut last = first;
    for next in rest {
        let piece = std::mem::replace(&mut last, next);
        stream.send_data(piece, false)?;
    }
    stream.send_data(last, true)?;
    Ok(answer)
}

/// A timeout as gRPC writes it, in whole milliseconds. Not less: then most callers' are the same text, which HPACK sends
/// as one byte; the server's own time may end a millisecond after the caller's.
fn written(timeout: Duration) -> HeaderValue {
    /// gRPC has eight digits.
    const NUMBER_MAX: u128 = 99_999_999;
    let ms = timeout.as_nanos().div_ceil(1_000_000);
    let text = if ms <= NUMBER_MAX {
        format!("{ms}m")
    } else {
        format!("{}S", timeout.as_secs())
    };
    HeaderValue::try_from(text).expect("digits and a letter")
}

/// The status of an answer that has no body.
fn refusal(status: Status) -> Status {
    if status.code() == Code::Ok {
        return Status::internal("the answer has no message");
    }
    status
}

/// The code that stands for a status of HTTP's, as gRPC's http-grpc-status-mapping.md has it.
fn no_grpc(status: StatusCode) -> Status {
    let code = match status {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("the answer is HTTP's, {status}, not gRPC's"))
}

fn is_ok(trailers: Option<&HeaderMap>) -> Result<(), Status> {
    let said = trailers.and_then(|trailers| trailers.get(Status::GRPC_STATUS));
    if said.is_some_and(|code| code == "0") {
        return Ok(());
    }
    match trailers.and_then(Status::from_header_map) {
        Some(status) => Err(status),
        None => Err(Status::unknown("the answer ended without a grpc-status")),
    }
}

/// A message over the limit is called what tonic calls it.
fn malformed(malformed: Malformed) -> Status {
    match malformed {
        Malformed::TooLong(_) => Status::out_of_range(malformed.to_string()),
        _ => Status::internal(format!("the answer is no message: {malformed}")),
    }
}
