//! `GRPC_STACK`: what serves the methods that are called often.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use tonic::service::Routes;

use super::{GrpcServer, Unary};
use crate::settings::{Presence, Setting};

/// `GRPC_STACK`.
pub static GRPC_STACK: Setting = Setting {
    name: "GRPC_STACK",
    also: &[],
    presence: Presence::Default(GrpcStack::DEFAULT.name()),
    expected: "tonic or h2",
    example: "tonic",
    help: "What serves get, put and delete: h2 (HTTP/2 directly, for less CPU per request), or tonic",
};

/// What serves Get, Put and Delete (`GRPC_STACK`); everything else is tonic's in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcStack {
    /// tonic's server.
    Tonic,
    /// The direct path on the `h2` crate.
    H2,
}

impl GrpcStack {
    /// What serves a node or router that is not told otherwise.
    pub const DEFAULT: Self = Self::H2;

    /// A value of `GRPC_STACK`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Tonic, Self::H2]
            .into_iter()
            .find(|stack| stack.name() == text)
    }

    /// The value of `GRPC_STACK` that asks for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tonic => "tonic",
            Self::H2 => "h2",
        }
    }

    /// Starts a server of `routes`; on [`Self::H2`] `unary` answers the methods that it knows. The rest is as with
    /// [`GrpcServer::start`].
    ///
    /// # Errors
    /// When the address cannot be listened on or a thread cannot be started.
    pub async fn start(
        self,
        addr: SocketAddr,
        threads: Option<NonZeroUsize>,
        value_bytes_max: usize,
        routes: Routes,
        unary: impl Unary,
    ) -> io::Result<GrpcServer> {
        match self {
            Self::Tonic => GrpcServer::start(addr, threads, value_bytes_max, routes).await,
            Self::H2 => {
                GrpcServer::start_direct(addr, threads, value_bytes_max, routes, unary).await
            }
        }
    }
}
