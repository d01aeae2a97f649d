//! Reading what the page cache holds, without waiting for the medium.
//!
//! The one file with unsafe code. Safe wrappers of `preadv2` take initialised memory only, which would be zeroed for
//! nothing: a fifteenth of the time of a get of 64 KiB (docs/benchmarks.md).

#![expect(unsafe_code, reason = "see the file's head")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// What the page cache holds of `bytes` bytes of `file` at `offset`, from there on.
///
/// # Errors
/// Of the kind `WouldBlock` when it holds nothing of it, `Unsupported` when the file system cannot tell.
pub(super) fn read_no_wait(file: &File, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::Unsupported)?;
    let mut buffer = Vec::<u8>::with_capacity(bytes);
    let slice = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: bytes,
    };
    // SAFETY: the descriptor is open for as long as `file` is borrowed. `slice` is one buffer of `bytes` bytes that is
    // ours alone; the kernel writes into nothing else, and not after the call.
    let read = unsafe {
        libc::preadv2(
            file.as_raw_fd(),
            &raw const slice,
            1,
            offset,
            libc::RWF_NOWAIT,
        )
    };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: so many bytes, and never more than it was asked for, the kernel has written from the beginning.
    unsafe { buffer.set_len(read) };
    Ok(buffer)
}
