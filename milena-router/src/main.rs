//! The router's program: settings → `Config` → `Router::run`, nothing else.

use std::process::ExitCode;

use milena_router::Router;
use milena_router::config::{Config, SETTINGS};
use milena_server::program::Program;

/// docs/benchmarks.md says what it saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let program = Program {
        name: "milena-router",
        about: "The Milena router: sends each key to the cache node that owns it",
        settings: &SETTINGS,
    };
    program.main(Config::check, Router::run)
}
