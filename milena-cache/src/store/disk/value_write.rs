//! Writing a large value to a file of its own, piece by piece, by whoever puts it.
//!
//! Blocks on the file system; never runs on the writer thread. Does not know which key the value is for.

use std::io::{self, IoSlice};

use super::reservation::Reservation;
use super::value_file::{HEADER_BYTES, Reference, Shape, Summing};

/// A value file that is being written. Dropped, it is removed.
pub(super) struct NewValue {
    reservation: Reservation,
    shape: Shape,
    summing: Summing,
}

impl NewValue {
    /// The file that `reservation` is for.
    pub(super) fn new(reservation: Reservation, shape: Shape) -> Self {
        Self {
            summing: Summing::new(reservation.owner, shape),
            reservation,
            shape,
        }
    }

    /// Writes the next piece; all of them together have the length that was said.
    pub(super) fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        let offset = u64::from(HEADER_BYTES) + self.summing.seen_bytes();
        write(&self.reservation, piece, offset)?;
        self.summing.add(piece);
        Ok(())
    }

    /// Ends the file, which has all of its value, and makes it ready to be referred to.
    pub(super) fn finish(self) -> io::Result<(Reservation, Reference)> {
        let (reference, sums) = self.summing.finish();
        write(&self.reservation, &sums, self.shape.table_at())?;
        // Last: what has no header is not a value.
        let header = self.reservation.owner.header(self.shape);
        write(&self.reservation, &header, 0)?;
        self.reservation.complete()?;
        Ok((self.reservation, reference))
    }
}

fn write(reservation: &Reservation, bytes: &[u8], offset: u64) -> io::Result<()> {
    reservation.check()?;
    let file = &reservation.file;
    file.write_all_at(&mut [IoSlice::new(bytes)], offset)
}
