//! The Milena router: sends each key to the node that owns it.
