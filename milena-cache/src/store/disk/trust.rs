//! Which segments' records may be given without having been revalidated.
//!
//! Two ids say it, which the manifest remembers. What is *unverified* is from before a power loss that may have taken
//! newer records. What is *doubtful* is that, and what was written while copies were kept longer than now, so that it
//! cannot be told how fresh they are. Knows nothing of files.

use std::sync::atomic::{AtomicU32, Ordering};

use super::format::SegmentId;
use super::planted::Bug;
use super::shared::Shared;

/// See the file's head. Everything can be trusted at first.
#[derive(Default)]
pub(super) struct Trust {
    unverified_below: AtomicU32,
    doubtful_below: AtomicU32,
}

/// The first segments that are not unverified and not doubtful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) unverified_below: SegmentId,
    pub(super) doubtful_below: SegmentId,
}

impl Bounds {
    /// Every segment can be trusted.
    pub(super) const NONE: Self = Self {
        unverified_below: SegmentId(0),
        doubtful_below: SegmentId(0),
    };
}

impl Trust {
    pub(super) fn bounds(&self) -> Bounds {
        let id = |bound: &AtomicU32| SegmentId(bound.load(Ordering::Relaxed));
        Bounds {
            unverified_below: id(&self.unverified_below),
            doubtful_below: id(&self.doubtful_below),
        }
    }

    /// To be said before anything of these segments can be found.
    pub(super) fn set(&self, bounds: Bounds) {
        let Bounds {
            unverified_below,
            doubtful_below,
        } = bounds;
        let store = |bound: &AtomicU32, id: SegmentId| bound.store(id.0, Ordering::Relaxed);
        store(&self.unverified_below, unverified_below);
        store(&self.doubtful_below, doubtful_below);
    }
}

impl Shared {
    /// Whether newer records than those of this segment may have been lost: it can be damaged anywhere, and what was
    /// dirty in it is not to be uploaded.
    pub(super) fn is_unverified(&self, segment: SegmentId) -> bool {
        segment < self.trust.bounds().unverified_below
            && !self.planted.has(Bug::TrustsWhatPowerLossLeft)
    }

    /// Whether what is found in this segment has to be revalidated. Unverified ones are among these.
    pub(super) fn is_doubtful(&self, segment: SegmentId) -> bool {
        segment < self.trust.bounds().doubtful_below
            && !self.planted.has(Bug::TrustsWhatPowerLossLeft)
    }
}
