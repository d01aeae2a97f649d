//! Calls of a server that is written on HTTP/2 itself and does what the test says.

use std::net::SocketAddr;

use bytes::Bytes;
use futures::future::{join, join_all};
use h2::server::{Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use milena_protos::cache_server::GetResponse;
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use super::*;

/// What the tests wait for at most; none of them is to wait so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest value of the client under test, in bytes.
const VALUE_BYTES_MAX: usize = 2 << 20;

struct Server(TcpListener);

type Call = (Request<RecvStream>, SendResponse<Bytes>);

impl Server {
    async fn bind() -> Self {
        Self::bind_to("127.0.0.1:0".parse().unwrap()).await
    }

    async fn bind_to(addr: SocketAddr) -> Self {
        Self(TcpListener::bind(addr).await.unwrap())
    }

    fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn client(&self) -> RawClient {
        client_of(&format!("http://{}", self.addr()))
    }

    /// A connection whose streams have windows of so many bytes.
    async fn accept_with(&self, handshake: &h2::server::Builder) -> Peer {
        let (socket, _) = self.0.accept().await.unwrap();
        let handshake: Handshake<TcpStream, Bytes> = handshake.handshake(socket);
        Peer(handshake.await.unwrap())
    }

    async fn accept(&self) -> Peer {
        self.accept_with(&h2::server::Builder::new()).await
    }
}

struct Peer(Connection<TcpStream, Bytes>);

impl Peer {
    async fn call(&mut self) -> Call {
        self.0.accept().await.unwrap().unwrap()
    }

    /// Sends what is to be sent, until the client ends the connection or `until` is there.
    async fn go_on<T>(&mut self, until: impl Future<Output = T>) -> T {
        let closed = std::future::poll_fn(|cx| self.0.poll_closed(cx));
        tokio::select! {
            biased;
            done = until => done,
            _ = closed => panic!("the client has ended the connection"),
        }
    }
}

fn client_of(address: &str) -> RawClient {
    let options = Options {
        value_bytes_max: VALUE_BYTES_MAX,
        ..Options::default()
    };
    RawClient::connect_to_node(address, &options).unwrap()
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    Bytes::from([&[0], &length[..], message].concat())
}

fn wire(message: &[u8]) -> WireMessage {
    WireMessage::whole(&framed(message), message.len())
        .unwrap()
        .unwrap()
}

fn found(value: &[u8]) -> Vec<u8> {
    let answer = GetResponse {
        successful: true,
        value: Bytes::copy_from_slice(value),
    };
    answer.encode_to_vec()
}

fn bytes_of(message: WireMessage) -> Vec<u8> {
    let (first, rest) = message.into_pieces();
    [&[first], &rest[..]].concat().concat()
}

async fn get(client: &RawClient, message: &[u8]) -> Result<RawAnswer, ClientError> {
    let call = client.call(Verb::Get, wire(message), PATIENCE);
    tokio::time::timeout(PATIENCE, call).await.unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

fn head(pairs: &[(&'static str, &str)]) -> Response<()> {
    let mut response = Response::new(());
    *response.headers_mut() = headers(pairs);
    response
}

/// Answers a call with these pieces and these trailers.
fn answer(
    call: &mut Call,
    head: Response<()>,
    pieces: &[&[u8]],
    trailers: &[(&'static str, &str)],
) {
    let mut stream = call.1.send_response(head, false).unwrap();
    for piece in pieces {
        stream
            .send_data(Bytes::copy_from_slice(piece), false)
            .unwrap();
    }
    stream.send_trailers(headers(trailers)).unwrap();
}

const OK: [(&str, &str); 1] = [("grpc-status", "0")];

/// What `calling` comes to while `server` takes a connection and answers its first call so.
async fn served<T>(
    server: &Server,
    calling: impl Future<Output = T>,
    answered: impl FnOnce(&mut Call),
) -> T {
    let serving = async {
        let mut peer = server.accept().await;
        let mut call = peer.call().await;
        answered(&mut call);
        peer.go_on(std::future::pending::<()>()).await;
    };
    tokio::select! {
        called = calling => called,
        () = serving => unreachable!("it goes on"),
    }
}

fn answer_with(value: &[u8]) -> impl FnOnce(&mut Call) {
    let message = framed(&found(value));
    move |call| answer(call, head(&[]), &[&message], &OK)
}

/// What a get comes to that is answered so.
async fn get_answered(answered: impl FnOnce(&mut Call)) -> Result<RawAnswer, ClientError> {
    let server = Server::bind().await;
    let client = server.client();
    served(&server, get(&client, b"request"), answered).await
}

#[tokio::test]
async fn a_request_and_its_answer_are_passed_on_in_the_bytes_that_came() {
    let server = Server::bind().await;
    let client = server.client();
    let message = found(b"value");
    let serving = async {
        let mut peer = server.accept().await;
        let mut call = peer.call().await;
        let request = &mut call.0;
        assert_eq!(request.uri().path(), "/cache_server.Cache/Get");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.headers()["grpc-timeout"], "20000m");
        let data = peer.go_on(request.body_mut().data()).await;
        assert_eq!(data.unwrap().unwrap(), framed(b"request"));
        let sent = framed(&message);
        answer(&mut call, head(&[]), &[&sent[..6], &sent[6..]], &OK);
        peer.go_on(std::future::pending::<()>()).await;
    };
    let answer = tokio::select! {
        answer = get(&client, b"request") => answer.unwrap(),
        () = serving => unreachable!("it goes on"),
    };
    assert!(!answer.is_stale);
    assert_eq!(bytes_of(answer.message), framed(&message));
}

#[tokio::test]
async fn metadata_says_that_a_value_is_stale() {
    let stale = head(&[("milena-stale", "true")]);
    let message = framed(&found(b""));
    let answer = get_answered(|call| answer(call, stale, &[&message], &OK)).await;
    assert!(answer.unwrap().is_stale);
}

#[tokio::test]
async fn a_status_is_the_servers_own_wherever_it_stands() {
    let refused = [("grpc-status", "8"), ("grpc-message", "too%20many")];
    let trailers_only = get_answered(|call| {
        call.1.send_response(head(&refused), true).unwrap();
    });
    let after_headers = get_answered(|call| answer(call, head(&[]), &[], &refused));
    let after_a_message =
        get_answered(|call| answer(call, head(&[]), &[&framed(&found(b""))], &refused));
    let (a, (b, c)) = join(trailers_only, join(after_headers, after_a_message)).await;
    for refused in [a, b, c] {
        match refused.unwrap_err() {
            ClientError::ResourceExhausted { status, .. } => {
                assert_eq!(status.message(), "too many");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_of_grpcs_has_the_code_that_stands_for_it() {
    let message = framed(&found(b""));
    let no = framed(b"");
    /// HTTP's status, pieces, trailers, and what it comes to.
    type Case<'a> = (u16, &'a [&'a [u8]], &'a [(&'static str, &'a str)], Code);
    let cases: [Case<'_>; 7] = [
        (503, &[], &[], Code::Unavailable),
        (404, &[], &[], Code::Unimplemented),
        (200, &[&message], &[], Code::Unknown),
        (200, &[], &OK, Code::Internal),
        (200, &[&message, &message], &OK, Code::Internal),
        (200, &[&message[..6]], &OK, Code::Internal),
        (200, &[&no], &OK, Code::NotFound),
    ];
    for (http, pieces, trailers, code) in cases {
        let mut said = head(&[]);
        *said.status_mut() = http.try_into().unwrap();
        let refused = get_answered(|call| answer(call, said, pieces, trailers)).await;
        let status = refused.unwrap_err().status().clone();
        assert_eq!(status.code(), code, "{http} {pieces:?}: {status}");
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused_by_its_announcement() {
    let refused = get_answered(|call| {
        let announced = b"\0\x7f\xff\xff\xff";
        let mut stream = call.1.send_response(head(&[]), false).unwrap();
        // The rest is never sent.
        stream
            .send_data(Bytes::from_static(announced), false)
            .unwrap();
    });
    assert_eq!(refused.await.unwrap_err().status().code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_call_that_is_not_answered_in_time_is_reset() {
    let server = Server::bind().await;
    let client = server.client();
    let wait = Duration::from_millis(50);
    let calling = async {
        // So that the connection is there when the time begins.
        get(&client, b"").await.unwrap();
        client.call(Verb::Put, wire(b""), wait).await
    };
    let serving = async {
        let mut peer = server.accept().await;
        let mut call = peer.call().await;
        answer(&mut call, head(&[]), &[&framed(&found(b""))], &OK);
        let (_request, mut respond) = peer.call().await;
        let reset = std::future::poll_fn(|cx| respond.poll_reset(cx));
        assert_eq!(peer.go_on(reset).await.unwrap(), Reason::CANCEL);
    };
    let (answer, ()) = join(calling, serving).await;
    match answer.unwrap_err() {
        ClientError::DeadlineExceeded(status) => {
            let expected = format!("http://{} gave no answer within 50 ms", server.addr());
            assert_eq!(status.message(), expected);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_is_reset_and_its_connection_goes_on() {
    let server = Server::bind().await;
    let client = server.client();
    let mut dropped = Box::pin(get(&client, b"dropped"));
    let mut peer = tokio::select! {
        peer = server.accept() => peer,
        _ = &mut dropped => unreachable!("nobody answers"),
    };
    let (_request, mut respond) = tokio::select! {
        call = peer.call() => call,
        _ = &mut dropped => unreachable!("nobody answers"),
    };
    drop(dropped);
    let reset = std::future::poll_fn(|cx| respond.poll_reset(cx));
    assert_eq!(peer.go_on(reset).await.unwrap(), Reason::CANCEL);
    let serving = async {
        let mut call = peer.call().await;
        answer(&mut call, head(&[]), &[&framed(&found(b""))], &OK);
        peer.go_on(std::future::pending::<()>()).await;
    };
    tokio::select! {
        answer = get(&client, b"another") => drop(answer.unwrap()),
        () = serving => unreachable!("it goes on"),
    }
}

#[tokio::test]
async fn a_broken_connection_fails_its_calls_and_the_next_call_makes_another() {
    let server = Server::bind().await;
    let client = server.client();
    let breaking = async {
        let mut peer = server.accept().await;
        let _call = peer.call().await;
    };
    let (broken, ()) = join(get(&client, b"sent once"), breaking).await;
    match broken.unwrap_err() {
        ClientError::Unreachable(status) => {
            let expected = format!("http://{} cannot be reached: ", server.addr());
            assert!(status.message().starts_with(&expected), "{status}");
        }
        other => panic!("{other:?}"),
    }
    let another = served(&server, get(&client, b"another"), answer_with(b"")).await;
    another.unwrap();
}

#[tokio::test]
async fn a_server_that_says_goodbye_answers_what_it_has_and_is_sent_nothing_more() {
    let server = Server::bind().await;
    let client = server.client();
    let saying_goodbye = async {
        let mut peer = server.accept().await;
        let mut call = peer.call().await;
        // Its goodbye is sent before the answer.
        peer.0.graceful_shutdown();
        answer(&mut call, head(&[]), &[&framed(&found(b"last"))], &OK);
        assert!(peer.0.accept().await.is_none(), "the connection has ended");
    };
    let (last, ()) = join(get(&client, b"before"), saying_goodbye).await;
    assert_eq!(bytes_of(last.unwrap().message), framed(&found(b"last")));
    let calling = get(&client, b"after the goodbye");
    let first = served(&server, calling, answer_with(b"first")).await;
    assert_eq!(bytes_of(first.unwrap().message), framed(&found(b"first")));
}

#[tokio::test]
async fn a_stream_that_is_refused_is_not_sent_again() {
    let refused = get_answered(|call| call.1.send_reset(Reason::REFUSED_STREAM)).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, ClientError::Unreachable(_)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn nobody_there_is_said_at_once_and_who_comes_is_found() {
    let addr = Server::bind().await.addr();
    let client = client_of(&format!("http://{addr}"));
    for refused in join_all((0..5).map(|_| get(&client, b""))).await {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, ClientError::Unreachable(_)),
            "{refused:?}"
        );
    }
    let server = Server::bind_to(addr).await;
    let calling = async {
        // The last failure may still hold back attempts, for as long as it took.
        while get(&client, b"").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    served(&server, calling, answer_with(b"")).await;
}

#[tokio::test]
async fn calls_at_once_share_a_connection_whose_making_goes_on_without_them() {
    let server = Server::bind().await;
    let client = server.client();
    // Given up before the connection was there.
    let mut given_up = Box::pin(get(&client, b""));
    assert!(futures::poll!(&mut given_up).is_pending());
    drop(given_up);
    let serving = async {
        let mut peer = server.accept().await;
        for _ in 0..50 {
            let mut call = peer.call().await;
            answer(&mut call, head(&[]), &[&framed(&found(b""))], &OK);
        }
        peer.go_on(std::future::pending::<()>()).await;
    };
    let calls = join_all((0..50).map(|_| get(&client, b"")));
    tokio::select! {
        answers = calls => assert!(answers.iter().all(Result::is_ok)),
        () = serving => unreachable!("it goes on"),
    }
}

#[tokio::test]
async fn a_mebibyte_passes_small_windows_either_way() {
    let server = Server::bind().await;
    let client = server.client();
    let long = vec![7; 1 << 20];
    let message = found(&long);
    let serving = async {
        let mut small_windows = h2::server::Builder::new();
        small_windows.initial_window_size(1_000);
        let mut peer = server.accept_with(&small_windows).await;
        let mut call = peer.call().await;
        let body = call.0.body_mut();
        let reading = async {
            let mut received = 0;
            while let Some(data) = body.data().await {
                let length = data.unwrap().len();
                body.flow_control().release_capacity(length).unwrap();
                received += length;
            }
            received
        };
        assert_eq!(peer.go_on(reading).await, framed(&long).len());
        answer(&mut call, head(&[]), &[&framed(&message)], &OK);
        peer.go_on(std::future::pending::<()>()).await;
    };
    let answer = tokio::select! {
        answer = get(&client, &long) => answer.unwrap(),
        () = serving => unreachable!("it goes on"),
    };
    assert!(bytes_of(answer.message) == framed(&message));
}

/// What takes the way of `https`, but for TLS.
#[tokio::test]
async fn by_tonic_the_bytes_are_the_same() {
    let server = Server::bind().await;
    let address = format!("http://{}", server.addr());
    let options = Options::default();
    let client = RawClient(Arc::new(Inner {
        address: Address::parse(&address).unwrap(),
        transport: Transport::Tonic(
            crate::connection::Connection::lazy(&address, &options).unwrap(),
        ),
    }));
    let message = found(&[7; 100_000]);
    let stale = head(&[
        ("milena-stale", "true"),
        ("content-type", "application/grpc"),
    ]);
    let serving = async {
        let mut peer = server.accept().await;
        let mut call = peer.call().await;
        let data = peer.go_on(call.0.body_mut().data()).await;
        assert_eq!(data.unwrap().unwrap(), framed(b"request"));
        answer(&mut call, stale, &[&framed(&message)], &OK);
        peer.go_on(std::future::pending::<()>()).await;
    };
    let answer = tokio::select! {
        answer = get(&client, b"request") => answer.unwrap(),
        () = serving => unreachable!("it goes on"),
    };
    assert!(answer.is_stale);
    assert_eq!(bytes_of(answer.message), framed(&message));
}
