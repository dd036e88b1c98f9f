//! What scalars are, in YAML by its core schema (1.2, section 10.3), and what their texts mean.

/// What a scalar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Integer,
    Float,
    /// A date or a time, which only TOML has.
    Time,
    String,
}

impl Kind {
    /// What a message calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean => "a boolean",
            Self::Integer | Self::Float => "a number",
            Self::Time => "a time",
            Self::String => "a string",
        }
    }

    /// What a scalar of YAML is that is written so.
    pub(super) fn of(text: &str, is_plain: bool) -> Self {
        if !is_plain {
            return Self::String;
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Self::Boolean,
            _ if is_integer(text) => Self::Integer,
            _ if is_float(text) => Self::Float,
            _ => Self::String,
        }
    }
}

fn is_integer(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all = |digits: &str, is_digit: fn(&u8) -> bool| {
        !digits.is_empty() && digits.as_bytes().iter().all(is_digit)
    };
    all(unsigned, u8::is_ascii_digit)
        || text.strip_prefix("0o").is_some_and(|digits| all(digits, |digit| (b'0'..=b'7').contains(digit)))
        || text.strip_prefix("0x").is_some_and(|digits| all(digits, u8::is_ascii_hexdigit))
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) =
        unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_is_valid = exponent.is_none_or(|exponent| {
        let unsigned = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !unsigned.is_empty() && digits(unsigned)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_is_valid
}

/// An integer as a `u64`; `None` when it is negative or too large.
pub(super) fn to_u64(text: &str) -> Option<u64> {
    let bases = [("0x", 16), ("0o", 8), ("0b", 2)];
    let digits = bases.into_iter().find_map(|(prefix, base)| Some((text.strip_prefix(prefix)?, base)));
    match digits {
        Some((digits, base)) => u64::from_str_radix(digits, base).ok(),
        None => text.strip_prefix('+').unwrap_or(text).parse().ok(),
    }
}

/// A decimal with at most six places, in millionths.
pub(super) fn to_millionths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_decimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_decimal(whole) || !is_decimal(fraction) || fraction.len() > 6 {
        return None;
    }
    let scale = 10_u64.pow(6 - fraction.len() as u32);
    let fraction = fraction.parse::<u64>().ok()? * scale;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction)
}

/// A duration such as `10s` in milliseconds; `None` for another text or one too large.
pub(super) fn to_milliseconds(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

/// A size such as `2GiB` in bytes; `None` for another text or one too large.
pub(super) fn to_bytes(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let shift = match &text[digits..] {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A share such as `150%`, in percent.
pub(super) fn to_percent(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('%')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The candidate nearest to `text`, if it is near enough to be meant: the only one that
/// begins so, or one that is written almost so.
pub(crate) fn nearest<'a>(text: &str, candidates: &[&'a str]) -> Option<&'a str> {
    if text.len() > 64 {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let mut begun = candidates.iter().filter(|candidate| lower.len() >= 3 && candidate.starts_with(&lower));
    if let (Some(candidate), None) = (begun.next(), begun.next()) {
        return Some(candidate);
    }
    let distances =
        candidates.iter().map(|candidate| (distance(&lower, &candidate.to_ascii_lowercase()), *candidate));
    let (distance, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + candidate.len() / 4).then_some(candidate)
}

/// Optimal string alignment distance: insertions, deletions, substitutions and
/// transpositions of neighbours.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut best = (rows[i][j + 1] + 1).min(row[j] + 1).min(rows[i][j] + usize::from(a != b));
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, kind) in [
            ("no", Kind::String),
            ("on", Kind::String),
            ("12:30", Kind::String),
            ("1_000", Kind::String),
            ("~", Kind::Null),
            ("True", Kind::Boolean),
            ("-12", Kind::Integer),
            ("0o17", Kind::Integer),
            ("0xfF", Kind::Integer),
            ("1.0", Kind::Float),
            (".5", Kind::Float),
            ("1e3", Kind::Float),
            ("-.inf", Kind::Float),
            (".nan", Kind::Float),
            (".", Kind::String),
            ("1.2.3", Kind::String),
            ("e3", Kind::String),
        ] {
            assert_eq!(Kind::of(text, true), kind, "{text}");
            assert_eq!(Kind::of(text, false), Kind::String, "{text}");
        }
    }

    #[test]
    fn money_is_kept_in_millionths() {
        assert_eq!(to_millionths("2.50"), Some(2_500_000));
        assert_eq!(to_millionths("0"), Some(0));
        assert_eq!(to_millionths("0.000001"), Some(1));
        for text in ["", ".", "1.", ".5", "-1", "1.0000001", "1e3", "18446744073709.551616", "1.5.5"] {
            assert_eq!(to_millionths(text), None, "{text}");
        }
        assert_eq!(to_millionths("18446744073709.551615"), Some(u64::MAX));
    }

    #[test]
    fn suggestions_are_near() {
        assert_eq!(nearest("wirte", &["read", "write", "deny"]), Some("write"));
        assert_eq!(nearest("Exec", &["exec", "env"]), Some("exec"));
        assert_eq!(nearest("unless", &["refuse", "unless_after", "since"]), Some("unless_after"));
        assert_eq!(nearest("heap", &["heap.read", "heap.write", "infer"]), None);
        assert_eq!(nearest("banana", &["read", "write", "deny"]), None);
    }
}
