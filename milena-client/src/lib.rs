//! The typed Rust client of Milena.
