//! Settings: from a table, the command line and the environment to checked values.
//!
//! A program declares its [`Setting`]s once; `--help`, the errors, `--check-config` and the parsing all
//! follow that table. A flag wins over the environment, the environment over the default. Mistakes are
//! collected, never reported one at a time.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Write as _};

use clap::{Arg, ArgAction, ArgMatches, Command};

/// One setting of a program.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable. The flag is the same in lower case, `LISTEN_ADDR` → `--listen-addr`.
    pub name: &'static str,
    /// Other variables that are read, in this order, when `name` is not set.
    pub also: &'static [&'static str],
    /// What happens when it is not given.
    pub presence: Presence,
    /// What a value has to be, for the error that refuses another.
    pub expected: &'static str,
    /// A value that works.
    pub example: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
}

/// What happens when a setting is not given.
#[derive(Clone, Copy, Debug)]
pub enum Presence {
    /// The program does not start.
    Required,
    /// This value is taken.
    Default(&'static str),
    /// The program does without; the text says what that means.
    Optional(&'static str),
}

/// Where an effective value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment variable of this name.
    Env(&'static str),
    /// The table.
    Default,
}

/// What the command line asked for.
#[derive(Debug)]
pub enum Invocation {
    /// Run with these settings.
    Run(Raw),
    /// Check these settings, print them and exit.
    CheckConfig(Raw),
    /// Print the text and exit with the code: help, version, or a mistyped flag.
    Print {
        /// What to print.
        text: String,
        /// 0 for what was asked for, 2 for a mistake.
        exit_code: u8,
    },
}

/// Settings as they were given, each read and checked by name through [`Raw::read`].
#[derive(Debug)]
pub struct Raw {
    given: BTreeMap<&'static str, (String, Origin)>,
    effective: Vec<String>,
    mistakes: Vec<String>,
}

/// Everything that was wrong with the settings, a line each.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

/// Reads the command line and the environment of a program that has the settings of `table`.
/// `environment` gives the value of a variable.
pub fn parse(
    program: Command,
    table: &'static [&'static Setting],
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Invocation {
    let command = program.args(flags(table)).arg(
        Arg::new(CHECK_CONFIG)
            .long(CHECK_CONFIG)
            .help("Checks the settings, prints them with their origin and exits")
            .action(ArgAction::SetTrue),
    );
    let matches = match command.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(said) => {
            let exit_code = u8::try_from(said.exit_code()).unwrap_or(1);
            return Invocation::Print {
                text: said.render().to_string(),
                exit_code,
            };
        }
    };
    let raw = Raw::of(table, &matches, environment);
    if matches.get_flag(CHECK_CONFIG) {
        Invocation::CheckConfig(raw)
    } else {
        Invocation::Run(raw)
    }
}

/// A flag for each setting of `table`, for a command that has arguments of its own: see [`Raw::of`].
pub fn flags(table: &'static [&'static Setting]) -> impl Iterator<Item = Arg> {
    table.iter().map(|setting| setting.as_flag())
}

const CHECK_CONFIG: &str = "check-config";

impl Setting {
    fn as_flag(&self) -> Arg {
        let presence = match self.presence {
            Presence::Required => format!("required, such as {}", self.example),
            Presence::Default(value) => format!("default: {value}"),
            Presence::Optional(meaning) => format!("default: {meaning}"),
        };
        let names = [&[self.name], self.also].concat().join(", ");
        Arg::new(self.name)
            .long(self.name.to_ascii_lowercase().replace('_', "-"))
            .value_name("VALUE")
            .help(format!("{}\n[env: {names}] [{presence}]", self.help))
    }
}

impl Raw {
    /// The settings of `table` as the flags among `matches` and the environment give them.
    pub fn of(
        table: &'static [&'static Setting],
        matches: &ArgMatches,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let mut raw = Self {
            given: BTreeMap::new(),
            effective: Vec::new(),
            mistakes: Vec::new(),
        };
        for setting in table {
            if let Some(value) = matches.get_one::<String>(setting.name) {
                raw.given
                    .insert(setting.name, (value.clone(), Origin::Flag));
            } else {
                raw.take_from_environment(setting, &environment);
            }
        }
        raw
    }

    fn take_from_environment(
        &mut self,
        setting: &'static Setting,
        environment: &impl Fn(&str) -> Option<OsString>,
    ) {
        for name in std::iter::once(setting.name).chain(setting.also.iter().copied()) {
            // An empty variable is an unset one: compose files and unit files set it so.
            match environment(name)
                .filter(|value| !value.is_empty())
                .map(OsString::into_string)
            {
                None => {}
                Some(Ok(value)) => {
                    self.given.insert(setting.name, (value, Origin::Env(name)));
                    return;
                }
                Some(Err(_)) => self.mistakes.push(format!(
                    "{name}: the value is not UTF-8; expected {}",
                    setting.expected
                )),
            }
        }
    }

    /// The checked value of `setting`, or `None` when it was not given and may be left out, or when a
    /// mistake was noted. `parse` gives `None` for what is not as [`Setting::expected`] says.
    pub fn read<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let (value, origin) = match (self.given.get(setting.name), setting.presence) {
            (Some((value, origin)), _) => (value.as_str(), *origin),
            (None, Presence::Default(value)) => (value, Origin::Default),
            (None, Presence::Optional(meaning)) => {
                self.effective
                    .push(format!("{}: {meaning} (default)", setting.name));
                return None;
            }
            (None, Presence::Required) => {
                let Setting {
                    name,
                    help,
                    example,
                    ..
                } = setting;
                self.mistakes.push(format!(
                    "{name} is required: {help}. Example: {name}={example}"
                ));
                return None;
            }
        };
        let parsed = parse(value);
        if parsed.is_some() {
            self.effective
                .push(format!("{}={value} ({origin})", setting.name));
        } else {
            self.mistakes.push(format!(
                "{}: {value:?} was given ({origin}); expected {}",
                setting.name, setting.expected
            ));
        }
        parsed
    }

    /// Notes a mistake that lies between settings.
    pub fn mistake(&mut self, text: String) {
        self.mistakes.push(text);
    }

    /// Everything that was wrong so far, if anything was.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn into_result(self) -> Result<Effective, Mistakes> {
        if self.mistakes.is_empty() {
            Ok(Effective(self.effective))
        } else {
            Err(Mistakes(self.mistakes))
        }
    }
}

/// The effective settings, a line each, in the order they were read.
#[derive(Debug)]
pub struct Effective(Vec<String>);

impl Effective {
    /// The same, for the log.
    pub(crate) fn on_one_line(&self) -> String {
        self.0.join("; ")
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A size in bytes: digits and an optional unit of B, KiB, MiB, GiB, TiB (powers of 1,024) or KB, MB,
/// GB, TB (powers of 1,000).
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (digits, unit) = split_number(text)?;
    let scale: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    digits.checked_mul(scale)
}

/// What [`parse_bytes`] takes, for [`Setting::expected`].
pub const EXPECTED_BYTES: &str =
    "a size such as 512MiB (units B, KiB, MiB, GiB, TiB, KB, MB, GB, TB)";

/// A duration: digits and a unit of ms, s, m, h or d. Digits alone are seconds.
#[must_use]
pub fn parse_duration(text: &str) -> Option<std::time::Duration> {
    let (digits, unit) = split_number(text)?;
    let millis_per_unit = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    digits
        .checked_mul(millis_per_unit)
        .map(std::time::Duration::from_millis)
}

/// What [`parse_duration`] takes, for [`Setting::expected`].
pub const EXPECTED_DURATION: &str = "a duration such as 30s (units ms, s, m, h, d)";

/// The digits that `text` begins with, and the rest.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let digits_end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    Some((digits.parse().ok()?, unit.trim_start()))
}

/// Every setting with its default and meaning, as the rows of a Markdown table.
#[must_use]
pub fn markdown_rows(table: &[&Setting]) -> String {
    table.iter().fold(String::new(), |mut rows, setting| {
        let presence = match setting.presence {
            Presence::Required => "**required**".to_owned(),
            Presence::Default(value) => format!("`{value}`"),
            Presence::Optional(meaning) => meaning.to_owned(),
        };
        let names = [&[setting.name], setting.also].concat();
        writeln!(
            rows,
            "| `{}` | {presence} | `{}` | {} |",
            names.join("`, `"),
            setting.example,
            setting.help
        )
        .expect("writing to a string cannot fail");
        rows
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    static PORT: Setting = Setting {
        name: "PORT",
        also: &["OLD_PORT"],
        presence: Presence::Required,
        expected: "a port, 0 to 65535",
        example: "9100",
        help: "Where to listen",
    };
    static SIZE: Setting = Setting {
        name: "CACHE_SIZE",
        also: &[],
        presence: Presence::Default("1KiB"),
        expected: EXPECTED_BYTES,
        example: "512MiB",
        help: "How much to keep",
    };
    static TABLE: [&Setting; 2] = [&PORT, &SIZE];

    fn raw(arguments: &[&str], environment: &[(&str, &str)]) -> Raw {
        let arguments = std::iter::once("program")
            .chain(arguments.iter().copied())
            .map(OsString::from);
        let lookup = |name: &str| {
            environment
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        };
        match parse(Command::new("program"), &TABLE, arguments, lookup) {
            Invocation::Run(raw) => raw,
            other => panic!("expected a run, not {other:?}"),
        }
    }

    fn read(mut raw: Raw) -> Result<(u16, u64), Mistakes> {
        let port = raw.read(&PORT, |text| text.parse().ok());
        let size = raw.read(&SIZE, parse_bytes);
        raw.into_result()?;
        Ok((port.expect("no mistakes"), size.expect("no mistakes")))
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_default() {
        assert_eq!(read(raw(&[], &[("PORT", "1")])), Ok((1, 1_024)));
        assert_eq!(
            read(raw(
                &["--port", "2"],
                &[("PORT", "1"), ("CACHE_SIZE", "2MB")]
            )),
            Ok((2, 2_000_000))
        );
        assert_eq!(
            read(raw(&[], &[("OLD_PORT", "3"), ("PORT", "")])),
            Ok((3, 1_024))
        );
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let mistakes = read(raw(&[], &[("CACHE_SIZE", "much")])).expect_err("two mistakes");
        assert_eq!(
            mistakes.0,
            [
                "PORT is required: Where to listen. Example: PORT=9100".to_owned(),
                format!(
                    "CACHE_SIZE: \"much\" was given (env CACHE_SIZE); expected {EXPECTED_BYTES}"
                ),
            ]
        );
    }

    #[test]
    fn effective_settings_say_where_they_came_from() {
        let mut raw = raw(&["--port=7"], &[]);
        raw.read(&PORT, |text| text.parse::<u16>().ok());
        raw.read(&SIZE, parse_bytes);
        assert_eq!(
            raw.into_result().unwrap().to_string(),
            "PORT=7 (flag)\nCACHE_SIZE=1KiB (default)"
        );
    }

    #[test]
    fn help_is_asked_for_and_a_mistyped_flag_is_not() {
        let code_of = |argument: &str| {
            let arguments = ["program", argument].map(OsString::from);
            match parse(Command::new("program"), &TABLE, arguments, |_| None) {
                Invocation::Print { exit_code, text } => (exit_code, text),
                other => panic!("expected a text, not {other:?}"),
            }
        };
        let (code, help) = code_of("--help");
        assert_eq!(code, 0);
        assert!(
            help.contains("[env: PORT, OLD_PORT] [required, such as 9100]"),
            "{help}"
        );
        assert_eq!(code_of("--prot").0, 2);
    }

    #[test]
    fn sizes_and_durations() {
        assert_eq!(parse_bytes("512MiB"), Some(512 << 20));
        assert_eq!(parse_bytes("7 GB"), Some(7_000_000_000));
        assert_eq!(parse_bytes("0"), Some(0));
        for wrong in ["", "MiB", "-1", "1.5MiB", "1mib", "99999999999TiB"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
        assert_eq!(
            parse_duration("250ms"),
            Some(std::time::Duration::from_millis(250))
        );
        assert_eq!(
            parse_duration("90"),
            Some(std::time::Duration::from_secs(90))
        );
        assert_eq!(
            parse_duration("2h"),
            Some(std::time::Duration::from_secs(7_200))
        );
        assert_eq!(parse_duration("2 weeks"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_tried_and_what_is_read_is_read_again(
            text in any::<String>(),
            number in "[0-9]{1,22}",
            unit in " ?[KMGT]?(iB|B)?|ms|s|m|h|d",
        ) {
            for text in [text, format!("{number}{unit}")] {
                if let Some(bytes) = parse_bytes(&text) {
                    prop_assert_eq!(parse_bytes(&format!("{bytes}B")), Some(bytes));
                }
                if let Some(duration) = parse_duration(&text) {
                    let millis = format!("{}ms", duration.as_millis());
                    prop_assert_eq!(parse_duration(&millis), Some(duration));
                }
            }
        }
    }
}
