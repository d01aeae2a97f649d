//! A connection to one server: made when first used, made again after it broke, bounded in time.

use std::error::Error as _;
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tonic::client::Grpc;
use tonic::codec::Codec;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Response, Status, TimeoutExpired};
use tonic_prost::ProstCodec;

use crate::address::{Address, InvalidAddress};
use crate::connector::Connector;
use crate::error::ClientError;

/// How long a connection that carries nothing is left alone before the server is asked whether it is
/// still there.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long the server has to say so; then the connection is given up.
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest deadline, a year: beyond some thousands of years gRPC has no way to write it.
pub(crate) const DEADLINE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a message may have beside its value: key, bucket and framing, and room for new fields.
const MESSAGE_OVERHEAD_BYTES_MAX: usize = 64 << 10;

/// What a client does differently from the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// By when a call has to be answered, counted from its start; a year at most. The server is told.
    pub deadline: Duration,
    /// By when a connection has to be there.
    pub connect_timeout: Duration,
    /// The longest value that is sent or taken, in bytes. The server's own limit is `MAX_VALUE_BYTES`.
    pub value_bytes_max: usize,
}

impl Options {
    /// 10 s.
    pub const DEADLINE: Duration = Duration::from_secs(10);
    /// 2 s.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    /// 16 MiB.
    pub const VALUE_BYTES_MAX: usize = 16 << 20;

    /// The longest message that is taken, in bytes.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.value_bytes_max
            .saturating_add(MESSAGE_OVERHEAD_BYTES_MAX)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadline: Self::DEADLINE,
            connect_timeout: Self::CONNECT_TIMEOUT,
            value_bytes_max: Self::VALUE_BYTES_MAX,
        }
    }
}

/// A connection to one server; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    address: Address,
    channel: Channel,
    pub(crate) options: Options,
}

impl Connection {
    /// A connection to `address` that is made when it is first used. Its tasks live on the runtime that
    /// this is called on.
    pub(crate) fn lazy(address: &str, options: &Options) -> Result<Self, InvalidAddress> {
        let address = Address::parse(address)?;
        let uri: Uri = address
            .as_str()
            .parse()
            .expect("an address is a URI by its own check");
        let mut endpoint = Endpoint::from(uri)
            // The connector's time-out does not cover TLS.
            .connect_timeout(options.connect_timeout.saturating_mul(2))
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if address.is_https() {
            endpoint = endpoint
                .tls_config(ClientTlsConfig::new().with_native_roots())
                .map_err(|error| address.refuse(format!("TLS: {error}")))?;
        }
        let connector = Connector::new(options.connect_timeout);
        let connect = move |uri| {
            let connecting = connector.clone().connect(uri);
            async { connecting.await.map(TokioIo::new) }
        };
        let channel = endpoint.connect_with_connector_lazy(tower::service_fn(connect));
        Ok(Self {
            address,
            channel,
            options: options.clone(),
        })
    }

    /// The server's address.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Calls the method at `path` with `message` and waits for the answer until the deadline.
    pub(crate) async fn call<Q, A>(
        &self,
        path: &'static str,
        message: Q,
    ) -> Result<Response<A>, ClientError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        self.call_by(path, message, ProstCodec::default(), self.options.deadline)
            .await
    }

    /// The same until another deadline, with messages that `codec` encodes and decodes.
    pub(crate) async fn call_by<C>(
        &self,
        path: &'static str,
        message: C::Encode,
        codec: C,
        deadline: Duration,
    ) -> Result<Response<C::Decode>, ClientError>
    where
        C: Codec<Encode: Sync, Decode: Sync>,
    {
        let deadline = deadline.min(DEADLINE_MAX);
        let mut request = Request::new(message);
        request.set_timeout(deadline);
        let answer = tokio::time::timeout(deadline, self.unary(path, request, codec)).await;
        let status = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) => status,
            Err(_) => return Err(ClientError::no_answer(self.address.as_str(), deadline)),
        };
        Err(match status.source() {
            None => ClientError::answered_in(status, self.address.as_str(), deadline),
            Some(cause) if is_timeout(cause) => {
                ClientError::no_answer(self.address.as_str(), deadline)
            }
            Some(cause) => ClientError::unreachable(self.address.as_str(), cause),
        })
    }

    /// One call, as long as it takes. A status with a source is not the server's.
    async fn unary<C>(
        &self,
        path: &'static str,
        request: Request<C::Encode>,
        codec: C,
    ) -> Result<Response<C::Decode>, Status>
    where
        C: Codec<Encode: Sync, Decode: Sync>,
    {
        let message_bytes_max = self.options.message_bytes_max();
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(message_bytes_max);
        grpc.ready()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static(path);
        grpc.unary(request, path, codec).await
    }
}

/// Whether tonic's own timer, which runs beside ours, went off first.
fn is_timeout(cause: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(cause), |&error| error.source())
        .any(|error| error.is::<TimeoutExpired>())
}
