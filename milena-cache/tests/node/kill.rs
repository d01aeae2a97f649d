//! `kill -9` at random moments while writers put, overwrite, delete and get: what was acknowledged is
//! there, what was deleted stays deleted.
//!
//! Each writer has keys of its own and makes one call at a time, so that what a key may hold is known:
//! [`History`]. The moment is the one at which so many calls, a random number of them, were answered.

use bytes::Bytes;
use milena_client::{Client, ClientError};
use milena_server::clock::Clock;
use milena_testing::history::History;
use milena_testing::process::Process;
use milena_testing::s3::TestS3;
use milena_testing::times;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::program::{Environment, environment, serving};
use crate::support::BUCKET;

/// Cycles of a usual run; `MILENA_KILL_CYCLES` asks for more.
pub(crate) const CYCLES_USUAL: u32 = 10;

/// Writers at once.
pub(crate) const WRITERS: usize = 8;

/// Keys of one writer: few, so that they are overwritten and deleted often.
const KEYS: u64 = 12;

/// The longest value, in bytes. With the disk tier's limit below, a few cycles fill it, and segments are
/// dropped and reclaimed while the node is killed.
const VALUE_BYTES_MAX: u64 = 60_000;

/// The smallest disk tier there is.
const DISK_MAX_BYTES: &str = "16MiB";

/// Fewer entries in memory than there are keys, so that most gets go to the disk.
const LRU_SIZE: &str = "20";

/// Calls that are answered before the kill: at least and at most.
const CALLS: std::ops::Range<u64> = 50..400;

/// A writer and what it knows of its keys.
pub(crate) struct Writer {
    name: usize,
    history: History,
    calls: u64,
    random: Clock,
}

impl Writer {
    pub(crate) fn new(name: usize) -> Self {
        Self {
            name,
            history: History::default(),
            calls: 0,
            random: Clock::system(),
        }
    }

    /// Makes calls until one fails, as it does when the node is killed.
    async fn work(mut self, client: Client, answered: watch::Sender<u64>) -> Self {
        while self.call(&client).await.is_ok() {
            answered.send_modify(|calls| *calls += 1);
        }
        self
    }

    /// One call: a get, a delete or, most often, a put.
    async fn call(&mut self, client: &Client) -> Result<(), ClientError> {
        self.calls += 1;
        let key = format!(
            "writer-{}/key-{}",
            self.name,
            self.random.random_u64() % KEYS
        );
        match self.random.random_u64() % 10 {
            0..2 => {
                let found = client.get(BUCKET, &key).await?;
                self.history
                    .check(&key, &found)
                    .expect("while the node runs");
                return Ok(());
            }
            2..4 => {
                self.history.asked(&key, None);
                client.delete(BUCKET, &key).await?;
            }
            _ => {
                let value = self.value();
                self.history.asked(&key, Some(value.clone()));
                client.put(BUCKET, &key, value).await?;
            }
        }
        self.history.acknowledged(&key);
        Ok(())
    }

    /// A value that no other call puts.
    fn value(&self) -> Bytes {
        let mut value = format!("call {} of writer {} ", self.calls, self.name).into_bytes();
        let bytes = self.random.random_u64() % VALUE_BYTES_MAX;
        value.resize(value.len() + usize::try_from(bytes).unwrap(), b'.');
        value.into()
    }

    /// Reads every key.
    pub(crate) async fn check(&self, client: &Client, when: &str) {
        for key in self.history.keys() {
            let found = client.get(BUCKET, key).await.expect(when);
            self.history.check(key, &found).expect(when);
        }
    }

    /// Reads every key while S3 is away: a value is one that the key may hold, and never a miss.
    async fn check_copies(&self, client: &Client) -> usize {
        let gets = self
            .history
            .keys()
            .map(async |key| match client.get(BUCKET, key).await {
                Ok(found) => {
                    assert!(found.is_some(), "{key}: a miss while S3 cannot be asked");
                    self.history.check(key, &found).expect("with S3 away");
                    1
                }
                Err(ClientError::Unavailable(_)) => 0,
                Err(error) => panic!("{key}: {error:?}"),
            });
        futures::future::join_all(gets).await.into_iter().sum()
    }
}

/// One life of the node: it is checked, loaded and killed.
pub(crate) async fn one_life(
    environment: Environment,
    writers: Vec<Writer>,
    cycle: u32,
) -> Vec<Writer> {
    let (node, client) = serving(environment).await;
    let when = format!("after {cycle} kills");
    let checks = writers.iter().map(|writer| writer.check(&client, &when));
    futures::future::join_all(checks).await;

    let (answered, mut answers) = watch::channel(0);
    let mut working = JoinSet::new();
    for writer in writers {
        working.spawn(writer.work(client.clone(), answered.clone()));
    }
    let moment = CALLS.start + Clock::system().random_u64() % (CALLS.end - CALLS.start);
    answers.wait_for(|calls| *calls >= moment).await.unwrap();
    node.kill().await;
    working.join_all().await
}

async fn recovered(mut node: Process) -> Process {
    node.logged("the disk store has read its log").await;
    node
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_nine_under_load() {
    let (mut s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let mut environment = environment(&s3, &folder);
    environment.retain(|(name, _)| !matches!(*name, "DISK_MAX_BYTES" | "LRU_SIZE"));
    environment.push(("DISK_MAX_BYTES", DISK_MAX_BYTES.to_owned()));
    environment.push(("LRU_SIZE", LRU_SIZE.to_owned()));
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
    for cycle in 0..times("MILENA_KILL_CYCLES", CYCLES_USUAL) {
        writers = one_life(environment.clone(), writers, cycle).await;
        // A request that the node sent before it died may still be under way in S3. A real one would have
        // done it long before a node is back; here the stop waits for it.
        s3.stop().await;
        s3.start_again().await;
    }
    s3.cut().await;
    let (node, client) = serving(environment.clone()).await;
    let node = recovered(node).await;
    let checks = writers.iter().map(|writer| writer.check_copies(&client));
    let copies: usize = futures::future::join_all(checks).await.into_iter().sum();
    assert!(copies > 0, "some were on the disk");
    node.kill().await;

    s3.start_again().await;
    let (_node, client) = serving(environment).await;
    let checks = writers
        .iter()
        .map(|writer| writer.check(&client, "in the end"));
    futures::future::join_all(checks).await;
}
