//! What the disk store promises, tested as a whole: on files in memory that can fail and forget
//! (`memory_files.rs`), and where the operating system matters, on real ones.

mod caps;
mod carry;
mod damage;
mod descriptors;
mod examine;
mod faults;
mod fixture;
pub(super) mod memory_files;
mod model;
mod observer;
mod planted;
mod reads;
mod real_files;
mod recovery;
mod resurrection;
mod space;
mod spares;
