//! The methods that the direct path answers: messages decoded and encoded, the rest is [`CacheService`]'s.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue};
use milena_h2::WireMessage;
use milena_protos::STALE_METADATA;
use milena_protos::cache_server::GetResponse;
use milena_server::grpc::{Answer, Unary, answer_due_within};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use tonic::Status;

use super::cache::{CacheService, Found};

// The numbers of `GetRequest.key`, `GetRequest.bucket` and `GetResponse.value`.
const KEY_FIELD: u32 = 1;
const BUCKET_FIELD: u32 = 2;
const VALUE_FIELD: u32 = 2;

/// `Get`, `Put` and `Delete` of `cache_server.Cache`, answered without tonic.
pub(super) struct DirectCache(pub(super) Arc<CacheService>);

/// A method of [`DirectCache`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    /// `Get`.
    Get,
    /// `Put`.
    Put,
    /// `Delete`.
    Delete,
}

impl Unary for DirectCache {
    type Method = Method;

    fn method(&self, path: &str) -> Option<Method> {
        match path {
            "/cache_server.Cache/Get" => Some(Method::Get),
            "/cache_server.Cache/Put" => Some(Method::Put),
            "/cache_server.Cache/Delete" => Some(Method::Delete),
            _ => None,
        }
    }

    fn call_now(&self, method: Method, message: &[u8]) -> Option<Result<Answer, Status>> {
        let Method::Get = method else {
            return None;
        };
        let asked = Asked::decode(message)?;
        let hit = self.0.find_now(asked.bucket, asked.key)?;
        Some(Ok(found(hit)))
    }

    async fn call(
        &self,
        method: Method,
        message: WireMessage,
        timeout: Option<Duration>,
    ) -> Result<Answer, Status> {
        let cache = &self.0;
        let due = timeout.map(|timeout| answer_due_within(timeout, cache.clock()));
        let message = message.encoded();
        match method {
            Method::Get => cache.find(decode(message)?, due).await.map(found),
            Method::Put => cache
                .store(decode(message)?, due)
                .await
                .map(|answer| short(&answer)),
            Method::Delete => cache
                .remove(decode(message)?, due)
                .await
                .map(|answer| short(&answer)),
        }
    }
}

/// An encoded `GetRequest`, whose parts stay where they are: most of what prost takes longer for is to allocate them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked<'a> {
    bucket: &'a str,
    key: &'a [u8],
}

impl<'a> Asked<'a> {
    /// `None` if it is none, or has anything else in it: prost tells what that means.
    fn decode(mut message: &'a [u8]) -> Option<Self> {
        let mut asked = Self::default();
        while !message.is_empty() {
            let (field, WireType::LengthDelimited) = decode_key(&mut message).ok()? else {
                return None;
            };
            let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            let content = message.split_off(..length)?;
            match field {
                KEY_FIELD => asked.key = content,
                BUCKET_FIELD => asked.bucket = str::from_utf8(content).ok()?,
                _ => return None,
            }
        }
        Some(asked)
    }
}

/// Decodes a request whose bytes stay in the buffer they came in, if it is one. Says what tonic says of one that is none.
fn decode<M: Message + Default>(message: impl Buf) -> Result<M, Status> {
    M::decode(message).map_err(|error| Status::internal(error.to_string()))
}

fn short(answer: &impl Message) -> Answer {
    Answer::new(|head| answer.encode_raw(head), Bytes::new())
}

fn found(found: Found) -> Answer {
    let value = found.value;
    let length = value.len();
    let answer = Answer::new(|head| begin_get_response(length, head), value);
    if !found.is_stale {
        return answer;
    }
    let name = HeaderName::from_static(STALE_METADATA);
    answer.with_metadata(name, HeaderValue::from_static("true"))
}

/// A `GetResponse` up to its value, which comes last, has so many bytes, and is sent from where it is.
fn begin_get_response(value_bytes: usize, head: &mut Vec<u8>) {
    let without_value = GetResponse {
        successful: true,
        value: Bytes::new(),
    };
    without_value.encode_raw(head);
    if value_bytes > 0 {
        encode_key(VALUE_FIELD, WireType::LengthDelimited, head);
        encode_varint(value_bytes as u64, head);
    }
}

#[cfg(test)]
mod tests {
    use milena_protos::cache_server::GetRequest;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_asked_is_decoded_as_prost_does(bucket in "\\PC{0,9}", key in any::<Vec<u8>>()) {
            let request = GetRequest { key: key.clone().into(), bucket: bucket.clone() };
            let encoded = request.encode_to_vec();
            let asked = Asked { bucket: &bucket, key: &key };
            prop_assert_eq!(Asked::decode(&encoded), Some(asked));
        }

        #[test]
        fn of_any_bytes_nothing_is_decoded_but_what_prost_does(
            mut message in prop::collection::vec(0_u8..24, 0..24),
            cut in 0_usize..24,
        ) {
            message.truncate(cut);
            if let Some(Asked { bucket, key }) = Asked::decode(&message) {
                let request = GetRequest::decode(&message[..]);
                let (bucket, key) = (bucket.to_owned(), Bytes::copy_from_slice(key));
                prop_assert_eq!(request.ok(), Some(GetRequest { key, bucket }));
            }
        }
    }

    #[test]
    fn what_has_a_part_that_is_not_known_is_left_to_prost() {
        let known = GetRequest {
            key: "k".into(),
            bucket: "b".to_owned(),
        };
        let mut encoded = known.encode_to_vec();
        assert!(Asked::decode(&encoded).is_some());
        encode_key(3, WireType::Varint, &mut encoded);
        encode_varint(1, &mut encoded);
        assert_eq!(Asked::decode(&encoded), None);
        assert_eq!(GetRequest::decode(&encoded[..]), Ok(known));
    }

    #[test]
    fn a_value_sent_from_where_it_is_makes_the_same_message() {
        for bytes in [0, 1, 127, 128, 100_000] {
            let value = Bytes::from(vec![7; bytes]);
            let mut encoded = Vec::new();
            begin_get_response(bytes, &mut encoded);
            encoded.extend_from_slice(&value);
            let whole = GetResponse {
                successful: true,
                value,
            };
            assert_eq!(encoded, whole.encode_to_vec(), "{bytes} bytes");
        }
    }
}
