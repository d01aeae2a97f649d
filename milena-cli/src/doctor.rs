//! `milena doctor`: looks at what a node needs, its disk tier or its S3, and says what to do.

mod disk;
mod s3;

use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;
use crate::s3_settings::S3Settings;

/// Check the disk tier of a node that is stopped, or the S3 that a node is to use
#[derive(Args)]
#[group(id = "what", required = true, multiple = false, args = ["disk", "s3"])]
#[command(after_help = "\
Examples:
  milena doctor --disk /var/lib/milena
  AWS_REGION=eu-central-1 S3_BUCKET=my-cache milena doctor --s3

--disk reads every record and verifies every value, also the large ones that have files of their
own; changes nothing. One line for each segment, and one for each finding, with the file and the
byte where it is. A line that begins with `note` says what a crash or somebody else left, which costs
nothing that was acknowledged or that a node keeps.

--s3 takes the node's own settings and credentials, writes, reads and deletes one small object under
the prefix, and says in a line each what is ok, or what to do: credentials, permissions, clock, latency.

Exits with 0 when all is well and with 1 when something is damaged or in trouble.")]
pub(crate) struct Doctor {
    /// The store's directory: the node's DISK_PATH, or DIR/node-1 of `milena dev`
    #[arg(long, value_name = "PATH")]
    disk: Option<PathBuf>,

    /// Check S3, with the node's settings and credentials
    #[arg(long)]
    s3: bool,

    #[command(flatten)]
    s3_settings: S3Settings,
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.disk {
            Some(directory) => disk::run(&directory),
            None => s3::run(self.s3_settings).await,
        }
    }
}
