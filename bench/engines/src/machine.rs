//! What the operating system says of processes, files and the machine.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

/// What a process has written so far.
#[derive(Clone, Copy)]
pub struct Written {
    /// To files, pipes and so on, as it asked the system to.
    pub asked: u64,
    /// Pages that it made dirty, so that the medium gets them, if they are not deleted before. A page that is
    /// changed again before it was written out counts once.
    pub dirtied: u64,
}

/// What this process has written so far.
pub fn written() -> Written {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    Written {
        asked: number_after(&io, "\nwchar:"),
        dirtied: number_after(&io, "\nwrite_bytes:"),
    }
}

impl Written {
    /// How much more it is than `earlier` for each of these bytes, as figures.
    pub fn per_byte(self, earlier: Self, user_bytes: f64) -> [(&'static str, f64); 2] {
        let since = |now: u64, earlier: u64| (now - earlier) as f64 / user_bytes;
        [
            ("asked_per_byte", since(self.asked, earlier.asked)),
            ("dirtied_per_byte", since(self.dirtied, earlier.dirtied)),
        ]
    }
}

/// What this process has had to fetch from the medium.
pub fn fetched_bytes() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    number_after(&io, "\nread_bytes:")
}

/// The processor time that all threads of this process have used, in seconds.
pub fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, in parentheses, is the only one that may contain spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let user_and_system = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = user_and_system
        .filter_map(|it| it.parse::<u64>().ok())
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// The memory of this process that is not of files, in bytes.
pub fn memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    number_after(&status, "\nRssAnon:") * 1_024
}

/// The most memory that this process has had, of files too.
pub fn memory_peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    number_after(&status, "\nVmHWM:") * 1_024
}

fn number_after(text: &str, name: &str) -> u64 {
    let rest = text.split(name).nth(1).unwrap_or_default();
    let digits = rest.split_whitespace().next().unwrap_or_default();
    digits.parse().unwrap_or_default()
}

/// What files take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Their lengths together.
    pub bytes: u64,
    /// The blocks that the file system gave them.
    pub allocated: u64,
}

/// What the files under `dir` took at one moment; `None` if the set of them changed while they were looked at,
/// so that a file and its successor may both have been counted.
pub fn usage_at_one_moment(dir: &Path) -> Option<Usage> {
    let before = files(dir).ok()?;
    let after = files(dir).ok()?;
    let same = |a: &Found, b: &Found| a.inode == b.inode && a.path == b.path;
    let unchanged =
        before.len() == after.len() && before.iter().zip(&after).all(|(a, b)| same(a, b));
    unchanged.then(|| sum(&before))
}

/// What the files under `dir` take; to be asked while nobody writes them.
pub fn usage(dir: &Path) -> Usage {
    files(dir).map(|found| sum(&found)).unwrap_or_default()
}

/// The blocks of files that process `pid` has deleted but not closed.
pub fn deleted_but_open_bytes(pid: u32) -> u64 {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return 0;
    };
    let open = descriptors
        .flatten()
        .filter_map(|it| fs::metadata(it.path()).ok());
    let deleted = open.filter(|file| file.is_file() && file.nlink() == 0);
    deleted.map(|file| file.blocks() * 512).sum()
}

struct Found {
    path: PathBuf,
    inode: u64,
    usage: Usage,
}

fn sum(found: &[Found]) -> Usage {
    Usage {
        bytes: found.iter().map(|file| file.usage.bytes).sum(),
        allocated: found.iter().map(|file| file.usage.allocated).sum(),
    }
}

fn files(dir: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                dirs.push(entry.path());
                continue;
            }
            found.push(Found {
                path: entry.path(),
                inode: metadata.ino(),
                usage: Usage {
                    bytes: metadata.len(),
                    allocated: metadata.blocks() * 512,
                },
            });
        }
    }
    Ok(found)
}

/// Reads every file under `dir` once.
pub fn warm(dir: &Path) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    for found in files(dir)? {
        let mut file = File::open(found.path)?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(())
}

/// Drops every file under `dir` from the page cache.
pub fn cool(dir: &Path) -> io::Result<()> {
    rustix::fs::sync();
    for found in files(dir)? {
        fadvise(File::open(found.path)?, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Writes out what is dirty, so that one run does not pay for the one before it.
pub fn sync() {
    rustix::fs::sync();
}

/// Writes out what is dirty in the file system that `dir` is on.
pub fn sync_file_system(dir: &Path) {
    if let Ok(dir) = File::open(dir) {
        // What cannot be synced now is synced the next time.
        let _ = rustix::fs::syncfs(dir);
    }
}

/// The machine, in one line.
pub fn description(dir: &Path) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model
        .unwrap_or_default()
        .trim_start_matches(['\t', ' ', ':']);
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_gib = number_after(&memory, "MemTotal:") as f64 / f64::from(1 << 20);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = file_system(dir);
    format!(
        "{cores} cores of {model}, {memory_gib:.0} GiB of memory, Linux {}, {system}",
        kernel.trim()
    )
}

/// The type of the file system that `dir` is on.
fn file_system(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let on = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_, at, system) = (words.next()?, words.next()?, words.next()?);
        dir.starts_with(at).then_some((at.len(), system))
    });
    on.max().map_or("?", |(_, system)| system).to_owned()
}
