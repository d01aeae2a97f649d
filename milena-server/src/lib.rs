//! What every Milena server process shares, so that node and router behave alike to an operator:
//! the clock, the settings table, logging, the HTTP endpoint for metrics and health, the rate limit
//! and the signals.
//!
//! Knows nothing of keys, stores or the wire.

pub mod clock;
