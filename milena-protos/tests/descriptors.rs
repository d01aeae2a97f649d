//! The descriptors that servers show by reflection say what the design gives: every service, method,
//! message, field and number. A new one is added to the text here on purpose.

use std::fmt::Write as _;

use prost::Message;
use prost_types::field_descriptor_proto::Label;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

const EXPECTED: &str = "\
package cache_server
rpc cache_server.Cache/Get GetRequest -> GetResponse
rpc cache_server.Cache/Put PutRequest -> PutResponse
rpc cache_server.Cache/Delete DeleteRequest -> DeleteResponse
rpc cache_server.Cache/Flush FlushRequest -> FlushResponse
GetRequest key=1 Bytes, bucket=2 String
GetResponse successful=1 Bool, value=2 Bytes
PutRequest key=1 Bytes, bucket=2 String, value=3 Bytes, ttl_seconds=4 Uint64, ack=5 Enum
PutResponse successful=1 Bool
DeleteRequest key=1 Bytes, bucket=2 String
DeleteResponse successful=1 Bool
FlushRequest wait_ms=1 Uint32
FlushResponse entries=1 Uint64, bytes=2 Uint64
Ack ACK_DEFAULT=0, ACK_DISK=1, ACK_S3=2
package router_server
rpc router_server.Router/Get GetRequest -> GetResponse
rpc router_server.Router/Put PutRequest -> PutResponse
rpc router_server.Router/Delete DeleteRequest -> DeleteResponse
rpc router_server.Router/Join JoinRequest -> JoinResponse
rpc router_server.Router/Leave LeaveRequest -> LeaveResponse
rpc router_server.Router/Flush FlushRequest -> FlushResponse
GetRequest key=1 Bytes, bucket=2 String
GetResponse successful=1 Bool, value=2 Bytes
PutRequest key=1 Bytes, bucket=2 String, value=3 Bytes, ttl_seconds=4 Uint64, ack=5 Enum
PutResponse successful=1 Bool
DeleteRequest key=1 Bytes, bucket=2 String
DeleteResponse successful=1 Bool
JoinRequest address=1 String
JoinResponse successful=1 Bool
LeaveRequest address=1 String
LeaveResponse successful=1 Bool
FlushRequest wait_ms=1 Uint32
FlushResponse entries=1 Uint64, bytes=2 Uint64
Ack ACK_DEFAULT=0, ACK_DISK=1, ACK_S3=2
";

#[test]
fn the_descriptors_are_the_contract() {
    let descriptors = FileDescriptorSet::decode(milena_protos::FILE_DESCRIPTOR_SET).unwrap();
    let described: String = descriptors.file.iter().map(describe).collect();
    assert_eq!(described, EXPECTED);
}

fn describe(file: &FileDescriptorProto) -> String {
    assert_eq!(file.syntax(), "proto3");
    let package = file.package();
    let local = |name: &str| name.replace(&format!(".{package}."), "");
    let mut text = format!("package {package}\n");
    for service in &file.service {
        for method in &service.method {
            assert!(!method.client_streaming() && !method.server_streaming());
            let (takes, gives) = (local(method.input_type()), local(method.output_type()));
            let path = format!("{package}.{}/{}", service.name(), method.name());
            writeln!(text, "rpc {path} {takes} -> {gives}").unwrap();
        }
    }
    for message in &file.message_type {
        let fields: Vec<_> = message
            .field
            .iter()
            .map(|field| {
                assert_eq!(field.label(), Label::Optional, "nothing is repeated");
                format!("{}={} {:?}", field.name(), field.number(), field.r#type())
            })
            .collect();
        writeln!(text, "{} {}", message.name(), fields.join(", ")).unwrap();
    }
    for choice in &file.enum_type {
        let values = choice.value.iter();
        let values: Vec<_> = values
            .map(|value| format!("{}={}", value.name(), value.number()))
            .collect();
        writeln!(text, "{} {}", choice.name(), values.join(", ")).unwrap();
    }
    text
}
