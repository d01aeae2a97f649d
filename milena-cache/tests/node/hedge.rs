//! `S3_HEDGE`: a second GET where the first is slow, and not many of them.

use std::time::Duration;

use futures::future::join_all;
use milena_s3::{Action, Operation, Rule};

use crate::support::{Bench, object_of, value};

const HEDGES: &str = "milena_s3_hedges_total";
const WON: &str = "milena_s3_hedges_won_total";

async fn hedging() -> Bench {
    Bench::start_with(|setup| {
        setup.config.s3.hedges_gets = true;
        // An attempt that is not hedged is soon followed by a retry.
        setup.config.s3.timeout = Duration::from_secs(4);
    })
    .await
}

impl Bench {
    /// Asks S3 for so many keys that are not there.
    async fn miss(&self, keys: usize) {
        for number in 0..keys {
            assert_eq!(self.get(&format!("absent {number}")).await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn what_s3_does_not_answer_its_hedge_does() {
    let bench = hedging().await;
    // A GET of the many that are a little slow may have used up the last hedge.
    for round in 0..100 {
        bench.miss(100).await;
        let key = format!("stalled-{round}");
        bench.objects().put(&object_of(&key), "v").await;
        let won = bench.node.metric(WON).await;
        let stalled = bench
            .s3
            .inject_next(1, Operation::Get, &object_of(&key), Action::Stall);
        assert_eq!(bench.get(&key).await.unwrap(), value("v"));
        assert_eq!(stalled.fired(), 1);
        if bench.node.metric(WON).await > won {
            let cancelled = "milena_s3_requests_total{op=\"get\",outcome=\"cancelled\"}";
            assert!(bench.node.metric(cancelled).await > 0);
            return;
        }
    }
    panic!("no hedge has answered");
}

#[tokio::test]
async fn when_all_of_s3_is_slow_a_fiftieth_more_is_asked_of_it_at_most() {
    let bench = hedging().await;
    bench.miss(100).await;
    let slow = Action::Delay(Duration::from_millis(100));
    let _slow = bench.s3.faults().inject(Rule::on(Operation::Get, slow));
    for round in 0..10 {
        let gets = (0..20).map(async |number| {
            let key = format!("absent {round} {number}");
            assert_eq!(bench.get(&key).await.unwrap(), None);
        });
        join_all(gets).await;
    }
    let hedges = bench.node.metric(HEDGES).await;
    let gets = 100 + 10 * 20;
    assert!(hedges > 0 && hedges * 50 <= gets, "{hedges} for {gets}");
}
