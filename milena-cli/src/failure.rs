//! What ends the command otherwise than well: an exit code for scripts and one line for people.
//!
//! The codes are those of sysexits.h, so that a script can tell "try again" from "give up".

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use milena_client::ClientError;

/// What `--help` says of the exit codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  get: there is no value under this key; doctor: something is damaged or in trouble; flush: S3 does
      not have everything yet; sweep: of some objects it is not known whether they have expired
   2  the command line cannot be understood
  65  the server refused the bucket, the key or the value
  69  the server cannot be reached or cannot serve now; dev: an address cannot be listened on;
      doctor: a node has the store open; sweep: S3 cannot be reached, or minds no If-Match
  70  a fault inside the server or the command
  74  a file, a folder, or standard input or output cannot be read or written
  75  too many requests; try again later
  78  sweep, doctor: settings are missing or wrong";

/// Why the command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
}

/// Each kind has the exit code that its number says.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Kind {
    /// The command did what was asked, and the answer is no.
    No = 1,
    InvalidInput = 65,
    Unavailable = 69,
    Internal = 70,
    Io = 74,
    TooManyRequests = 75,
    Config = 78,
}

impl Failure {
    pub(crate) fn miss(message: impl Into<String>) -> Self {
        Self::new(Kind::No, message)
    }

    pub(crate) fn damage(message: impl Into<String>) -> Self {
        Self::new(Kind::No, message)
    }

    pub(crate) fn incomplete(message: impl Into<String>) -> Self {
        Self::new(Kind::No, message)
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    pub(crate) fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidInput, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    pub(crate) fn io(message: impl Into<String>) -> Self {
        Self::new(Kind::Io, message)
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::InvalidInput(_) => Self::invalid_input(error.to_string()),
            ClientError::Unreachable(_) => Self::unavailable(format!(
                "{error}; is `milena dev` running? --addr names another server"
            )),
            ClientError::Unavailable(_) => {
                Self::unavailable(format!("{error}; try again in a moment"))
            }
            ClientError::DeadlineExceeded(_) => Self::unavailable(format!(
                "{error}, so it is not known what happened; try again, or give it more time with --timeout"
            )),
            ClientError::ResourceExhausted { retry_after, .. } => {
                let when =
                    retry_after.map_or_else(|| "later".into(), |wait| format!("in {wait:?}"));
                Self::new(Kind::TooManyRequests, format!("{error}; try again {when}"))
            }
            ClientError::Internal(_) | ClientError::Other(_) => Self::internal(format!(
                "{error}; this is a fault of the server, and its log says more"
            )),
        }
    }
}

/// The text of `error` and of what caused it, each said once.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes
        .map(ToString::to_string)
        .fold(error.to_string(), |text, cause| {
            if text.contains(&cause) {
                text
            } else {
                format!("{text}: {cause}")
            }
        })
}

#[cfg(test)]
mod tests {
    use std::io;

    use milena_s3::StartError;

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let addr = "127.0.0.1:9".parse().unwrap();
        let source = || io::Error::other("no luck");
        let silent_of_its_cause = StartError::Listen {
            addr,
            source: source(),
        };
        assert_eq!(
            with_causes(&silent_of_its_cause),
            "cannot listen on 127.0.0.1:9: no luck"
        );
        let telling_its_cause = milena_cache::NodeError::Listen(addr, source());
        assert_eq!(
            with_causes(&telling_its_cause),
            "gRPC cannot listen on 127.0.0.1:9 (LISTEN_ADDR): no luck"
        );
    }
}
