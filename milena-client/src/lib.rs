//! The typed Rust client of Milena.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use milena_client::Client;
//!
//! let client = Client::connect("http://127.0.0.1:50050")?;
//! client.put("photos", "2024/cat.jpg", "any bytes").await?;
//! let value = client.get("photos", "2024/cat.jpg").await?;
//! assert_eq!(value.as_deref(), Some(&b"any bytes"[..]));
//! client.delete("photos", "2024/cat.jpg").await?;
//! assert_eq!(client.get("photos", "2024/cat.jpg").await?, None);
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] gets, puts, deletes and flushes, by way of a router or on one node. [`RouterClient`] is how a node
//! joins a router. Both connect when first used and again after a connection broke, can be cloned at
//! little cost and shared between tasks, and give up on every call when its deadline has passed.
//!
//! [`raw`] is for the router: calls with messages that are encoded already.
//!
//! Knows nothing of placement, and checks neither bucket nor key: the server does.

mod address;
mod client;
mod connection;
mod connector;
mod error;
pub mod raw;

pub use address::{Address, InvalidAddress};
pub use client::{Ack, Backlog, Client, Found, PutOptions, RouterClient};
pub use connection::Options;
pub use error::ClientError;
