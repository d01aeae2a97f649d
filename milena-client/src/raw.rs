//! Calls of a cache node with messages that are encoded already: a request is sent on in the pieces that it came in, and
//! so is its answer. What is looked at of an answer is whether it says yes.
//!
//! To an `http` address by a client of HTTP/2 that does just this ([`milena_h2::client`]), on connections of this module's
//! own (`lanes.rs`); to an `https` address by tonic, which has TLS, and copies each message. A call is sent once: one
//! whose connection breaks, or whose node refuses its stream, fails, and only one that finds its connection ended before
//! it is sent makes another.

mod call;
mod codec;
mod lanes;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use milena_h2::WireMessage;
use milena_protos::STALE_METADATA;
use milena_protos::cache_server::PutResponse;
use prost::Message as _;
use tonic::Status;

use self::call::Direct;
use self::codec::WireCodec;
use crate::address::{Address, InvalidAddress};
use crate::client::{NODE, acknowledged};
use crate::connection::{Connection, DEADLINE_MAX, Options};
use crate::error::ClientError;

const STALE: HeaderName = HeaderName::from_static(STALE_METADATA);

/// A method of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `Get`.
    Get,
    /// `Put`.
    Put,
    /// `Delete`.
    Delete,
}

impl Verb {
    const ALL: [Self; 3] = [Self::Get, Self::Put, Self::Delete];

    const fn path(self) -> &'static str {
        match self {
            Self::Get => NODE.get,
            Self::Put => NODE.put,
            Self::Delete => NODE.delete,
        }
    }
}

/// What a node answered.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// Its message.
    pub message: WireMessage,
    /// As [`Found::is_stale`](crate::Found::is_stale).
    pub is_stale: bool,
}

/// Calls one cache node. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct RawClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: Address,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Direct(Box<Direct>),
    Tonic(Connection),
}

impl RawClient {
    /// A client of the node at `address`, which connects when it is first used.
    ///
    /// # Errors
    /// When `address` is not `http://host:port` or `https://host:port`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect_to_node(address: &str, options: &Options) -> Result<Self, InvalidAddress> {
        let address = Address::parse(address)?;
        let transport = if address.is_https() {
            Transport::Tonic(Connection::lazy(address.as_str(), options)?)
        } else {
            Transport::Direct(Box::new(Direct::new(&address, options)))
        };
        Ok(Self(Arc::new(Inner { address, transport })))
    }

    /// Calls `verb` with `message` and waits for the answer for `deadline`, which the node is told. A call that is
    /// dropped is reset at the node.
    ///
    /// # Errors
    /// When it could not be found out, or not be done; of a get also when there is no value
    /// ([`ClientError::is_not_found`]).
    pub async fn call(
        &self,
        verb: Verb,
        message: WireMessage,
        deadline: Duration,
    ) -> Result<RawAnswer, ClientError> {
        let address = self.0.address.as_str();
        let deadline = deadline.min(DEADLINE_MAX);
        let (is_stale, message) = match &self.0.transport {
            Transport::Direct(direct) => {
                match tokio::time::timeout(deadline, direct.call(verb, message, deadline)).await {
                    Ok(answer) => {
                        let answer = answer.map_err(|failure| failure.at(address, deadline));
                        let (head, message) = answer?;
                        (head.headers.contains_key(STALE), message)
                    }
                    Err(_) => return Err(ClientError::no_answer(address, deadline)),
                }
            }
            Transport::Tonic(connection) => {
                // Boxed, so that the other way has no room for it to move about.
                let answer = connection.call_by(verb.path(), message, WireCodec, deadline);
                let (metadata, message, _) = Box::pin(answer).await?.into_parts();
                (metadata.contains_key(STALE_METADATA), message)
            }
        };
        check(verb, &message)?;
        Ok(RawAnswer { message, is_stale })
    }
}

/// Whether the node says yes, which is field 1 of each of the three answers.
fn check(verb: Verb, message: &WireMessage) -> Result<(), ClientError> {
    let answer = PutResponse::decode(message.encoded())
        .map_err(|error| ClientError::Internal(Status::internal(error.to_string())))?;
    match verb {
        Verb::Get if !answer.successful => {
            Err(ClientError::Other(Status::not_found("there is no value")))
        }
        _ => acknowledged(answer.successful),
    }
}
