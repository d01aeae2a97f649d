//! Filling a store, how its memory grows with it, and opening it again.

use std::time::Instant;

use crate::engine::{Engine, Failure};
use crate::job::Then;
use crate::load;
use crate::machine;

use super::get::get;
use super::put::put;
use super::{Bench, check_none_failed, figures, say};

const FOREVER: f64 = 1e9;

/// Gets that a store answers after it was opened.
const LOOKED_FOR: u64 = 20_000;

pub(super) fn run<E: Engine>(bench: &Bench, objects: u64) -> Result<(), Failure> {
    let engine = bench.open::<E>()?;
    let plan = bench.plan(FOREVER, objects);
    let measured = load::run(&bench.runtime, &engine, put(bench, 0, None), plan);
    check_none_failed(&measured)?;
    bench.settle(&*engine)?;
    bench.close(engine)?;
    let usage = machine::usage(&bench.job.settings.dir);
    say(&figures([
        ("ops_per_s", measured.per_second()),
        ("disk_bytes", usage.bytes as f64),
        ("disk_allocated", usage.allocated as f64),
    ]))
}

pub(super) fn run_until_killed<E: Engine>(bench: &Bench, objects: u64) -> Result<(), Failure> {
    let engine = bench.open::<E>()?;
    let memory = machine::memory_bytes();
    let before = machine::written();
    let plan = bench.plan(FOREVER, objects);
    let measured = load::run(&bench.runtime, &engine, put(bench, 0, None), plan);
    check_none_failed(&measured)?;
    bench.settle(&*engine)?;
    let grown = machine::memory_bytes().saturating_sub(memory);
    let written = machine::written();
    let usage = machine::usage(&bench.job.settings.dir);
    let mut found = figures([
        ("ops_per_s", measured.per_second()),
        ("memory_per_object", grown as f64 / objects as f64),
        ("memory_peak_bytes", machine::memory_peak_bytes() as f64),
        ("disk_bytes", usage.bytes as f64),
        ("disk_allocated", usage.allocated as f64),
        (
            "disk_per_user_byte",
            usage.allocated as f64 / bench.user_bytes(objects),
        ),
    ]);
    found.extend(figures(written.per_byte(before, bench.user_bytes(objects))));
    say(&found)?;
    write_on(bench, &engine, objects)
}

pub(super) fn reopen<E: Engine>(bench: &Bench, objects: u64, then: Then) -> Result<(), Failure> {
    let memory = machine::memory_bytes();
    let start = Instant::now();
    let engine = bench.open::<E>()?;
    let open_seconds = start.elapsed().as_secs_f64();
    let grown = machine::memory_bytes().saturating_sub(memory);
    let plan = bench.plan(FOREVER, LOOKED_FOR);
    let measured = load::run(&bench.runtime, &engine, get(bench, objects), plan);
    check_none_failed(&measured)?;
    let found = figures([
        ("open_seconds", open_seconds),
        ("memory_per_object", grown as f64 / objects as f64),
        (
            "miss_part",
            measured.misses as f64 / measured.total() as f64,
        ),
    ]);
    match then {
        Then::Close => {
            bench.close(engine)?;
            say(&found)
        }
        Then::WriteUntilKilled => {
            say(&found)?;
            write_on(bench, &engine, objects)
        }
    }
}

/// Puts more, so that the kill comes in the middle of it.
fn write_on<E: Engine>(
    bench: &Bench,
    engine: &std::sync::Arc<E>,
    objects: u64,
) -> Result<(), Failure> {
    let first = objects + (bench.job.seed << 32);
    let plan = bench.plan(FOREVER, u64::MAX);
    let measured = load::run(&bench.runtime, engine, put(bench, first, None), plan);
    check_none_failed(&measured)
}
