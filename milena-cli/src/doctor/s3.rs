//! `milena doctor --s3`: whether a node with these settings would get along with S3.
//!
//! What is looked at is decided by the S3 tier itself (`milena_cache::store::s3::doctor`); here it is put into lines.

use milena_cache::store::s3::doctor::{Finding, Verdict, examine};
use milena_server::clock::Clock;

use crate::failure::Failure;
use crate::output::print;
use crate::s3_settings::S3Settings;

/// Looks at the S3 that `settings` name.
pub(super) async fn run(settings: S3Settings) -> Result<(), Failure> {
    let findings = examine(settings.read()?, Clock::system()).await;
    print(&findings.iter().map(line).collect::<String>())?;
    let is_trouble = |finding: &&Finding| matches!(finding.verdict, Verdict::Trouble { .. });
    match findings.iter().filter(is_trouble).count() {
        0 => Ok(()),
        1 => Err(Failure::damage("S3: trouble in one point")),
        points => Err(Failure::damage(format!("S3: trouble in {points} points"))),
    }
}

fn line(finding: &Finding) -> String {
    let subject = finding.subject;
    match &finding.verdict {
        Verdict::Ok(seen) => format!("ok: {subject}: {seen}\n"),
        Verdict::Trouble { problem, advice } => {
            format!("trouble: {subject}: {problem}; {advice}\n")
        }
        Verdict::Unknown(why) => format!("not looked at: {subject}: {why}\n"),
    }
}
