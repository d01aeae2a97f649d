//! Write-back: what is acknowledged before the durable tier has it, what gets see meanwhile, and how it gets there.

use std::pin::pin;

use futures::poll;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::store::disk::{DiskConfig, DiskStore, DiskSync};
use crate::store::write_back::WriteBackStore;

/// Memory and disk over a [`Durable`], and uploads once they are asked for.
struct Node {
    operation: Operation,
    disk: Arc<DiskStore>,
    memory: Arc<MemoryStore>,
    durable: Arc<Durable>,
    clock: Clock,
    stop: CancellationToken,
    tasks: TaskTracker,
    folder: TempDir,
}

const MIB: u64 = 1 << 20;

const STALE_LIFE: Duration = Duration::from_secs(30);

impl Node {
    async fn new(mode: WriteMode, change: impl FnOnce(&mut DiskConfig)) -> Self {
        let clock = Clock::manual(UnixMillis(1_700_000_000_000));
        let room = MemoryConfig::new(100, MIB);
        let memory = Arc::new(MemoryStore::new(room, clock.clone()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let mut config = DiskConfig::new(path, 64 * MIB, DiskSync::Os, "boot".to_owned());
        config.free_bytes_min = 0;
        change(&mut config);
        let disk = DiskStore::open(config, clock.clone()).await.expect("opens");
        let durable = Arc::new(Durable::default());
        let metrics = Arc::new(Metrics::new());
        let operation = Operation::new(
            vec![
                Tier::new("memory", memory.clone(), &metrics),
                Tier::new("disk", disk.clone(), &metrics),
            ],
            Some(WriteBack {
                store: disk.clone(),
                mode,
            }),
            Tier::new("durable", durable.clone(), &metrics),
            Limits {
                lives: Lives::of_copies(COPY_LIFE),
                stale_life: STALE_LIFE,
                miss_life: Duration::ZERO,
                durable_timeout: Duration::from_secs(10),
            },
            clock.clone(),
            metrics,
            Handle::current(),
        );
        Self {
            operation,
            disk,
            memory,
            durable,
            clock,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            folder,
        }
    }

    fn upload(&self) {
        let (operation, stop) = (self.operation.clone(), self.stop.clone());
        self.tasks
            .spawn(async move { operation.upload(stop).await });
    }

    async fn put(&self, value: &'static str, ack: Ack) -> Result<()> {
        let options = PutOptions {
            ack,
            ..PutOptions::default()
        };
        let value = Bytes::from(value);
        self.operation.put(key(), value, options, None).await
    }

    async fn get(&self) -> Option<Bytes> {
        let found = self.operation.get(&key(), None).await.expect("get");
        found.map(|entry| entry.value)
    }

    async fn delete(&self) {
        self.operation.delete(key(), None).await.expect("delete");
    }

    fn durable_value(&self) -> Option<Bytes> {
        self.durable.values.lock().get(&key()).cloned()
    }

    fn durable_gets(&self) -> usize {
        self.durable.gets.load(Ordering::SeqCst)
    }

    fn is_dirty(&self) -> bool {
        self.disk.dirty(&key()).is_some()
    }

    async fn forget_memory(&self) {
        let deadline = self.clock.deadline_in(COPY_LIFE);
        self.memory.delete(&key(), deadline).await.unwrap();
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.operation.finish().await;
    }
}

#[tokio::test]
async fn a_put_is_acknowledged_by_the_disk_and_uploaded_later() {
    let node = Node::new(WriteMode::WriteBack, |_| ()).await;
    node.put("v", Ack::Default).await.unwrap();
    assert_eq!(node.durable_value(), None);
    node.forget_memory().await;
    assert_eq!(node.get().await, value("v"));
    assert_eq!(node.durable_gets(), 0);
    node.upload();
    node.operation.all_clean().await;
    assert_eq!(node.durable_value(), value("v"));
    node.stop().await;
}

#[tokio::test]
async fn a_dirty_put_goes_on_when_its_caller_goes_away() {
    let node = Node::new(WriteMode::WriteBack, |_| ()).await;
    node.put("old", Ack::Default).await.unwrap();
    {
        let mut put = pin!(node.put("new", Ack::Default));
        assert!(poll!(&mut put).is_pending(), "the disk has not answered");
    }
    node.put("newest", Ack::Default).await.unwrap();
    {
        let mut put = pin!(node.put("last", Ack::Default));
        assert!(poll!(&mut put).is_pending(), "as above");
    }
    node.operation.finish().await;
    let deadline = node.clock.deadline_in(COPY_LIFE);
    let in_memory = node.memory.get(&key(), deadline).await.unwrap();
    assert_eq!(in_memory.map(|entry| entry.value), value("last"));
    node.forget_memory().await;
    assert_eq!(node.get().await, value("last"));
    node.stop().await;
}

#[tokio::test]
async fn a_delete_hides_what_the_durable_tier_still_has() {
    let node = Node::new(WriteMode::WriteBack, |_| ()).await;
    node.durable.values.lock().insert(key(), Bytes::from("old"));
    assert_eq!(node.get().await, value("old"));
    node.delete().await;
    assert_eq!(node.durable_value(), value("old"));
    assert_eq!(node.get().await, None);
    assert_eq!(node.durable_gets(), 1, "not asked again");
    node.upload();
    node.operation.all_clean().await;
    assert_eq!(node.durable_value(), None);
    assert_eq!(node.get().await, None);
    node.stop().await;
}

#[tokio::test]
async fn what_is_dirty_is_served_past_its_copys_time_and_never_the_older_value() {
    let node = Node::new(WriteMode::WriteBack, |_| ()).await;
    node.durable.values.lock().insert(key(), Bytes::from("old"));
    node.put("new", Ack::Default).await.unwrap();
    node.clock.advance(COPY_LIFE + STALE_LIFE / 2);
    assert_eq!(
        node.get().await,
        value("new"),
        "not asked whether it is stale"
    );
    node.clock.advance(COPY_LIFE * 2);
    assert_eq!(node.get().await, value("new"), "from disk");
    assert_eq!(node.get().await, value("new"), "from memory");
    node.clock.advance(COPY_LIFE);
    assert_eq!(node.get().await, value("new"), "that copy has its own time");
    assert_eq!(node.durable_gets(), 0);
}

#[tokio::test]
async fn an_entry_that_has_expired_before_it_was_uploaded_is_a_miss() {
    let node = Node::new(WriteMode::WriteBack, |_| ()).await;
    node.durable.values.lock().insert(key(), Bytes::from("old"));
    let options = PutOptions {
        life: Some(Duration::from_secs(5)),
        ..PutOptions::default()
    };
    let put = node.operation.put(key(), Bytes::from("v"), options, None);
    put.await.unwrap();
    node.clock.advance(Duration::from_secs(5));
    assert_eq!(node.get().await, None);
    assert_eq!(node.durable_gets(), 0);
}

#[tokio::test]
async fn each_put_gets_the_durability_that_it_asks_for_in_both_modes() {
    for mode in [WriteMode::WriteBack, WriteMode::WriteThrough] {
        let node = Node::new(mode, |_| ()).await;
        node.upload();
        node.durable.before_put.close();
        node.put("disk", Ack::Disk).await.unwrap();
        assert_eq!(node.get().await, value("disk"));
        assert_eq!(node.durable_value(), None, "{mode:?}");
        node.durable.before_put.open();
        node.put("s3", Ack::S3).await.unwrap();
        assert_eq!(node.durable_value(), value("s3"), "{mode:?}");
        assert!(!node.is_dirty());
        node.stop().await;
    }
}

#[tokio::test]
async fn a_write_through_comes_after_the_upload_of_what_was_dirty() {
    let node = Node::new(WriteMode::WriteThrough, |_| ()).await;
    node.durable.before_put.close();
    node.put("first", Ack::Disk).await.unwrap();
    node.upload();
    node.durable.before_put.arrival().await;
    let second = node.put("second", Ack::Default);
    let opened = async { node.durable.before_put.open() };
    let (put, ()) = tokio::join!(biased; second, opened);
    put.unwrap();
    assert_eq!(node.durable_value(), value("second"));
    assert_eq!(node.get().await, value("second"));
    node.delete().await;
    assert_eq!(node.durable_value(), None, "a delete is through, too");
    node.stop().await;
}

#[tokio::test]
async fn who_waits_for_s3_is_told_when_it_does_not_come_and_the_write_goes_on() {
    let node = Node::new(WriteMode::WriteBack, |_| ()).await;
    node.put("v", Ack::Default).await.unwrap();
    let options = PutOptions {
        ack: Ack::S3,
        ..PutOptions::default()
    };
    // Nobody uploads.
    let hasty = node.clock.deadline_in(Duration::from_millis(50));
    let put = node
        .operation
        .put(key(), Bytes::from("w"), options, Some(hasty));
    let error = put.await.unwrap_err();
    assert!(matches!(error, Error::S3Error(_)), "{error}");
    assert_eq!(node.get().await, value("w"));
    node.upload();
    node.operation.all_clean().await;
    assert_eq!(node.durable_value(), value("w"));
    node.stop().await;
}

#[tokio::test]
async fn an_upload_that_fails_is_tried_again() {
    let node = Node::new(WriteMode::WriteBack, |_| ()).await;
    *node.durable.outcome_unknown.lock() = true;
    node.put("v", Ack::Default).await.unwrap();
    node.upload();
    for _ in 0..3 {
        node.durable.after_put.arrival().await;
    }
    assert!(node.is_dirty(), "it is not known to be there");
    assert_eq!(node.get().await, value("v"));
    *node.durable.outcome_unknown.lock() = false;
    node.operation.all_clean().await;
    node.stop().await;
}

#[tokio::test]
async fn what_is_written_during_an_upload_is_uploaded_after_it() {
    let node = Node::new(WriteMode::WriteBack, |_| ()).await;
    node.durable.after_put.close();
    node.put("first", Ack::Default).await.unwrap();
    node.upload();
    node.durable.after_put.arrival().await;
    node.delete().await;
    assert_eq!(node.get().await, None);
    node.durable.after_put.open();
    node.operation.all_clean().await;
    assert_eq!(node.durable_value(), None);
    node.stop().await;
}

#[tokio::test]
async fn a_fill_that_began_before_a_dirty_write_does_not_bring_back_what_it_read() {
    let node = Node::new(WriteMode::WriteBack, |_| ()).await;
    node.durable.values.lock().insert(key(), Bytes::from("old"));
    node.durable.after_read.close();
    let operation = node.operation.clone();
    let get = node
        .tasks
        .spawn(async move { operation.get(&key(), None).await });
    node.durable.after_read.arrival().await;
    node.delete().await;
    node.durable.after_read.open();
    get.await.unwrap().unwrap();
    assert_eq!(node.get().await, None);
    node.stop().await;
}

#[tokio::test]
async fn at_the_limit_a_write_is_refused_and_nothing_has_changed() {
    let node = Node::new(WriteMode::WriteBack, |disk| disk.dirty_bytes_max = 100).await;
    node.put("v", Ack::Default).await.unwrap();
    let hasty = node.clock.deadline_in(Duration::from_millis(50));
    let options = PutOptions::default();
    let put = node
        .operation
        .put(key(), Bytes::from("w"), options, Some(hasty));
    let error = put.await.unwrap_err();
    assert!(matches!(error, Error::RateLimitExceeded { .. }), "{error}");
    assert_eq!(node.get().await, value("v"));
    assert_eq!(node.durable_value(), None);
}

#[tokio::test]
async fn when_the_disk_takes_nothing_dirty_writes_go_through() {
    let node = Node::new(WriteMode::WriteBack, |disk| disk.free_bytes_min = u64::MAX).await;
    node.put("v", Ack::Default).await.unwrap();
    assert_eq!(node.durable_value(), value("v"));
    assert_eq!(node.get().await, value("v"));
    assert!(!node.is_dirty());
    let encoded = node.operation.0.metrics.encode();
    assert!(encoded.contains("milena_write_back_refused 1"), "{encoded}");
}

#[tokio::test]
async fn a_damaged_dirty_value_is_an_error_and_its_older_value_is_deleted() {
    let node = Node::new(WriteMode::WriteBack, |_| ()).await;
    node.durable.values.lock().insert(key(), Bytes::from("old"));
    node.put("recognisable", Ack::Default).await.unwrap();
    node.forget_memory().await;
    for file in std::fs::read_dir(node.folder.path()).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(12).position(|it| it == b"recognisable") {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let error = node.operation.get(&key(), None).await.unwrap_err();
    assert!(matches!(error, Error::StoreError(_)), "{error}");
    node.upload();
    node.operation.all_clean().await;
    assert_eq!(node.durable_value(), None);
    assert_eq!(node.get().await, None);
    node.stop().await;
}

#[tokio::test]
async fn what_has_expired_in_the_durable_tier_is_not_removed_while_its_key_is_dirty() {
    let node = Node::new(WriteMode::WriteBack, |_| ()).await;
    node.durable.values.lock().insert(key(), Bytes::from("old"));
    *node.durable.expired.lock() = Some(Bytes::from("old"));
    node.put("v", Ack::Default).await.unwrap();
    assert!(!node.operation.remove_expired(&key()).await.unwrap());
}
