//! A connection as its peer sees it, by a client that is written on HTTP/2 itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;

use bytes::Buf as _;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderValue, Response};
use milena_h2::WireMessage;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::*;
use crate::grpc::{Answer, GrpcServer};

/// The longest value of the server under test, in bytes.
const VALUE_BYTES_MAX: usize = 2 << 20;

/// What the tests wait for at most; none of them is to wait so long.
const PATIENCE: Duration = Duration::from_secs(20);

const ECHO: &str = "/test.Test/Echo";
const REFUSE: &str = "/test.Test/Refuse";
const HOLD: &str = "/test.Test/Hold";
const PANIC: &str = "/test.Test/Panic";
const PASS_ON: &str = "/test.Test/PassOn";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// What the calls of `Hold` tell the test, and the other way round.
#[derive(Default)]
struct Hold {
    begun: Notify,
    release: Notify,
    dropped: Notify,
}

#[derive(Clone, Copy)]
enum Method {
    Echo,
    Refuse,
    Hold,
    Panic,
    PassOn,
}

struct Test(Arc<Hold>);

impl Unary for Test {
    type Method = Method;

    fn method(&self, path: &str) -> Option<Method> {
        match path {
            ECHO => Some(Method::Echo),
            REFUSE => Some(Method::Refuse),
            HOLD => Some(Method::Hold),
            PANIC => Some(Method::Panic),
            PASS_ON => Some(Method::PassOn),
            _ => None,
        }
    }

    fn call_now(&self, method: Method, message: &[u8]) -> Option<Result<Answer, Status>> {
        let is_quick = message.starts_with(b"now");
        assert!(!is_quick || !matches!(method, Method::Panic), "on purpose");
        is_quick.then(|| {
            let said = |head: &mut Vec<u8>| head.extend_from_slice(b"at once:");
            Ok(Answer::new(said, Bytes::copy_from_slice(message)))
        })
    }

    async fn call(
        &self,
        method: Method,
        message: WireMessage,
        _timeout: Option<Duration>,
    ) -> Result<Answer, Status> {
        if let Method::PassOn = method {
            return Ok(Answer::passed_on(message));
        }
        let mut message = message.encoded();
        let message = message.copy_to_bytes(message.remaining());
        match method {
            Method::Echo => {
                let answer = Answer::new(|head| head.extend_from_slice(b"echo:"), message);
                let name = HeaderName::from_static("said");
                Ok(answer.with_metadata(name, HeaderValue::from_static("true")))
            }
            Method::Refuse => {
                let mut metadata = MetadataMap::new();
                metadata.insert("why", "because".parse().unwrap());
                let (text, details) = ("too many, 100 %", Bytes::from_static(b"\x01\x02\x03"));
                let code = Code::ResourceExhausted;
                Err(Status::with_details_and_metadata(
                    code, text, details, metadata,
                ))
            }
            Method::Panic | Method::PassOn => panic!("on purpose"),
            Method::Hold => {
                let hold = Arc::clone(&self.0);
                let _tells = TellsDrop(&hold);
                hold.begun.notify_one();
                hold.release.notified().await;
                Ok(Answer::new(|_| {}, message))
            }
        }
    }
}

struct TellsDrop<'a>(&'a Hold);

impl Drop for TellsDrop<'_> {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

struct Bench {
    server: GrpcServer,
    hold: Arc<Hold>,
}

impl Bench {
    async fn start() -> Self {
        let hold = Arc::new(Hold::default());
        let (_reporter, health) = tonic_health::server::health_reporter();
        let any_port: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let server = GrpcServer::start_direct(
            any_port,
            Some(NonZeroUsize::MIN),
            VALUE_BYTES_MAX,
            Routes::new(health),
            Test(Arc::clone(&hold)),
        );
        Self {
            server: server.await.unwrap(),
            hold,
        }
    }

    /// A connection whose streams have windows of so many bytes.
    async fn connect_with_windows(&self, bytes: u32) -> SendRequest<Bytes> {
        let socket = TcpStream::connect(self.server.addr()).await.unwrap();
        let mut client = h2::client::Builder::new();
        client
            .initial_window_size(bytes)
            .initial_connection_window_size(16 << 20)
            .max_header_list_size(1 << 20);
        let (sender, connection) = client.handshake(socket).await.unwrap();
        TaskTracker::new().spawn(connection);
        sender.ready().await.unwrap()
    }

    async fn connect(&self) -> SendRequest<Bytes> {
        self.connect_with_windows(16 << 20).await
    }
}

fn request(path: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap();
    Bytes::from([&[0], &length.to_be_bytes()[..], message].concat())
}

/// Begins a call whose request is still to be sent.
fn begin(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> (ResponseFuture, SendStream<Bytes>) {
    client.send_request(request, false).unwrap()
}

async fn call(client: &mut SendRequest<Bytes>, request: Request<()>, body: Bytes) -> Answered {
    let (answer, mut sending) = begin(client, request);
    sending.send_data(body, true).unwrap();
    soon(async { Answered::read(answer.await.unwrap()).await }).await
}

async fn echo(client: &mut SendRequest<Bytes>) -> Answered {
    call(client, request(ECHO, &[]), frame(b"hi")).await
}

#[derive(Debug)]
struct Answered {
    head: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Answered {
    async fn read(answer: Response<RecvStream>) -> Self {
        let (head, mut stream) = answer.into_parts();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data.unwrap();
            stream.flow_control().release_capacity(data.len()).unwrap();
            body.extend_from_slice(&data);
        }
        Self {
            head: head.headers,
            body,
            trailers: stream.trailers().await.unwrap(),
        }
    }

    fn status(&self) -> Status {
        let end = self.trailers.as_ref().unwrap_or(&self.head);
        Status::from_header_map(end).unwrap()
    }
}

async fn soon<T>(event: impl Future<Output = T>) -> T {
    let event = tokio::time::timeout(PATIENCE, event).await;
    event.expect("it happens")
}

#[tokio::test]
async fn an_answer_has_its_headers_its_message_and_its_trailers() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let answer = echo(&mut client).await;
    assert_eq!(answer.head["content-type"], "application/grpc");
    assert_eq!(answer.head["said"], "true");
    assert_eq!(answer.body, frame(b"echo:hi"));
    assert_eq!(answer.trailers.as_ref().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_refusal_is_trailers_only_with_message_details_and_metadata() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let answer = call(&mut client, request(REFUSE, &[]), frame(b"")).await;
    assert_eq!((answer.body.len(), &answer.trailers), (0, &None));
    assert_eq!(answer.head["content-type"], "application/grpc");
    let status = answer.status();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "too many, 100 %");
    assert_eq!(status.details(), b"\x01\x02\x03");
    assert_eq!(status.metadata().get("why").unwrap(), "because");
}

#[tokio::test]
async fn a_message_may_come_in_any_pieces() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let (answer, mut sending) = begin(&mut client, request(ECHO, &[]));
    for byte in frame(b"in pieces") {
        sending.send_data(Bytes::from(vec![byte]), false).unwrap();
    }
    sending.send_data(Bytes::new(), true).unwrap();
    let answer = Answered::read(answer.await.unwrap()).await;
    assert_eq!(answer.body, frame(b"echo:in pieces"));

    let greatest = vec![7; VALUE_BYTES_MAX];
    let answer = call(&mut client, request(ECHO, &[]), frame(&greatest)).await;
    assert_eq!(answer.body, frame(&[b"echo:", &greatest[..]].concat()));
    let answer = call(&mut client, request(PASS_ON, &[]), frame(&greatest)).await;
    assert!(answer.body == frame(&greatest), "the pieces in their order");
}

#[tokio::test]
async fn a_call_that_need_not_wait_is_answered_at_once_if_its_message_is_there() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let answer = call(&mut client, request(ECHO, &[]), frame(b"now")).await;
    assert_eq!(answer.body, frame(b"at once:now"));
    assert_eq!(answer.trailers.as_ref().unwrap()["grpc-status"], "0");

    let (answer, mut sending) = begin(&mut client, request(ECHO, &[]));
    let (first, rest) = (frame(b"now").slice(..6), frame(b"now").slice(6..));
    sending.send_data(first, false).unwrap();
    sending.send_data(rest, true).unwrap();
    let answer = Answered::read(answer.await.unwrap()).await;
    assert_eq!(answer.body, frame(b"echo:now"));
}

#[tokio::test]
async fn a_call_that_panics_is_reset_and_the_connection_goes_on() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    for message in [&b"now"[..], b"later"] {
        let (answer, mut sending) = begin(&mut client, request(PANIC, &[]));
        sending.send_data(frame(message), true).unwrap();
        assert!(soon(answer).await.unwrap_err().is_reset());
        assert_eq!(echo(&mut client).await.status().code(), Code::Ok);
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_the_connection_goes_on() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let two = [frame(b"one"), frame(b"two")].concat();
    let cases: [(&[u8], &str); 5] = [
        (b"", "missing or cut short"),
        (b"\0\0\0", "missing or cut short"),
        (b"\0\0\0\0\x05four", "missing or cut short"),
        (&two, "more than one message"),
        (b"\x01\0\0\0\x01x", "marked as compressed"),
    ];
    for (body, text) in cases {
        let body = Bytes::copy_from_slice(body);
        let status = call(&mut client, request(ECHO, &[]), body).await.status();
        assert_eq!(status.code(), Code::Internal, "{text}");
        assert!(status.message().contains(text), "{text}: {status}");
    }
    assert_eq!(echo(&mut client).await.status().code(), Code::Ok);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_its_announcement() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let (answer, mut sending) = begin(&mut client, request(ECHO, &[]));
    let announced = Bytes::from_static(b"\0\xff\xff\xff\xff");
    sending.send_data(announced, false).unwrap();
    // The rest is never sent.
    let status = Answered::read(soon(answer).await.unwrap()).await.status();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("MAX_VALUE_BYTES"), "{status}");
    assert_eq!(echo(&mut client).await.status().code(), Code::Ok);
}

#[tokio::test]
async fn what_is_not_called_plainly_is_tonics() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let gzip = call(
        &mut client,
        request(ECHO, &[("grpc-encoding", "gzip")]),
        frame(b""),
    )
    .await;
    assert_eq!(
        gzip.status().code(),
        Code::Unimplemented,
        "not in its routes"
    );
    let identity = request(ECHO, &[("grpc-encoding", "identity")]);
    let answer = call(&mut client, identity, frame(b"")).await;
    assert_eq!(answer.status().code(), Code::Ok);

    let unknown = call(&mut client, request("/test.Test/Other", &[]), frame(b"")).await;
    assert_eq!(unknown.status().code(), Code::Unimplemented);
    let health = call(&mut client, request(HEALTH, &[]), frame(b"")).await;
    assert_eq!(health.body, frame(b"\x08\x01"), "serving");
    assert_eq!(health.status().code(), Code::Ok);
    let gzip = request(HEALTH, &[("grpc-encoding", "gzip")]);
    let gzip = call(&mut client, gzip, frame(b"")).await.status();
    assert_eq!(gzip.code(), Code::Unimplemented, "{gzip}");
}

#[tokio::test]
async fn a_call_ends_with_its_callers_deadline() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let hold = request(HOLD, &[("grpc-timeout", "30m")]);
    let status = soon(call(&mut client, hold, frame(b""))).await.status();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    soon(bench.hold.dropped.notified()).await;

    // Also while the request is still to come.
    let (answer, _sending) = begin(&mut client, request(ECHO, &[("grpc-timeout", "30m")]));
    let status = Answered::read(soon(answer).await.unwrap()).await.status();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_reset_stream_drops_its_call_and_a_lost_connection_all_of_them() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let (_answer, mut sending) = begin(&mut client, request(HOLD, &[]));
    sending.send_data(frame(b""), true).unwrap();
    soon(bench.hold.begun.notified()).await;
    sending.send_reset(Reason::CANCEL);
    soon(bench.hold.dropped.notified()).await;
    assert_eq!(echo(&mut client).await.status().code(), Code::Ok);

    let socket = TcpStream::connect(bench.server.addr()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
    let (_answer, mut sending) = client.send_request(request(HOLD, &[]), false).unwrap();
    sending.send_data(frame(b""), true).unwrap();
    let tasks = TaskTracker::new();
    let connection = tasks.spawn(connection);
    soon(bench.hold.begun.notified()).await;
    connection.abort();
    soon(bench.hold.dropped.notified()).await;
}

#[tokio::test]
async fn who_reads_slowly_holds_up_nobody_and_gets_everything() {
    let bench = Bench::start().await;
    let mut client = bench.connect_with_windows(1_000).await;
    let long = vec![7; 1 << 20];
    let (answer, mut sending) = begin(&mut client, request(ECHO, &[]));
    sending.send_data(frame(&long), true).unwrap();
    let unread = soon(answer).await.unwrap();
    let other = soon(echo(&mut client)).await;
    assert_eq!(other.body, frame(b"echo:hi"));
    let read = soon(Answered::read(unread)).await;
    assert_eq!(read.body, frame(&[b"echo:", &long[..]].concat()));
    assert_eq!(read.status().code(), Code::Ok);
}

#[tokio::test]
async fn what_tonic_answers_keeps_to_the_callers_window() {
    let bench = Bench::start().await;
    let mut client = bench.connect_with_windows(3).await;
    let (answer, mut sending) = begin(&mut client, request(HEALTH, &[]));
    sending.send_data(frame(b""), true).unwrap();
    let mut answer = soon(answer).await.unwrap();
    let first = soon(answer.body_mut().data()).await.unwrap().unwrap();
    assert_eq!(first.len(), 3);
    let window = answer.body_mut().flow_control();
    window.release_capacity(first.len()).unwrap();
    let rest = soon(Answered::read(answer)).await;
    assert_eq!([&first, &rest.body[..]].concat(), frame(b"\x08\x01"));
    assert_eq!(rest.status().code(), Code::Ok);
}

#[tokio::test]
async fn streams_and_headers_are_limited() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    assert_eq!(echo(&mut client).await.status().code(), Code::Ok);
    assert_eq!(client.current_max_send_streams(), 1_024);

    let long = "x".repeat(17 << 10);
    let (answer, _sending) = begin(&mut client, request(ECHO, &[("long", &long)]));
    assert_eq!(soon(answer).await.unwrap().status(), 431);
    assert_eq!(echo(&mut client).await.status().code(), Code::Ok);
}

/// A frame of HTTP/2.
fn http2(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

#[tokio::test]
async fn who_resets_stream_after_stream_is_cut_off() {
    let bench = Bench::start().await;
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(http2(4, 0, 0, &[]));
    for stream in (1..200).step_by(2) {
        // `:method: POST`, `:scheme: http`, `:path: /`, and CANCEL.
        flood.extend(http2(1, 4, stream, &[0x83, 0x86, 0x84]));
        flood.extend(http2(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut socket = TcpStream::connect(bench.server.addr()).await.unwrap();
    socket.write_all(&flood).await.unwrap();
    let mut said = Vec::new();
    // Cut off may also be a reset.
    let _cut_off = soon(socket.read_to_end(&mut said)).await;
    let calm = Reason::ENHANCE_YOUR_CALM;
    let goaway = said
        .windows(9 + 8)
        .find(|frame| frame[3..9] == [7, 0, 0, 0, 0, 0]);
    let reason = &goaway.expect("a GOAWAY")[9 + 4..];
    assert_eq!(reason, u32::from(calm).to_be_bytes());
}

#[tokio::test]
async fn a_stop_waits_for_calls_in_flight_for_as_long_as_it_is_told() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let (answer, mut sending) = begin(&mut client, request(HOLD, &[]));
    sending.send_data(frame(b"held"), true).unwrap();
    soon(bench.hold.begun.notified()).await;
    let stopping = TaskTracker::new().spawn(bench.server.stop(PATIENCE));
    // Told to go, but for what is in flight.
    soon(async {
        while client.clone().ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    bench.hold.release.notify_one();
    let answer = Answered::read(soon(answer).await.unwrap()).await;
    assert_eq!(answer.body, frame(b"held"));
    assert!(soon(stopping).await.unwrap(), "all calls have finished");
}

#[tokio::test]
async fn a_stop_cuts_off_what_does_not_finish() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let (answer, mut sending) = begin(&mut client, request(HOLD, &[]));
    sending.send_data(frame(b""), true).unwrap();
    soon(bench.hold.begun.notified()).await;
    assert!(!soon(bench.server.stop(Duration::ZERO)).await);
    assert!(soon(answer).await.is_err());
    soon(bench.hold.dropped.notified()).await;
}
