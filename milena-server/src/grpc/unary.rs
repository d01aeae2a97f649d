//! What the direct path asks of a service: messages in, messages out, as they are on the wire.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use milena_h2::{PREFIX_BYTES, WireMessage};
use tonic::Status;

/// A longer value is sent from where it is, in frames of its own; to copy a shorter one takes less time than a frame.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// Unary methods that are answered without tonic.
pub trait Unary: Send + Sync + 'static {
    /// One of the methods.
    type Method: Copy + Send + Sync;

    /// The method at `path`, such as `/package.Service/Method`; `None`: tonic answers it.
    fn method(&self, path: &str) -> Option<Self::Method>;

    /// Answers a call of `method` with this encoded message if that needs no waiting and little time, before
    /// anything else of the call is set up. `None`: [`Unary::call`] is asked.
    fn call_now(&self, method: Self::Method, message: &[u8]) -> Option<Result<Answer, Status>> {
        let _ = (method, message);
        None
    }

    /// Answers a call of `method` with this message. The caller waits for `timeout` (`grpc-timeout`); the
    /// call is dropped after that, and when its stream is reset.
    fn call(
        &self,
        method: Self::Method,
        message: WireMessage,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<Answer, Status>> + Send;
}

/// The answer to a call.
#[derive(Debug)]
pub struct Answer {
    pub(super) first: Bytes,
    /// What follows it.
    pub(super) rest: Vec<Bytes>,
    pub(super) metadata: Option<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// A message that `encode` begins and `value` ends; a long value is not copied.
    ///
    /// # Panics
    /// When the message has 4 GiB or more, which gRPC cannot say.
    #[must_use]
    pub fn new(encode: impl FnOnce(&mut Vec<u8>), value: Bytes) -> Self {
        let value_bytes = value.len();
        let (copied, rest) = if value_bytes <= COPIED_BYTES_MAX {
            (value, Vec::new())
        } else {
            (Bytes::new(), vec![value])
        };
        let mut first = Vec::with_capacity(4 * PREFIX_BYTES + copied.len());
        first.resize(PREFIX_BYTES, 0);
        encode(&mut first);
        let bytes = first.len() - PREFIX_BYTES + value_bytes;
        let bytes = u32::try_from(bytes).expect("values are limited to 1 GiB");
        first[1..PREFIX_BYTES].copy_from_slice(&bytes.to_be_bytes());
        first.extend_from_slice(&copied);
        Self {
            first: first.into(),
            rest,
            metadata: None,
        }
    }

    /// This message, in the pieces that it came in.
    #[must_use]
    pub fn passed_on(message: WireMessage) -> Self {
        let (first, rest) = message.into_pieces();
        Self {
            first,
            rest,
            metadata: None,
        }
    }

    /// The same answer, which says this beside its message.
    #[must_use]
    pub fn with_metadata(self, name: HeaderName, value: HeaderValue) -> Self {
        Self {
            metadata: Some((name, value)),
            ..self
        }
    }
}
