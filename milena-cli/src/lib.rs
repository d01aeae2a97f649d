//! The `milena` command.
