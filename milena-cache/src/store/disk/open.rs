//! Opening a store: what of the files is kept, and the manifest that says the store is in use.
//!
//! Reads only the manifest and the file names; the log itself is read afterwards, in the background
//! (`recover.rs`). The rules are those of docs/disk-format.md, "Opening a store".

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::config::DiskSync;
use super::files::is_lack_of_space;
use super::format::SegmentId;
use super::log::{Log, Site};
use super::manifest::{self, Manifest};
use super::recover::Recovery;
use super::seal::Sealed;
use super::segment::{file_name, id_of};
use super::spares::{self, Spares};
use super::trust::Bounds;
use super::value_file::{is_temporary, number_of};

/// The lock file's name. It is not counted: it stays empty.
pub(super) const LOCK_NAME: &str = "LOCK";

/// Opens what is there: a log that can be written at once, and what is still to be read of it.
pub(super) fn open(site: Site) -> io::Result<(Log, Recovery)> {
    let found = site.files.list()?;
    let segments: BTreeMap<_, _> = found
        .iter()
        .filter_map(|(name, bytes)| Some((id_of(name)?, *bytes)))
        .collect();
    warn_of_foreign(&found);
    if segments.is_empty() && !found.iter().any(|(name, _)| name == manifest::NAME) {
        tracing::info!("the disk store is new");
        return Ok((start_empty(site)?, Recovery::nothing()));
    }
    let manifest = match readable_manifest(&site)? {
        Ok(manifest) => manifest,
        Err(why) => {
            tracing::warn!(why, "the disk store starts empty");
            return Ok((start_empty(site)?, Recovery::nothing()));
        }
    };
    let is_listed = |id| manifest.segments.iter().any(|(listed, _)| *listed == id);
    for id in segments.keys().filter(|id| !is_listed(**id)) {
        site.files.remove(&file_name(*id))?;
    }
    site.files.remove(manifest::TEMPORARY_NAME)?;
    for (name, _) in found.iter().filter(|(name, _)| is_temporary(name)) {
        site.files.remove(name)?;
    }
    let power_was_lost = !manifest.closed && !manifest.is_of_boot(&site.config.boot_id);
    let is_unsynced = power_was_lost && manifest.sync == DiskSync::Os;
    site.shared.trust.set(trust(&manifest, is_unsynced, &site));
    if site.is_durable() && !manifest.closed && manifest.sync == DiskSync::Os {
        sync_all(&site, &found)?;
    }
    let listed = manifest.segments.len();
    // What is missing at the oldest end was dropped for space just before the store stopped.
    let oldest_first = manifest.segments.into_iter();
    let oldest_first = oldest_first.skip_while(|(id, _)| !segments.contains_key(id));
    let sealed: BTreeMap<_, _> = oldest_first
        .map(|(id, end)| (id, unread(segments.get(&id), end, id, &site)))
        .collect();
    let newest_first: VecDeque<_> = sealed.keys().rev().copied().collect();
    let mut log = Log::new(site, manifest.store_id, manifest.next_segment, sealed);
    log.listed.set(listed);
    for (name, bytes) in &found {
        if let Some(number) = number_of(name) {
            log.values.find(number, *bytes);
        }
    }
    let mut recovery = Recovery::new(newest_first, power_was_lost);
    recovery.find_dirty(&mut log)?;
    let Site { files, config, .. } = &log.site;
    // Not what may hold records of segments that the manifest has never heard of: their ids are given again.
    let left = if is_unsynced {
        0
    } else {
        config.max_bytes.saturating_sub(log.bytes_with(0, 0))
    };
    log.spares = Spares::adopt(files.as_ref(), &found, config.segment_bytes, left)?;
    log.keep_to_limit()?;
    say_open_in_any_case(&mut log)?;
    log.publish_bytes();
    log.look_at_free_space();
    Ok((log, recovery))
}

/// What of the log can be trusted, if the machine has stopped before all of it was synced or not.
fn trust(manifest: &Manifest, is_unsynced: bool, site: &Site) -> Bounds {
    let mut trust = manifest.trust;
    if is_unsynced {
        tracing::warn!(
            "the disk store was not closed and the machine has been started anew since, so that its newest records \
             may be lost; what is left has to be revalidated before its first use"
        );
        trust.unverified_below = manifest.next_segment;
        trust.doubtful_below = manifest.next_segment;
    } else if manifest.stale_seconds > site.config.stale_seconds {
        tracing::info!("stale copies were kept longer before: what is on disk is revalidated");
        trust.doubtful_below = manifest.next_segment;
    }
    trust
}

/// Brings to the medium what was written by a store that did not sync and was killed. From now on the manifest says
/// that everything acknowledged is there.
fn sync_all(site: &Site, found: &[(String, u64)]) -> io::Result<()> {
    let names = found.iter().map(|(name, _)| name);
    for name in names.filter(|name| id_of(name).is_some() || number_of(name).is_some()) {
        match site.files.open(name) {
            Ok(file) => file.sync()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    site.files.sync_names()
}

/// Says that the store is open; if the file system is full, the oldest go for it.
fn say_open_in_any_case(log: &mut Log) -> io::Result<()> {
    loop {
        match log.say_open() {
            Err(error)
                if is_lack_of_space(&error)
                    && !log.is_oldest_pinned()
                    && log.drop_something()? =>
            {
                tracing::warn!(%error, "the disk store drops its oldest values to be opened");
                while log.remove_a_value_file()? {}
                log.closer.wait();
                log.spares.leave(log.site.files.as_ref(), 0)?;
            }
            other => return other,
        }
    }
}

/// A segment of which only the size is known, and where it ends if the manifest says so.
fn unread(file_bytes: Option<&u64>, end: Option<u32>, id: SegmentId, site: &Site) -> Sealed {
    let file_bytes = file_bytes.copied().unwrap_or(0);
    let with_footer_to_come = file_bytes.max(site.config.segment_bytes.into());
    Sealed {
        file_bytes: if end.is_some() {
            file_bytes
        } else {
            with_footer_to_come
        },
        has_failed: site.shared.is_unverified(id),
        end,
        live_bytes: 0,
        carried_bytes: 0,
        lives: None,
    }
}

fn warn_of_foreign(found: &[(String, u64)]) {
    let names = found.iter().map(|(name, _)| name.as_str());
    let foreign = names.filter(|name| !is_own(name));
    let foreign: Vec<_> = foreign.collect();
    if !foreign.is_empty() {
        tracing::warn!(
            ?foreign,
            "the disk store's directory has files that are not its own"
        );
    }
}

/// Whether a file of this name belongs to a store.
pub(super) fn is_own(name: &str) -> bool {
    let fixed = [LOCK_NAME, manifest::NAME, manifest::TEMPORARY_NAME];
    fixed.contains(&name) || is_of_log(name)
}

/// Whether a file of this name holds a part of the log.
fn is_of_log(name: &str) -> bool {
    id_of(name).is_some()
        || spares::is_name(name)
        || number_of(name).is_some()
        || is_temporary(name)
}

/// A store with nothing in it, whatever was there.
pub(super) fn start_empty(site: Site) -> io::Result<Log> {
    remove_all(&site)?;
    site.shared.trust.set(Bounds::NONE);
    let store_id = site.clock.random_u64();
    let mut log = Log::new(site, store_id, SegmentId(1), BTreeMap::new());
    log.say_open()?;
    log.publish_bytes();
    log.site.shared.set_trouble(None);
    log.look_at_free_space();
    Ok(log)
}

/// Removes every file that holds anything of the log.
pub(super) fn remove_all(site: &Site) -> io::Result<()> {
    // The manifest first: segments that it does not list are never read.
    site.files.remove(manifest::NAME)?;
    site.files.remove(manifest::TEMPORARY_NAME)?;
    for (name, _) in site.files.list()? {
        if is_of_log(&name) {
            site.files.remove(&name)?;
        }
    }
    if site.is_durable() {
        site.files.sync_names()?;
    }
    Ok(())
}

/// The manifest, if it can be believed; else why not.
fn readable_manifest(site: &Site) -> io::Result<Result<Manifest, &'static str>> {
    let contents = match site.files.contents(manifest::NAME) {
        Ok(contents) => contents,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err("its manifest is missing"));
        }
        Err(error) => return Err(error),
    };
    Ok(Manifest::parse(&contents).ok_or("its manifest is damaged or of another version"))
}
