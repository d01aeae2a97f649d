//! How a router starts, shows its state and stops.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::support::Cluster;
use milena_router::config::Config;
use milena_router::{Router, StartError};
use milena_server::program::Server as _;
use milena_testing::node::usual_stack;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// The page at `path`: its status line and its body.
async fn page(addr: SocketAddr, path: &str) -> (String, String) {
    let mut connection = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: router\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

async fn channel(cluster: &Cluster) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", cluster.router.addr())).unwrap();
    endpoint.connect().await.unwrap()
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let (cluster, _nodes) = Cluster::start_with_nodes(2).await;
    cluster.client.put("b", "k", "v").await.unwrap();
    cluster.client.get("b", "absent").await.unwrap();
    cluster.client.get("b", "").await.unwrap_err();
    let (status, text) = page(cluster.router.metrics_addr(), "/metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    for series in [
        "milena_router_requests_total{op=\"join\",result=\"ok\"} 2",
        "milena_router_requests_total{op=\"put\",result=\"ok\"} 1",
        "milena_router_requests_total{op=\"get\",result=\"not_found\"} 1",
        "milena_router_requests_total{op=\"get\",result=\"invalid\"} 1",
        "milena_router_forward_duration_seconds_count{op=\"get\"} 1",
        "milena_router_nodes 2",
        "milena_errors_total{kind=\"invalid_input\"} 1",
    ] {
        assert!(text.contains(series), "{series} is missing in\n{text}");
    }
}

#[tokio::test]
async fn a_router_without_nodes_is_ready_so_that_nodes_get_through_to_join() {
    let cluster = Cluster::start().await;
    let addr = cluster.router.metrics_addr();
    assert_eq!(page(addr, "/livez").await.0, "HTTP/1.1 200 OK");
    let (status, body) = page(addr, "/readyz").await;
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("HTTP/1.1 200 OK", "ready\nnodes: 0\n")
    );
}

#[tokio::test]
async fn health_is_serving_for_the_server_and_for_the_service() {
    let cluster = Cluster::start().await;
    let mut health = HealthClient::new(channel(&cluster).await);
    for service in ["", "router_server.Router"] {
        let service = service.to_owned();
        let answer = health.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
}

#[tokio::test]
async fn reflection_lists_what_is_served_and_nothing_else() {
    let cluster = Cluster::start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = ServerReflectionClient::new(channel(&cluster).await)
        .server_reflection_info(futures::stream::iter([request]))
        .await;
    let answer = answers
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = list
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert_eq!(names, ["router_server.Router", "grpc.health.v1.Health"]);
}

#[tokio::test]
async fn a_stop_is_announced_and_waits_for_calls_in_flight() {
    let (cluster, nodes) = Cluster::start_with_nodes(1).await;
    let Cluster { router, client, .. } = cluster;
    let metrics_addr = router.metrics_addr();
    let entries = nodes[0].entries();
    let in_flight = client.put("gated", "k", "v");
    let rest = async {
        entries.gated.acquire().await.unwrap().forget();
        let stopping = router.stop();
        let watching = async {
            while page(metrics_addr, "/readyz").await.0 == "HTTP/1.1 200 OK" {}
            let (status, body) = page(metrics_addr, "/readyz").await;
            assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
            assert!(body.starts_with("not ready: stopping\n"), "{body}");
            entries.gate.add_permits(1);
        };
        tokio::join!(stopping, watching);
    };
    let (answer, ()) = tokio::join!(in_flight, rest);
    answer.unwrap();
    assert!(nodes[0].has("gated", "k"));
    // Until nobody listens any more: another test may be given the port, but not for ever.
    while TcpStream::connect(metrics_addr).await.is_ok() {}
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = holder.local_addr().unwrap();
    let free = "127.0.0.1:0".parse().unwrap();
    let start = async |listen_addr, metrics_addr| {
        let config = Config {
            listen_addr,
            metrics_addr,
            rate_limit: None,
            value_bytes_max: 1,
            grpc_stack: usual_stack(),
            worker_threads: None,
        };
        Router::start(config).await.unwrap_err()
    };
    let error = start(taken, free).await;
    assert!(matches!(error, StartError::Listen { .. }), "{error:?}");
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    let error = start(free, taken).await;
    assert!(
        matches!(error, StartError::ListenForMetrics { .. }),
        "{error:?}"
    );
}

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_milena-router"));
    program.env_clear();
    program
}

#[test]
fn with_nothing_set_the_program_names_what_is_missing_and_exits_78() {
    let output = program().output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stderr).unwrap();
    for setting in ["LISTEN_ADDR", "RATE_LIMIT", "LOG_LEVEL"] {
        assert!(text.contains(&format!("{setting} is required")), "{text}");
    }
}

#[test]
fn the_program_serves_until_it_is_asked_to_stop() {
    let mut running = program()
        .args(["--listen-addr=127.0.0.1:0", "--metrics-port=0"])
        .env("RATE_LIMIT", "off")
        .env("LOG_LEVEL", "info")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(running.stderr.take().unwrap()).lines();
    let is_up = |line: &std::io::Result<String>| line.as_ref().unwrap().contains("serving gRPC");
    assert!(log.any(|line| is_up(&line)), "it says that it serves");
    let pid = running.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(running.wait().unwrap().success());
}
