//! A program of ours in a process of its own.
//!
//! Its environment is what it is given and nothing else. Its log is read while it runs, as JSON lines, so
//! that a test waits for what the program says, not for time to pass. It is killed when it is dropped.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::PATIENCE;

/// A running program.
pub struct Process {
    child: Child,
    /// The lines of its standard error so far; the sender goes when it closes that.
    log: watch::Receiver<Vec<String>>,
    /// Where it runs, so that nothing is left of what it writes there.
    _folder: TempDir,
}

/// A program that ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

fn command(program: &str, folder: &TempDir) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a program that ends by itself.
///
/// # Panics
/// When it cannot be started, or does not end within [`PATIENCE`].
pub async fn run<K: AsRef<OsStr>, V: AsRef<OsStr>>(
    program: &str,
    arguments: &[&str],
    environment: impl IntoIterator<Item = (K, V)>,
) -> Ended {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = command(program, &folder);
    let ending = command.args(arguments).envs(environment).output();
    let output = tokio::time::timeout(PATIENCE, ending).await;
    let output = output.expect("the program ends").expect("it is started");
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    Ended {
        code: output.status.code(),
        output: text(output.stdout),
        errors: text(output.stderr),
    }
}

impl Process {
    /// Starts a program. `LOG_FORMAT` should be json or unset.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        program: &str,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = command(program, &folder);
        let mut child = command
            .envs(environment)
            .stdout(Stdio::null())
            .spawn()
            .expect("the program is started");
        let errors = child.stderr.take().expect("standard error is a pipe");
        let mut lines = BufReader::new(errors).lines();
        let (tell, log) = watch::channel(Vec::new());
        TaskTracker::new().spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                tell.send_modify(|log| log.push(line));
            }
        });
        Self {
            child,
            log,
            _folder: folder,
        }
    }

    /// Waits until the program has logged this message, and gives the event's fields.
    ///
    /// # Panics
    /// When it ends without, or does not within [`PATIENCE`].
    pub async fn logged(&mut self, message: &str) -> Value {
        let event = |lines: &Vec<String>| {
            let events = lines.iter().filter_map(|line| parse(line));
            events.into_iter().find(|event| event["message"] == message)
        };
        let said = self.log.wait_for(|lines| event(lines).is_some());
        let said = tokio::time::timeout(PATIENCE, said).await;
        if let Ok(Ok(lines)) = &said
            && let Some(found) = event(lines)
        {
            return found;
        }
        drop(said);
        panic!("{message:?} was not logged, but\n{}", self.log_text());
    }

    /// The address in the field `addr` of the event with this message.
    ///
    /// # Panics
    /// As [`Process::logged`], and when there is no address in it.
    pub async fn address(&mut self, message: &str) -> SocketAddr {
        let event = self.logged(message).await;
        let address = event["addr"].as_str().and_then(|text| text.parse().ok());
        address.unwrap_or_else(|| panic!("no address in {event}"))
    }

    /// All that it has logged so far.
    #[must_use]
    pub fn log_text(&self) -> String {
        self.log.borrow().join("\n")
    }

    /// Asks it to stop, as service managers do.
    ///
    /// # Panics
    /// When it has ended.
    pub fn terminate(&self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        let pid = id.and_then(Pid::from_raw).expect("it is running");
        kill_process(pid, Signal::TERM).expect("our own process may be signalled");
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    ///
    /// # Panics
    /// When the system does not.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("our own process is killed");
    }

    /// Waits until it has ended, and gives how, and all that it logged.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let ending = async {
            let status = self.child.wait().await.expect("our own process");
            // Its last words may still be in the pipe.
            while self.log.changed().await.is_ok() {}
            status
        };
        let Ok(status) = tokio::time::timeout(PATIENCE, ending).await else {
            panic!("the program does not end; it logged\n{}", self.log_text());
        };
        (status, self.log_text())
    }
}

fn parse(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}
