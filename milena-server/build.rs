//! Tells the program which source and which compiler it was made of, for `--version` and
//! `milena_build_info`.

use std::process::Command;

fn main() {
    println!(
        "cargo:rustc-env=MILENA_GIT_REVISION={}",
        said_by("git", &["rev-parse", "--short=12", "HEAD"])
    );
    #[expect(
        clippy::disallowed_methods,
        reason = "how cargo tells a build script its compiler"
    )]
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    println!(
        "cargo:rustc-env=MILENA_RUST_VERSION={}",
        said_by(&rustc, &["--version"])
    );
    // Every commit and checkout appends to this file.
    println!(
        "cargo:rerun-if-changed={}",
        said_by("git", &["rev-parse", "--git-path", "logs/HEAD"])
    );
    println!("cargo:rerun-if-changed=build.rs");
}

/// What `program` printed, or `unknown` where it cannot be asked (a source archive without git).
fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}
