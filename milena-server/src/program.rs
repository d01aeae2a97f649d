//! The frame of a server program: arguments → settings → logging → runtime → run → exit code.

use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::process::ExitCode;

use clap::Command;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::build_info;
use crate::logging::{self, Logging};
use crate::settings::{self, Invocation, Mistakes, Raw, Setting};
use crate::signals;

/// sysexits' EX_CONFIG: something was found in an unconfigured or misconfigured state.
const EXIT_CONFIG: u8 = 78;

/// What a program is called and what it can be told.
#[derive(Debug)]
pub struct Program {
    /// The name of the binary.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// Every setting, in the order in which `--help` shows them.
    pub settings: &'static [&'static Setting],
}

/// A configuration with the text that `--check-config` prints.
#[derive(Debug)]
pub struct Checked<C> {
    /// The configuration.
    pub config: C,
    /// The effective settings and their origin.
    pub effective: settings::Effective,
    /// How the process logs.
    pub logging: Logging,
}

impl Program {
    /// Runs the program to its end: `configure` makes settings into a configuration, `run` serves until
    /// it is asked to stop.
    pub fn main<C, E, F>(
        &self,
        configure: impl FnOnce(Raw) -> Result<Checked<C>, Mistakes>,
        run: impl FnOnce(C) -> F,
    ) -> ExitCode
    where
        E: Display,
        F: Future<Output = Result<(), E>>,
    {
        let command = Command::new(self.name)
            .about(self.about)
            .version(build_info::line())
            .max_term_width(100);
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where settings are read"
        )]
        let environment = |name: &str| std::env::var_os(name);
        let (raw, check_only) =
            match settings::parse(command, self.settings, std::env::args_os(), environment) {
                Invocation::Run(raw) => (raw, false),
                Invocation::CheckConfig(raw) => (raw, true),
                Invocation::Print { text, exit_code } => {
                    if exit_code == 0 {
                        say(std::io::stdout(), &text);
                    } else {
                        say(std::io::stderr(), &text);
                    }
                    return ExitCode::from(exit_code);
                }
            };
        let checked = match configure(raw) {
            Ok(checked) => checked,
            Err(mistakes) => {
                say(
                    std::io::stderr(),
                    &format!(
                        "{}: the configuration cannot be used:\n{mistakes}\n",
                        self.name
                    ),
                );
                return ExitCode::from(EXIT_CONFIG);
            }
        };
        if check_only {
            say(std::io::stdout(), &format!("{}\n", checked.effective));
            return ExitCode::SUCCESS;
        }
        logging::start(&checked.logging);
        tracing::info!(
            program = self.name,
            version = build_info::line(),
            "starting"
        );
        tracing::info!(
            settings = checked.effective.on_one_line(),
            "configuration read"
        );
        match block_on(run(checked.config)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                tracing::error!("{message}");
                ExitCode::FAILURE
            }
        }
    }
}

/// A server that a program runs.
pub trait Server: Sized {
    /// Waits until it cannot serve any more, which should not happen; gives the reason.
    fn failed(&mut self) -> impl Future<Output = String>;

    /// Stops it, in order.
    fn stop(self) -> impl Future<Output = ()>;
}

/// Why a server could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError<E: std::error::Error + 'static> {
    /// It did not start.
    #[error(transparent)]
    Start(E),
    /// The system does not let the process handle signals.
    #[error("signals cannot be handled: {0}")]
    Signals(#[source] std::io::Error),
    /// It could not serve any more.
    #[error("serving ended: {0}")]
    Failed(String),
}

/// Waits for a server's start, lets it serve until SIGTERM or Ctrl+C, and stops it.
///
/// # Errors
/// When it does not start, or ends by itself.
pub async fn serve<S: Server, E: std::error::Error + 'static>(
    starting: impl Future<Output = Result<S, E>>,
) -> Result<(), ServeError<E>> {
    // First of all, so that a signal during the start finds somebody who heeds it.
    let mut stop_requested = pin!(signals::stop_requested());
    let mut server = tokio::select! {
        biased;
        requested = &mut stop_requested => return requested.map_err(ServeError::Signals),
        started = starting => started.map_err(ServeError::Start)?,
    };
    let ended = tokio::select! {
        requested = stop_requested => requested.map_err(ServeError::Signals),
        reason = server.failed() => Err(ServeError::Failed(reason)),
    };
    server.stop().await;
    ended
}

/// Takes as many open files as the system allows the process: each connection is one, and each segment of a
/// disk store. The soft limit is often 1,024 for the sake of programs that use `select`.
pub fn raise_open_files_limit() {
    let limits = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limits.maximum,
            ..limits
        },
    ) {
        tracing::warn!(%error, limit = limits.current, "the limit of open files cannot be raised");
    }
}

fn block_on<E: Display>(run: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot be started: {error}"))?;
    runtime.block_on(run).map_err(|error| error.to_string())
}

/// Prints without minding a reader that has gone.
fn say(mut to: impl std::io::Write, text: &str) {
    let _reader_has_gone = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}
