//! The settings of how long entries and their copies live.

use std::time::Duration;

use milena_server::settings::{Presence, Raw, Setting, parse_duration};

use crate::operation::{LIFE_MAX, Lives, Scope};

/// The most of a life that `TTL_JITTER` may take, in percent: something has to be left of it.
const JITTER_PERCENT_MAX: u32 = 90;

/// The shortest `SWEEP_INTERVAL`: each sweep is a request for every object.
const SWEEP_INTERVAL_MIN: Duration = Duration::from_secs(60);

pub(super) static TTL_SCOPE: Setting = Setting {
    name: "TTL_SCOPE",
    also: &[],
    presence: Presence::Default("local"),
    expected: "local or all",
    example: "all",
    help: "What TTL_SECONDS bounds: local copies, or all: also the life of entries put without one, S3 included",
};
pub(super) static TTL_JITTER: Setting = Setting {
    name: "TTL_JITTER",
    also: &[],
    presence: Presence::Default("0%"),
    expected: "a share of 0% to 90%",
    example: "10%",
    help: "By how much TTL_SECONDS is shortened at random, at most, so that not everything expires at once",
};
pub(super) static SWEEP_INTERVAL: Setting = Setting {
    name: "SWEEP_INTERVAL",
    also: &[],
    presence: Presence::Default("off"),
    expected: "a duration of 1m or more, such as 24h (units s, m, h, d), or off",
    example: "24h",
    help: "How often one of the nodes looks at every object in S3 and removes what has expired",
};

/// How long entries and their copies live whose `TTL_SECONDS` were read.
pub(super) fn read(raw: &mut Raw, copy_seconds: Option<u64>) -> Option<Lives> {
    let scope = raw.read(&TTL_SCOPE, parse_scope);
    let jitter_percent = raw.read(&TTL_JITTER, parse_share);
    let lives = Lives {
        copy: Duration::from_secs(copy_seconds?),
        scope: scope?,
        jitter_percent: jitter_percent?,
    };
    let (given, most) = (lives.copy.as_secs(), LIFE_MAX.as_secs());
    if lives.scope == Scope::All && given > most {
        raw.mistake(format!(
            "TTL_SECONDS: {given} was given and TTL_SCOPE=all makes it the life of entries; expected at most {most} (100 years)"
        ));
    }
    Some(lives)
}

fn parse_scope(text: &str) -> Option<Scope> {
    match text {
        "local" => Some(Scope::Local),
        "all" => Some(Scope::All),
        _ => None,
    }
}

/// A share in percent.
fn parse_share(text: &str) -> Option<u32> {
    let percent = text.strip_suffix('%')?.parse().ok()?;
    (percent <= JITTER_PERCENT_MAX).then_some(percent)
}

pub(super) fn parse_sweep_interval(text: &str) -> Option<Option<Duration>> {
    if text == "off" {
        return Some(None);
    }
    let interval = parse_duration(text).filter(|interval| *interval >= SWEEP_INTERVAL_MIN)?;
    Some(Some(interval))
}
