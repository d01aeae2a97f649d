//! What the disk store promises, tested as a whole: on files in memory that can fail and forget
//! (`memory_files.rs`), and where the operating system matters, on real ones.

mod caller;
mod caps;
mod carry;
mod courier;
mod damage;
mod descriptors;
mod dirty;
mod dirty_model;
mod examine;
mod examine_large;
mod faults;
mod fixture;
mod large;
mod large_faults;
pub(super) mod memory_files;
mod model;
mod observer;
mod planted;
mod power_loss;
mod reads;
mod real_files;
mod recovery;
mod resurrection;
mod space;
mod spares;
mod upkeep;
