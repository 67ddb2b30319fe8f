//! Spans of time as kubectl writes them.

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Returns how long ago the instant was; nothing for an object that nobody created yet.
pub(crate) fn age(now: DateTime<Utc>, at: Option<&Time>) -> String {
    at.map_or_else(String::new, |at| span(now.timestamp() - at.0.as_second()))
}

/// Returns a span in kubectl's short form: `52s`, `4m10s`, `3h`, `3d`.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 && seconds % 60 > 0 {
        format!("{minutes}m{}s", seconds % 60)
    } else if hours < 3 {
        format!("{minutes}m")
    } else if hours < 48 {
        format!("{hours}h")
    } else {
        format!("{days}d")
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_are_written_as_kubectl_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (250, "4m10s"),
            (600, "10m"),
            (10_800, "3h"),
            (259_200, "3d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
