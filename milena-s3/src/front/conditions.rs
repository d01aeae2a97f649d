//! The conditions that a request may carry, in the two ways that S3 knows them: on a write they decide
//! whether it is made, on a read what is answered.

use s3s::dto::{ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::errors::precondition_failed;
use super::timestamp;
use crate::store::Condition;
use crate::store::object::Meta;

const MS_PER_SECOND: u64 = 1_000;

/// The condition of a write.
///
/// # Errors
/// When the combination is one that S3 does not know.
pub(super) fn of_write(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Condition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::Always),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(ETagCondition::Any), None) => Ok(Condition::Present),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Condition::Etag(etag.into_value())),
        _ => Err(s3_error!(
            NotImplemented,
            "A write takes If-Match, or If-None-Match: *"
        )),
    }
}

/// The conditions of a read.
#[derive(Default)]
pub(super) struct OfRead {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

/// What the conditions of a read come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The object is what was asked for.
    Holds,
    /// The object changed, or is another than was asked for.
    Failed,
    /// The reader has the object already.
    NotModified,
}

impl OfRead {
    /// Judges the conditions in the order of RFC 9110: a tag decides over a date.
    pub(super) fn judge(&self, meta: &Meta) -> Verdict {
        // HTTP dates have whole seconds.
        let modified = timestamp(meta.modified_ms - meta.modified_ms % MS_PER_SECOND);
        let is_wanted = match (&self.if_match, &self.if_unmodified_since) {
            (Some(wanted), _) => matches(wanted, meta),
            (None, Some(since)) => modified <= *since,
            (None, None) => true,
        };
        let is_known = match (&self.if_none_match, &self.if_modified_since) {
            (Some(known), _) => matches(known, meta),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        match (is_wanted, is_known) {
            (false, _) => Verdict::Failed,
            (true, true) => Verdict::NotModified,
            (true, false) => Verdict::Holds,
        }
    }

    /// Lets an object pass that is to be answered.
    ///
    /// # Errors
    /// 412, or 304 with the `ETag`.
    pub(super) fn let_pass(&self, meta: &Meta) -> S3Result<()> {
        match self.judge(meta) {
            Verdict::Holds => Ok(()),
            Verdict::Failed => Err(precondition_failed()),
            Verdict::NotModified => Err(not_modified(meta)),
        }
    }
}

fn matches(condition: &ETagCondition, meta: &Meta) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == meta.etag,
    }
}

fn not_modified(meta: &Meta) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let etag = s3s::dto::ETag::Strong(meta.etag.clone());
    if let Ok(etag) = etag.to_http_header() {
        error.set_headers([(hyper::header::ETAG, etag)].into_iter().collect());
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED_MS: u64 = 10_500;

    fn verdict(conditions: &OfRead) -> Verdict {
        conditions.judge(&Meta {
            etag: "stored".to_owned(),
            modified_ms: MODIFIED_MS,
            ..Meta::default()
        })
    }

    fn etag(header: &str) -> Option<ETagCondition> {
        Some(header.parse().unwrap())
    }

    #[test]
    fn tags_are_compared() {
        let wanted = |if_match| OfRead {
            if_match,
            ..OfRead::default()
        };
        assert_eq!(verdict(&wanted(etag("\"stored\""))), Verdict::Holds);
        assert_eq!(verdict(&wanted(etag("*"))), Verdict::Holds);
        assert_eq!(verdict(&wanted(etag("\"other\""))), Verdict::Failed);
        let known = |if_none_match| OfRead {
            if_none_match,
            ..OfRead::default()
        };
        assert_eq!(verdict(&known(etag("\"stored\""))), Verdict::NotModified);
        assert_eq!(verdict(&known(etag("W/\"stored\""))), Verdict::NotModified);
        assert_eq!(verdict(&known(etag("\"other\""))), Verdict::Holds);
    }

    #[test]
    fn dates_are_compared_in_whole_seconds() {
        let at = |seconds: u64| Some(timestamp(seconds * MS_PER_SECOND));
        let modified_since = |if_modified_since| OfRead {
            if_modified_since,
            ..OfRead::default()
        };
        assert_eq!(verdict(&modified_since(at(9))), Verdict::Holds);
        assert_eq!(verdict(&modified_since(at(10))), Verdict::NotModified);
        let unmodified_since = |if_unmodified_since| OfRead {
            if_unmodified_since,
            ..OfRead::default()
        };
        assert_eq!(verdict(&unmodified_since(at(9))), Verdict::Failed);
        assert_eq!(verdict(&unmodified_since(at(10))), Verdict::Holds);
    }

    #[test]
    fn a_tag_decides_over_a_date() {
        let matching_but_modified = OfRead {
            if_match: etag("\"stored\""),
            if_unmodified_since: Some(timestamp(0)),
            ..OfRead::default()
        };
        assert_eq!(verdict(&matching_but_modified), Verdict::Holds);
        let other_but_unmodified = OfRead {
            if_none_match: etag("\"other\""),
            if_modified_since: Some(timestamp(MODIFIED_MS)),
            ..OfRead::default()
        };
        assert_eq!(verdict(&other_but_unmodified), Verdict::Holds);
    }
}
