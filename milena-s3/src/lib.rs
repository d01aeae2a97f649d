//! The embedded S3 endpoint of `milena dev` and of the tests.
mod store;
