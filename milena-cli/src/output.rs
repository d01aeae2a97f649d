//! What is said on standard output.

use std::io::{self, Write as _};

use crate::failure::Failure;

/// Prints `text` as it is. A reader that has gone has seen what it wanted; the exit code still tells.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::io(format!(
            "standard output cannot be written: {error}"
        ))),
        _ => Ok(()),
    }
}
