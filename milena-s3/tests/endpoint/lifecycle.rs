//! Start, stop, come back.

use std::io::ErrorKind;

use milena_s3::{Action, Credentials, Operation, Options, Rule, S3Server, StartError, Storage};
use milena_server::clock::Clock;

use crate::fixture::{BUCKET, Fixture, client, noise, options};

#[tokio::test]
async fn objects_survive_the_server_on_its_folder_and_port() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().to_owned());
    let first = S3Server::start(options(storage.clone())).await.unwrap();
    let addr = first.addr();
    let client = client(&first.endpoint(), &Credentials::development());
    let content = noise(100_000, 1);
    for key in ["kept", "deleted"] {
        let put = client.put_object().bucket(BUCKET).key(key);
        let put = put.body(content.clone().into()).metadata("name", "value");
        put.send().await.unwrap();
    }
    let delete = client.delete_object().bucket(BUCKET).key("deleted");
    delete.send().await.unwrap();
    first.stop().await;

    let get = || client.get_object().bucket(BUCKET).key("kept").send();
    let error = get().await.expect_err("the server is stopped");
    assert!(error.raw_response().is_none());

    let again = Options {
        listen: addr,
        ..options(storage)
    };
    let second = S3Server::start(again).await.unwrap();
    let got = get().await.unwrap();
    assert_eq!(got.metadata().unwrap()["name"], "value");
    assert!(got.body.collect().await.unwrap().into_bytes() == content);
    let list = client.list_objects_v2().bucket(BUCKET);
    let list = list.send().await.unwrap();
    let keys: Vec<_> = list.contents().iter().filter_map(|o| o.key()).collect();
    assert_eq!(keys, ["kept"]);
    second.stop().await;
}

#[tokio::test]
async fn stopping_releases_and_finishes_what_is_in_flight() {
    let s3 = Fixture::in_memory().await;
    s3.put("key", "value").await;
    let stalled = Rule::on(Operation::Get, Action::Stall);
    let stall = s3.server.faults().inject(stalled);
    let get = s3.client.get_object().bucket(BUCKET).key("key").send();
    let stop = async {
        stall.wait_fired(1).await;
        s3.server.stop().await;
    };
    let (got, ()) = tokio::join!(get, stop);
    let body = got.unwrap().body.collect().await.unwrap();
    assert_eq!(body.into_bytes(), "value");
}

#[tokio::test]
async fn cutting_ends_what_is_in_flight_without_an_answer() {
    let s3 = Fixture::in_memory().await;
    let addr = s3.server.addr();
    let stall = s3.server.faults().inject(Rule::on_any(Action::Stall));
    let get = s3.client.get_object().bucket(BUCKET).key("key").send();
    let cut = async {
        stall.wait_fired(1).await;
        s3.server.cut().await;
    };
    let (got, ()) = tokio::join!(get, cut);
    assert!(got.unwrap_err().raw_response().is_none());

    let again = Options {
        listen: addr,
        ..options(Storage::Memory)
    };
    let server = S3Server::start(again).await.expect("the port is free");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().to_owned());
    let server = S3Server::start(options(storage.clone())).await.unwrap();

    let same_port = Options {
        listen: server.addr(),
        ..options(Storage::Memory)
    };
    let taken = S3Server::start(same_port).await.err();
    assert!(matches!(taken, Some(StartError::Listen { addr, .. }) if addr == server.addr()));

    let in_use = S3Server::start(options(storage)).await.err();
    assert!(matches!(in_use, Some(StartError::Storage(e)) if e.kind() == ErrorKind::ResourceBusy));

    let wrong_name = Options {
        buckets: vec!["Not_A_Bucket".to_owned()],
        ..Options::new(Storage::Memory, Clock::system())
    };
    let wrong_name = S3Server::start(wrong_name).await.err();
    assert!(matches!(wrong_name, Some(StartError::BucketName(name)) if name == "Not_A_Bucket"));
    server.stop().await;
}
