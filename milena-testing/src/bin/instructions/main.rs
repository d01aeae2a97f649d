//! What `scripts/instructions.sh` runs under callgrind: one operation, again and again.
//!
//! ```text
//! instructions                      each operation's name, and how many of it make a round
//! instructions OPERATION ROUNDS     sets up what the operation needs, and does so many rounds
//! ```
//!
//! What two rounds cost more than one is what the second one costs: setting up and warming up is in both. All
//! threads of this process count, and callgrind does not follow into others. So the S3 endpoint that the S3 tier
//! asks, the node that a router asks, and the client that asks either are processes of their own, which run this same
//! program.

mod ask;
mod endpoint;
mod node;
mod router;
mod served;
mod stores;

use std::io::Write as _;

use futures::future::BoxFuture;

use self::ask::Service;

/// That of a node.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The bucket of all keys.
const BUCKET: &str = "photos";

/// The size of every value, in bytes.
const VALUE_BYTES: usize = 1_024;

/// What can be counted.
struct Operation {
    name: &'static str,
    /// How many make a round: seconds under callgrind.
    round: u32,
    /// Threads of the runtime, whatever the machine has.
    threads: usize,
    /// Does so many.
    repeat: fn(u32) -> BoxFuture<'static, ()>,
}

/// On one thread.
const fn operation(
    name: &'static str,
    round: u32,
    repeat: fn(u32) -> BoxFuture<'static, ()>,
) -> Operation {
    Operation {
        name,
        round,
        threads: 1,
        repeat,
    }
}

const OPERATIONS: [Operation; 8] = [
    operation("memory-get", 20_000, |times| {
        Box::pin(stores::memory_get(times))
    }),
    operation("memory-put", 10_000, |times| {
        Box::pin(stores::memory_put(times))
    }),
    operation("disk-get", 5_000, |times| Box::pin(stores::disk_get(times))),
    Operation {
        // With more than one, whoever puts writes to the disk himself.
        threads: 2,
        ..operation("disk-put", 5_000, |times| Box::pin(stores::disk_put(times)))
    },
    operation("s3-get", 200, |times| Box::pin(stores::s3_get(times))),
    operation("s3-put", 200, |times| Box::pin(stores::s3_put(times))),
    operation("node-get", 5_000, |times| Box::pin(node::get(times))),
    operation("router-get", 5_000, |times| Box::pin(router::get(times))),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().expect("a number");
    match arguments.as_slice() {
        [] => list(),
        [endpoint::ARGUMENT] => block_on(1, endpoint::serve()),
        [node::ARGUMENT] => block_on(1, node::serve()),
        [ask::ARGUMENT, addr, service, times] => {
            let addr = addr.parse().expect("an address");
            block_on(1, ask::get(addr, Service::named(service), number(times)));
        }
        [name, rounds] => {
            let operation = OPERATIONS.iter().find(|known| known.name == *name);
            let operation = operation.expect("one of the operations that are listed");
            let times = number(rounds) * operation.round;
            block_on(operation.threads, (operation.repeat)(times));
        }
        _ => panic!("usage: instructions [OPERATION ROUNDS]"),
    }
}

fn list() {
    let mut stdout = std::io::stdout();
    for Operation { name, round, .. } in &OPERATIONS {
        writeln!(stdout, "{name} {round}").expect("somebody reads this");
    }
}

fn block_on(threads: usize, work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work);
}

/// This program in a process of its own, which callgrind does not see.
fn another(arguments: &[&str]) -> std::process::Command {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    command
}
