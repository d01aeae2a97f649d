//! An examination under way: the manifest, the files around the log, and the order in which segments are read.
//!
//! Decides as `open.rs` and `recover.rs` do, and changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::io;

use milena_server::clock::UnixMillis;

use super::finding::{Fault, Finding};
use super::read_only::ReadOnly;
use super::segment::{Listed, SegmentSummary};
use super::{Examination, ManifestSummary};
use crate::store::disk::config::DiskSync;
use crate::store::disk::files::Files as _;
use crate::store::disk::format::SegmentId;
use crate::store::disk::manifest::{self, Manifest};
use crate::store::disk::open::is_own;
use crate::store::disk::segment::{file_name, id_of};

/// See the file's head.
pub(super) struct Examiner {
    pub(super) files: ReadOnly,
    /// The directory's files and their sizes.
    pub(super) found: BTreeMap<String, u64>,
    pub(super) now: UnixMillis,
    findings: Vec<Finding>,
    /// Hashes of the keys of which a newer record was seen.
    pub(super) seen: HashSet<u64>,
    /// The numbers of the value files of the newest records.
    pub(super) referred: HashSet<u64>,
    /// A node drops what is read now, because the log cannot be followed up to it.
    pub(super) is_log_lost: bool,
}

impl Examiner {
    pub(super) fn new(files: ReadOnly, found: BTreeMap<String, u64>, now: UnixMillis) -> Self {
        Self {
            files,
            found,
            now,
            findings: Vec::new(),
            seen: HashSet::new(),
            referred: HashSet::new(),
            is_log_lost: false,
        }
    }

    /// Something about a whole file.
    pub(super) fn note(&mut self, file: &str, fault: Fault) {
        self.find(file, None, fault);
    }

    /// Something at a byte of a file.
    pub(super) fn note_at(&mut self, file: &str, offset: impl Into<u64>, fault: Fault) {
        self.find(file, Some(offset.into()), fault);
    }

    fn find(&mut self, file: &str, offset: Option<u64>, fault: Fault) {
        let file = file.to_owned();
        self.findings.push(Finding {
            file,
            offset,
            fault,
        });
    }

    /// Examines everything.
    ///
    /// # Errors
    /// When what is there may not be read.
    pub(super) fn run(mut self, boot_id: &str) -> io::Result<Examination> {
        self.note_foreign();
        let mut summary = None;
        let mut segments = Vec::new();
        if let Some(manifest) = self.read_manifest()? {
            let is_of_this_boot = manifest.is_of_boot(boot_id);
            let power_was_lost = !manifest.closed && !is_of_this_boot;
            let mut unverified_below = manifest.trust.unverified_below;
            if power_was_lost && manifest.sync == DiskSync::Os {
                self.note(manifest::NAME, Fault::PowerLost);
                unverified_below = manifest.next_segment;
            }
            segments = self.examine_segments(&manifest, unverified_below, power_was_lost)?;
            self.note_orphans();
            summary = Some(ManifestSummary {
                version: manifest::VERSION,
                store_id: manifest.store_id,
                sync: manifest.sync,
                is_closed: manifest.closed,
                is_of_this_boot,
            });
        }
        self.findings
            .sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
        Ok(Examination {
            manifest: summary,
            segments,
            values: self.value_files(),
            findings: self.findings,
        })
    }

    /// The manifest, if one of its copies can be read.
    fn read_manifest(&mut self) -> io::Result<Option<Manifest>> {
        if !self.found.contains_key(manifest::NAME) {
            self.note(manifest::NAME, Fault::ManifestMissing);
            return Ok(None);
        }
        let contents = self.files.contents(manifest::NAME)?;
        let Some(manifest) = Manifest::parse(&contents) else {
            let fault = match manifest::version_of(&contents) {
                Some(version) if version != manifest::VERSION => Fault::ManifestVersion(version),
                _ => Fault::ManifestDamaged,
            };
            self.note(manifest::NAME, fault);
            return Ok(None);
        };
        let half = contents.len() / 2;
        if Manifest::parse(&contents[half..]).is_none() {
            self.note_at(manifest::NAME, half as u64, Fault::ManifestCopy);
        } else if Manifest::parse(&contents[..half]).is_none() {
            self.note_at(manifest::NAME, 0_u64, Fault::ManifestCopy);
        }
        Ok(Some(manifest))
    }

    /// The segments that the manifest lists, oldest first.
    fn examine_segments(
        &mut self,
        manifest: &Manifest,
        unverified_below: SegmentId,
        power_was_lost: bool,
    ) -> io::Result<Vec<SegmentSummary>> {
        let listed: BTreeMap<_, _> = manifest.segments.iter().copied().collect();
        let there: BTreeMap<_, _> = self
            .found
            .iter()
            .filter_map(|(name, bytes)| Some((id_of(name)?, *bytes)))
            .collect();
        for id in there.keys().filter(|id| !listed.contains_key(id)) {
            self.note(&file_name(*id), Fault::Unlisted);
        }
        let oldest_there = listed.keys().copied().find(|id| there.contains_key(id));
        let mut segments = Vec::new();
        // Newest first, as a node reads them: of two records of a key the first that is met counts.
        for (id, end) in listed.into_iter().rev() {
            if let Some(bytes) = there.get(&id).copied() {
                let is_unverified = id < unverified_below;
                let listed = Listed {
                    id,
                    end,
                    bytes,
                    is_unverified,
                };
                segments.push(self.examine_segment(manifest.store_id, &listed, power_was_lost)?);
            } else if oldest_there.is_some_and(|oldest| id < oldest) {
                self.note(&file_name(id), Fault::DroppedForSpace);
            } else if id < unverified_below {
                self.note(&file_name(id), Fault::LostWithPower);
            } else {
                self.note(&file_name(id), Fault::SegmentMissing);
                self.is_log_lost = true;
            }
        }
        segments.reverse();
        Ok(segments)
    }

    fn note_foreign(&mut self) {
        let names: Vec<_> = self.found.keys().cloned().collect();
        for name in names {
            if name == manifest::TEMPORARY_NAME {
                self.note(&name, Fault::ManifestTemporary);
            } else if !is_own(&name) {
                self.note(&name, Fault::Foreign);
            }
        }
    }
}
