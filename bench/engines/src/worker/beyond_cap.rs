//! Writing several times the cap through: what of the hot keys stays, and what it costs.
//!
//! Every tenth key of the first cap's worth is hot. For each put one hot key is read, chosen at random, so each
//! is read about ten times while one cap's worth is written. What was missed is not put again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::data::{Key, Values};
use crate::engine::{Engine, Failure};
use crate::job::Figures;
use crate::load::{self, Plan, Seen, Turn, Work};
use crate::machine;

use super::{Bench, check_none_failed, figures, say};

/// One key in so many of the first cap's worth is hot.
const HOT_EVERY: u64 = 10;

struct Through {
    values: Values,
    value_bytes: usize,
    first: u64,
    /// How many hot keys there are so far.
    hot: Arc<AtomicU64>,
    is_first_cap: bool,
}

impl<E: Engine> Work<E> for Through {
    async fn turn(&self, engine: &E, turn: Turn<'_>) -> Result<Seen, Failure> {
        let number = self.first + turn.number;
        let value = self.values.value(number, self.value_bytes);
        engine.put(Key::of(number), value).await?;
        // Of the keys of all tasks, those are surely there whose round is over.
        if self.is_first_cap && turn.task == 0 {
            self.hot.fetch_max(number / HOT_EVERY, Ordering::Relaxed);
        }
        let hot = self.hot.load(Ordering::Relaxed);
        if hot == 0 {
            return Ok(Seen::Good);
        }
        let number = turn.random.below(hot) * HOT_EVERY;
        look(engine, self.values, self.value_bytes, number).await
    }
}

async fn look<E: Engine>(
    engine: &E,
    values: Values,
    value_bytes: usize,
    number: u64,
) -> Result<Seen, Failure> {
    let see = |found: Option<&[u8]>| match found {
        Some(found) if values.is_value(number, value_bytes, found) => Seen::Good,
        Some(_) => Seen::Wrong,
        None => Seen::Miss,
    };
    engine.get(Key::of(number), see).await
}

pub(super) fn run<E: Engine>(bench: &Bench, times: u64) -> Result<(), Failure> {
    let engine = bench.open::<E>()?;
    let per_cap = bench.job.settings.cap_bytes / bench.user_bytes(1) as u64;
    let hot = Arc::new(AtomicU64::new(0));
    let through = |first, is_first_cap| Through {
        values: bench.values,
        value_bytes: bench.job.value_bytes,
        first,
        hot: Arc::clone(&hot),
        is_first_cap,
    };
    let plan = |objects| Plan {
        seconds: 1e9,
        ..bench.plan(1e9, objects)
    };
    let filled = load::run(&bench.runtime, &engine, through(0, true), plan(per_cap));
    check_none_failed(&filled)?;
    bench
        .runtime
        .block_on(kept(bench, &*engine, per_cap / HOT_EVERY))?;
    hot.store(per_cap / HOT_EVERY, Ordering::Relaxed);
    let before = machine::written();
    let rest = per_cap * (times - 1);
    let measured = load::run(&bench.runtime, &engine, through(per_cap, false), plan(rest));
    check_none_failed(&measured)?;
    bench.settle(&*engine)?;
    let written = machine::written();
    let kept = bench
        .runtime
        .block_on(kept(bench, &*engine, per_cap / HOT_EVERY))?;
    bench.close(engine)?;
    let mut found: Figures = figures([
        ("puts_per_s", measured.per_second()),
        (
            "mb_per_s",
            measured.per_second() * bench.job.value_bytes as f64 / 1e6,
        ),
        (
            "hot_hit_part",
            1.0 - measured.misses as f64 / measured.total() as f64,
        ),
        ("hot_kept_part", kept),
        ("p99_us", measured.latency(0.99)),
        ("p999_us", measured.latency(0.999)),
        ("max_us", measured.latency(1.0)),
    ]);
    found.extend(figures(written.per_byte(before, bench.user_bytes(rest))));
    say(&found)
}

/// Which part of the hot keys is there at the end.
async fn kept<E: Engine>(bench: &Bench, engine: &E, hot: u64) -> Result<f64, Failure> {
    let mut kept = 0;
    for index in 0..hot {
        let (values, bytes) = (bench.values, bench.job.value_bytes);
        match look(engine, values, bytes, index * HOT_EVERY).await? {
            Seen::Good => kept += 1,
            Seen::Miss => {}
            Seen::Wrong => return Err("a value was wrong".into()),
        }
    }
    Ok(f64::from(kept) / hot as f64)
}
