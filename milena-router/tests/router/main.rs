//! The router as its callers, its nodes and its operator see it.

#![expect(clippy::unwrap_used, reason = "in a test, to panic is to fail")]

mod flush;
mod life;
mod routing;
mod stacks;
mod support;
