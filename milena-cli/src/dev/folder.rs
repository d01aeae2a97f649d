//! The folder of `milena dev`: what is where in it, and who has it.
//!
//! ```text
//! DIR/milena-dev.lock   held while a `milena dev` runs there
//! DIR/node-ports        the nodes' ports, one a line
//! DIR/s3                the S3 endpoint's folder: what is durable
//! DIR/node-1 …          the nodes' disk tiers
//! ```
//!
//! Why ports are remembered: a node is known by its address, so its port decides which keys are its own.
//! With other ports a key would move to another node, and a copy left behind on the first would be served
//! again, old as it is, once the key moved back. Invariant: a disk tier is only ever used by the node, in
//! the set of nodes, that it was filled by; if that cannot be, it starts empty, for S3 has everything.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use milena_server::clock::Clock;

use super::NODES_MAX;
use crate::failure::Failure;

/// The first port that a node may get. The range ends below those that systems give to outgoing
/// connections and below those of Kubernetes, so a port that was free is still free at the next start.
const NODE_PORT_FIRST: u16 = 20_000;

/// How many ports follow it.
const NODE_PORT_COUNT: u16 = 10_000;

/// A folder that no other `milena dev` uses.
pub(super) struct Folder {
    path: PathBuf,
    /// The file's end unlocks it.
    _lock: File,
}

impl Folder {
    /// Opens the folder at `path`, made if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let unusable =
            |error: io::Error| Failure::io(format!("{} cannot be used: {error}", path.display()));
        fs::create_dir_all(path).map_err(unusable)?;
        let path = path.canonicalize().map_err(unusable)?;
        let lock = File::create(path.join("milena-dev.lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Failure::io(format!(
                "{} is in use by another `milena dev`; stop that one, or choose another folder with --dir",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the S3 endpoint keeps its objects.
    pub(super) fn s3(&self) -> PathBuf {
        self.path.join("s3")
    }

    /// Where the disk tier of the node with this number, from 1, is.
    pub(super) fn node(&self, number: usize) -> PathBuf {
        self.path.join(format!("node-{number}"))
    }

    /// The ports of `nodes` nodes: those of the last time, where that was with as many nodes and they are
    /// still free. Otherwise new ones, and the disk tiers are emptied.
    pub(super) fn node_ports(&self, nodes: usize, clock: &Clock) -> Result<Vec<u16>, Failure> {
        let remembered = self.remembered_ports();
        if remembered.len() == nodes && remembered.iter().all(|port| is_free(*port)) {
            return Ok(remembered);
        }
        self.renew_ports(nodes, clock).map_err(|error| {
            Failure::io(format!("{} cannot be used: {error}", self.path.display()))
        })
    }

    fn renew_ports(&self, nodes: usize, clock: &Clock) -> io::Result<Vec<u16>> {
        for number in 1..=NODES_MAX.into() {
            match fs::remove_dir_all(self.node(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let ports = free_ports(nodes, clock);
        if ports.len() < nodes {
            return Err(io::Error::other("no ports are free for the nodes"));
        }
        let lines: String = ports.iter().map(|port| format!("{port}\n")).collect();
        fs::write(self.ports_file(), lines)?;
        Ok(ports)
    }

    /// What the file says; nothing where it is missing or damaged.
    fn remembered_ports(&self) -> Vec<u16> {
        let lines = fs::read_to_string(self.ports_file()).unwrap_or_default();
        let ports: Option<_> = lines.lines().map(|line| line.parse().ok()).collect();
        ports.unwrap_or_default()
    }

    fn ports_file(&self) -> PathBuf {
        self.path.join("node-ports")
    }
}

/// Up to `count` free ports, searched from a random one on, so that two that start at once do not choose
/// the same.
fn free_ports(count: usize, clock: &Clock) -> Vec<u16> {
    let all = u64::from(NODE_PORT_COUNT);
    let start = clock.random_u64() % all;
    (0..all)
        .filter_map(|step| u16::try_from((start + step) % all).ok())
        .map(|offset| NODE_PORT_FIRST + offset)
        .filter(|port| is_free(*port))
        .take(count)
        .collect()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        folder: Folder,
        clock: Clock,
        _temporary: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let temporary = tempfile::tempdir().unwrap();
        Fixture {
            folder: Folder::open(&temporary.path().join("new/dev")).unwrap(),
            clock: Clock::system(),
            _temporary: temporary,
        }
    }

    impl Fixture {
        fn ports(&self, nodes: usize) -> Vec<u16> {
            self.folder.node_ports(nodes, &self.clock).unwrap()
        }

        fn fill_node(&self, number: usize) {
            fs::create_dir(self.folder.node(number)).unwrap();
        }

        fn node_is_filled(&self, number: usize) -> bool {
            self.folder.node(number).exists()
        }
    }

    #[test]
    fn ports_stay_and_disk_tiers_with_them() {
        let dev = fixture();
        let ports = dev.ports(3);
        dev.fill_node(3);
        assert_eq!(dev.ports(3), ports);
        assert!(dev.node_is_filled(3));
    }

    #[test]
    fn another_number_of_nodes_empties_every_disk_tier() {
        let dev = fixture();
        dev.ports(3);
        dev.fill_node(1);
        dev.fill_node(3);
        assert_eq!(dev.ports(2).len(), 2);
        assert!(!dev.node_is_filled(1) && !dev.node_is_filled(3));
    }

    #[test]
    fn a_port_that_somebody_took_is_replaced_and_the_disk_tiers_are_emptied() {
        let dev = fixture();
        let ports = dev.ports(1);
        dev.fill_node(1);
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports[0])).unwrap();
        assert_ne!(dev.ports(1), ports);
        assert!(!dev.node_is_filled(1));
    }

    #[test]
    fn a_damaged_list_of_ports_is_written_anew() {
        let dev = fixture();
        for damaged in ["", "a port\n", "66000\n"] {
            fs::write(dev.folder.ports_file(), damaged).unwrap();
            dev.fill_node(1);
            let ports = dev.ports(1);
            assert!(!dev.node_is_filled(1), "{damaged:?}");
            assert_eq!(dev.ports(1), ports, "{damaged:?}");
        }
    }

    #[test]
    fn a_folder_is_used_by_one_at_a_time() {
        let dev = fixture();
        let path = dev.folder.path().to_owned();
        let refused = Folder::open(&path).err().unwrap().to_string();
        assert!(
            refused.contains("is in use by another `milena dev`"),
            "{refused}"
        );
        drop(dev.folder);
        Folder::open(&path).unwrap();
    }
}
