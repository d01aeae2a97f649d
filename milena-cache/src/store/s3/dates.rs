//! How far S3's clock is from ours: every answer says what time it is there.
//!
//! Only `doctor.rs` asks. Knows the moment to a second, which is what the header has.

use std::sync::Arc;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use milena_server::clock::{Clock, UnixMillis};
use parking_lot::Mutex;

/// Reads the answers' dates; clones share what they read.
#[derive(Clone, Debug)]
pub(super) struct Dates {
    clock: Clock,
    newest: Arc<Mutex<Option<Skew>>>,
}

/// Our time and S3's at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skew {
    pub(super) ours: UnixMillis,
    pub(super) theirs: UnixMillis,
}

impl Dates {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            newest: Arc::default(),
        }
    }

    /// Of the newest answer that said it.
    pub(super) fn skew(&self) -> Option<Skew> {
        *self.newest.lock()
    }
}

impl Intercept for Dates {
    fn name(&self) -> &'static str {
        "Dates"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(theirs) = date.and_then(parse) {
            let ours = self.clock.now();
            *self.newest.lock() = Some(Skew { ours, theirs });
        }
        Ok(())
    }
}

fn parse(date: &str) -> Option<UnixMillis> {
    let date = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?;
    u64::try_from(date.to_millis().ok()?).ok().map(UnixMillis)
}
