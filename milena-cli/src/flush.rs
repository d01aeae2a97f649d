//! `milena flush`: waits until S3 has everything, and shows how much it does not have yet.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use milena_client::{Backlog, Client, ClientError};
use milena_server::clock::{Clock, Deadline};

use crate::failure::Failure;
use crate::output::print;
use crate::target::{Place, parse_timeout};

/// How long one call waits; after each the progress is shown.
const STEP: Duration = Duration::from_secs(1);

/// Beyond its wait a call may take this long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest `--timeout`, a year: the clock has an end.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Wait until S3 has every write that was acknowledged
#[derive(Args)]
#[command(after_help = "\
Examples:
  milena flush
  milena flush --timeout 1h --addr router:50050

With WRITE_MODE=write-back a write is acknowledged once a node's disk has it. Asked of a router, flush
waits for all its nodes, and also for what is written meanwhile. Exits with 1 when S3 does not have
everything at the timeout; the nodes go on uploading then.")]
pub(crate) struct Flush {
    #[command(flatten)]
    place: Place,

    /// How long to wait, such as 30s, 5m or 1h
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_timeout)]
    timeout: Duration,
}

impl Flush {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let clock = Clock::system();
        let end = clock.deadline_in(self.timeout.min(TIMEOUT_MAX));
        let left = self
            .place
            .ask(STEP + ANSWER_TIMEOUT, async |client| {
                wait(&client, end, &clock).await
            })
            .await?;
        if left.entries == 0 {
            return print("S3 has everything\n");
        }
        Err(Failure::incomplete(format!(
            "after {:?} S3 does not have everything: {}; the nodes go on uploading",
            self.timeout,
            text(left)
        )))
    }
}

/// Waits until S3 has everything, until `end` at most; gives what it does not have then.
async fn wait(client: &Client, end: Deadline, clock: &Clock) -> Result<Backlog, ClientError> {
    let mut left = client.flush(Duration::ZERO).await?;
    let mut progress = Progress::of(left);
    while left.entries > 0 {
        progress.show(left);
        let step = STEP.min(clock.until(end));
        if step.is_zero() {
            break;
        }
        left = client.flush(step).await?;
    }
    Ok(left)
}

/// How far it is: a bar on a terminal, elsewhere a line for each change. Gone from a terminal when it is dropped.
struct Progress {
    bar: Option<ProgressBar>,
    shown: Backlog,
}

impl Progress {
    /// With everything that is left still to do.
    fn of(left: Backlog) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos} of {len} entries, {msg}")
            .expect("the template is sound");
        let bar = || ProgressBar::new(left.entries).with_style(style);
        Self {
            bar: io::stderr().is_terminal().then(bar),
            shown: Backlog::default(),
        }
    }

    fn show(&mut self, left: Backlog) {
        if left == self.shown {
            return;
        }
        self.shown = left;
        let Some(bar) = &self.bar else {
            let _reader_has_gone = writeln!(io::stderr(), "{}", text(left));
            return;
        };
        let total = bar.length().unwrap_or_default().max(left.entries);
        bar.set_message(format!("{} left", HumanBytes(left.bytes)));
        bar.set_length(total);
        bar.set_position(total - left.entries);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn text(left: Backlog) -> String {
    let Backlog { entries, bytes } = left;
    let entries = match entries {
        1 => "1 entry".to_owned(),
        _ => format!("{entries} entries"),
    };
    format!("{entries}, {} left", HumanBytes(bytes))
}
