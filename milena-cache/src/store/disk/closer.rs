//! Closing files of which the name is gone, on a thread of its own: only then does the file system free their
//! blocks, which for a large file takes it longer than writers are to wait.
//!
//! Knows nothing of what is in the files.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;

use super::files::DataFile;

/// See the file's head. Waits, when it is dropped, until all are closed.
#[derive(Default)]
pub(super) struct Closer(Option<Closing>);

struct Closing {
    files: Sender<Arc<dyn DataFile>>,
    thread: thread::JoinHandle<()>,
}

impl Closer {
    /// Closes a file soon.
    pub(super) fn close(&mut self, file: Arc<dyn DataFile>) {
        if self.0.is_none() {
            self.0 = Closing::start();
        }
        if let Some(closing) = &self.0 {
            // If its thread has ended, the file is closed here.
            let _ = closing.files.send(file);
        }
    }

    /// Waits until all are closed.
    pub(super) fn wait(&mut self) {
        if let Some(Closing { files, thread }) = self.0.take() {
            drop(files);
            // It does nothing that could panic.
            let _ = thread.join();
        }
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.wait();
    }
}

impl Closing {
    fn start() -> Option<Self> {
        let (files, received) = mpsc::channel();
        let thread = thread::Builder::new().name("disk-closer".to_owned());
        let thread = thread.spawn(move || received.iter().for_each(drop)).ok()?;
        Some(Self { files, thread })
    }
}
