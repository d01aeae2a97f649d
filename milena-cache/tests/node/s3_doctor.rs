//! What the doctor says of an S3: that all is well, or what is wrong and what to do.

use std::time::Duration;

use milena_cache::store::s3::doctor::{Finding, Verdict, examine};
use milena_cache::store::s3::{S3Config, S3Credentials};
use milena_s3::{Action, Failure, Operation, Rule, StatusCode};
use milena_server::clock::Clock;
use milena_testing::s3::TestS3;

use crate::support::Objects;

/// What every S3 in order is found to be.
const ALL: [&str; 9] = [
    "S3",
    "credentials",
    "absent objects",
    "put",
    "get",
    "latency",
    "conditional put",
    "delete",
    "clock",
];

fn config(s3: &TestS3) -> S3Config {
    S3Config {
        prefix: "p/".to_owned(),
        ..s3.config()
    }
}

fn denied(operation: Operation) -> Rule {
    Rule::on(operation, Action::Fail(Failure::access_denied()))
}

/// What is not ok, as `subject: problem; advice`. All else that an examination comes to is.
async fn troubles(config: S3Config) -> Vec<String> {
    troubles_at(config, Clock::system()).await
}

async fn troubles_at(config: S3Config, clock: Clock) -> Vec<String> {
    let findings = examine(config, clock).await;
    let told = findings
        .into_iter()
        .filter_map(|Finding { subject, verdict }| match verdict {
            Verdict::Ok(_) => None,
            Verdict::Trouble { problem, advice } => Some(format!("{subject}: {problem}; {advice}")),
            Verdict::Unknown(why) => Some(format!("{subject}: unknown: {why}")),
        });
    told.collect()
}

/// The one trouble that there is, but for what could not be looked at.
async fn trouble(config: S3Config) -> String {
    let mut troubles = troubles(config).await;
    troubles.retain(|told| !told.contains(": unknown: "));
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    troubles.remove(0)
}

#[tokio::test]
async fn an_s3_in_order_is_found_to_be_and_nothing_is_left_there() {
    let s3 = TestS3::start().await;
    let findings = examine(config(&s3), Clock::system()).await;
    let subjects: Vec<_> = findings.iter().map(|finding| finding.subject).collect();
    assert_eq!(subjects, ALL, "{findings:?}");
    for finding in &findings {
        assert!(matches!(finding.verdict, Verdict::Ok(_)), "{finding:?}");
    }
    let Verdict::Ok(name) = &findings[3].verdict else {
        panic!("it was put");
    };
    assert!(name.starts_with("p/!doctor-"), "{name}");
    assert_eq!(Objects::of(&s3.config()).get(name).await, None);
}

#[tokio::test]
async fn each_permission_that_is_missing_is_named() {
    let s3 = TestS3::start().await;
    let listing = s3.faults().inject(denied(Operation::Get).next(1));
    assert_eq!(
        trouble(config(&s3)).await,
        "absent objects: GET: refused with AccessDenied (403); \
         allow s3:ListBucket on arn:aws:s3:::milena-test, else every miss fails"
    );
    drop(listing);
    for (operation, action) in [
        (Operation::Put, "s3:PutObject"),
        (Operation::Delete, "s3:DeleteObject"),
    ] {
        let rule = s3.faults().inject(denied(operation));
        let told = trouble(config(&s3)).await;
        let expected = format!("allow {action} on arn:aws:s3:::milena-test/p/*");
        assert!(told.contains(&expected), "{told}");
        assert_eq!(rule.fired(), 1);
    }
    let _reading = s3.faults().inject(denied(Operation::Get));
    let told = troubles(config(&s3)).await.join("\n");
    let expected = "get: GET: refused with AccessDenied (403); allow s3:GetObject on";
    assert!(told.contains(expected), "{told}");
}

#[tokio::test]
async fn who_is_not_known_or_has_no_bucket_is_told_so() {
    let s3 = TestS3::start().await;
    let credentials = S3Credentials::Static {
        access_key_id: "nobody".to_owned(),
        secret_access_key: "secret".to_owned(),
    };
    let stranger = S3Config {
        credentials,
        ..config(&s3)
    };
    let told = trouble(stranger).await;
    assert!(
        told.starts_with("credentials: GET: refused with "),
        "{told}"
    );
    assert!(told.contains("renew them"), "{told}");

    let bucket = "no-such-bucket".to_owned();
    let told = trouble(S3Config {
        bucket,
        ..config(&s3)
    })
    .await;
    assert!(told.contains("create the bucket no-such-bucket"), "{told}");
}

#[tokio::test]
async fn an_s3_that_is_away_is_named() {
    let s3 = TestS3::absent();
    let config = config(&s3);
    let endpoint = config.endpoint.clone().unwrap();
    let told = troubles(config).await;
    let expected = format!(
        "S3: GET: cannot be reached; see whether {endpoint} (S3_ENDPOINT) is right and can be reached"
    );
    assert_eq!(
        told,
        [
            expected.as_str(),
            "permissions: unknown: S3 has to answer first",
            "clock: unknown: no answer says what time it is",
        ]
    );
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_by_how_much_or_that_s3_refuses_it() {
    let s3 = TestS3::start().await;
    let hour = Duration::from_secs(3_600);
    let ahead = Clock::manual(Clock::system().now().after(hour));
    let told = troubles_at(config(&s3), ahead).await;
    assert_eq!(told.len(), 1, "{told:?}");
    // The examination takes a while, during which this clock stands.
    assert!(told[0].starts_with("clock: 3"), "{told:?}");
    assert!(
        told[0].contains(" s ahead of S3's; set this machine's clock"),
        "{told:?}"
    );

    let skewed = Failure::new(StatusCode::FORBIDDEN, "RequestTimeTooSkewed");
    let _rule = s3.faults().inject(Rule::on_any(Action::Fail(skewed)));
    let told = trouble(config(&s3)).await;
    assert!(
        told.contains("RequestTimeTooSkewed (403); set this machine's clock"),
        "{told}"
    );
}

#[tokio::test]
async fn an_s3_that_knows_no_conditions_is_good_for_all_but_sweeps() {
    let s3 = TestS3::start().await;
    let unknown = Failure::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented");
    let rule = s3
        .faults()
        .inject(Rule::on(Operation::Put, Action::Fail(unknown)));
    // The first one is none, and passes.
    let passes = Action::Delay(Duration::ZERO);
    let _first = s3.faults().inject(Rule::on(Operation::Put, passes).next(1));
    let told = trouble(config(&s3)).await;
    assert!(
        told.starts_with("conditional put: PUT: refused with NotImplemented"),
        "{told}"
    );
    assert!(told.contains("SWEEP_INTERVAL on one node"), "{told}");
    assert_eq!(rule.fired(), 1);
}

#[tokio::test]
async fn an_s3_that_is_far_away_is_told_with_the_time_it_takes() {
    let s3 = TestS3::start().await;
    let far = Action::Delay(Duration::from_millis(600));
    let _rule = s3.faults().inject(Rule::on(Operation::Get, far));
    let told = trouble(config(&s3)).await;
    assert!(told.starts_with("latency: 5 gets usually took "), "{told}");
}
