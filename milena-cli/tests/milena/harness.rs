//! Runs the binary: `milena dev` in the background, ended when the test ends, and the other verbs to
//! their end. Nothing here waits for a time to pass: it waits for a line, or for the end.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before the test gives up; a slow machine needs a small part of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A `milena dev` in the background. Dropping it kills it.
pub(crate) struct Dev {
    child: Child,
    lines: Receiver<String>,
    /// What it said when it was ready.
    pub(crate) welcome: String,
    /// Where its router listens.
    pub(crate) router: String,
}

/// How a `milena dev` ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it said on standard output after it was ready.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Dev {
    /// Starts one in `dir`, with a router on any port, and waits until it is ready.
    pub(crate) fn start(dir: &Path, options: &[&str]) -> Self {
        Self::run(dev_command(dir, options))
    }

    /// Runs a command of [`dev_command`] and waits until it is ready.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines_of(&mut child);
        let mut dev = Self {
            child,
            lines,
            welcome: String::new(),
            router: String::new(),
        };
        while !dev.welcome.contains("Ctrl+C stops it") {
            match dev.lines.recv_timeout(PATIENCE) {
                Ok(line) => dev.welcome.push_str(&(line + "\n")),
                Err(RecvTimeoutError::Timeout) => panic!("not ready; said {:?}", dev.welcome),
                Err(RecvTimeoutError::Disconnected) => {
                    let stderr = dev.read_stderr();
                    panic!("ended; said {:?}; {stderr}", dev.welcome)
                }
            }
        }
        dev.router = dev.url_of("router");
        dev
    }

    /// The first URL in the line that begins with `name`.
    pub(crate) fn url_of(&self, name: &str) -> String {
        let mut words = self.welcome.lines().map(str::split_whitespace);
        let found = words.find_map(|mut line| (line.next() == Some(name)).then(|| line.next()));
        found
            .flatten()
            .unwrap_or_else(|| panic!("{name} is missing in {}", self.welcome))
            .to_owned()
    }

    /// Asks it to stop, as a service manager does, and waits until it has ended.
    pub(crate) fn stop(mut self) -> Ended {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut stdout = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => stdout.push_str(&(line + "\n")),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not stop; said {stdout:?}"),
            }
        }
        let stderr = self.read_stderr();
        Ended {
            status: self.child.wait().unwrap(),
            stdout,
            stderr,
        }
    }

    /// Everything on standard error; waits for the end.
    fn read_stderr(&mut self) -> String {
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().expect("taken once");
        stderr.read_to_string(&mut text).unwrap();
        text
    }

    /// A verb, asked of this router.
    pub(crate) fn milena<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        run(
            milena().args(arguments).env("MILENA_ADDR", &self.router),
            b"",
        )
    }

    /// The same, with `stdin` as standard input.
    pub(crate) fn milena_reading(&self, stdin: &[u8], arguments: &[&str]) -> Output {
        run(
            milena().args(arguments).env("MILENA_ADDR", &self.router),
            stdin,
        )
    }

    /// Puts, which has to succeed.
    pub(crate) fn put<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) {
        let words = arguments.into_iter().map(|word| word.as_ref().to_owned());
        assert_silent_success(&self.milena(["put".into()].into_iter().chain(words)));
    }

    /// Gets, which has to find something.
    pub(crate) fn get<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Vec<u8> {
        let words = arguments.into_iter().map(|word| word.as_ref().to_owned());
        let output = self.milena(["get".into()].into_iter().chain(words));
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert_eq!(stderr(&output), "");
        output.stdout
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // An error says that it has ended by itself.
        let _has_ended = self.child.kill();
        let _has_ended = self.child.wait();
    }
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in stdout.lines() {
            let _nobody_listens = sender.send(line.unwrap());
        }
    });
    lines
}

/// The binary, with no environment at all: it needs none.
pub(crate) fn milena() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milena"));
    command.env_clear();
    command
}

/// A `milena dev` in `dir` with a router on any port.
pub(crate) fn dev_command(dir: &Path, options: &[&str]) -> Command {
    let mut command = milena();
    command
        .args(["dev", "--listen", "127.0.0.1:0", "--dir"])
        .arg(dir)
        .args(options);
    command
}

/// Runs `command` to its end with `stdin` as standard input.
pub(crate) fn run(command: &mut Command, stdin: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().expect("it is piped");
    let stdin = stdin.to_owned();
    let feeding = thread::spawn(move || {
        // An error says that the command does not read to the end, which is its right.
        let _not_read = input.write_all(&stdin);
    });
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    output
}

/// The exit code.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// It exited with 0 and said nothing.
pub(crate) fn assert_silent_success(output: &Output) {
    assert_eq!(stderr(output), "");
    assert_eq!((code(output), output.stdout.len()), (0, 0));
}

/// It exited with `expected`, printed nothing on standard output, and one line on standard error that has
/// all of `texts` in it.
pub(crate) fn assert_refused(output: &Output, expected: i32, texts: &[&str]) {
    let said = stderr(output);
    assert_eq!(code(output), expected, "{said}");
    assert_eq!(output.stdout, b"");
    assert!(
        said.starts_with("milena: ") && said.lines().count() == 1,
        "{said}"
    );
    for text in texts {
        assert!(said.contains(text), "{text:?} is missing in {said:?}");
    }
}

/// So many bytes that follow no pattern, the same in every run (xorshift64).
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next)
        .flatten()
        .take(bytes)
        .collect()
}
