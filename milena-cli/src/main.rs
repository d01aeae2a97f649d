//! The binary `milena`: arguments → verb → exit code; nothing else.

mod bench;
mod delete;
mod dev;
mod doctor;
mod failure;
mod flush;
mod get;
mod output;
mod put;
mod s3_settings;
mod sweep;
mod target;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use milena_server::build_info;

use self::failure::{EXIT_CODES, Failure};

/// That of the node and the router, which `dev` runs: docs/benchmarks.md says what it saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milena, a distributed cache: memory, then local disk, then S3
#[derive(Parser)]
#[command(name = "milena", version = build_info::line(), after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Dev(dev::Dev),
    Put(put::Put),
    Get(get::Get),
    Delete(delete::Delete),
    Flush(flush::Flush),
    Doctor(Box<doctor::Doctor>),
    Sweep(sweep::Sweep),
    Bench(Box<bench::Bench>),
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _reader_has_gone = writeln!(std::io::stderr(), "milena: {failure}");
            failure.exit_code()
        }
    }
}

#[tokio::main]
async fn run(verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Dev(dev) => dev.run().await,
        Verb::Put(put) => put.run().await,
        Verb::Get(get) => get.run().await,
        Verb::Delete(delete) => delete.run().await,
        Verb::Flush(flush) => flush.run().await,
        Verb::Doctor(doctor) => doctor.run().await,
        Verb::Sweep(sweep) => sweep.run().await,
        Verb::Bench(bench) => bench.run().await,
    }
}
