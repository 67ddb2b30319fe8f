use serde_json::Value;

use super::{Health, condition};
use crate::key::text;

pub(super) fn job(live: &Value) -> Health {
    if let Some(("True", _, message)) = condition(live, "Failed") {
        return Health::degraded(message);
    }
    if let Some(("True", _, message)) = condition(live, "Complete") {
        return Health { message: message.to_owned(), ..Health::healthy() };
    }
    if let Some(("True", _, message)) = condition(live, "Suspended") {
        return Health::suspended(message);
    }
    Health::progressing("")
}

/// Lenient on purpose, as Argo's: only an idle CronJob whose last run did not succeed is degraded.
pub(super) fn cron_job(live: &Value) -> Health {
    let Some(status) = live.get("status") else {
        return Health::progressing("Waiting for the first status");
    };
    if live.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        return Health { message: "CronJob is suspended".to_owned(), ..Health::healthy() };
    }
    let is_active =
        status.get("active").and_then(Value::as_array).is_some_and(|active| !active.is_empty());
    // RFC 3339 instants in UTC with whole seconds compare as text.
    match (text(status, "/lastScheduleTime"), text(status, "/lastSuccessfulTime")) {
        (Some(scheduled), Some(succeeded)) if !is_active && succeeded < scheduled => {
            Health::degraded("the last scheduled run did not succeed")
        }
        (_, _) => Health::healthy(),
    }
}
