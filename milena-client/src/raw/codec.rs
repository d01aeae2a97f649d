//! Encoded messages by way of tonic, which has a codec encode and decode: here they are copied.

use bytes::{Buf as _, BufMut as _, BytesMut};
use milena_h2::{PREFIX_BYTES, WireMessage};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Copies.
#[derive(Clone, Copy, Debug)]
pub(super) struct WireCodec;

impl Codec for WireCodec {
    type Encode = WireMessage;
    type Decode = WireMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for WireCodec {
    type Item = WireMessage;
    type Error = Status;

    /// tonic adds the prefix.
    fn encode(&mut self, message: WireMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message.encoded());
        Ok(())
    }
}

impl Decoder for WireCodec {
    type Item = WireMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<WireMessage>, Status> {
        let length = from.remaining();
        let mut framed = BytesMut::with_capacity(PREFIX_BYTES + length);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(length).expect("what came had a length of 4 bytes"));
        framed.put(from);
        let message = WireMessage::whole(&framed.freeze(), length);
        message.map_err(|malformed| Status::internal(malformed.to_string()))
    }
}
