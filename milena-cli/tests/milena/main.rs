//! The `milena` command as a shell runs it: the real binary, its output and its exit codes.

#![expect(clippy::unwrap_used, reason = "in a test, to panic is to fail")]

mod bench;
mod dev;
mod doctor;
mod harness;
mod sweep;
mod verbs;
