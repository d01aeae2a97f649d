//! Bugs on purpose: the mistakes that a store like this one must not make, each of which a test can
//! switch on, to prove that the tests would find it (`tests/planted.rs`).
//!
//! Outside of tests there is no switch, and [`Planted::has`] is always `false`.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// Rule 1 is off: a delete writes nothing.
    DeletesWithoutRecord,
    /// Rule 2 is off: a tombstone goes with its segment, whatever it still hides.
    DropsTombstones,
    /// Rule 3 is off: also what was replaced is carried over.
    CarriesWhatWasReplaced,
    /// Rule 4 is off: a record is needed only as long as it lives itself.
    ForgetsWhatItHides,
    /// What may be out of date after a power loss is served like anything else.
    TrustsWhatPowerLossLeft,
    /// A value's checksum is not looked at.
    SkipsChecksum,
    /// What is acknowledged is not written yet, and never will be.
    AcknowledgesBeforeWrite,
    /// What is acknowledged with `always` is not synced yet, and never will be.
    AcknowledgesBeforeSync,
    /// A segment is dropped for space whatever is dirty in it.
    DropsWhatIsDirty,
    /// What the newest footer lists as dirty is not looked at.
    ForgetsWhatIsDirty,
    /// The segment whose footer says what is dirty is dropped like any other.
    DropsTheList,
    /// What was written while something older of its key was uploaded is taken for uploaded.
    MarksWhatIsNewer,
}

/// The mistake that is made, if one is.
#[derive(Clone, Copy, Default)]
pub(super) struct Planted(#[cfg(test)] pub(super) Option<Bug>);

impl Planted {
    #[cfg(test)]
    pub(super) fn has(self, bug: Bug) -> bool {
        self.0 == Some(bug)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "there is something in it only in tests")]
    pub(super) fn has(self, _: Bug) -> bool {
        false
    }
}
