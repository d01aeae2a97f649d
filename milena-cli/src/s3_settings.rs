//! Where S3 is: the node's own settings, by the same names, for verbs that ask S3 themselves.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use milena_cache::config::{S3_SETTINGS, read_s3};
use milena_cache::store::s3::S3Config;
use milena_server::settings::{Raw, flags};

use crate::failure::Failure;

/// As given, by flag or by variable.
pub(crate) struct S3Settings(Raw);

impl S3Settings {
    /// Checked; all mistakes at once.
    pub(crate) fn read(self) -> Result<S3Config, Failure> {
        read_s3(self.0).map_err(|mistakes| Failure::config(mistakes.0.join("; ")))
    }
}

impl Args for S3Settings {
    fn augment_args(command: Command) -> Command {
        command.args(flags(&S3_SETTINGS).map(|flag: Arg| flag.help_heading("S3")))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for S3Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the settings are declared in the node's table"
        )]
        let environment = |name: &str| std::env::var_os(name);
        Ok(Self(Raw::of(&S3_SETTINGS, matches, environment)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
