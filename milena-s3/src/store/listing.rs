//! One page of a listing, out of the ordered keys of a bucket.
//!
//! Pure: knows neither the stores nor S3's XML. Keys and common prefixes come in byte order, and asking
//! again with `after` set to [`Page::next_after`] goes on where the page ended, whatever was put or
//! deleted in between.

use std::collections::BTreeMap;
use std::ops::Bound;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    /// Only keys that begin so.
    pub(crate) prefix: String,
    /// Keys with this in them, after the prefix, are rolled up to one common prefix; not empty.
    pub(crate) delimiter: Option<String>,
    /// Only what comes after this; a common prefix equal to it is left out with all its keys.
    pub(crate) after: Option<String>,
    /// At most this many keys and common prefixes together.
    pub(crate) entries_max: usize,
}

impl Query {
    /// What `key` is rolled up to: everything up to and with the first delimiter after the prefix.
    fn common_prefix_of<'key>(&self, key: &'key str) -> Option<&'key str> {
        let delimiter = self.delimiter.as_deref()?;
        let at = key.get(self.prefix.len()..)?.find(delimiter)?;
        key.get(..self.prefix.len() + at + delimiter.len())
    }
}

/// What a listing says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) etag: String,
    pub(crate) size: u64,
    pub(crate) modified_ms: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) objects: Vec<(String, Summary)>,
    pub(crate) common_prefixes: Vec<String>,
    /// Where the next page goes on; `None` on the last one.
    pub(crate) next_after: Option<String>,
}

impl Page {
    /// The page that answers `query` out of `entries`.
    pub(crate) fn of<V>(
        entries: &BTreeMap<String, V>,
        query: &Query,
        summary: impl Fn(&V) -> Summary,
    ) -> Self {
        let mut page = Self::default();
        if query.entries_max == 0 {
            return page;
        }
        let start = match query.after.as_deref() {
            Some(after) if after >= query.prefix.as_str() => Bound::Excluded(after),
            _ => Bound::Included(query.prefix.as_str()),
        };
        let mut last = "";
        for (key, value) in entries.range::<str, _>((start, Bound::Unbounded)) {
            if !key.starts_with(&query.prefix) {
                break;
            }
            let common_prefix = query.common_prefix_of(key);
            let entry = common_prefix.unwrap_or(key);
            let already_listed = entry == last || query.after.as_deref() == Some(entry);
            if already_listed {
                continue;
            }
            if page.objects.len() + page.common_prefixes.len() == query.entries_max {
                page.next_after = Some(last.to_owned());
                break;
            }
            match common_prefix {
                Some(prefix) => page.common_prefixes.push(prefix.to_owned()),
                None => page.objects.push((key.clone(), summary(value))),
            }
            last = entry;
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a listing of `keys` gives, page by page, common prefixes in `<>`.
    fn pages(keys: &[&str], query: Query) -> Vec<Vec<String>> {
        let entries: BTreeMap<String, ()> = keys.iter().map(|key| (key.to_string(), ())).collect();
        let summary = |(): &()| Summary {
            etag: String::new(),
            size: 0,
            modified_ms: 0,
        };
        let mut query = query;
        let mut pages = Vec::new();
        loop {
            let page = Page::of(&entries, &query, summary);
            let objects = page.objects.into_iter().map(|(key, _)| key);
            let prefixes = page.common_prefixes.iter().map(|p| format!("<{p}>"));
            pages.push(objects.chain(prefixes).collect());
            match page.next_after {
                Some(next) => query.after = Some(next),
                None => return pages,
            }
        }
    }

    fn query(prefix: &str, delimiter: Option<&str>, entries_max: usize) -> Query {
        Query {
            prefix: prefix.to_owned(),
            delimiter: delimiter.map(str::to_owned),
            after: None,
            entries_max,
        }
    }

    const KEYS: [&str; 7] = ["a", "b/", "b/1", "b/2", "b/c/3", "c", "é"];

    #[test]
    fn a_prefix_selects_its_keys_only() {
        assert_eq!(
            pages(&KEYS, query("b/", None, 100)),
            [["b/", "b/1", "b/2", "b/c/3"]]
        );
        assert_eq!(pages(&KEYS, query("x", None, 100)), [[""; 0]]);
    }

    #[test]
    fn a_delimiter_rolls_keys_up_once() {
        assert_eq!(
            pages(&KEYS, query("", Some("/"), 100)),
            [["a", "c", "é", "<b/>"]]
        );
        assert_eq!(
            pages(&KEYS, query("b/", Some("/"), 100)),
            [["b/", "b/1", "b/2", "<b/c/>"]]
        );
    }

    #[test]
    fn pages_join_without_gap_or_repetition() {
        assert_eq!(
            pages(&KEYS, query("", Some("/"), 1)),
            [["a"], ["<b/>"], ["c"], ["é"]]
        );
        assert_eq!(
            pages(&KEYS, query("", None, 3)),
            [vec!["a", "b/", "b/1"], vec!["b/2", "b/c/3", "c"], vec!["é"]]
        );
    }

    #[test]
    fn after_is_exclusive_and_may_lie_outside_the_prefix() {
        let after = |after: &str, prefix: &str| Query {
            after: Some(after.to_owned()),
            ..query(prefix, None, 100)
        };
        assert_eq!(pages(&KEYS, after("b/2", "")), [["b/c/3", "c", "é"]]);
        assert_eq!(
            pages(&KEYS, after("a", "b/")),
            [["b/", "b/1", "b/2", "b/c/3"]]
        );
        assert_eq!(pages(&KEYS, after("zz", "b/")), [[""; 0]]);
    }

    #[test]
    fn no_entries_asked_for_is_an_empty_last_page() {
        assert_eq!(pages(&KEYS, query("", None, 0)), [[""; 0]]);
    }
}
