//! What a node needs of S3, tried once: that it can be reached, who we are to it, what we may do under the prefix,
//! its clock, its latency.
//!
//! Writes one small object, whose name no entry can have, and deletes it. Every request is made once and not again:
//! what is seen is what is told. Knows no terminal: whoever asks shows the findings.

use std::time::Duration;

use aws_sdk_s3::Client;
use milena_server::clock::Clock;

use self::requests::If;
use super::dates::{Dates, Skew};
use super::failure::{Failure, Reason};
use super::observer::Outcome;
use super::{S3Config, S3Store};
use crate::error::Error;

mod requests;

/// The object that is written begins so; random digits follow, so that two doctors do not disturb each other.
/// No bucket's name begins so, so no entry is there.
const DOCTOR_NAME: &str = "!doctor-";

/// What it holds.
const CONTENT: &[u8] = b"milena doctor\n";

/// Gets by which the latency is judged.
const GETS: usize = 5;

/// A get usually takes less, also from another continent; in the bucket's region a twentieth of it.
const LATENCY_MAX: Duration = Duration::from_millis(500);

/// A clock that is kept by NTP is never so far off. S3 refuses from 15 minutes on.
const SKEW_MAX: Duration = Duration::from_secs(30);

/// What to do about a clock.
const CLOCK_ADVICE: &str = "set this machine's clock, and keep it by NTP: S3 refuses who is off by 15 minutes, and \
                            entries end their life by it";

/// S3's codes for not knowing who we are.
const IDENTITY_CODES: [&str; 6] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidSecurity",
];

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub subject: &'static str,
    /// How it is.
    pub verdict: Verdict,
}

/// How something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok(String),
    /// Not as it should be.
    Trouble {
        /// What was seen.
        problem: String,
        /// What to do about it.
        advice: String,
    },
    /// It could not be looked at.
    Unknown(String),
}

/// An examination under way.
struct Doctor {
    store: S3Store,
    /// The store's client, with `dates` listening.
    client: Client,
    dates: Dates,
    /// The object that is written.
    name: String,
    findings: Vec<Finding>,
}

/// Examines the S3 of `config`, in about a dozen requests; one takes half of its timeout at most.
pub async fn examine(config: S3Config, clock: Clock) -> Vec<Finding> {
    let dates = Dates::new(clock.clone());
    let name = config.own_object(&format!("{DOCTOR_NAME}{:016x}", clock.random_u64()));
    let store = S3Store::new(config, clock).await;
    let listening = store.client.config().to_builder();
    let mut doctor = Doctor {
        client: Client::from_conf(listening.interceptor(dates.clone()).build()),
        store,
        dates,
        name,
        findings: Vec::new(),
    };
    doctor.examine().await;
    doctor.findings
}

impl Doctor {
    async fn examine(&mut self) {
        if !self.reach().await {
            self.skip("permissions", "S3 has to answer first");
        } else if let Some(version) = self.put().await {
            self.get().await;
            self.put_if(&version).await;
            self.delete().await;
        } else {
            self.skip("get, conditional put, delete", "there is no object");
        }
        self.clock();
    }

    /// Whether S3 answers, and knows us. Asks for an object that is not there.
    async fn reach(&mut self) -> bool {
        let bucket = self.store.config.bucket.clone();
        let answer = self.send_get().await;
        if let Err(failure) = &answer
            && let Some((subject, advice)) = self.why_out_of_reach(failure)
        {
            self.trouble(subject, problem(failure), advice);
            return false;
        }
        let config = &self.store.config;
        let place = match &config.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("AWS, {}", config.region),
        };
        self.ok("S3", format!("bucket {bucket} at {place} answers"));
        self.ok("credentials", "S3 knows them");
        match answer {
            Ok(_) => self.ok("absent objects", "told from refusals"),
            Err(failure) => {
                let action =
                    format!("s3:ListBucket on arn:aws:s3:::{bucket}, else every miss fails");
                self.failed("absent objects", &failure, &action);
            }
        }
        true
    }

    /// Why nothing can be found out of S3 that answered so, and what to do; `None`: something can.
    fn why_out_of_reach(&self, failure: &Failure) -> Option<(&'static str, String)> {
        let S3Config {
            bucket, endpoint, ..
        } = &self.store.config;
        let Some(code) = failure.code() else {
            if matches!(failure.reason, Some(Reason::NoCredentials(_))) {
                let advice = "set one of these sources up; a node reads the same ones";
                return Some(("credentials", advice.to_owned()));
            }
            let advice = match endpoint {
                Some(endpoint) => {
                    format!("see whether {endpoint} (S3_ENDPOINT) is right and can be reached")
                }
                None => "see whether this machine reaches AWS, and AWS_REGION is right".to_owned(),
            };
            return Some(("S3", advice));
        };
        let advice = match code {
            "NoSuchBucket" => format!("create the bucket {bucket}, or set S3_BUCKET to another"),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" => {
                "set AWS_REGION to the region of the bucket".to_owned()
            }
            "RequestTimeTooSkewed" => return Some(("clock", CLOCK_ADVICE.to_owned())),
            _ if IDENTITY_CODES.contains(&code) => {
                let advice =
                    "S3 does not know these, or not any more: renew them where they come from";
                return Some(("credentials", advice.to_owned()));
            }
            _ if failure.outcome.is_outage() || failure.outcome == Outcome::SlowDown => {
                "try again in a moment".to_owned()
            }
            _ => return None,
        };
        Some(("S3", advice))
    }

    /// Writes the object; gives its version.
    async fn put(&mut self) -> Option<String> {
        match self.send_put(If::Nothing).await {
            Ok(stored) => {
                self.ok("put", self.name.clone());
                Some(stored.e_tag.unwrap_or_default())
            }
            Err(failure) => {
                self.failed("put", &failure, &self.action("s3:PutObject"));
                if failure.may_apply {
                    // It may be there all the same.
                    let _ = self.send_delete().await;
                }
                None
            }
        }
    }

    async fn get(&mut self) {
        let clock = self.store.clock.clone();
        let mut took = Vec::new();
        for _ in 0..GETS {
            let begun = clock.monotonic();
            match self.read().await {
                Ok(content) if content == CONTENT => took.push(clock.monotonic() - begun),
                Ok(content) => {
                    let seen = format!("{} bytes were put, and others came", content.len());
                    let advice = "this is no S3, or something on the way changes what it sends";
                    return self.trouble("get", seen, advice.to_owned());
                }
                Err(failure) => {
                    return self.failed("get", &failure, &self.action("s3:GetObject"));
                }
            }
        }
        self.ok("get", "what was put");
        took.sort();
        let (usual, worst) = (took[GETS / 2], took[GETS - 1]);
        let seen = format!("{GETS} gets usually took {usual:.1?}, at most {worst:.1?}");
        if usual <= LATENCY_MAX {
            self.ok("latency", seen);
        } else {
            let advice = "every miss takes as long: use a bucket in the region of the nodes";
            self.trouble("latency", seen, advice.to_owned());
        }
    }

    /// Puts that are made only if the object is absent, or is the one that was put.
    async fn put_if(&mut self, version: &str) {
        let subject = "conditional put";
        let advice = "only sweeps need it: set SWEEP_INTERVAL on one node at most";
        let refused = match self.send_put(If::Absent).await {
            Err(failure) if failure.outcome == Outcome::Conflict => {
                self.send_put(If::Is(version)).await.map(drop)
            }
            Err(failure) => Err(failure),
            Ok(_) => {
                let seen = "If-None-Match of a PUT is not minded";
                return self.trouble(subject, seen.to_owned(), advice.to_owned());
            }
        };
        match refused {
            Ok(()) => self.ok(subject, "minded"),
            Err(failure) => self.trouble(subject, problem(&failure), advice.to_owned()),
        }
    }

    async fn delete(&mut self) {
        match self.send_delete().await {
            Ok(()) => self.ok("delete", self.name.clone()),
            Err(failure) => {
                let action = self.action("s3:DeleteObject");
                self.failed(
                    "delete",
                    &failure,
                    &format!("{action}; {} is left", self.name),
                );
            }
        }
    }

    fn clock(&mut self) {
        let Some(Skew { ours, theirs }) = self.dates.skew() else {
            return self.skip("clock", "no answer says what time it is");
        };
        let (ahead, behind) = (ours.since(theirs), theirs.since(ours));
        let off = ahead.max(behind).as_secs();
        let seen = format!(
            "{off} s {} S3's",
            if ahead > behind { "ahead of" } else { "behind" }
        );
        if Duration::from_secs(off) > SKEW_MAX {
            self.trouble("clock", seen, CLOCK_ADVICE.to_owned());
        } else {
            self.ok("clock", seen);
        }
    }

    /// What has to be allowed.
    fn action(&self, action: &str) -> String {
        let S3Config { bucket, prefix, .. } = &self.store.config;
        format!("{action} on arn:aws:s3:::{bucket}/{prefix}*")
    }

    fn ok(&mut self, subject: &'static str, seen: impl Into<String>) {
        let verdict = Verdict::Ok(seen.into());
        self.findings.push(Finding { subject, verdict });
    }

    fn trouble(&mut self, subject: &'static str, problem: String, advice: String) {
        let verdict = Verdict::Trouble { problem, advice };
        self.findings.push(Finding { subject, verdict });
    }

    fn skip(&mut self, subject: &'static str, why: &str) {
        let verdict = Verdict::Unknown(why.to_owned());
        self.findings.push(Finding { subject, verdict });
    }

    /// A request failed for which `action` has to be allowed.
    fn failed(&mut self, subject: &'static str, failure: &Failure, action: &str) {
        let advice = match failure.code() {
            Some("AccessDenied") => format!("allow {action}"),
            Some(code) => format!("see what {code} means in the documentation of this S3"),
            None => "try again; see what lies between this machine and S3".to_owned(),
        };
        self.trouble(subject, problem(failure), advice);
    }
}

/// What was seen of a request that failed.
fn problem(failure: &Failure) -> String {
    let Error::S3Error(cause) = &failure.error else {
        return failure.error.to_string();
    };
    match &failure.reason {
        Some(Reason::NoCredentials(tried)) => format!("there are none: {tried}"),
        _ => cause.to_string(),
    }
}
