//! `milena get`: fetches a value and writes it out, byte for byte.
//!
//! Invariant: what is in FILE changes only once the value is here, and then as a whole.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;
use crate::target::{Entry, Server};

/// What a new file may be used for, before the umask: as for every file that a shell makes.
const FILE_MODE: u32 = 0o666;

/// What is said on standard error of a stale value.
const STALE: &str = "stale: S3 fails, and this is a copy whose time has passed";

/// Write the value of a key to standard output, as it is
#[derive(Args)]
#[command(after_help = "\
Examples:
  milena get photos greeting.txt
  milena get photos cat.jpg -o cat.jpg

Exits with 1 when there is no value under this key.")]
pub(crate) struct Get {
    #[command(flatten)]
    entry: Entry,

    /// Write to this file instead; a get that fails leaves it as it was
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    server: Server,
}

impl Get {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let key = self.entry.key()?;
        let bucket = &self.entry.bucket;
        let found = self
            .server
            .ask(async |client| client.find(bucket, &key).await)
            .await?;
        let found =
            found.ok_or_else(|| Failure::miss(format!("bucket {bucket} has no such key")))?;
        let value = found.value;
        if found.is_stale {
            // If nobody can read it, the value is worth more.
            let _ = writeln!(io::stderr(), "{STALE}");
        }
        match &self.output {
            None => write_out(&value).map_err(|error| unwritable("standard output", &error)),
            Some(file) => write_file(file, &value)
                .map_err(|error| unwritable(&file.display().to_string(), &error)),
        }
    }
}

fn write_out(value: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(value).and_then(|()| stdout.flush()) {
        // The reader has what it wanted, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

fn write_file(file: &Path, value: &[u8]) -> io::Result<()> {
    // What a link points to is meant, not the link.
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    if fs::metadata(&file).is_ok_and(|there| !there.is_file()) {
        // A device or a pipe is written into; to put a file in its place would be wrong.
        return fs::write(file, value);
    }
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut temporary = tempfile::Builder::new()
        .permissions(Permissions::from_mode(FILE_MODE))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    temporary.write_all(value)?;
    temporary.persist(file)?;
    Ok(())
}

fn unwritable(name: &str, error: &io::Error) -> Failure {
    Failure::io(format!("{name} cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_also_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        write_file(&file, b"old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_file(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "no temporary file is left"
        );
    }

    #[test]
    fn a_device_stays_a_device() {
        write_file(Path::new("/dev/null"), b"value").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_folder_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        write_file(folder.path(), b"value").unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
