//! `milena delete`: removes a key.

use clap::Args;

use crate::failure::Failure;
use crate::target::{Entry, Server};

/// Remove a key; to remove what is not there succeeds
#[derive(Args)]
#[command(after_help = "\
Example:
  milena delete photos greeting.txt")]
pub(crate) struct Delete {
    #[command(flatten)]
    entry: Entry,

    #[command(flatten)]
    server: Server,
}

impl Delete {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let key = self.entry.key()?;
        let bucket = &self.entry.bucket;
        self.server
            .ask(async |client| client.delete(bucket, &key).await)
            .await
    }
}
