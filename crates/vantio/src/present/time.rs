//! Times as people read them.

use std::time::Duration;

use jiff::{Timestamp, Zoned, civil, tz::TimeZone};

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// The local time of day, with the date when it is not today's.
pub fn clock(unix_ms: u64, now_ms: u64) -> String {
    let zone = TimeZone::system();
    let local = |ms: u64| {
        i64::try_from(ms)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .map(|t| t.to_zoned(zone.clone()))
    };
    match (local(unix_ms), local(now_ms)) {
        (Some(then), Some(now)) if then.date() == now.date() => then.strftime("%H:%M:%S").to_string(),
        (Some(then), _) => then.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        (None, _) => unix_ms.to_string(),
    }
}

/// When a local clock shows what [`clock`] prints; of a date its beginning.
pub fn on_clock(text: &str) -> Option<Timestamp> {
    let now = Zoned::now();
    // Of a number alone nobody knows whether it is an hour.
    let today = || {
        text.contains(':').then(|| text.parse::<civil::Time>().ok())?.map(|time| now.date().to_datetime(time))
    };
    let then = text.parse::<civil::DateTime>().ok().or_else(today)?;
    then.to_zoned(now.time_zone().clone()).ok().map(|then| then.timestamp())
}

/// A span of milliseconds in its largest whole unit.
pub fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A span of milliseconds in full: `5m`, `1m 30s`, `250ms`.
pub fn span(ms: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    let mut rest = ms;
    let parts = UNITS.into_iter().filter_map(|(length, unit)| {
        let count = rest / length;
        rest %= length;
        (count > 0).then(|| format!("{count}{unit}"))
    });
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// How long a text such as `90s`, `10m`, `2h` or `7d` says.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_full() {
        let cases = [(0, "0s"), (250, "250ms"), (300_000, "5m"), (90_000, "1m 30s"), (86_400_001, "1d 1ms")];
        for (ms, expected) in cases {
            assert_eq!(span(ms), expected);
        }
    }

    #[test]
    fn ages_take_their_largest_whole_unit() {
        let cases = [(999, "0s"), (59_999, "59s"), (60_000, "1m"), (7_200_000, "2h"), (172_800_000, "2d")];
        for (ms, expected) in cases {
            assert_eq!(age(ms), expected);
        }
    }
}
