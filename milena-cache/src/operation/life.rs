//! How long entries and their copies live: what `TTL_SECONDS`, `TTL_SCOPE` and `TTL_JITTER` say of it.
//!
//! Invariants: a life that a put asked for is kept to the millisecond; any other is shortened by chance and
//! never stretched.

use std::time::Duration;

use milena_server::clock::{Clock, UnixMillis};

/// The longest life that a put may ask for: 100 years of 365 days.
pub const LIFE_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What the configuration says of lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    /// How long a local copy may be served without asking the durable tier again (`TTL_SECONDS`).
    pub copy: Duration,
    /// Whose life that is, too (`TTL_SCOPE`).
    pub scope: Scope,
    /// By how much a life is shortened at most, in percent, so that what came together does not go together
    /// (`TTL_JITTER`).
    pub jitter_percent: u32,
}

/// What `TTL_SECONDS` bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Local copies only.
    Local,
    /// Entries that are put without a life of their own as well: it is their life in every tier.
    All,
}

impl Lives {
    /// A life of local copies, exact, and of nothing else.
    #[must_use]
    pub fn of_copies(copy: Duration) -> Self {
        Self {
            copy,
            scope: Scope::Local,
            jitter_percent: 0,
        }
    }

    /// Until when a copy is fresh of what the durable tier held at `seen_at`.
    pub(super) fn fresh_until(&self, seen_at: UnixMillis, clock: &Clock) -> UnixMillis {
        seen_at.after(self.shortened(clock))
    }

    /// When an entry ends that is put at `put_at`; `None`: never.
    pub(super) fn expires_at(
        &self,
        asked_for: Option<Duration>,
        put_at: UnixMillis,
        clock: &Clock,
    ) -> Option<UnixMillis> {
        let life = match self.scope {
            Scope::Local => asked_for,
            Scope::All => asked_for.or_else(|| Some(self.shortened(clock))),
        };
        life.map(|life| put_at.after(life))
    }

    fn shortened(&self, clock: &Clock) -> Duration {
        if self.jitter_percent == 0 {
            return self.copy;
        }
        // Divided first: the longest life times a hundred would be out of range.
        let most = (self.copy / 100).saturating_mul(self.jitter_percent);
        self.copy.saturating_sub(clock.jitter(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const COPY: Duration = Duration::from_secs(1_000);

    fn clock() -> Clock {
        Clock::manual(NOW)
    }

    #[test]
    fn without_jitter_a_life_is_exact() {
        let lives = Lives::of_copies(COPY);
        assert_eq!(lives.fresh_until(NOW, &clock()), NOW.after(COPY));
        let put = |life| lives.expires_at(life, NOW, &clock());
        assert_eq!(put(None), None, "TTL_SECONDS is for copies");
        assert_eq!(put(Some(LIFE_MAX)), Some(NOW.after(LIFE_MAX)));
    }

    #[test]
    fn jitter_spreads_lives_below_their_length_and_no_further_than_it_says() {
        let lives = Lives {
            jitter_percent: 10,
            ..Lives::of_copies(COPY)
        };
        let clock = clock();
        let ends: Vec<_> = (0..1_000)
            .map(|_| lives.fresh_until(NOW, &clock).since(NOW))
            .collect();
        let (least, most) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
        assert!(
            *least >= COPY * 9 / 10 && *most <= COPY,
            "{least:?} {most:?}"
        );
        assert!(*most - *least > COPY / 20, "they are spread");
        let whole = Lives {
            jitter_percent: 90,
            ..Lives::of_copies(Duration::MAX)
        };
        assert!(whole.fresh_until(NOW, &clock) > NOW, "no life is too long");
    }

    #[test]
    fn with_scope_all_an_entry_without_a_life_gets_one_and_another_keeps_its_own() {
        let lives = Lives {
            scope: Scope::All,
            jitter_percent: 10,
            ..Lives::of_copies(COPY)
        };
        let clock = clock();
        let put = |life| lives.expires_at(life, NOW, &clock);
        for _ in 0..100 {
            let given = put(None).expect("a life").since(NOW);
            assert!(given >= COPY * 9 / 10 && given <= COPY, "{given:?}");
            let own = Duration::from_secs(30);
            assert_eq!(put(Some(own)), Some(NOW.after(own)), "as it was asked for");
        }
    }
}
