//! The header blocks of requests: what they have in common is said once on a connection, and by an index from then on.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};

use super::hpack::{STATIC_ENTRIES, put_integer, put_string};

/// The dynamic table that a server keeps for its client unless it says otherwise, in bytes (RFC 9113, section 6.5.2).
const TABLE_BYTES: usize = 4_096;

/// What an entry of the table takes beyond its name and value (RFC 7541, section 4.1).
const ENTRY_BYTES: usize = 32;

/// Fields of the static table (RFC 7541, Appendix A).
const METHOD_POST: u8 = 0x80 | 3;
const SCHEME_HTTP: u8 = 0x80 | 6;

/// What the requests of one client say, but for their timeouts.
#[derive(Clone, Debug)]
pub struct Methods(Arc<[Field]>);

#[derive(Debug)]
struct Field {
    name: Name,
    value: Bytes,
}

#[derive(Clone, Copy, Debug)]
enum Name {
    /// Of this index in the static table.
    Known(u8),
    New(&'static str),
}

const AUTHORITY: Name = Name::Known(1);
const PATH: Name = Name::Known(4);
const CONTENT_TYPE: Name = Name::Known(31);

impl Methods {
    /// The methods of these paths on the server `authority`, which is a host and its port.
    #[must_use]
    pub fn new(authority: &str, paths: &[&'static str]) -> Self {
        let common = [
            (AUTHORITY, Bytes::copy_from_slice(authority.as_bytes())),
            (Name::New("te"), Bytes::from_static(b"trailers")),
            (CONTENT_TYPE, Bytes::from_static(b"application/grpc")),
        ];
        let paths = paths
            .iter()
            .map(|path| (PATH, Bytes::from_static(path.as_bytes())));
        let fields = common.into_iter().chain(paths);
        Self(fields.map(|(name, value)| Field { name, value }).collect())
    }

    /// Those that every request has; the paths follow them.
    const COMMON: usize = 3;

    /// The most that they take of the table.
    fn table_bytes(&self) -> usize {
        /// More than any of the names and timeouts has.
        const TEXT_BYTES_MAX: usize = 20;
        let fields = self.0.iter().map(|field| field.value.len());
        let entry_bytes = |value: usize| value + TEXT_BYTES_MAX + ENTRY_BYTES;
        fields.chain([TEXT_BYTES_MAX]).map(entry_bytes).sum()
    }
}

/// Writes the header blocks of one connection.
#[derive(Debug)]
pub(super) struct Requests {
    methods: Methods,
    /// Whether the server keeps a table that has room for all.
    may_insert: bool,
    /// The server is yet to be told that nothing is in its table any more.
    is_emptied: bool,
    /// How many entries were put into the table, and which of them has each field.
    inserted: u32,
    entries: Vec<Option<u32>>,
    /// The timeout that is in the table, and its entry.
    timeout: Option<(Milliseconds, u32)>,
}

/// A timeout as it is sent. Not more precise: then most callers' are the same, which is said in one byte; the server's own
/// time may end a millisecond after the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Milliseconds(u128);

impl Requests {
    pub(super) fn new(methods: Methods) -> Self {
        Self {
            may_insert: methods.table_bytes() <= TABLE_BYTES,
            is_emptied: false,
            inserted: 0,
            entries: vec![None; methods.0.len()],
            timeout: None,
            methods,
        }
    }

    /// The server keeps a table of this size from now on.
    pub(super) fn limit_table(&mut self, bytes: u32) {
        if (bytes as usize) < TABLE_BYTES {
            self.may_insert = false;
            self.is_emptied = true;
            self.entries.fill(None);
            self.timeout = None;
        }
    }

    /// Writes the block of a request of the method with this number, whose caller waits for `timeout`.
    pub(super) fn put(&mut self, to: &mut impl BufMut, method: usize, timeout: Duration) {
        if std::mem::take(&mut self.is_emptied) {
            put_integer(to, 0x20, 5, 0);
        }
        to.put_u8(METHOD_POST);
        to.put_u8(SCHEME_HTTP);
        self.put_field(to, Methods::COMMON + method);
        (0..Methods::COMMON).for_each(|field| self.put_field(to, field));
        let timeout = Milliseconds(timeout.as_nanos().div_ceil(1_000_000));
        self.put_timeout(to, timeout);
    }

    fn put_field(&mut self, to: &mut impl BufMut, number: usize) {
        if let Some(entry) = self.entries[number] {
            put_integer(to, 0x80, 7, self.index_of(entry));
            return;
        }
        let Field { name, value } = &self.methods.0[number];
        let (first, bits) = if self.may_insert { (0x40, 6) } else { (0, 4) };
        match name {
            Name::Known(index) => put_integer(to, first, bits, (*index).into()),
            Name::New(name) => {
                to.put_u8(first);
                put_string(to, name.as_bytes());
            }
        }
        put_string(to, value);
        if self.may_insert {
            self.entries[number] = Some(self.inserted);
            self.inserted += 1;
        }
    }

    /// The first is put into the table: most callers have one timeout for all.
    fn put_timeout(&mut self, to: &mut impl BufMut, timeout: Milliseconds) {
        match self.timeout {
            Some((known, entry)) if known == timeout => {
                put_integer(to, 0x80, 7, self.index_of(entry));
                return;
            }
            Some((_, entry)) => put_integer(to, 0, 4, self.index_of(entry)),
            None => {
                to.put_u8(if self.may_insert { 0x40 } else { 0 });
                put_string(to, b"grpc-timeout");
                if self.may_insert {
                    self.timeout = Some((timeout, self.inserted));
                    self.inserted += 1;
                }
            }
        }
        put_string(to, timeout.written().as_bytes());
    }

    /// The index of an entry: the newest has the lowest.
    fn index_of(&self, entry: u32) -> u32 {
        STATIC_ENTRIES + self.inserted - entry
    }
}

impl Milliseconds {
    /// As gRPC writes it, with eight digits at most (PROTOCOL-HTTP2.md, "Timeout").
    fn written(self) -> String {
        match self.0 {
            ms @ ..=99_999_999 => format!("{ms}m"),
            ms => format!("{}S", ms.div_ceil(1_000)),
        }
    }
}
