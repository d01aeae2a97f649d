//! The client that asks the node, in a process of its own. It speaks HTTP/2 itself: whatever it has to say of a call
//! goes out in one write, so that the node always reads the same.

use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use milena_protos::cache_server::{GetRequest, PutRequest};
use prost::Message;
use tokio::net::TcpStream;

use crate::{BUCKET, VALUE_BYTES};

/// The argument with which this program is the client; its address and the number of calls follow.
pub(crate) const ARGUMENT: &str = "ask";

/// The key of all calls.
const KEY: &[u8] = b"0000000000000001";

/// Puts the key, then gets it so often, one call after the other.
pub(crate) async fn get(addr: SocketAddr, times: u32) {
    let socket = TcpStream::connect(addr).await.expect("the node listens");
    socket.set_nodelay(true).expect("a TCP socket");
    let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    let (key, bucket) = (Bytes::from_static(KEY), BUCKET.to_owned());
    let put = PutRequest {
        key: key.clone(),
        bucket: bucket.clone(),
        value: vec![7; VALUE_BYTES].into(),
        ..PutRequest::default()
    };
    let (put, get) = (framed(&put), framed(&GetRequest { key, bucket }));
    let calls = async {
        call(
            &client,
            format!("http://{addr}/cache_server.Cache/Put"),
            put,
        )
        .await;
        for _ in 0..times {
            let method = format!("http://{addr}/cache_server.Cache/Get");
            call(&client, method, get.clone()).await;
        }
    };
    tokio::select! {
        ended = connection => panic!("the node ends the connection: {ended:?}"),
        () = calls => {}
    }
}

async fn call(client: &SendRequest<Bytes>, method: String, message: Bytes) {
    let request = Request::post(method)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let mut client = client.clone().ready().await.expect("room for a call");
    let (answer, mut stream) = client.send_request(request, false).expect("a new stream");
    stream.send_data(message, true).expect("an open stream");
    let mut body = answer.await.expect("an answer").into_body();
    while let Some(part) = body.data().await {
        let bytes = part.expect("the answer goes on").len();
        body.flow_control()
            .release_capacity(bytes)
            .expect("of what was received");
    }
    let trailers = body.trailers().await.expect("the answer ends");
    let status = trailers
        .as_ref()
        .and_then(|all: &HeaderMap| all.get("grpc-status"));
    assert!(status.is_some_and(|status| status == "0"), "{trailers:?}");
}

/// A message as gRPC frames it.
fn framed(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).expect("a short message"));
    message.encode(&mut framed).expect("it grows");
    framed.freeze()
}
