//! Tests against the server of the `h2` crate, which shares no code with the client, and against peers that are no
//! servers.

use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::server::{self, Connection};
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What the tests wait for at most; none of them is to wait so long.
const PATIENCE: Duration = Duration::from_secs(20);

const PATHS: [&str; 2] = ["/service/One", "/service/Other"];

/// A client and the socket of its server; `keep_alive` for both times.
async fn connected(keep_alive: Duration) -> (Caller, impl Future<Output = ()>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let socket = TcpStream::connect(addr).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let keep_alive = KeepAlive {
        interval: keep_alive,
        timeout: keep_alive,
    };
    let methods = Methods::new(&addr.to_string(), &PATHS);
    let (caller, driver) = Caller::new(socket, methods, 100, keep_alive);
    (caller, driver, server)
}

fn message() -> WireMessage {
    let message = WireMessage::whole(&Bytes::from_static(b"\0\0\0\0\x02hi"), 2);
    message.unwrap().unwrap()
}

/// Answers all calls with `metadata` and their own message, and gives the paths and timeouts that they had.
async fn serve(
    socket: TcpStream,
    builder: server::Builder,
    metadata: HeaderMap,
) -> Vec<(String, HeaderMap)> {
    let mut connection: Connection<_, Bytes> = builder.handshake(socket).await.unwrap();
    let mut requests = Vec::new();
    while let Some(call) = connection.accept().await {
        let (request, mut respond) = call.unwrap();
        let (head, mut body) = request.into_parts();
        requests.push((head.uri.to_string(), head.headers));
        let mut answer = Response::new(());
        *answer.headers_mut() = metadata.clone();
        let mut stream = respond.send_response(answer, false).unwrap();
        // It came with the head.
        let data = body.data().await.unwrap().unwrap();
        stream.send_data(data, false).unwrap();
        stream.send_trailers(metadata.clone()).unwrap();
    }
    requests
}

/// Has two calls of each method answered, all at once.
async fn four_calls(builder: server::Builder, metadata: HeaderMap) -> Vec<(String, HeaderMap)> {
    let (caller, driver, socket) = connected(PATIENCE).await;
    let calling = async {
        let call = async |method| {
            caller
                .call(method, Duration::from_secs(method as u64 + 1), message())
                .await
        };
        let (a, b, c, d) = tokio::join!(call(0), call(1), call(0), call(1));
        for answer in [a, b, c, d] {
            let answer = answer.unwrap();
            assert_eq!(answer.head.headers, metadata);
            assert_eq!(answer.trailers.unwrap().headers, metadata);
            assert_eq!(
                &answer.message.unwrap().into_pieces().0[..],
                b"\0\0\0\0\x02hi"
            );
        }
        drop(caller);
    };
    let all = async {
        let serving = serve(socket, builder, metadata.clone());
        let ((), (), requests) = tokio::join!(calling, driver, serving);
        requests
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap()
}

/// Checks that a server has understood the heads of `four_calls`.
fn check_requests(requests: &[(String, HeaderMap)]) {
    assert_eq!(requests.len(), 4);
    for ((uri, headers), method) in requests.iter().zip([0, 1].into_iter().cycle()) {
        assert!(
            uri.starts_with("http://127.0.0.1:") && uri.ends_with(PATHS[method]),
            "{uri}"
        );
        assert_eq!(headers["te"], "trailers");
        assert_eq!(headers["content-type"], "application/grpc");
        assert_eq!(headers["grpc-timeout"], format!("{}000m", method + 1));
        assert_eq!(headers.len(), 3);
    }
}

#[tokio::test]
async fn every_byte_that_may_stand_in_a_header_is_understood() {
    let bytes: Vec<u8> = (b' '..=255).filter(|byte| *byte != 127).collect();
    let mut metadata = HeaderMap::new();
    for (name, of) in [("all", &bytes[..]), ("some", &bytes[..100]), ("none", b"")] {
        metadata.insert(name, HeaderValue::from_bytes(of).unwrap());
    }
    metadata.append("some", HeaderValue::from_static("more"));
    check_requests(&four_calls(server::Builder::new(), metadata).await);
}

#[tokio::test]
async fn a_server_may_keep_no_table() {
    let mut builder = server::Builder::new();
    builder.header_table_size(0);
    check_requests(&four_calls(builder, HeaderMap::new()).await);
}

#[tokio::test]
async fn a_server_may_have_few_streams_small_windows_and_short_frames() {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(1).initial_window_size(3);
    let (caller, driver, socket) = connected(PATIENCE).await;
    let calls = async {
        let call = async || caller.call(1, PATIENCE, message()).await;
        let (a, b, c) = tokio::join!(call(), call(), call());
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        drop(caller);
    };
    let serving = async {
        let mut connection: Connection<_, Bytes> = builder.handshake(socket).await.unwrap();
        let mut answered = 0;
        while let Some(call) = connection.accept().await {
            let (mut request, mut respond) = call.unwrap();
            let mut received = Vec::new();
            let reading = async {
                while let Some(data) = request.body_mut().data().await {
                    let data = data.unwrap();
                    let flow = request.body_mut().flow_control();
                    flow.release_capacity(data.len()).unwrap();
                    received.extend_from_slice(&data);
                }
            };
            let closed = std::future::poll_fn(|cx| connection.poll_closed(cx));
            tokio::select! {
                () = reading => {}
                _ = closed => panic!("the client has ended the connection"),
            }
            assert_eq!(received, b"\0\0\0\0\x02hi");
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(received.into(), true).unwrap();
            answered += 1;
        }
        answered
    };
    let all = async { tokio::join!(calls, driver, serving) };
    let ((), (), answered) = tokio::time::timeout(PATIENCE, all).await.unwrap();
    assert_eq!(answered, 3);
}

/// What becomes of a call whose server does `serving`.
async fn ended(keep_alive: Duration, serving: impl AsyncFnOnce(&mut TcpStream)) -> Broken {
    let (caller, driver, mut socket) = connected(keep_alive).await;
    let call = async {
        let (answer, ()) = tokio::join!(caller.call(0, PATIENCE, message()), serving(&mut socket));
        answer.unwrap_err()
    };
    let all = async { tokio::join!(call, driver) };
    let (broken, ()) = tokio::time::timeout(PATIENCE, all).await.unwrap();
    assert!(!caller.is_open());
    let after = caller.call(0, PATIENCE, message()).await.unwrap_err();
    assert_eq!(after.to_string(), broken.to_string());
    broken
}

#[tokio::test]
async fn what_is_no_server_ends_its_calls() {
    let broken = ended(PATIENCE, async |socket| {
        socket
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    });
    assert!(matches!(broken.await, Broken::Protocol(_)));
    let broken = ended(PATIENCE, async |socket| socket.shutdown().await.unwrap());
    assert!(matches!(broken.await, Broken::Ended));
    // It is told so, and why: the last of what comes is a GOAWAY.
    let broken = ended(PATIENCE, async |socket| {
        socket
            .write_all(b"\0\0\0\x04\0\0\0\0\0\0\0\0\x05\0\0\0\0\x01")
            .await
            .unwrap();
        let mut said = Vec::new();
        socket.read_to_end(&mut said).await.unwrap();
        assert!(
            said.ends_with(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
            "{said:x?}"
        );
    });
    assert!(matches!(broken.await, Broken::Protocol(_)));
}

#[tokio::test]
async fn a_server_that_answers_no_ping_is_given_up() {
    let broken = ended(Duration::from_millis(20), async |_| {});
    assert!(matches!(broken.await, Broken::Silent));
}

#[tokio::test]
async fn calls_end_when_their_driver_is_dropped() {
    let (caller, driver, _socket) = connected(PATIENCE).await;
    drop(driver);
    let broken = caller.call(0, PATIENCE, message()).await.unwrap_err();
    assert!(matches!(broken, Broken::Ended));
}
