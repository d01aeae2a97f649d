//! The `milena` command as a shell runs it: the real binary, its output and its exit codes.

mod dev;
mod harness;
mod verbs;
