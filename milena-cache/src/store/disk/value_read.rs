//! Reading value files: at once, or chunk by chunk. Everything that is read is verified.
//!
//! Knows from its caller which file it is; does not know which keys there are. Every operation blocks.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::files::{DataFile, Files};
use super::value_file::{HEADER_BYTES, Reference, Table, file_name};

/// An open value file whose checksums are verified. It can be read also after it was removed.
pub(super) struct ValueReader {
    file: Arc<dyn DataFile>,
    reference: Reference,
    table: Table,
}

impl ValueReader {
    /// The file that `reference` refers to, in this store.
    ///
    /// # Errors
    /// `InvalidData` if it is not the file that was written.
    pub(super) fn open(files: &dyn Files, store_id: u64, reference: Reference) -> io::Result<Self> {
        let shape = reference.shape;
        let file = files.open(&file_name(reference.number))?;
        // Before any other length is believed.
        if file.bytes()? != shape.file_bytes() {
            return Err(damaged("it has another length"));
        }
        let header = read(file.as_ref(), 0, HEADER_BYTES.into())?;
        let sums = read(file.as_ref(), shape.table_at(), shape.table_bytes())?;
        let table = Table::of(store_id, reference, &header, sums).ok_or_else(|| {
            damaged("its header or a checksum is damaged, or it is another value")
        })?;
        Ok(Self {
            file,
            reference,
            table,
        })
    }

    /// The length of the value.
    pub(super) fn value_bytes(&self) -> u64 {
        self.reference.shape.value_bytes
    }

    /// How many chunks the value has.
    pub(super) fn chunks(&self) -> u64 {
        self.reference.shape.chunks()
    }

    /// One chunk.
    ///
    /// # Errors
    /// `InvalidData` if it is not what was written.
    pub(super) fn chunk(&self, index: u64) -> io::Result<Bytes> {
        let (start, bytes) = self.reference.shape.chunk(index);
        let chunk = read(self.file.as_ref(), u64::from(HEADER_BYTES) + start, bytes)?;
        if !self.table.is_chunk(index, &chunk) {
            return Err(damaged("a chunk does not match its checksum"));
        }
        Ok(chunk.into())
    }

    /// All of it.
    ///
    /// # Errors
    /// As above.
    pub(super) fn whole(&self) -> io::Result<Bytes> {
        let value = self.unverified()?;
        if !self.table.is_value(&value) {
            return Err(damaged("a chunk does not match its checksum"));
        }
        Ok(value)
    }

    /// All of it, whatever it is.
    pub(super) fn unverified(&self) -> io::Result<Bytes> {
        let bytes = self.reference.shape.value_bytes;
        let value = read(self.file.as_ref(), HEADER_BYTES.into(), bytes)?;
        Ok(value.into())
    }
}

fn read(file: &dyn DataFile, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let bytes = usize::try_from(bytes).map_err(|_| damaged("it is longer than memory"))?;
    file.read_at(offset, bytes)
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
