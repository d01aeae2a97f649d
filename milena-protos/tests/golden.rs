//! The wire, pinned: the encoding of every message, written out by hand from the protobuf wire format.
//!
//! A field is its tag byte, `number << 3 | type` (type 0: a varint, type 2: a length and that many bytes),
//! and its content; a field that has its default value is left out. So `0a` opens field 1 of bytes,
//! `12` field 2, `1a` field 3, `08` is a bool in field 1, and `20` a number in field 4
//! (`10` in field 2).
//!
//! A test that fails here has found a change that breaks every client and node already deployed.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;

/// Asserts that `message` encodes to `wire` (hex, spaces aside) and `wire` decodes to `message`.
#[track_caller]
fn assert_wire<M: Message + Default + PartialEq + Debug>(message: &M, wire: &str) {
    let wire = unhex(wire);
    assert_eq!(message.encode_to_vec(), wire, "encoding {message:?}");
    assert_eq!(
        &M::decode(&wire[..]).unwrap(),
        message,
        "decoding {wire:02x?}"
    );
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap())
        .collect()
}

/// The messages that both packages have, field for field, so that a router can pass them on.
macro_rules! shared_messages {
    ($package:ident) => {
        mod $package {
            use super::*;
            use milena_protos::$package::*;

            #[test]
            fn get_request() {
                assert_wire(
                    &GetRequest {
                        key: Bytes::from_static(b"\x00\xffk"),
                        bucket: "photos".into(),
                    },
                    "0a 03 00ff6b  12 06 70686f746f73",
                );
                assert_wire(&GetRequest::default(), "");
            }

            #[test]
            fn get_response() {
                assert_wire(
                    &GetResponse {
                        successful: true,
                        value: Bytes::from_static(b"value"),
                    },
                    "08 01  12 05 76616c7565",
                );
                // A found value that is empty.
                assert_wire(
                    &GetResponse {
                        successful: true,
                        value: Bytes::new(),
                    },
                    "08 01",
                );
                assert_wire(&GetResponse::default(), "");
            }

            #[test]
            fn put_request() {
                assert_wire(
                    &PutRequest {
                        key: Bytes::from_static(b"key"),
                        bucket: "b".into(),
                        value: Bytes::from_static(b"\x01\x02"),
                        ttl_seconds: None,
                        ack: None,
                    },
                    "0a 03 6b6579  12 01 62  1a 02 0102",
                );
                // An optional field is written as soon as it is set, also if it is set to 0.
                for (ttl_seconds, wire) in [(0, "20 00"), (300, "20 ac02")] {
                    let ttl_seconds = Some(ttl_seconds);
                    assert_wire(
                        &PutRequest {
                            ttl_seconds,
                            ..PutRequest::default()
                        },
                        wire,
                    );
                }
                for (ack, wire) in [
                    (Ack::Default, "28 00"),
                    (Ack::Disk, "28 01"),
                    (Ack::S3, "28 02"),
                ] {
                    let mut request = PutRequest::default();
                    request.set_ack(ack);
                    assert_wire(&request, wire);
                }
                // From 128 bytes on a length takes two bytes: 300 is ac 02.
                assert_wire(
                    &PutRequest {
                        value: Bytes::from(vec![0xee; 300]),
                        ..PutRequest::default()
                    },
                    &format!("1a ac02 {}", "ee".repeat(300)),
                );
                assert_wire(&PutRequest::default(), "");
            }

            #[test]
            fn put_response() {
                assert_wire(&PutResponse { successful: true }, "08 01");
                assert_wire(&PutResponse::default(), "");
            }

            #[test]
            fn delete_request() {
                assert_wire(
                    &DeleteRequest {
                        key: Bytes::from_static(b"key"),
                        bucket: "b".into(),
                    },
                    "0a 03 6b6579  12 01 62",
                );
                assert_wire(&DeleteRequest::default(), "");
            }

            #[test]
            fn delete_response() {
                assert_wire(&DeleteResponse { successful: true }, "08 01");
                assert_wire(&DeleteResponse::default(), "");
            }

            #[test]
            fn flush_request() {
                assert_wire(&FlushRequest { wait_ms: 1_000 }, "08 e807");
                assert_wire(&FlushRequest::default(), "");
            }

            #[test]
            fn flush_response() {
                assert_wire(
                    &FlushResponse {
                        entries: 3,
                        bytes: 300,
                    },
                    "08 03  10 ac02",
                );
                assert_wire(&FlushResponse::default(), "");
            }

            #[test]
            fn a_field_of_a_later_version_is_passed_over() {
                let wire = unhex("0a 01 6b  12 01 62  fa 01 03 6e6577");
                let expected = GetRequest {
                    key: Bytes::from_static(b"k"),
                    bucket: "b".into(),
                };
                assert_eq!(GetRequest::decode(&wire[..]).unwrap(), expected);
            }

            #[test]
            fn decoded_bytes_are_slices_of_the_buffer_they_came_in() {
                let wire = Bytes::from(unhex("0a 03 6b6579  12 01 62  1a 04 01020304"));
                let request = PutRequest::decode(wire.clone()).unwrap();
                let (key, value): (Bytes, Bytes) = (request.key, request.value);
                assert_eq!(key.as_ptr(), wire[2..].as_ptr());
                assert_eq!(value.as_ptr(), wire[10..].as_ptr());

                let wire = Bytes::from(unhex("08 01  12 04 01020304"));
                let value: Bytes = GetResponse::decode(wire.clone()).unwrap().value;
                assert_eq!(value.as_ptr(), wire[4..].as_ptr());
            }
        }
    };
}

shared_messages!(cache_server);
shared_messages!(router_server);

mod membership {
    use super::*;
    use milena_protos::router_server::{JoinRequest, JoinResponse, LeaveRequest, LeaveResponse};

    const ADDRESS_WIRE: &str = "0a 0b 68 74 74 70 3a 2f 2f 61 3a 38 30";

    #[test]
    fn join() {
        let address = "http://a:80".to_owned();
        assert_wire(&JoinRequest { address }, ADDRESS_WIRE);
        assert_wire(&JoinRequest::default(), "");
        assert_wire(&JoinResponse { successful: true }, "08 01");
        assert_wire(&JoinResponse::default(), "");
    }

    #[test]
    fn leave() {
        let address = "http://a:80".to_owned();
        assert_wire(&LeaveRequest { address }, ADDRESS_WIRE);
        assert_wire(&LeaveRequest::default(), "");
        assert_wire(&LeaveResponse { successful: true }, "08 01");
        assert_wire(&LeaveResponse::default(), "");
    }
}
