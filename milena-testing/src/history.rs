//! What a key may hold after a crash, by what was asked and what was acknowledged.
//!
//! A write that was acknowledged has happened. One that was not (it was in flight at the crash, or it
//! failed) may have happened, may not have, or may yet: until the next acknowledged write the key may hold
//! either value. Invariant: writes to one key are noted in the order in which they were made, one at a time.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;

/// A value, or `None` for a key that was deleted or never written.
pub type Value = Option<Bytes>;

/// What the keys of a test may hold.
#[derive(Clone, Debug, Default)]
pub struct History {
    keys: HashMap<String, Allowed>,
}

/// What one key may hold: the last acknowledged value, then each that was asked for since.
#[derive(Clone, Debug)]
struct Allowed {
    values: Vec<Value>,
}

/// An answer that no order of the writes explains.
#[derive(Clone, PartialEq, Eq)]
pub struct Violation {
    /// Of this key.
    pub key: String,
    /// What it was found to hold.
    pub found: Value,
    /// What it may hold.
    pub allowed: Vec<Value>,
}

impl History {
    /// A write of `value` is about to be asked for.
    pub fn asked(&mut self, key: &str, value: Value) {
        let allowed = self.keys.entry(key.to_owned()).or_default();
        allowed.values.push(value);
    }

    /// The write that was asked for last was acknowledged.
    ///
    /// # Panics
    /// When none was asked for.
    pub fn acknowledged(&mut self, key: &str) {
        let allowed = self.keys.get_mut(key).expect("a write was asked for");
        allowed.values.drain(..allowed.values.len() - 1);
    }

    /// Checks what `key` was found to hold.
    ///
    /// # Errors
    /// When it may not hold that.
    pub fn check(&self, key: &str, found: &Value) -> Result<(), Violation> {
        let never_written = Allowed::default();
        let allowed = self.keys.get(key).unwrap_or(&never_written);
        if allowed.values.contains(found) {
            return Ok(());
        }
        Err(Violation {
            key: key.to_owned(),
            found: found.clone(),
            allowed: allowed.values.clone(),
        })
    }

    /// Every key that was written.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }
}

impl Default for Allowed {
    fn default() -> Self {
        Self { values: vec![None] }
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed: Vec<_> = self.allowed.iter().map(shown).collect();
        let found = shown(&self.found);
        write!(f, "{} holds {found}, not any of {allowed:?}", self.key)
    }
}

/// Enough of a value to recognise it by.
fn shown(value: &Value) -> String {
    const SHOWN_BYTES_MAX: usize = 40;
    match value {
        None => "nothing".to_owned(),
        Some(bytes) => {
            let start = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
            format!("{} ({} bytes)", start.escape_ascii(), bytes.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &'static str) -> Value {
        Some(Bytes::from(text))
    }

    #[test]
    fn a_key_that_was_never_written_holds_nothing() {
        let history = History::default();
        assert_eq!(history.check("k", &None), Ok(()));
        assert!(history.check("k", &value("x")).is_err());
    }

    #[test]
    fn an_acknowledged_write_is_the_only_answer() {
        let mut history = History::default();
        history.asked("k", value("1"));
        history.acknowledged("k");
        assert_eq!(history.check("k", &value("1")), Ok(()));
        assert!(history.check("k", &None).is_err(), "a put was lost");
        history.asked("k", None);
        history.acknowledged("k");
        assert!(
            history.check("k", &value("1")).is_err(),
            "a delete came back"
        );
    }

    #[test]
    fn a_write_that_was_not_acknowledged_may_have_happened_or_not() {
        let mut history = History::default();
        history.asked("k", value("1"));
        history.acknowledged("k");
        history.asked("k", value("2"));
        history.asked("k", None);
        for found in [value("1"), value("2"), None] {
            assert_eq!(history.check("k", &found), Ok(()));
        }
        history.asked("k", value("4"));
        history.acknowledged("k");
        assert_eq!(history.check("k", &value("4")), Ok(()));
        let violation = history.check("k", &value("2")).unwrap_err();
        assert_eq!(
            format!("{violation:?}"),
            "k holds 2 (1 bytes), not any of [\"4 (1 bytes)\"]"
        );
    }
}
