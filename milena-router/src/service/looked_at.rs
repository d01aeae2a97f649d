//! What a router looks at in a request that it passes on.

use bytes::{Buf as _, Bytes};
use milena_client::raw::Verb;
use milena_h2::Encoded;
use milena_protos::router_server::{DeleteRequest, GetRequest};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message as _};

/// What a router has to know of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LookedAt {
    pub(super) key: Bytes,
    pub(super) bucket: String,
    /// How long a put's value is.
    pub(super) value_bytes: usize,
    /// When a put is to be acknowledged.
    pub(super) ack: i32,
}

impl LookedAt {
    /// Looks at a request of `verb`. What prost cannot decode is refused, in its words.
    pub(super) fn of(verb: Verb, request: Encoded<'_>) -> Result<Self, DecodeError> {
        let (key, bucket) = match verb {
            Verb::Get => {
                let GetRequest { key, bucket } = GetRequest::decode(request)?;
                (key, bucket)
            }
            Verb::Delete => {
                let DeleteRequest { key, bucket } = DeleteRequest::decode(request)?;
                (key, bucket)
            }
            Verb::Put => return Self::of_put(request),
        };
        Ok(Self {
            key,
            bucket,
            ..Self::default()
        })
    }

    /// As prost decodes a `PutRequest`, but the value, which may be in several pieces, is not copied.
    fn of_put(mut request: Encoded<'_>) -> Result<Self, DecodeError> {
        let mut put = Self::default();
        let from = &mut request;
        while from.has_remaining() {
            let (number, wire_type) = encoding::decode_key(from)?;
            let context = DecodeContext::default();
            let (name, merged) = match number {
                1 => (
                    "key",
                    encoding::bytes::merge(wire_type, &mut put.key, from, context),
                ),
                2 => (
                    "bucket",
                    encoding::string::merge(wire_type, &mut put.bucket, from, context),
                ),
                3 => ("value", put.pass_over_value(wire_type, from)),
                4 => (
                    "ttl_seconds",
                    encoding::uint64::merge(wire_type, &mut 0, from, context),
                ),
                5 => (
                    "ack",
                    encoding::int32::merge(wire_type, &mut put.ack, from, context),
                ),
                _ => {
                    encoding::skip_field(wire_type, number, from, context)?;
                    continue;
                }
            };
            merged.map_err(|mut error| {
                error.push("PutRequest", name);
                error
            })?;
        }
        Ok(put)
    }

    fn pass_over_value(
        &mut self,
        wire_type: WireType,
        from: &mut Encoded<'_>,
    ) -> Result<(), DecodeError> {
        encoding::check_wire_type(WireType::LengthDelimited, wire_type)?;
        let length = encoding::decode_varint(&mut from.clone())?;
        // Refuses a length that is not there.
        encoding::skip_field(wire_type, 3, from, DecodeContext::default())?;
        self.value_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use milena_h2::{MessageReader, PREFIX_BYTES};
    use milena_protos::router_server::PutRequest;
    use proptest::prelude::*;

    use super::*;

    /// What is looked at of a put that comes in pieces of `piece_bytes`.
    fn look_at(put: &[u8], piece_bytes: usize) -> Result<LookedAt, String> {
        let length = u32::try_from(put.len()).unwrap().to_be_bytes();
        let body = Bytes::from([&[0], &length[..], put].concat());
        let mut reader = MessageReader::new(put.len());
        for piece in body.chunks(piece_bytes.max(PREFIX_BYTES)) {
            reader.push(Bytes::copy_from_slice(piece)).unwrap();
        }
        let message = reader.finish().unwrap();
        LookedAt::of(Verb::Put, message.encoded()).map_err(|error| error.to_string())
    }

    fn decoded(put: &[u8]) -> Result<LookedAt, String> {
        let put = PutRequest::decode(put).map_err(|error| error.to_string())?;
        Ok(LookedAt {
            key: put.key,
            bucket: put.bucket,
            value_bytes: put.value.len(),
            ack: put.ack.unwrap_or_default(),
        })
    }

    proptest! {
        #[test]
        fn a_put_is_seen_as_prost_decodes_it(
            key in prop::collection::vec(any::<u8>(), 0..20),
            bucket in ".{0,9}",
            value_bytes in 0..30_000_usize,
            ttl_seconds in any::<Option<u64>>(),
            ack in any::<Option<i32>>(),
            piece_bytes in 0..20_000_usize,
        ) {
            let (key, value) = (key.into(), vec![7; value_bytes].into());
            let put = PutRequest { key, bucket, value, ttl_seconds, ack }.encode_to_vec();
            prop_assert_eq!(look_at(&put, piece_bytes), decoded(&put));
        }

        #[test]
        fn what_is_no_put_is_refused_in_the_words_of_prost(
            fields in prop::collection::vec((1..8_u32, 0..6_u32, prop::collection::vec(any::<u8>(), 0..5)), 0..4),
        ) {
            let mut bytes = Vec::new();
            for (number, wire_type, content) in fields {
                encoding::encode_varint(u64::from(number << 3 | wire_type), &mut bytes);
                bytes.extend_from_slice(&content);
            }
            prop_assert_eq!(look_at(&bytes, bytes.len() + PREFIX_BYTES), decoded(&bytes));
        }
    }
}
