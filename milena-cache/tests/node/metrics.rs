//! What an operator sees: every series from the start, and moved by what it counts.

use std::time::Duration;

use milena_cache::store::memory::MemoryConfig;
use milena_server::clock::{Clock, UnixMillis};
use milena_testing::node::{NodeSetup, TestNode};
use milena_testing::s3::TestS3;

use crate::support::{BUCKET, Bench, Objects, object_of, unavailable, value};

async fn hits(node: &TestNode) -> [u64; 3] {
    let mut counts = [0; 3];
    for (count, tier) in counts.iter_mut().zip(["memory", "disk", "s3"]) {
        let series = format!("milena_cache_hits_total{{tier=\"{tier}\"}}");
        *count = node.metric(&series).await;
    }
    counts
}

#[tokio::test]
async fn every_series_is_there_from_the_start_at_zero() {
    let bench = Bench::start().await;
    let mut expected = vec!["milena_cache_misses_total".to_owned()];
    for op in ["get", "put", "delete"] {
        for result in [
            "ok",
            "not_found",
            "invalid",
            "rate_limited",
            "unavailable",
            "error",
        ] {
            expected.push(format!(
                "milena_requests_total{{op=\"{op}\",result=\"{result}\"}}"
            ));
        }
        for tier in ["all", "memory", "disk", "s3"] {
            let name = "milena_operation_duration_seconds";
            expected.push(format!("{name}_count{{op=\"{op}\",tier=\"{tier}\"}}"));
            for bound in ["0.00005", "10", "+Inf"] {
                expected.push(format!(
                    "{name}_bucket{{op=\"{op}\",tier=\"{tier}\",le=\"{bound}\"}}"
                ));
            }
        }
    }
    for tier in ["memory", "disk", "s3"] {
        for name in ["milena_cache_hits_total", "milena_tier_entries"] {
            expected.push(format!("{name}{{tier=\"{tier}\"}}"));
        }
        for reason in ["entries", "bytes"] {
            expected.push(format!(
                "milena_evictions_total{{reason=\"{reason}\",tier=\"{tier}\"}}"
            ));
        }
    }
    for kind in ["key_not_found", "invalid_input", "s3_error", "store_error"] {
        expected.push(format!("milena_errors_total{{kind=\"{kind}\"}}"));
    }
    let page = bench.node.page("/metrics").await.body;
    for series in expected {
        let line = format!("{series} 0");
        assert!(
            page.lines().any(|shown| shown == line),
            "{line} is missing in\n{page}"
        );
    }
    // An empty disk tier has files with headers.
    for (tier, bytes) in [("memory", 0..1), ("disk", 0..1_024), ("s3", 0..1)] {
        let held = bench
            .node
            .metric(&format!("milena_tier_bytes{{tier=\"{tier}\"}}"))
            .await;
        assert!(bytes.contains(&held), "{tier} holds {held} bytes");
    }
    let build = page
        .lines()
        .find(|line| line.starts_with("milena_build_info{"));
    assert!(build.is_some_and(|line| line.ends_with("} 1")), "{build:?}");
}

#[tokio::test]
async fn the_least_recently_used_entry_leaves_memory_and_is_found_on_disk() {
    let bench = Bench::start_with(|setup| setup.config.memory.entries_max = 3).await;
    for key in ["a", "b", "c"] {
        bench.put(key, "v").await.unwrap();
    }
    bench.get("a").await.unwrap();
    bench.put("d", "v").await.unwrap();
    let evictions = "milena_evictions_total{reason=\"entries\",tier=\"memory\"}";
    assert_eq!(bench.node.metric(evictions).await, 1);
    for key in ["a", "c", "d"] {
        bench.get(key).await.unwrap();
    }
    assert_eq!(hits(&bench.node).await, [4, 0, 0]);
    assert_eq!(bench.get("b").await.unwrap(), value("v"));
    assert_eq!(hits(&bench.node).await, [4, 1, 0]);
    assert_eq!(
        bench
            .node
            .metric("milena_tier_entries{tier=\"memory\"}")
            .await,
        3
    );
    assert_eq!(
        bench
            .node
            .metric("milena_tier_entries{tier=\"disk\"}")
            .await,
        4
    );
}

#[tokio::test]
async fn without_a_disk_what_left_memory_is_found_in_s3() {
    let bench = Bench::start_with(|setup| {
        setup.config.memory.entries_max = 1;
        setup.config.disk = None;
    })
    .await;
    bench.put("a", "v").await.unwrap();
    bench.put("b", "v").await.unwrap();
    assert_eq!(bench.get("a").await.unwrap(), value("v"));
    let page = bench.node.page("/metrics").await.body;
    assert!(
        page.contains("milena_cache_hits_total{tier=\"s3\"} 1"),
        "{page}"
    );
    assert!(!page.contains("tier=\"disk\""), "there is none");
}

#[tokio::test]
async fn memory_is_bounded_by_bytes_too() {
    let bytes_max = 10_000;
    let bench = Bench::start_with(|setup| {
        setup.config.memory = MemoryConfig::new(1_000, bytes_max);
    })
    .await;
    for key in 0..20 {
        bench
            .node
            .client
            .put(BUCKET, format!("k{key}"), vec![0; 1_000])
            .await
            .unwrap();
        let bytes = bench
            .node
            .metric("milena_tier_bytes{tier=\"memory\"}")
            .await;
        assert!((1_000..=bytes_max).contains(&bytes), "{bytes}");
    }
    let evictions = "milena_evictions_total{reason=\"bytes\",tier=\"memory\"}";
    assert!(bench.node.metric(evictions).await >= 10);
}

#[tokio::test]
async fn requests_hits_misses_and_errors_are_counted() {
    let mut bench = Bench::start().await;
    bench.objects().put(&object_of("cold"), "v").await;
    for _ in 0..3 {
        assert_eq!(bench.get("cold").await.unwrap(), value("v"));
    }
    assert_eq!(hits(&bench.node).await, [2, 0, 1]);
    assert_eq!(
        bench
            .node
            .metric("milena_promotions_total{tier=\"disk\"}")
            .await,
        1
    );
    bench.get("absent").await.unwrap();
    bench.put("k", "v").await.unwrap();
    bench.delete("k").await.unwrap();
    bench.get("").await.unwrap_err();
    bench.s3.cut().await;
    unavailable(bench.get("absent").await);
    for (series, count) in [
        ("milena_cache_misses_total", 1),
        ("milena_requests_total{op=\"get\",result=\"ok\"}", 3),
        ("milena_requests_total{op=\"get\",result=\"not_found\"}", 1),
        ("milena_requests_total{op=\"get\",result=\"invalid\"}", 1),
        (
            "milena_requests_total{op=\"get\",result=\"unavailable\"}",
            1,
        ),
        ("milena_requests_total{op=\"put\",result=\"ok\"}", 1),
        ("milena_requests_total{op=\"delete\",result=\"ok\"}", 1),
        ("milena_errors_total{kind=\"key_not_found\"}", 1),
        ("milena_errors_total{kind=\"invalid_input\"}", 1),
        ("milena_errors_total{kind=\"s3_error\"}", 1),
        (
            "milena_operation_duration_seconds_count{op=\"put\",tier=\"s3\"}",
            1,
        ),
        (
            "milena_operation_duration_seconds_count{op=\"put\",tier=\"all\"}",
            1,
        ),
    ] {
        assert_eq!(bench.node.metric(series).await, count, "{series}");
    }
}

#[tokio::test]
async fn a_value_changed_in_s3_is_seen_when_the_copies_life_is_over() {
    let (s3, clock) = (
        TestS3::start().await,
        Clock::manual(UnixMillis(1_700_000_000_000)),
    );
    let setup = NodeSetup::new(&s3);
    let node = setup.start_at(clock.clone()).await;
    node.client.put(BUCKET, "k", "old").await.unwrap();
    Objects::of(&s3.config()).put(&object_of("k"), "new").await;
    clock.advance(setup.config.lives.copy - Duration::from_millis(1));
    assert_eq!(node.client.get(BUCKET, "k").await.unwrap(), value("old"));
    clock.advance(Duration::from_millis(1));
    assert_eq!(node.client.get(BUCKET, "k").await.unwrap(), value("new"));
}
