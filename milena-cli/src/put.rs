//! `milena put`: reads a value from where the argument says and sends it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use milena_client::PutOptions;
use milena_server::settings::parse_duration;

use crate::failure::Failure;
use crate::target::{Entry, Server, VALUE_BYTES_MAX};

/// Set the value of a key
#[derive(Args)]
#[command(after_help = "\
Examples:
  milena put photos greeting.txt hello
  milena put photos cat.jpg @cat.jpg
  date | milena put photos now.txt
  milena put --ttl 30s sessions alice token

A KEY or VALUE that begins with a dash goes behind `--`: milena put photos key -- -1")]
pub(crate) struct Put {
    #[command(flatten)]
    entry: Entry,

    /// The value; or @FILE, what a file holds; or - or nothing, standard input. @@x is the value @x
    value: Option<OsString>,

    /// The entry's life, such as 30s, 5m, 12h or 7d: after it the entry is gone everywhere
    #[arg(long, value_name = "DURATION", value_parser = parse_life)]
    ttl: Option<Duration>,

    #[command(flatten)]
    server: Server,
}

impl Put {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let key = self.entry.key()?;
        let value = read_value(self.value)?;
        let bucket = &self.entry.bucket;
        let options = PutOptions {
            life: self.ttl,
            ..PutOptions::default()
        };
        self.server
            .ask(async |client| client.put_with(bucket, &key, value.clone(), options).await)
            .await
    }
}

/// A life in whole seconds. How long it may be is the server's to say.
fn parse_life(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|life| life.subsec_nanos() == 0)
        .ok_or_else(|| "expected a duration in whole seconds such as 30s (units s, m, h, d)".into())
}

fn read_value(argument: Option<OsString>) -> Result<Bytes, Failure> {
    let argument = argument.map_or_else(|| b"-".to_vec(), OsString::into_vec);
    match argument.as_slice() {
        b"-" => {
            let stdin = io::stdin();
            if stdin.is_terminal() {
                let _reader_has_gone = writeln!(
                    io::stderr(),
                    "milena: type the value; Ctrl+D on a line of its own ends it"
                );
            }
            read_all(stdin.lock(), "standard input")
        }
        [b'@', b'@', ..] => Ok(Bytes::from(argument).slice(1..)),
        [b'@', path @ ..] => {
            let path = OsStr::from_bytes(path);
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
            read_all(file, &name)
        }
        _ => Ok(argument.into()),
    }
}

/// Everything in `source`, up to the longest value.
fn read_all(source: impl Read, name: &str) -> Result<Bytes, Failure> {
    let mut value = Vec::new();
    source
        .take(VALUE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut value)
        .map_err(|error| unreadable(name, &error))?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(Failure::invalid_input(format!(
            "{name} has more than {VALUE_BYTES_MAX} bytes, the most that a value can have"
        )));
    }
    Ok(value.into())
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::io(format!("{name} cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(argument: &str) -> Bytes {
        read_value(Some(argument.into())).unwrap()
    }

    #[test]
    fn a_value_is_what_it_says_and_a_doubled_at_is_one() {
        assert_eq!(value_of("hello"), "hello");
        assert_eq!(value_of(""), "");
        assert_eq!(value_of("a@b"), "a@b");
        assert_eq!(value_of("@@home"), "@home");
    }

    #[test]
    fn a_life_is_in_whole_seconds() {
        assert_eq!(parse_life("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_life("3000ms"), Ok(Duration::from_secs(3)));
        for wrong in ["1500ms", "soon", ""] {
            assert!(parse_life(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let failure = read_value(Some("@no/such/file".into())).unwrap_err();
        assert!(
            failure
                .to_string()
                .starts_with("no/such/file cannot be read: ")
        );
    }

    #[test]
    fn what_never_ends_is_refused() {
        let failure = read_all(io::repeat(0), "zeros").unwrap_err();
        assert!(
            failure.to_string().contains("1073741824 bytes"),
            "{failure}"
        );
    }
}
