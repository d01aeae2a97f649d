//! Logging: to standard error, for people on a terminal and as JSON lines elsewhere.
//!
//! Keys are never logged in clear; `EntryKey`'s `Debug` shows a hash.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{Presence, Setting};

/// `LOG_LEVEL`.
pub static LOG_LEVEL: Setting = Setting {
    name: "LOG_LEVEL",
    also: &[],
    presence: Presence::Default("info"),
    expected: EXPECTED_LEVEL,
    example: "info",
    help: "What is logged: error, warn, info, debug or trace, or directives per module",
};

/// What a log level has to be, for [`Setting::expected`].
pub const EXPECTED_LEVEL: &str =
    "error, warn, info, debug, trace or off, or directives such as info,h2=warn";

/// `LOG_FORMAT`.
pub static LOG_FORMAT: Setting = Setting {
    name: "LOG_FORMAT",
    also: &[],
    presence: Presence::Default("auto"),
    expected: "auto, pretty or json",
    example: "json",
    help: "How it is logged: auto (pretty on a terminal, else json), pretty or json",
};

/// A checked value of `LOG_LEVEL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

impl LogLevel {
    /// A level or a list of directives; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // A bare word that is no level would be taken for a module's name and would silence the rest.
        let levels = ["error", "warn", "info", "debug", "trace", "off"];
        let sound = |directive: &str| {
            let level = directive.rsplit('=').next().unwrap_or(directive);
            levels.contains(&level.trim().to_ascii_lowercase().as_str())
        };
        // `EnvFilter` panics on some texts with characters of several bytes; no module of ours has one in its name.
        let all_sound =
            text.is_ascii() && text.split(',').all(sound) && EnvFilter::try_new(text).is_ok();
        all_sound.then(|| Self(text.to_owned()))
    }
}

/// A checked value of `LOG_FORMAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// One line each, for people.
    Pretty,
    /// One JSON object a line, for machines.
    Json,
}

impl LogFormat {
    /// `None` for what is not one of the three.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "pretty" => Some(Self::Pretty),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// How a process logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// What is logged.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
}

/// Sends the process's logs to standard error. A second call changes nothing.
pub fn start(logging: &Logging) {
    let to_terminal = std::io::stderr().is_terminal();
    let json = match logging.format {
        LogFormat::Auto => !to_terminal,
        LogFormat::Pretty => false,
        LogFormat::Json => true,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&logging.level.0))
        .with_writer(std::io::stderr)
        .with_ansi(to_terminal);
    // An error says that logging was started before, which is as good.
    let _already_started = if json {
        subscriber.json().flatten_event(true).finish().try_init()
    } else {
        subscriber.finish().try_init()
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for sound in ["info", "DEBUG", "off", "warn,milena_cache=trace"] {
            assert!(LogLevel::parse(sound).is_some(), "{sound}");
        }
        for wrong in ["", "loud", "milena_cache", "info,milena_cache=loud"] {
            assert!(LogLevel::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn characters_of_several_bytes_are_refused_and_not_stumbled_over() {
        for wrong in ["\nС=off", "é=info", "info,é=info"] {
            assert!(LogLevel::parse(wrong).is_none(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_tried_without_a_panic(module in ".{0,20}", field in "[\\[\\]{}=, a-zé]{0,8}") {
            let _level = LogLevel::parse(&format!("{module}{field}=info"));
            let _level = LogLevel::parse(&format!("{module}[{field}]=info,off"));
        }
    }
}
