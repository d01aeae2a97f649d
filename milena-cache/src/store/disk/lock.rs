//! The lock on a store's directory: one store at a time may have it open.
//!
//! Knows nothing of what is in the directory.

use std::fs::{File, TryLockError};

use super::config::DiskConfig;
use super::{OpenError, in_path, open};

/// A directory that no other store can open until this is dropped.
pub(super) struct Lock(File);

impl Lock {
    /// Locks the directory, which is there.
    pub(super) fn take(config: &DiskConfig) -> Result<Self, OpenError> {
        let path = config.path.join(open::LOCK_NAME);
        let file = File::create(path).map_err(|e| in_path(config, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
                path: config.path.clone(),
            }),
            Err(TryLockError::Error(error)) => Err(in_path(config, error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that this one is about to start shares it until
        // it becomes another program. If this fails, closing is all that is left.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::DiskSync;
    use super::*;

    #[test]
    fn a_lock_let_go_is_free_whoever_shares_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let config = DiskConfig::new(path, DiskConfig::MAX_BYTES_MIN, DiskSync::Os, String::new());
        let lock = Lock::take(&config).unwrap();
        // As a child process has it that was made and is not another program yet.
        let shared = lock.0.try_clone().unwrap();
        assert!(Lock::take(&config).is_err());
        drop(lock);
        Lock::take(&config).unwrap();
        drop(shared);
    }
}
