//! The client against a router that answers as it is told.

#![expect(clippy::unwrap_used, reason = "in a test, to panic is to fail")]

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use milena_client::{Address, Backlog, Client, ClientError, Options, RouterClient};
use milena_protos::router_server::router_server::{Router, RouterServer};
use milena_protos::router_server::{
    DeleteRequest, DeleteResponse, FlushRequest, FlushResponse, GetRequest, GetResponse,
    JoinRequest, JoinResponse, LeaveRequest, LeaveResponse, PutRequest, PutResponse,
};
use milena_server::grpc::GrpcServer;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Gets are answered by the function; whatever else is asked for must name the bucket or node "right".
/// The bucket "of no" gets an OK that says no. A flush is answered with its wait in ms and one more.
#[derive(Clone)]
struct ScriptedRouter(fn(Request<GetRequest>) -> Result<Bytes, Status>);

#[tonic::async_trait]
impl Router for ScriptedRouter {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        if request.get_ref().key == "never answered" {
            std::future::pending::<()>().await;
        }
        let successful = request.get_ref().bucket != "of no";
        let value = (self.0)(request)?;
        Ok(Response::new(GetResponse { successful, value }))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let successful = request.get_ref().bucket != "of no";
        if successful {
            right(&request.get_ref().bucket)?;
        }
        Ok(Response::new(PutResponse { successful }))
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        right(&request.get_ref().bucket)?;
        Ok(Response::new(DeleteResponse { successful: true }))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        right(&request.get_ref().address)?;
        Ok(Response::new(JoinResponse { successful: true }))
    }

    async fn leave(
        &self,
        request: Request<LeaveRequest>,
    ) -> Result<Response<LeaveResponse>, Status> {
        right(&request.get_ref().address)?;
        Ok(Response::new(LeaveResponse { successful: true }))
    }

    async fn flush(
        &self,
        request: Request<FlushRequest>,
    ) -> Result<Response<FlushResponse>, Status> {
        let wait_ms = u64::from(request.get_ref().wait_ms);
        Ok(Response::new(FlushResponse {
            entries: wait_ms,
            bytes: wait_ms + 1,
        }))
    }
}

fn right(name: &str) -> Result<(), Status> {
    if name == "right" || name == "http://right:1" {
        Ok(())
    } else {
        Err(Status::invalid_argument(format!("{name} is wrong")))
    }
}

async fn serve_on(
    addr: SocketAddr,
    get: fn(Request<GetRequest>) -> Result<Bytes, Status>,
) -> GrpcServer {
    let routes = Routes::new(
        RouterServer::new(ScriptedRouter(get))
            .max_decoding_message_size(Options::VALUE_BYTES_MAX + (64 << 10)),
    );
    GrpcServer::start(
        addr,
        Some(NonZeroUsize::MIN),
        Options::VALUE_BYTES_MAX,
        routes,
    )
    .await
    .unwrap()
}

/// A router whose gets are answered by `get`, and a client of it.
async fn serve(get: fn(Request<GetRequest>) -> Result<Bytes, Status>) -> (GrpcServer, Client) {
    let server = serve_on("127.0.0.1:0".parse().unwrap(), get).await;
    let client = Client::connect(&format!("http://{}", server.addr())).unwrap();
    (server, client)
}

async fn kill(server: GrpcServer) {
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_value_is_some_and_not_found_is_none() {
    let (_server, client) = serve(|request| match request.get_ref().bucket.as_str() {
        "full" => Ok(request.into_inner().key),
        "of empty values" => Ok(Bytes::new()),
        _ => Err(Status::not_found("no tier holds this key")),
    })
    .await;
    let echoed = client.get("full", b"\x00\xff".to_vec()).await.unwrap();
    assert_eq!(echoed.as_deref(), Some(&b"\x00\xff"[..]));
    let empty = client.get("of empty values", "k").await.unwrap();
    assert_eq!(empty, Some(Bytes::new()));
    assert_eq!(client.get("empty", "k").await.unwrap(), None);
}

#[tokio::test]
async fn put_delete_join_and_leave_say_what_they_are_about() {
    let (server, client) = serve(|_| Ok(Bytes::new())).await;
    client.put("right", "k", "v").await.unwrap();
    client.delete("right", "k").await.unwrap();
    let refused = client.put("left", "k", "v").await.unwrap_err();
    assert!(
        matches!(&refused, ClientError::InvalidInput(_)),
        "{refused:?}"
    );
    assert_eq!(refused.to_string(), "left is wrong");

    let address = format!("http://{}", server.addr());
    let router = RouterClient::connect(&address, &Options::default()).unwrap();
    let node = Address::parse("http://right:1").unwrap();
    router.join(&node).await.unwrap();
    router.leave(&node).await.unwrap();
    let wrong = Address::parse("http://wrong:1").unwrap();
    assert!(router.join(&wrong).await.is_err());
    assert!(router.leave(&wrong).await.is_err());
}

#[tokio::test]
async fn a_flush_says_how_long_it_waits_and_gives_what_is_left() {
    let (_server, client) = serve(|_| Ok(Bytes::new())).await;
    let longest = u64::from(u32::MAX);
    for (wait, entries) in [
        (Duration::ZERO, 0),
        (Duration::from_secs(2), 2_000),
        (Duration::MAX, longest),
    ] {
        let bytes = entries + 1;
        let left = client.flush(wait).await.unwrap();
        assert_eq!(left, Backlog { entries, bytes });
    }
}

#[tokio::test]
async fn an_ok_that_says_no_is_a_miss_or_an_error() {
    let (_server, client) = serve(|_| Ok(Bytes::new())).await;
    assert_eq!(client.get("of no", "k").await.unwrap(), None);
    let error = client.put("of no", "k", "v").await.unwrap_err();
    assert!(matches!(error, ClientError::Other(_)), "{error:?}");
}

#[tokio::test]
async fn each_status_is_its_kind_of_error_with_the_servers_text() {
    let (_server, client) = serve(|request| {
        let text = "the server's text";
        Err(match request.get_ref().bucket.as_str() {
            "input" => Status::invalid_argument(text),
            "unavailable" => Status::unavailable(text),
            "deadline" => Status::deadline_exceeded(text),
            "limit" => Status::with_error_details(
                Code::ResourceExhausted,
                text,
                ErrorDetails::with_retry_info(Some(Duration::from_millis(1_500))),
            ),
            "bare limit" => Status::resource_exhausted(text),
            "internal" => Status::internal(text),
            "given up" => Status::cancelled("Timeout expired"),
            _ => Status::unimplemented(text),
        })
    })
    .await;
    let error = async |bucket: &str| client.get(bucket, "k").await.unwrap_err();
    let input = error("input").await;
    assert!(matches!(input, ClientError::InvalidInput(_)));
    assert_eq!(input.to_string(), "the server's text");
    assert!(matches!(
        error("unavailable").await,
        ClientError::Unavailable(_)
    ));
    assert!(matches!(
        error("deadline").await,
        ClientError::DeadlineExceeded(_)
    ));
    let given_up = error("given up").await;
    assert!(matches!(given_up, ClientError::DeadlineExceeded(_)));
    assert!(given_up.to_string().contains("no answer within 10000 ms"));
    assert!(matches!(error("internal").await, ClientError::Internal(_)));
    assert!(!input.is_unimplemented());
    let unimplemented = error("else").await;
    assert!(matches!(unimplemented, ClientError::Other(_)));
    assert!(unimplemented.is_unimplemented());
    for (bucket, expected) in [
        ("limit", Some(Duration::from_millis(1_500))),
        ("bare limit", None),
    ] {
        match error(bucket).await {
            ClientError::ResourceExhausted { retry_after, .. } => assert_eq!(retry_after, expected),
            other => panic!("{bucket}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_server_is_told_the_deadline() {
    let (_server, client) = serve(|request| {
        let told = request.metadata().get("grpc-timeout").unwrap();
        Ok(Bytes::copy_from_slice(told.as_bytes()))
    })
    .await;
    let told = client.get("b", "k").await.unwrap();
    assert_eq!(told.as_deref(), Some(&b"10000000u"[..]), "ten seconds");
    let told = client
        .with_deadline(Duration::from_millis(700))
        .get("b", "k")
        .await
        .unwrap();
    assert_eq!(told.as_deref(), Some(&b"700000u"[..]));
    let told = client
        .with_deadline(Duration::MAX)
        .get("b", "k")
        .await
        .unwrap();
    assert_eq!(told.as_deref(), Some(&b"31536000S"[..]), "a year");
}

#[tokio::test]
async fn a_server_that_never_answers_exceeds_the_deadline() {
    let (server, client) = serve(|_| Ok(Bytes::new())).await;
    let client = client.with_deadline(Duration::from_millis(50));
    let error = client.get("b", "never answered").await.unwrap_err();
    assert!(
        matches!(error, ClientError::DeadlineExceeded(_)),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        format!("http://{} gave no answer within 50 ms", server.addr())
    );
}

#[tokio::test]
async fn a_listener_that_never_speaks_exceeds_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::connect(&address).unwrap();
    let client = client.with_deadline(Duration::from_millis(50));
    let error = client.get("b", "k").await.unwrap_err();
    assert!(
        matches!(error, ClientError::DeadlineExceeded(_)),
        "{error:?}"
    );
}

// Time is tokio's own here and jumps to the next timer.
#[tokio::test(start_paused = true)]
async fn a_connection_that_went_silent_is_given_up_long_before_a_late_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let options = Options {
        deadline: Duration::from_secs(3_600),
        connect_timeout: Duration::from_secs(3_600),
        ..Options::default()
    };
    let client = Client::connect_with(&address, &options).unwrap();
    let error = client.get("b", "k").await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_away_is_unreachable_and_found_again_when_it_is_back() {
    let (server, client) = serve(|_| Ok(Bytes::from_static(b"first"))).await;
    let addr = server.addr();
    client.get("b", "k").await.unwrap();
    kill(server).await;

    let error = client.get("b", "k").await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
    assert_eq!(error.status().code(), Code::Unavailable);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("http://{addr} cannot be reached: ")),
        "{text}"
    );

    let _server = serve_on(addr, |_| Ok(Bytes::from_static(b"second"))).await;
    let found = loop {
        // The last failure may still hold back attempts, for as long as it took.
        match client.get("b", "k").await {
            Err(ClientError::Unreachable(_)) => tokio::task::yield_now().await,
            other => break other.unwrap(),
        }
    };
    assert_eq!(found.as_deref(), Some(&b"second"[..]));
}

#[tokio::test]
async fn a_call_in_flight_when_the_server_dies_is_unreachable() {
    let (server, client) = serve(|_| Ok(Bytes::new())).await;
    client.get("b", "k").await.unwrap();
    let (error, ()) = tokio::join!(client.get("b", "never answered"), kill(server));
    assert!(
        matches!(error, Err(ClientError::Unreachable(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn calls_in_line_for_a_machine_that_answers_nothing_fail_together() {
    // A listener whose queue is full drops whoever else knocks, as a machine that is gone does.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(addr)).await
    {
        queue.push(connected.unwrap());
    }

    let options = Options {
        deadline: Duration::from_secs(4),
        connect_timeout: Duration::from_millis(200),
        ..Options::default()
    };
    let client = Client::connect_with(&format!("http://{addr}"), &options).unwrap();
    // One attempt each, in turn, would take twice the deadline.
    let calls = (0..40).map(|_| client.get("b", "k"));
    for answer in futures::future::join_all(calls).await {
        let error = answer.unwrap_err();
        assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
        assert!(
            error.to_string().ends_with("no connection within 200ms"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn values_of_the_longest_length_pass_both_ways_and_longer_ones_are_not_sent() {
    let (_server, client) = serve(|_| Ok(Bytes::from(vec![1; Options::VALUE_BYTES_MAX]))).await;
    let longest = Bytes::from(vec![1; Options::VALUE_BYTES_MAX]);
    client.put("right", "k", longest.clone()).await.unwrap();
    assert!(client.get("b", "k").await.unwrap() == Some(longest));

    let error = client
        .put("right", "k", vec![1; Options::VALUE_BYTES_MAX + 1])
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::InvalidInput(_)), "{error:?}");
    assert!(error.to_string().contains("at most 16777216"), "{error}");
}

#[tokio::test]
async fn what_is_no_address_is_refused_before_anything_is_sent() {
    let refused = Client::connect("localhost:50050").unwrap_err();
    assert!(
        refused.to_string().contains("expected http://host:port"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_https_server_that_speaks_no_tls_is_unreachable() {
    let (server, _client) = serve(|_| Ok(Bytes::new())).await;
    let client = Client::connect(&format!("https://{}", server.addr())).unwrap();
    let error = client.get("b", "k").await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
}
