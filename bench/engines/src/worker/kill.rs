//! Writing until a kill, saying what begins and what was acknowledged; and what is there afterwards.
//!
//! Each task has keys of its own, so that the order of the writes to a key is that of its lines.

use std::io::Write;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::data::{Key, Values};
use crate::engine::{Engine, Failure};
use crate::load::{self, Seen, Turn, Work};

use self::lines::{ACKNOWLEDGED, BEGINS, HOLDS, NOTHING, WRONG};
use super::{Bench, check_none_failed};

/// The words of the lines.
pub mod lines {
    /// A write begins.
    pub const BEGINS: &str = "begins";
    /// It was acknowledged.
    pub const ACKNOWLEDGED: &str = "acknowledged";
    /// What a key holds when the store was opened again.
    pub const HOLDS: &str = "holds";
    /// Stands for the value of a key that holds nothing.
    pub const NOTHING: &str = "nothing";
    /// Stands for a value that was never put.
    pub const WRONG: &str = "wrong";
}

const VALUE_BYTES_MAX: u64 = 3_000;

/// One write in so many is a deletion.
const DELETE_EVERY: u64 = 5;

struct Writes {
    values: Values,
    keys_per_task: u64,
}

impl<E: Engine> Work<E> for Writes {
    async fn turn(&self, engine: &E, turn: Turn<'_>) -> Result<Seen, Failure> {
        let key = turn.task * self.keys_per_task + turn.random.below(self.keys_per_task);
        let number = turn.random.next();
        if number.is_multiple_of(DELETE_EVERY) {
            tell(BEGINS, key, NOTHING)?;
            engine.delete(Key::of(key)).await?;
            tell(ACKNOWLEDGED, key, NOTHING)?;
        } else {
            let text = number.to_string();
            tell(BEGINS, key, &text)?;
            engine.put(Key::of(key), value(self.values, number)).await?;
            tell(ACKNOWLEDGED, key, &text)?;
        }
        Ok(Seen::Good)
    }
}

/// A value that says its number; its length differs from number to number.
fn value(values: Values, number: u64) -> Bytes {
    let bytes = usize::try_from((number >> 20) % VALUE_BYTES_MAX).expect("a few");
    let mut value = BytesMut::with_capacity(8 + bytes);
    value.put_u64_le(number);
    value.put(values.value(number, bytes));
    value.freeze()
}

/// One line, at once: what the pipe has, a kill does not take back.
fn tell(what: &str, key: u64, holds: &str) -> Result<(), Failure> {
    let line = format!("{what} {key} {holds}\n");
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes())?;
    Ok(output.flush()?)
}

pub(super) fn write<E: Engine>(bench: &Bench, keys_per_task: u64) -> Result<(), Failure> {
    let engine = bench.open::<E>()?;
    let work = Writes {
        values: bench.values,
        keys_per_task,
    };
    let plan = bench.plan(1e9, u64::MAX);
    check_none_failed(&load::run(&bench.runtime, &engine, work, plan))
}

pub(super) fn check<E: Engine>(bench: &Bench, keys_per_task: u64) -> Result<(), Failure> {
    let engine: Arc<E> = bench.open()?;
    for key in 0..bench.job.tasks * keys_per_task {
        let see = |found: Option<&[u8]>| match found {
            None => NOTHING.to_owned(),
            Some(found) => {
                number_of(bench.values, found).map_or(WRONG.to_owned(), |number| number.to_string())
            }
        };
        let holds = bench.runtime.block_on(engine.get(Key::of(key), see))?;
        tell(HOLDS, key, &holds)?;
    }
    bench.close(engine)
}

/// The number that a value says, if it is the value of that number.
fn number_of(values: Values, found: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(found.get(..8)?.try_into().ok()?);
    (value(values, number) == found).then_some(number)
}
