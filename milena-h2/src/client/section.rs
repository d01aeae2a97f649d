//! What the header blocks of an answer say: its head, or its trailers.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::hpack::{self, Damaged};

/// The fields of one header block.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// HTTP's own; trailers have none.
    pub status: Option<StatusCode>,
    /// All other fields.
    pub headers: HeaderMap,
    /// gRPC's own status, which is among them: it is asked for with every answer.
    pub grpc_status: Option<HeaderValue>,
}

/// Why a block says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// What it says cannot be found out.
    Damaged,
    /// What it says is no answer's.
    Malformed,
}

impl From<Damaged> for Unreadable {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl Section {
    fn parse(block: &[u8]) -> Result<Self, Unreadable> {
        let mut section = Self::default();
        let mut is_wellformed = true;
        hpack::read(block, |name, value| {
            is_wellformed = is_wellformed && section.add(name, value).is_some();
        })?;
        section.grpc_status = section.headers.get("grpc-status").cloned();
        is_wellformed
            .then_some(section)
            .ok_or(Unreadable::Malformed)
    }

    /// `None` for what may not stand there (RFC 9113, section 8.2 and 8.3).
    fn add(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        if name.starts_with(b":") {
            let may_be = name == b":status" && self.status.is_none() && self.headers.is_empty();
            self.status = may_be.then(|| StatusCode::from_bytes(value).ok())?;
            return self.status.map(drop);
        }
        let name = HeaderName::from_lowercase(name).ok()?;
        let value = HeaderValue::from_bytes(value).ok()?;
        self.headers.try_append(name, value).ok().map(drop)
    }
}

/// Reads blocks, and remembers what the last few said: as the peer keeps no table, the same is always said in the same
/// bytes.
#[derive(Debug, Default)]
pub(super) struct Sections {
    last: [Option<Known>; 4],
    /// Which of them is replaced next.
    next: usize,
}

#[derive(Debug)]
struct Known {
    block: Box<[u8]>,
    section: Arc<Section>,
}

impl Sections {
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Arc<Section>, Unreadable> {
        let mut last = self.last.iter().flatten();
        if let Some(known) = last.find(|known| *known.block == *block) {
            return Ok(Arc::clone(&known.section));
        }
        let section = Arc::new(Section::parse(block)?);
        self.last[self.next] = Some(Known {
            block: block.into(),
            section: Arc::clone(&section),
        });
        self.next = (self.next + 1) % self.last.len();
        Ok(section)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_its_status_first_and_once_and_known_names() {
        let head = Section::parse(b"\x88\x40\x01a\x01b\x40\x01a\x01c").unwrap();
        assert_eq!(head.status, Some(StatusCode::OK));
        assert_eq!(head.headers.get_all("a").iter().count(), 2);
        assert_eq!(Section::parse(b""), Ok(Section::default()));
        let malformed: [&[u8]; 7] = [
            b"\x88\x88",
            b"\x40\x01a\x01b\x88",
            b"\x82",
            b"\x08\x0299",
            b"\x40\x01A\x01b",
            b"\x40\x00\x01b",
            b"\x40\x01a\x01\n",
        ];
        for block in malformed {
            assert_eq!(
                Section::parse(block),
                Err(Unreadable::Malformed),
                "{block:x?}"
            );
        }
        assert_eq!(Section::parse(b"\x88\xbe"), Err(Unreadable::Damaged));
    }

    #[test]
    fn what_was_said_lately_is_not_read_again() {
        let mut sections = Sections::default();
        let first = sections.read(b"\x88").unwrap();
        for status in 0x89..=0x8b {
            sections.read(&[status]).unwrap();
            assert!(Arc::ptr_eq(&first, &sections.read(b"\x88").unwrap()));
        }
        sections.read(b"\x8c").unwrap();
        let again = sections.read(b"\x88").unwrap();
        assert!(again == first && !Arc::ptr_eq(&again, &first));
    }
}
