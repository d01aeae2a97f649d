//! `milena doctor --disk`: what a stopped node's disk tier holds, and whether all of it is sound.
//!
//! Reads only. What is damaged is decided by the store itself (`milena_cache::store::disk::examine`); here it is
//! put into lines.

use std::fmt::Write as _;
use std::path::Path;

use milena_cache::store::disk::examine::{
    Examination, ExamineError, FooterState, ManifestSummary, RecordCounts, SegmentSummary,
    ValueFilesSummary, examine,
};
use milena_cache::store::disk::{DiskSync, boot_id};
use milena_server::clock::Clock;

use crate::failure::{Failure, with_causes};
use crate::output::print;

/// Looks at the store in `directory`.
pub(super) fn run(directory: &Path) -> Result<(), Failure> {
    let found =
        examine(directory, &boot_id(), Clock::system().now()).map_err(|error| refused(&error))?;
    let path = directory.display();
    print(&report(&path.to_string(), &found))?;
    match found.damage().count() {
        0 => Ok(()),
        1 => Err(Failure::damage(format!("{path} is damaged in one place"))),
        places => Err(Failure::damage(format!(
            "{path} is damaged in {places} places"
        ))),
    }
}

fn refused(error: &ExamineError) -> Failure {
    let text = with_causes(error);
    match error {
        ExamineError::InUse { .. } => Failure::unavailable(text),
        ExamineError::NotAStore { .. } | ExamineError::Io { .. } => Failure::io(text),
    }
}

/// All lines.
fn report(path: &str, found: &Examination) -> String {
    let mut report = format!("{path}: {}\n", of_manifest(found.manifest.as_ref()));
    for segment in &found.segments {
        report.push_str(&of_segment(segment));
    }
    let ValueFilesSummary { files, bytes } = found.values;
    if files > 0 {
        writeln!(report, "large values: {files} files, {bytes} bytes")
            .expect("writing to a string cannot fail");
    }
    for finding in &found.findings {
        let begins = if finding.fault.is_damage() {
            "damage"
        } else {
            "note"
        };
        writeln!(report, "{begins}: {finding}").expect("writing to a string cannot fail");
    }
    let segments = found.segments.len();
    let records = of_records(&found.records());
    writeln!(
        report,
        "total: {segments} segments, {} bytes, {records}",
        found.bytes()
    )
    .expect("writing to a string cannot fail");
    if found.damage().next().is_none() {
        report.push_str("sound\n");
    }
    report
}

fn of_manifest(manifest: Option<&ManifestSummary>) -> String {
    let Some(manifest) = manifest else {
        return "no manifest, so it is not known what belongs to the store".to_owned();
    };
    let closed = match (manifest.is_closed, manifest.is_of_this_boot) {
        (true, _) => "closed cleanly",
        (false, true) => "not closed",
        (false, false) => "not closed, and the machine was started anew since",
    };
    let sync = match manifest.sync {
        DiskSync::Os => "os",
        DiskSync::Always => "always",
    };
    let (version, store_id) = (manifest.version, manifest.store_id);
    format!("version {version}, {closed}, DISK_SYNC={sync}, store {store_id:016x}")
}

fn of_segment(segment: &SegmentSummary) -> String {
    let footer = match segment.footer {
        FooterState::Intact => "footer ok",
        FooterState::Missing => "no footer",
        FooterState::Damaged => "footer damaged",
        FooterState::Unknown => "cannot be followed",
    };
    let SegmentSummary {
        file,
        bytes,
        records,
        ..
    } = segment;
    format!("{file}: {bytes} bytes, {}, {footer}\n", of_records(records))
}

fn of_records(records: &RecordCounts) -> String {
    let RecordCounts {
        live,
        expired,
        superseded,
        tombstones,
        damaged,
        dropped,
    } = records;
    let mut text = format!(
        "{} records ({live} live, {expired} expired, {superseded} superseded, {tombstones} tombstones",
        records.total()
    );
    for (number, what) in [(damaged, "damaged"), (dropped, "to be dropped")] {
        if *number > 0 {
            write!(text, ", {number} {what}").expect("writing to a string cannot fail");
        }
    }
    text + ")"
}
