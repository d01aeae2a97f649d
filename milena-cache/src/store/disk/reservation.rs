//! Reservations: bytes of the cap that are kept for a value file while it is written, and the file's number.
//!
//! Made by the writer thread for whoever asks it, used on any other, and given back by being dropped. Invariant: no value file
//! gets its name once its log is over, so that whoever removes a log's files misses none.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::files::{DataFile, Files, is_lack_of_descriptors};
use super::queue::Queue;
use super::value_file::{self, Owner};
use super::writer::{Command, State, Writer};

/// The time from a log's opening until it is closed or given up.
#[derive(Default)]
pub(super) struct Era {
    is_over: Mutex<bool>,
}

impl Era {
    /// Nothing of this era becomes a part of the store any more.
    pub(super) fn end(&self) {
        *self.lock() = true;
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The question whether there is room for a value file of this size; the answer is `None` if there is not.
pub(super) struct Asked {
    pub(super) file_bytes: u64,
    /// The share of all that may be written at once.
    pub(super) room: OwnedSemaphorePermit,
    /// Where the reservation goes when it is dropped. Weak: it may be in the queue itself.
    pub(super) queue: Weak<Queue>,
    pub(super) done: oneshot::Sender<Option<Reservation>>,
}

/// A reservation that was dropped.
pub(super) struct GivenBack {
    pub(super) era: Arc<Era>,
    pub(super) number: u64,
    /// Free again once the file's bytes are no longer reserved.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// See the file's head. Dropped once the value's record is written, or will not be.
pub(super) struct Reservation {
    pub(super) owner: Owner,
    pub(super) era: Arc<Era>,
    pub(super) files: Arc<dyn Files>,
    /// The file under its temporary name, still empty.
    pub(super) file: Arc<dyn DataFile>,
    pub(super) is_durable: bool,
    pub(super) room: Option<OwnedSemaphorePermit>,
    pub(super) queue: Weak<Queue>,
}

impl Reservation {
    /// An error once what is written would be for nothing.
    pub(super) fn check(&self) -> io::Result<()> {
        if *self.era.lock() {
            return Err(io::Error::other("the store was closed or has failed"));
        }
        Ok(())
    }

    /// Gives the file, which is written, its name, and makes it as durable as a record is.
    pub(super) fn complete(&self) -> io::Result<()> {
        if self.is_durable {
            self.file.sync()?;
        }
        let number = self.owner.number;
        let is_over = self.era.lock();
        if *is_over {
            return Err(io::Error::other("the store was closed or has failed"));
        }
        self.files.rename(
            &value_file::temporary_name(number),
            &value_file::file_name(number),
        )?;
        drop(is_over);
        if self.is_durable {
            self.files.sync_names()?;
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.upgrade() {
            // If the writer has ended, the next opening removes the file.
            queue.ask(Command::GiveBack(GivenBack {
                era: Arc::clone(&self.era),
                number: self.owner.number,
                room: self.room.take(),
            }));
        }
    }
}

impl Writer {
    /// Answers whether there is room for a large value.
    pub(super) fn reserve(&mut self, asked: Asked) {
        let State::On { log, .. } = &mut self.state else {
            // Who asked may have gone, here and below.
            let _ = asked.done.send(None);
            return;
        };
        let reserved = match log.reserve_value(asked.file_bytes) {
            Ok(reserved) => reserved,
            Err(error) => {
                if !is_lack_of_descriptors(&error) {
                    self.switch_off(&error);
                }
                let _ = asked.done.send(None);
                return;
            }
        };
        let reservation = reserved.map(|(number, file)| Reservation {
            owner: Owner {
                store_id: log.store_id,
                number,
            },
            era: Arc::clone(&log.era),
            files: Arc::clone(&self.site.files),
            file,
            is_durable: self.site.is_durable(),
            room: Some(asked.room),
            queue: asked.queue,
        });
        let _ = asked.done.send(reservation);
    }

    /// Removes the file of a value that got no record. One of an earlier log is gone with it.
    pub(super) fn take_back(&mut self, given: GivenBack) {
        if let State::On { log, .. } = &mut self.state
            && Arc::ptr_eq(&log.era, &given.era)
        {
            log.values.give_back(given.number);
        }
        drop(given.room);
    }
}
