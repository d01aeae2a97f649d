//! The fault table: for each thing that S3 does wrong, and for get, put and delete, what the caller sees, how
//! often S3 was asked, and what each tier holds afterwards. Each call has to end in its time, and each fault
//! has to have fired.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use milena_client::ClientError;
use milena_s3::{Action, Failure, FaultHandle, Operation, StatusCode};
use milena_testing::black_hole::BlackHole;
use milena_testing::eventually;

use crate::support::{BUCKET, Bench, object_of, unavailable, value};

/// `S3_TIMEOUT` where something hangs: a call that waits for it is over soon.
const SHORT: Duration = Duration::from_secs(1);

/// `S3_TIMEOUT` where nothing does.
const LONG: Duration = Duration::from_secs(20);

/// Beyond its time-out a call may take this long on a busy machine; what hangs takes longer.
const ALLOWANCE: Duration = Duration::from_secs(20);

/// What a body holds that has to take a while.
const BODY_BYTES: usize = 300_000;

/// What becomes of one operation that meets the fault.
struct Row {
    /// A part of the message of UNAVAILABLE, or several of which there is one; `None`: the operation succeeds.
    says: Option<&'static str>,
    /// Requests that met the fault.
    attempts: RangeInclusive<u64>,
    /// Whether S3 has done it afterwards; for a get: whether it found the object.
    is_done: bool,
}

/// Unavailable after one attempt, and not done.
fn once(says: &'static str) -> Row {
    Row {
        says: Some(says),
        attempts: 1..=1,
        is_done: false,
    }
}

/// Unavailable after all three attempts, and not done.
fn thrice(says: &'static str) -> Row {
    Row {
        attempts: 3..=3,
        ..once(says)
    }
}

/// Unavailable after as many attempts as the time allows, and not done.
fn hanging(says: &'static str) -> Row {
    Row {
        attempts: 1..=3,
        ..once(says)
    }
}

/// Unavailable after one attempt, and done all the same.
fn unknown(says: &'static str) -> Row {
    Row {
        is_done: true,
        ..once(says)
    }
}

/// Done.
fn done() -> Row {
    Row {
        says: None,
        attempts: 1..=1,
        is_done: true,
    }
}

/// A node, an S3 and the fault.
struct Case {
    bench: Bench,
    action: Action,
    /// Requests that meet the fault, at most.
    requests_max: u64,
}

impl Case {
    async fn new(timeout: Duration, action: Action) -> Self {
        let bench = Bench::start_with(|setup| setup.config.s3.timeout = timeout).await;
        Self {
            bench,
            action,
            requests_max: u64::MAX,
        }
    }

    fn inject(&self, operation: Operation, key: &str) -> FaultHandle {
        let action = self.action.clone();
        self.bench
            .s3
            .inject_next(self.requests_max, operation, &object_of(key), action)
    }

    async fn in_s3(&self, key: &str) -> Option<Bytes> {
        self.bench.objects().get(&object_of(key)).await
    }

    /// Copies of all keys, in memory and on disk.
    async fn copies(&self) -> [u64; 2] {
        let node = &self.bench.node;
        [
            node.metric("milena_tier_entries{tier=\"memory\"}").await,
            node.metric("milena_tier_entries{tier=\"disk\"}").await,
        ]
    }

    /// What the next get gives, once S3 is well.
    async fn assert_next_get(&self, key: &str, expected: Option<Bytes>) {
        let is_answered = async || self.bench.get(key).await.is_ok();
        eventually("S3 is asked again", is_answered).await;
        assert_eq!(self.bench.get(key).await.unwrap(), expected);
    }

    async fn get(&self, row: Row) {
        let whole = Bytes::from(vec![7; BODY_BYTES]);
        // By the node itself, so that there is a checksum; but it is to hold no copy.
        self.bench
            .node
            .client
            .put(BUCKET, "get", whole.clone())
            .await
            .unwrap();
        let copied = self.bench.objects().head(&object_of("get")).await;
        self.bench.delete("get").await.unwrap();
        let metadata = copied.metadata().cloned().unwrap_or_default();
        let crc32c = metadata["milena-crc32c"].clone();
        let metadata = [("milena-crc32c", crc32c)];
        let (objects, object) = (self.bench.objects(), object_of("get"));
        objects
            .put_with_metadata(&object, whole.clone(), metadata)
            .await;
        let before = self.copies().await;

        let fault = self.inject(Operation::Get, "get");
        let got = in_time(self.bench.get("get")).await;
        check_attempts("get", &fault, &row);
        let (gives, copies) = match row.says {
            Some(says) => {
                assert_said("get", got, says);
                (None, before)
            }
            None => {
                let found = row.is_done.then(|| whole.clone());
                assert!(got.unwrap() == found, "get: another value");
                let copies = u64::from(row.is_done);
                (found, before.map(|count| count + copies))
            }
        };
        assert_eq!(self.copies().await, copies, "get: copies");
        drop((fault, gives));
        self.assert_next_get("get", Some(whole)).await;
    }

    async fn put(&self, row: Row) {
        let before = self.copies().await;
        self.bench.put("put", "old").await.unwrap();
        let fault = self.inject(Operation::Put, "put");
        let put = in_time(self.bench.put("put", "new")).await;
        check_attempts("put", &fault, &row);
        let held = if let Some(says) = row.says {
            assert_said("put", put, says);
            0
        } else {
            put.unwrap();
            1
        };
        let copies = self.copies().await;
        assert_eq!(copies, before.map(|count| count + held), "put: copies");
        let expected = value(if row.is_done { "new" } else { "old" });
        assert_eq!(self.in_s3("put").await, expected, "put: S3");
        drop(fault);
        self.assert_next_get("put", expected).await;
    }

    async fn delete(&self, row: Row) {
        let before = self.copies().await;
        self.bench.put("delete", "old").await.unwrap();
        let fault = self.inject(Operation::Delete, "delete");
        let deleted = in_time(self.bench.delete("delete")).await;
        check_attempts("delete", &fault, &row);
        match row.says {
            Some(says) => assert_said("delete", deleted, says),
            None => deleted.unwrap(),
        }
        assert_eq!(self.copies().await, before, "delete: copies");
        let expected = if row.is_done { None } else { value("old") };
        assert_eq!(self.in_s3("delete").await, expected, "delete: S3");
        drop(fault);
        self.assert_next_get("delete", expected).await;
    }

    async fn all(&self, [get, put, delete]: [Row; 3]) {
        self.get(get).await;
        self.put(put).await;
        self.delete(delete).await;
    }
}

/// Fails if the call does not end.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(LONG + ALLOWANCE, call).await;
    ended.expect("the call ends")
}

#[track_caller]
fn check_attempts(operation: &str, fault: &FaultHandle, row: &Row) {
    let fired = fault.fired();
    let expected = &row.attempts;
    assert!(
        expected.contains(&fired),
        "{operation}: {fired} attempts, not {expected:?}"
    );
}

#[track_caller]
fn assert_said<T: std::fmt::Debug>(operation: &str, answer: Result<T, ClientError>, says: &str) {
    let said = unavailable(answer);
    let is_said = says.split('|').any(|part| said.contains(part));
    assert!(is_said, "{operation}: {said}");
}

/// One test for each fault: its name, `S3_TIMEOUT`, the fault, and what becomes of get, put and delete.
macro_rules! faults {
    ($($name:ident: $timeout:expr, $action:expr => $get:expr, $put:expr, $delete:expr;)*) => {
        $(#[tokio::test]
        async fn $name() {
            Case::new($timeout, $action).await.all([$get, $put, $delete]).await;
        })*
    };
}

/// In time, or within the caller's deadline: the two end in the same moment.
const LATE: &str = "no answer ";
/// The last attempt may be cut off before that is found out.
const STALLS: &str = "the body stalls|no answer ";
const BROKE: &str = "the connection broke";
const BODY_BROKE: &str = "the body broke off";

fn fail(status: StatusCode, code: &str) -> Action {
    Action::Fail(Failure::new(status, code))
}

/// A refusal that S3 would repeat is not tried again.
macro_rules! refusals {
    ($($name:ident: $status:ident, $code:literal;)*) => {
        faults! {
            $($name: LONG, fail(StatusCode::$status, $code) => once($code), once($code), once($code);)*
        }
    };
}

faults! {
    accepted_and_never_answered: SHORT, Action::Stall => hanging(LATE), once(LATE), once(LATE);
    answered_but_the_answer_does_not_come: SHORT, Action::HoldAnswer
        => hanging(LATE), unknown(LATE), unknown(LATE);
    a_body_that_stalls: SHORT, Action::StallBody { after_bytes: 1_000 }
        => hanging(STALLS), unknown(LATE), unknown(LATE);
    a_body_that_trickles: SHORT, Action::Trickle { bytes: 10, every: Duration::from_millis(1) }
        => hanging(STALLS), done(), done();
    a_body_that_is_cut_off: LONG, Action::Truncate { after_bytes: 1_000 }
        => thrice(BODY_BROKE), unknown(BROKE), unknown(BROKE);
    a_body_that_is_reset: LONG, Action::ResetBody { after_bytes: 1_000 }
        => thrice(BODY_BROKE), unknown(BROKE), unknown(BROKE);
    a_body_of_another_checksum: LONG, Action::Damage => thrice("checksum"), done(), done();
    garbage_instead_of_http: LONG, Action::Garbage => thrice(BROKE), once(BROKE), once(BROKE);
    closed_before_anything_is_done: LONG, Action::Reset => thrice(BROKE), once(BROKE), once(BROKE);
    closed_before_the_answer: LONG, Action::ApplyThenReset
        => thrice(BROKE), unknown(BROKE), unknown(BROKE);
    an_internal_error: LONG, Action::Fail(Failure::internal_error())
        => thrice("InternalError (500)"), thrice("InternalError (500)"), thrice("InternalError (500)");
    a_page_of_a_gateway: LONG, Action::Fail(Failure::bad_gateway())
        => thrice("status 502"), once("status 502"), once("status 502");
    slow_down: LONG, Action::Fail(Failure::slow_down())
        => thrice("SlowDown (503)"), thrice("SlowDown (503)"), thrice("SlowDown (503)");
    slow_down_for_an_hour: LONG, Action::Fail(Failure::slow_down().retry_after(Duration::from_secs(3_600)))
        => once("SlowDown (503)"), once("SlowDown (503)"), once("SlowDown (503)");
    no_such_key: LONG, fail(StatusCode::NOT_FOUND, "NoSuchKey")
        => Row { is_done: false, ..done() }, once("NoSuchKey"), Row { is_done: false, ..done() };
    ten_times_the_latency: LONG, Action::Delay(Duration::from_millis(100)) => done(), done(), done();
    a_connection_that_is_closed_when_it_is_idle: LONG, Action::CloseAfterAnswer => done(), done(), done();
}

refusals! {
    a_clock_that_is_wrong: FORBIDDEN, "RequestTimeTooSkewed";
    credentials_that_have_expired: BAD_REQUEST, "ExpiredToken";
    permissions_that_are_missing: FORBIDDEN, "AccessDenied";
    a_bucket_in_another_region: MOVED_PERMANENTLY, "PermanentRedirect";
    a_bucket_that_is_not_there: NOT_FOUND, "NoSuchBucket";
    a_checksum_that_s3_finds_wrong: BAD_REQUEST, "BadDigest";
    a_conflict: CONFLICT, "OperationAborted";
    a_condition_that_does_not_hold: PRECONDITION_FAILED, "PreconditionFailed";
}

#[tokio::test]
async fn a_conflict_with_itself_is_a_put_that_is_done() {
    for status in [StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED] {
        let failure = Failure::new(status, "PreconditionFailed");
        let case = Case::new(LONG, Action::ApplyThenFail(failure)).await;
        case.put(done()).await;
    }
}

#[tokio::test]
async fn a_passing_slow_down_is_waited_for_as_long_as_s3_says() {
    let failure = Failure::slow_down().retry_after(Duration::from_secs(1));
    let mut case = Case::new(LONG, Action::Fail(failure)).await;
    case.requests_max = 1;
    case.all([done(), done(), done()]).await;
}

#[tokio::test]
async fn a_write_that_is_applied_after_its_caller_gave_up() {
    let case = Case::new(SHORT, Action::ApplyLate).await;
    let bench = &case.bench;
    bench.put("put", "old").await.unwrap();
    bench.put("delete", "old").await.unwrap();
    let faults = [
        case.inject(Operation::Put, "put"),
        case.inject(Operation::Delete, "delete"),
    ];
    assert_said("put", in_time(bench.put("put", "new")).await, LATE);
    assert_said("delete", in_time(bench.delete("delete")).await, LATE);
    assert_eq!(case.copies().await, [0, 0]);
    for fault in &faults {
        assert_eq!(fault.fired(), 1, "sent once, whatever time is left");
        fault.release();
    }
    eventually("the put is applied", async || {
        case.in_s3("put").await == value("new")
    })
    .await;
    eventually("the delete is applied", async || {
        case.in_s3("delete").await.is_none()
    })
    .await;
    drop(faults);
    case.assert_next_get("put", value("new")).await;
    case.assert_next_get("delete", None).await;
}

#[tokio::test]
async fn connections_that_are_refused() {
    let mut bench = Bench::start().await;
    for key in ["put", "delete"] {
        bench.put(key, "old").await.unwrap();
    }
    bench.s3.cut().await;
    away(&bench, "cannot be reached").await;
    for key in ["put", "delete"] {
        assert_eq!(bench.get(key).await.unwrap(), value("old"), "{key}");
    }
    for tier in ["memory", "disk"] {
        let series = format!("milena_tier_entries{{tier=\"{tier}\"}}");
        assert_eq!(bench.node.metric(&series).await, 2, "{tier}");
    }
    bench.s3.start_again().await;
    for (key, expected) in [
        ("put", value("old")),
        ("delete", value("old")),
        ("get", None),
    ] {
        let is_answered = async || bench.get(key).await.is_ok();
        eventually("S3 is asked again", is_answered).await;
        assert_eq!(bench.get(key).await.unwrap(), expected, "{key}");
    }
}

#[tokio::test]
async fn connections_that_do_not_come_about() {
    let Bench {
        s3,
        mut setup,
        node,
    } = Bench::start().await;
    for key in ["put", "delete"] {
        node.client.put(BUCKET, key, "old").await.unwrap();
    }
    node.stop().await;
    let black_hole = BlackHole::open().await;
    setup.config.s3.endpoint = Some(format!("http://{}", black_hole.addr()));
    setup.config.s3.timeout = SHORT;
    let node = setup.start().await;
    node.disk_recovered().await;
    let bench = Bench { s3, setup, node };
    away(&bench, "in time|no answer ").await;
}

/// With S3 away: what is said, and that no get gives what a write that failed would have made. `put` and
/// `delete` have copies.
async fn away(bench: &Bench, says: &str) {
    assert_said("get", in_time(bench.get("get")).await, says);
    assert_said("put", in_time(bench.put("put", "new")).await, says);
    assert_said("delete", in_time(bench.delete("delete")).await, says);
    for key in ["put", "delete"] {
        // Kept if it is certain that nothing was sent; it is not where the operation's time was up first.
        match in_time(bench.get(key)).await {
            Ok(found) => assert_eq!(found, value("old"), "{key}"),
            failed => assert_said("the next get", failed, says),
        }
    }
}
