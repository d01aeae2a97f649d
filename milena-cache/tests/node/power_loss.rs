//! A node whose machine lost power, so that its disk tier may have lost its newest records.

use std::fs;

use milena_testing::eventually;

use crate::support::{Bench, unavailable, value};

impl Bench {
    /// A node whose disk tier is what was on the medium after these puts and before what is `unsynced`.
    async fn after_power_loss(
        puts: &[(&str, &'static str)],
        unsynced: impl AsyncFnOnce(&Self),
    ) -> Self {
        let mut bench = Self::start().await;
        for (key, value) in puts {
            bench.put(key, value).await.unwrap();
        }
        let disk = bench.setup.config.disk.as_mut().unwrap();
        let left = disk.path.with_file_name("left");
        fs::create_dir(&left).unwrap();
        for file in fs::read_dir(&disk.path).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), left.join(file.file_name())).unwrap();
        }
        disk.path = left;
        disk.boot_id = "the next boot".to_owned();
        unsynced(&bench).await;
        let bench = bench.restart().await;
        bench.node.disk_recovered().await;
        bench
    }

    /// How many objects S3 was asked for since the start.
    async fn gets(&self) -> u64 {
        let mut gets = 0;
        for outcome in ["ok", "not_found", "not_modified"] {
            gets += self.gets_that_ended(outcome).await;
        }
        gets
    }

    async fn gets_that_ended(&self, outcome: &str) -> u64 {
        let series = format!("milena_s3_requests_total{{op=\"get\",outcome=\"{outcome}\"}}");
        self.node.metric(&series).await
    }
}

#[tokio::test]
async fn each_copy_is_revalidated_by_one_request_before_it_is_served() {
    let puts = [("kept", "v"), ("replaced", "old"), ("deleted", "d")];
    let bench = Bench::after_power_loss(&puts, async |bench| {
        bench.put("replaced", "new").await.unwrap();
        bench.delete("deleted").await.unwrap();
    })
    .await;
    assert_eq!(
        bench.gets().await,
        0,
        "nothing is asked before it is needed"
    );

    for _ in 0..2 {
        assert_eq!(bench.get("kept").await.unwrap(), value("v"));
        assert_eq!(bench.gets_that_ended("not_modified").await, 1);
    }
    let received = "milena_s3_bytes_total{direction=\"in\"}";
    assert_eq!(bench.node.metric(received).await, 0, "the copy was served");
    assert_eq!(bench.gets().await, 1);

    for _ in 0..2 {
        assert_eq!(bench.get("replaced").await.unwrap(), value("new"));
        assert_eq!(bench.gets().await, 2);
    }
    assert_eq!(bench.get("deleted").await.unwrap(), None);
    assert_eq!(bench.gets().await, 3);
    for (result, count) in [("unchanged", 1), ("changed", 1), ("gone", 1), ("failed", 0)] {
        let series = format!("milena_revalidations_total{{result=\"{result}\"}}");
        assert_eq!(bench.node.metric(&series).await, count, "{result}");
    }

    // What has been revalidated is as good as any other from now on, on disk too.
    let bench = bench.restart().await;
    bench.node.disk_recovered().await;
    assert_eq!(bench.get("kept").await.unwrap(), value("v"));
    assert_eq!(bench.get("replaced").await.unwrap(), value("new"));
    assert_eq!(bench.gets().await, 0);
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_revalidated_and_stays_doubtful() {
    let puts = [("touched", "v"), ("untouched", "old")];
    let bench = Bench::after_power_loss(&puts, async |bench| {
        bench.put("untouched", "new").await.unwrap();
    })
    .await;
    assert_eq!(bench.get("touched").await.unwrap(), value("v"));
    assert_eq!(bench.gets().await, 1);
    let bench = bench.restart().await;
    bench.node.disk_recovered().await;
    assert_eq!(bench.get("untouched").await.unwrap(), value("new"));
    assert_eq!(bench.gets().await, 1);
}

#[tokio::test]
async fn while_s3_is_away_nothing_is_served_that_may_be_out_of_date() {
    let mut bench = Bench::after_power_loss(&[("k", "old")], async |bench| {
        bench.put("k", "new").await.unwrap();
    })
    .await;
    bench.s3.cut().await;
    unavailable(bench.get("k").await);
    bench.s3.start_again().await;
    eventually("S3 is asked again", async || bench.get("k").await.is_ok()).await;
    assert_eq!(bench.get("k").await.unwrap(), value("new"));
}

#[tokio::test]
async fn a_large_copy_is_revalidated_too() {
    let long = "x".repeat(3 << 20);
    let long: &'static str = Box::leak(long.into_boxed_str());
    let bench = Bench::after_power_loss(&[("k", long)], async |_| {}).await;
    assert_eq!(bench.get("k").await.unwrap(), value(long));
    assert_eq!(bench.gets_that_ended("not_modified").await, 1);
    assert_eq!(bench.gets().await, 1);
}
