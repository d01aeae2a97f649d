//! One call: the request sent, and the status found in what came back.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, Uri};
use milena_h2::client::{Answer, Broken, Methods, Section};
use milena_h2::{Malformed, WireMessage};
use tonic::{Code, Status};

use super::Verb;
use super::lanes::Lanes;
use crate::address::Address;
use crate::connection::Options;
use crate::error::ClientError;

/// Calls of one server.
#[derive(Debug)]
pub(super) struct Direct {
    lanes: Lanes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server's own words.
    Status(Status),
    Connect(Arc<io::Error>),
    Broken(Broken),
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

impl From<Broken> for Failure {
    fn from(error: Broken) -> Self {
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
        let uri: Uri = address
            .as_str()
            .parse()
            .expect("an address is a URI by its own check");
        let authority = uri.authority().expect("which has a host").as_str();
        let methods = Methods::new(authority, &Verb::ALL.map(Verb::path));
        Self {
            lanes: Lanes::new(uri, methods, options),
        }
    }

    /// Calls `verb` and gives the answer's metadata and message. The server is told of `timeout`; to keep to it is the
    /// caller's.
    pub(super) async fn call(
        &self,
        verb: Verb,
        message: WireMessage,
        timeout: Duration,
    ) -> Result<(Arc<Section>, WireMessage), Failure> {
        let caller = self.lanes.caller().await.map_err(Failure::Connect)?;
        let answer = caller.call(verb as usize, timeout, message).await?;
        Ok(accepted(answer)?)
    }
}

/// The head and the message of an answer that has both.
fn accepted(answer: Answer) -> Result<(Arc<Section>, WireMessage), Status> {
    let head = answer.head;
    if head.grpc_status.is_some() {
        said_by(&head)?;
        return Err(Status::internal("the answer has no message"));
    }
    if let Some(other) = head.status.filter(|status| *status != StatusCode::OK) {
        return Err(no_grpc(other));
    }
    match (answer.message, answer.trailers) {
        // What the server says comes before what is made of its message.
        (message, Some(trailers)) => {
            said_by(&trailers)?;
            Ok((head, message.map_err(malformed)?))
        }
        (Err(no_message), None) => Err(malformed(no_message)),
        (Ok(_), None) => Err(no_status()),
    }
}

/// What the server says there of the call.
fn said_by(section: &Section) -> Result<(), Status> {
    match &section.grpc_status {
        Some(code) if code == "0" => Ok(()),
        _ => Err(Status::from_header_map(&section.headers).unwrap_or_else(no_status)),
    }
}

fn no_status() -> Status {
    Status::unknown("the answer ended without a grpc-status")
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

/// A message over the limit is called what tonic calls it.
fn malformed(malformed: Malformed) -> Status {
    match malformed {
        Malformed::TooLong(_) => Status::out_of_range(malformed.to_string()),
        _ => Status::internal(format!("the answer is no message: {malformed}")),
    }
}
