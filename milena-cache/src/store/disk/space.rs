//! The free-space floor: a store that would fill up the file system for everybody declines puts.
//!
//! Knows nothing of the byte limit; that is the log's.

use super::log::Log;

impl Log {
    /// Finds out whether puts are to be declined, and says so when that changes. Once they are, they are
    /// until a whole segment more than the floor is free.
    pub(super) fn look_at_free_space(&mut self) {
        let config = &self.site.config;
        let floor = config.free_bytes_min;
        let enough = if self.is_short_of_space {
            floor.saturating_add(config.segment_bytes.into())
        } else {
            floor
        };
        // If the system does not say, nothing has changed.
        let Ok(free) = self.site.files.free_bytes() else {
            return;
        };
        let is_short = free < enough;
        if is_short == self.is_short_of_space {
            return;
        }
        self.is_short_of_space = is_short;
        let trouble = is_short.then(|| {
            format!(
                "it takes nothing new: {free} bytes are free in its file system, \
                 and {floor} are to stay free"
            )
        });
        match &trouble {
            Some(why) => tracing::warn!(why, "the disk store declines puts"),
            None => tracing::info!(free, "the disk store takes puts again"),
        }
        self.site.shared.set_trouble(trouble);
    }
}
