//! What one process is to measure, and what it found. Every measurement is a process of its own: a clean
//! memory, clean counters, and something to kill.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::engine::{Failure, Settings};

/// This very program, also if a build has replaced its file meanwhile.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// A measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub settings: Settings,
    pub value_bytes: usize,
    pub tasks: u64,
    pub seed: u64,
    pub task: Task,
}

/// What is done in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Task {
    /// Puts, for a time or up to a number.
    Put {
        pattern: Pattern,
        seconds: f64,
        operations: u64,
        /// Puts beforehand, which are not measured.
        prefill: u64,
    },
    /// Puts this many objects and closes.
    Fill { objects: u64 },
    /// Puts this many objects, says so, and goes on until it is killed.
    FillUntilKilled { objects: u64 },
    /// Gets out of a store that holds this many objects.
    Get {
        objects: u64,
        seconds: f64,
        cache: PageCache,
    },
    /// Opens a store that holds this many objects.
    Reopen { objects: u64, then: Then },
    /// Puts and deletes until it is killed, and says what it does.
    WriteUntilKilled { keys_per_task: u64 },
    /// Says what the keys of the above hold.
    Check { keys_per_task: u64 },
    /// Writes this many times the cap through, a tenth of what fits being read over and over.
    BeyondCap { times: u64 },
}

/// Which keys are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// Each key once, into a store that has room.
    New,
    /// Keys that are there, in no order.
    Overwrite,
    /// Each key once, into a store that has reached its cap.
    AtCap,
}

impl Pattern {
    pub fn title(self) -> &'static str {
        match self {
            Self::New => "new keys",
            Self::Overwrite => "overwrites",
            Self::AtCap => "new keys at the cap",
        }
    }
}

/// What the page cache holds of the store when the gets begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PageCache {
    /// All of it.
    Warm,
    /// Nothing: every file was dropped from it.
    Cold,
}

/// How a store that was opened ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    Close,
    WriteUntilKilled,
}

/// Figures by name.
pub type Figures = BTreeMap<String, f64>;

/// A process that does a job.
pub struct Running {
    pub child: Child,
    pub lines: Lines<BufReader<ChildStdout>>,
}

impl Job {
    /// Does it in a process of its own, to the end.
    pub fn run(&self) -> Result<Figures, Failure> {
        let mut running = self.start()?;
        let figures = running.figures();
        running.end()?;
        figures
    }

    /// Starts it.
    pub fn start(&self) -> Result<Running, Failure> {
        let mut child = Command::new(THIS_PROGRAM)
            .arg("worker")
            .arg(serde_json::to_string(self)?)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().expect("it is piped");
        Ok(Running {
            child,
            lines: BufReader::new(output).lines(),
        })
    }
}

impl Running {
    /// The next figures that it says.
    pub fn figures(&mut self) -> Result<Figures, Failure> {
        let line = self.lines.next().ok_or("it ended without figures")??;
        Ok(serde_json::from_str(&line)?)
    }

    /// Waits for its end.
    pub fn end(&mut self) -> Result<(), Failure> {
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("it ended with {status}").into());
        }
        Ok(())
    }

    /// Ends it as a power cut to its process would.
    pub fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}
