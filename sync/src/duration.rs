//! Durations as users write them: Go's form or plain seconds.

use chrono::Duration;

/// Reads `1h30m`, `90s`, `500ms`, `1.5h` or a plain number of seconds; `None` for anything else and for negative values.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::seconds(i64::from(seconds)));
    }
    let mut rest = text;
    let mut millis = 0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        millis += value
            * match &rest[..unit] {
                "ms" => 1.0,
                "s" => 1_000.0,
                "m" => 60_000.0,
                "h" => 3_600_000.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    // A century is more than anybody means, and keeps sums with instants in range.
    (millis < 3.2e12).then(|| Duration::milliseconds(millis as i64))
}

#[cfg(test)]
mod tests {
    use chrono::Duration;

    use super::parse;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let check = |text: &str, seconds: f64| {
            let wanted = Duration::milliseconds((seconds * 1000.0) as i64);
            assert_eq!(parse(text), Some(wanted), "{text}");
        };
        check("5", 5.0);
        check("5s", 5.0);
        check("1m30s", 90.0);
        check("1.5h", 5400.0);
        check("250ms", 0.25);
        for bad in ["", "m", "5x", "-5s", "1m-3s", "9999999999999h"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
