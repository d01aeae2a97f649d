//! The endpoint as an S3 client sees it: the AWS SDK against a running server, on both storages.

mod auth;
mod conditions;
mod faults;
mod fixture;
mod lifecycle;
mod listing;
mod multipart;
mod objects;
