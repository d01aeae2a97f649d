//! Gets of random keys out of a store that holds them all.

use crate::data::{Key, Values};
use crate::engine::{Engine, Failure};
use crate::job::PageCache;
use crate::load::{self, Seen, Turn, Work};
use crate::machine;

use super::{Bench, check_none_failed, figures, say};

/// What is read cold is so small a part that hardly anything is read twice.
const COLD_PART: u64 = 10;

/// Warming up takes this part of the time of the measurement.
const WARM_UP_PART: f64 = 0.3;

/// Gets a random key and verifies its value.
pub(super) struct Get {
    pub(super) values: Values,
    pub(super) value_bytes: usize,
    pub(super) objects: u64,
}

impl<E: Engine> Work<E> for Get {
    async fn turn(&self, engine: &E, turn: Turn<'_>) -> Result<Seen, Failure> {
        let number = turn.random.below(self.objects);
        let see = |found: Option<&[u8]>| match found {
            Some(found) if self.values.is_value(number, self.value_bytes, found) => Seen::Good,
            Some(_) => Seen::Wrong,
            None => Seen::Miss,
        };
        engine.get(Key::of(number), see).await
    }
}

pub(super) fn run<E: Engine>(
    bench: &Bench,
    objects: u64,
    seconds: f64,
    cache: PageCache,
) -> Result<(), Failure> {
    let engine = bench.open::<E>()?;
    let dir = &bench.job.settings.dir;
    let operations = match cache {
        PageCache::Warm => {
            machine::warm(dir)?;
            let plan = bench.plan(seconds * WARM_UP_PART, u64::MAX);
            let measured = load::run(&bench.runtime, &engine, get(bench, objects), plan);
            check_none_failed(&measured)?;
            u64::MAX
        }
        PageCache::Cold => {
            machine::cool(dir)?;
            objects / COLD_PART
        }
    };
    let fetched = machine::fetched_bytes();
    let plan = bench.plan(seconds, operations);
    let measured = load::run(&bench.runtime, &engine, get(bench, objects), plan);
    let fetched = machine::fetched_bytes() - fetched;
    check_none_failed(&measured)?;
    bench.close(engine)?;
    let gets = measured.total() as f64;
    say(&figures([
        ("ops_per_s", measured.per_second()),
        (
            "mb_per_s",
            measured.per_second() * bench.job.value_bytes as f64 / 1e6,
        ),
        ("operations", gets),
        ("miss_part", measured.misses as f64 / gets),
        ("fetched_per_get", fetched as f64 / gets),
        ("processor_us", measured.processor_per_operation()),
        ("p50_us", measured.latency(0.5)),
        ("p99_us", measured.latency(0.99)),
        ("p999_us", measured.latency(0.999)),
    ]))
}

pub(super) fn get(bench: &Bench, objects: u64) -> Get {
    Get {
        values: bench.values,
        value_bytes: bench.job.value_bytes,
        objects,
    }
}
