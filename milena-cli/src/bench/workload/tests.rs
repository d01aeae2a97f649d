//! What comes how often, against what is expected.

use clap::Parser;

use super::*;
use crate::bench::settings::KEYS_MAX;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
}

fn workload(arguments: &[&str]) -> Workload {
    let arguments = ["bench"].iter().chain(arguments);
    Workload::new(&Arguments::try_parse_from(arguments).unwrap().settings)
}

/// How often each rank came in so many choices.
fn counts(distribution: Distribution, keys: u32, choices: u64) -> Vec<f64> {
    let ranks = Ranks::new(distribution, keys);
    let mut counts = vec![0.0; keys.try_into().unwrap()];
    let mut random = Rng::with_seed(7);
    for number in 0..choices {
        counts[usize::try_from(ranks.choose(&mut random, number)).unwrap()] += 1.0;
    }
    counts
}

/// Fails if what was counted is further from the expectation than chance explains (five standard deviations).
fn assert_as_expected(counts: &[f64], expected: impl Fn(usize) -> f64) {
    for (rank, count) in counts.iter().enumerate() {
        let expected = expected(rank);
        let far = 5.0 * expected.sqrt().max(1.0);
        assert!(
            (count - expected).abs() < far,
            "rank {rank} came {count} times, expected {expected}"
        );
    }
}

#[test]
fn uniform_asks_for_each_key_as_often() {
    let counts = counts(Distribution::Uniform, 50, 200_000);
    assert_as_expected(&counts, |_| 4_000.0);
}

#[test]
fn zipf_asks_for_each_rank_as_its_law_says() {
    for exponent in [0.5, 0.9, 1.0, 1.5] {
        let counts = counts(Distribution::Zipf(exponent), 1_000, 400_000);
        let weight = |rank: usize| {
            let rank = f64::from(u32::try_from(rank).unwrap() + 1);
            rank.powf(-exponent)
        };
        let sum: f64 = (0..1_000).map(weight).sum();
        assert_as_expected(&counts, |rank| 400_000.0 * weight(rank) / sum);
    }
}

#[test]
fn zipf_of_one_key_is_that_key() {
    assert_eq!(counts(Distribution::Zipf(0.99), 1, 10), [10.0]);
}

#[test]
fn sequential_asks_for_one_after_the_other() {
    assert_eq!(counts(Distribution::Sequential, 3, 7), [3.0, 2.0, 2.0]);
}

#[test]
fn every_rank_of_zipf_has_a_key_of_its_own() {
    for keys in [1, 2, 6, 1_000, 1_001, KEYS_MAX] {
        let all = u64::from(keys);
        let ranks = 0..all.min(2_000);
        let spread: std::collections::BTreeSet<_> =
            ranks.clone().map(|rank| rank * SPREAD % all).collect();
        assert_eq!(spread.len() as u64, ranks.end, "{keys}");
    }
}

#[test]
fn the_same_seed_asks_for_the_same_and_another_for_something_else() {
    let frames = |seed: &str| -> Vec<Bytes> {
        let workload = workload(&["--seed", seed, "--mix", "get=1,put=1,delete=1"]);
        (0..100)
            .map(|number| workload.request(number).frame)
            .collect()
    };
    assert_eq!(frames("3"), frames("3"));
    assert_ne!(frames("3"), frames("4"));
}

#[test]
fn operations_and_sizes_come_by_their_weights() {
    let workload = workload(&[
        "--mix",
        "get=2,put=7,delete=1",
        "--value-size",
        "10B:3,100B-200B:1",
    ]);
    let mut operations = [0.0; 3];
    let mut sizes = [0.0; 2];
    for number in 0..20_000 {
        let request = workload.request(number);
        operations[request.op as usize] += 1.0;
        if request.op == Op::Put {
            assert!(matches!(request.value_bytes, 10 | 100..=200));
            sizes[usize::from(request.value_bytes > 10)] += 1.0;
        }
    }
    assert_as_expected(&operations, |op| [4_000.0, 14_000.0, 2_000.0][op]);
    let puts = operations[1];
    assert_as_expected(&sizes, |size| [puts * 0.75, puts * 0.25][size]);
}

#[test]
fn a_frame_holds_the_message() {
    let workload = workload(&["--mix", "put=1", "--distribution", "sequential"]);
    let request = workload.request(5);
    let (head, message) = request.frame.split_at(5);
    assert_eq!(head[0], 0);
    assert_eq!(
        head[1..],
        u32::try_from(message.len()).unwrap().to_be_bytes()
    );
    let put = PutRequest::decode(message).unwrap();
    assert_eq!(
        (put.bucket.as_str(), &put.key[..]),
        ("bench", &b"key-0000000005"[..])
    );
    assert_eq!(put.value.len(), 1_024);
}
