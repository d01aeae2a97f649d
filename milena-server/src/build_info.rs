//! Which source and which compiler this program was made of.

/// The crate version, as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The git revision it was built from; `unknown` outside a checkout.
pub const GIT_REVISION: &str = env!("MILENA_GIT_REVISION");

/// The compiler, as `rustc --version` says it.
pub const RUST_VERSION: &str = env!("MILENA_RUST_VERSION");

/// The three on one line, as `--version` prints them after the program's name.
#[must_use]
pub fn line() -> String {
    format!("{VERSION} (git {GIT_REVISION}, {RUST_VERSION})")
}
