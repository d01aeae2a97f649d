//! What the S3 tier tells of itself while it works: every request and how it ended, bytes, the breaker.
//!
//! Knows no metrics; whoever observes maps these to its own.

/// What a request asks of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read an object.
    Get,
    /// Write an object.
    Put,
    /// Delete an object.
    Delete,
    /// Ask what is known of an object.
    Head,
    /// See whether S3 answers.
    Probe,
    /// List objects.
    List,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Ok,
    /// There is no such object.
    NotFound,
    /// The object is still the one that was named.
    NotModified,
    /// 409 or 412: something else was or is at this object.
    Conflict,
    /// S3 asks for fewer requests.
    SlowDown,
    /// S3 said no and would say so again: credentials, permissions, bucket, region, clock.
    Refused,
    /// S3, or something on the way to it, says that it failed.
    ServerError,
    /// No connection, or nothing to sign with: S3 knows nothing of the request.
    Unreachable,
    /// One of the time limits passed.
    Timeout,
    /// The connection broke, or what came was not HTTP.
    Broken,
    /// It was dropped: of two GETs for the same, the other was answered first.
    Cancelled,
    /// The object came, but not as it was written.
    Damaged,
    /// The object came whole, but is none that can be served: over the limit, or another key's.
    Unusable,
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// S3 has been failing.
    Breaker,
    /// Too many were waiting, or its turn did not come in time.
    Queue,
}

/// What the circuit breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// One probe, which is under way.
    HalfOpen,
    /// Nothing.
    Open,
}

impl Request {
    /// The names, in the order of the values.
    pub const LABELS: [&str; 6] = ["get", "put", "delete", "head", "probe", "list"];

    /// Whether it changes what S3 holds.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::Delete)
    }
}

impl Outcome {
    /// The names, in the order of the values.
    pub const LABELS: [&str; 13] = [
        "ok",
        "not_found",
        "not_modified",
        "conflict",
        "slow_down",
        "refused",
        "server_error",
        "unreachable",
        "timeout",
        "broken",
        "cancelled",
        "damaged",
        "unusable",
    ];

    /// Whether S3 is in trouble, as far as this one request can tell. An answer that says no is none.
    #[must_use]
    pub fn is_outage(self) -> bool {
        matches!(
            self,
            Self::ServerError | Self::Unreachable | Self::Timeout | Self::Broken
        )
    }
}

impl NotSent {
    /// The names, in the order of the values.
    pub const LABELS: [&str; 2] = ["breaker", "queue"];
}

/// Who is told, while it happens: must not wait.
pub trait Observer: Send + Sync + 'static {
    /// A request has ended.
    fn requested(&self, _request: Request, _outcome: Outcome) {}
    /// A request was not sent.
    fn not_sent(&self, _why: NotSent) {}
    /// Bytes of objects came from S3.
    fn received(&self, _bytes: usize) {}
    /// Bytes of objects were sent to S3, whether or not it took them.
    fn sent(&self, _bytes: usize) {}
    /// A GET was slow, so a second one was sent; and whether that one gave the answer.
    fn hedged(&self, _has_won: bool) {}
    /// So many requests are let through at once now.
    fn limit(&self, _requests: usize) {}
    /// So many requests more wait for their turn, or fewer.
    fn queued(&self, _change: i64) {}
    /// The circuit breaker has changed.
    fn breaker(&self, _state: BreakerState) {}
}

/// Nobody.
impl Observer for () {}
