//! The binary `milena-cache`: arguments → [`Config`] → [`Node::run`]; nothing else.

use std::process::ExitCode;

use milena_cache::Node;
use milena_cache::config::{Config, SETTINGS};
use milena_server::program::Program;

/// docs/benchmarks.md says what it saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(test)]
mod tests;

fn main() -> ExitCode {
    let program = Program {
        name: "milena-cache",
        about: "A cache node of Milena: hot keys in memory, warm keys on local disk, everything in S3",
        settings: &SETTINGS,
    };
    program.main(Config::read, Node::run)
}
