//! `milena sweep`: removes from S3 what has expired, asking no node.
//!
//! It has the node's own settings of S3, by the same names. What is an entry and when it has expired is decided by
//! the node's S3 tier (`milena_cache::store::s3`); here it is shown.

use std::cell::Cell;
use std::time::Duration;

use clap::Args;
use futures::future;
use indicatif::{ProgressBar, ProgressStyle};
use milena_cache::error::Error;
use milena_cache::store::Store as _;
use milena_cache::store::s3::{Examined, S3Store, Sweep as How};
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline};
use milena_server::settings::{EXPECTED_DURATION, parse_duration};

use crate::failure::Failure;
use crate::output::print;
use crate::s3_settings::S3Settings;

/// Objects that are looked at at once.
const CONCURRENCY: usize = 64;

/// Between two drawings of the progress, at most so many in a second.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Remove from S3 what has expired
#[derive(Args)]
#[command(after_help = "\
Examples:
  AWS_REGION=eu-central-1 S3_BUCKET=my-cache milena sweep --dry-run
  milena sweep --aws-region eu-central-1 --s3-bucket my-cache --s3-prefix cache/

Looks at every entry's object under the prefix, which is a HEAD each. What has no life of its own, and
what is no entry, is left alone. Nodes may go on serving.")]
pub(crate) struct Sweep {
    /// Remove only what expired so long ago; the default is what a clock may be off by that S3 accepts
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_expired_for)]
    expired_for: Duration,

    /// Remove nothing, and say what would be removed
    #[arg(long)]
    dry_run: bool,

    /// For a store that does not mind If-Match of a DELETE: remove without it. A value that is put again just
    /// then is lost, so let no node write meanwhile
    #[arg(long)]
    unconditional: bool,

    #[command(flatten)]
    s3: S3Settings,
}

/// What a sweep has seen.
#[derive(Default)]
struct Counts {
    removed: Cell<u64>,
    examined: Cell<u64>,
    failed: Cell<u64>,
    last_failure: Cell<Option<Error>>,
}

impl Sweep {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let config = self.s3.read()?;
        let (clock, timeout) = (Clock::system(), config.timeout);
        let store = S3Store::new(config, clock.clone()).await;
        let due = || clock.deadline_in(timeout);
        let is_careful = !self.dry_run && !self.unconditional;
        let minds = async || store.minds_conditions(due()).await;
        if is_careful && !minds().await.map_err(|error| refused(&error))? {
            return Err(Failure::unavailable(
                "this S3 does not mind If-Match of a DELETE, so a value that is put again meanwhile could be lost; \
                 --unconditional removes all the same: let no node write then",
            ));
        }
        let remove = async |key: EntryKey| {
            let due: Deadline = due();
            match (self.dry_run, self.unconditional) {
                (true, _) => Ok(true),
                (false, true) => store.remove_expired_unconditionally(&key, due).await,
                (false, false) => store.remove_expired(&key, due).await,
            }
        };
        let how = How {
            concurrency: CONCURRENCY,
            expired_for: self.expired_for,
        };
        let (bar, counts) = (progress_bar(), Counts::default());
        let counting = store.count_entries(|entries| bar.inc_length(entries as u64));
        let sweeping = store.sweep(how, remove, |examined| counts.note(examined, &bar));
        let ended = future::try_join(counting, sweeping).await;
        bar.finish_and_clear();
        ended.map_err(|error| refused(&error))?;
        counts.report(self.dry_run)
    }
}

impl Counts {
    fn note(&self, examined: &Examined, bar: &ProgressBar) {
        let add = |count: &Cell<u64>| count.set(count.get() + 1);
        add(&self.examined);
        match examined {
            Examined::Live | Examined::Gone => {}
            Examined::Removed => add(&self.removed),
            Examined::Failed(error) => {
                add(&self.failed);
                self.last_failure.set(Some(error.clone()));
            }
        }
        bar.set_message(format!("{} expired", self.removed.get()));
        bar.inc(1);
    }

    fn report(self, is_dry_run: bool) -> Result<(), Failure> {
        let (examined, removed) = (self.examined.get(), self.removed.get());
        let what = if is_dry_run {
            "would be removed"
        } else {
            "removed"
        };
        print(&format!("{examined} objects looked at, {removed} {what}\n"))?;
        match self.last_failure.into_inner() {
            None => Ok(()),
            Some(error) => Err(Failure::incomplete(format!(
                "{} objects could not be looked at or removed; the last one: {error}",
                self.failed.get()
            ))),
        }
    }
}

/// On a terminal; elsewhere nothing is drawn. Its length grows while the objects are counted.
fn progress_bar() -> ProgressBar {
    let style = "{bar:30} {pos} of {len} objects, {msg}, {eta} to go";
    let style = ProgressStyle::with_template(style).expect("the template is sound");
    let bar = ProgressBar::new(0).with_style(style);
    bar.enable_steady_tick(REDRAW_INTERVAL);
    bar
}

fn refused(error: &Error) -> Failure {
    Failure::unavailable(error.to_string())
}

fn parse_expired_for(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("expected {EXPECTED_DURATION}"))
}
