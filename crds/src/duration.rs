//! Durations as Go writes them (`5m`, `1h30m`, `1.5s`), and as plain seconds.

use chrono::TimeDelta;

/// Units with their length in nanoseconds.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is no duration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is no duration")]
pub struct NotADuration {
    /// The text.
    pub text: String,
}

/// Reads a duration as Go's `time.ParseDuration` does: `300ms`, `-1.5h`, `2h45m`, `0`. Units are needed.
///
/// # Errors
/// The text is no such duration, or longer than 292 years.
pub fn parse(text: &str) -> Result<TimeDelta, NotADuration> {
    nanoseconds(text)
        .map(TimeDelta::nanoseconds)
        .ok_or_else(|| NotADuration { text: text.to_string() })
}

/// Reads a duration where plain numbers are seconds, as `pause.duration` and sync retries have it: `90`, `90s`, `1m30s`.
///
/// # Errors
/// The text is neither a whole number nor a duration.
pub fn parse_or_seconds(text: &str) -> Result<TimeDelta, NotADuration> {
    let text = text.trim();
    match text.parse::<i64>() {
        Ok(seconds) => {
            TimeDelta::try_seconds(seconds).ok_or_else(|| NotADuration { text: text.to_string() })
        }
        Err(_) => parse(text),
    }
}

/// Writes a duration without the parts that are zero: `1h30m`, `45s`, `1.5s`, `0s`. [`parse`] reads it back.
pub fn print(duration: TimeDelta) -> String {
    let negative = duration < TimeDelta::zero();
    let duration = duration.abs();
    let seconds = duration.num_seconds();
    let nanos = duration.subsec_nanos();
    let mut text = String::new();
    if negative {
        text.push('-');
    }
    for (value, unit) in [(seconds / 3600, "h"), (seconds / 60 % 60, "m")] {
        if value > 0 {
            text.push_str(&format!("{value}{unit}"));
        }
    }
    if nanos > 0 {
        let fraction = format!("{nanos:09}");
        text.push_str(&format!("{}.{}s", seconds % 60, fraction.trim_end_matches('0')));
    } else if seconds % 60 > 0 || seconds == 0 {
        text.push_str(&format!("{}s", seconds % 60));
    }
    text
}

fn nanoseconds(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, remaining) = split_while(after, |c| !c.is_ascii_digit() && c != '.');
        let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        total = total.checked_add(scaled(number, scale)?)?;
        rest = remaining;
    }
    i64::try_from(sign * total).ok()
}

/// Returns a decimal such as `1.5` times `scale`, cut to a whole number.
fn scaled(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Digits beyond the 18th are below a nanosecond of an hour.
    let digits = &fraction[..fraction.len().min(18)];
    let numerator: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let denominator = 10_i128.pow(u32::try_from(digits.len()).ok()?);
    whole.checked_mul(scale)?.checked_add(numerator * scale / denominator)
}

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !keep(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests;
