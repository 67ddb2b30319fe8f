use serde_json::Value;

use super::{Health, condition};
use crate::key::text;

pub(super) fn persistent_volume_claim(live: &Value) -> Health {
    match text(live, "/status/phase") {
        Some("Lost") => Health::degraded("the volume is lost"),
        Some("Pending") => Health::progressing("waiting for a volume"),
        Some("Bound") => Health::healthy(),
        other => Health::unknown(format!("phase `{}`", other.unwrap_or_default())),
    }
}

pub(super) fn custom_resource_definition(live: &Value) -> Health {
    if let Some(("True", _, message)) = condition(live, "Terminating") {
        return Health::progressing(message);
    }
    if let Some(("False", _, message)) = condition(live, "NamesAccepted") {
        return Health::degraded(message);
    }
    if let Some(("True", _, message)) = condition(live, "NonStructuralSchema") {
        return Health::degraded(message);
    }
    match condition(live, "Established") {
        Some(("True", _, _)) => Health::healthy(),
        None | Some((_, "Installing", _)) => Health::progressing("CRD is not established yet"),
        Some((_, _, message)) => Health::degraded(message),
    }
}

pub(super) fn api_service(live: &Value) -> Health {
    match condition(live, "Available") {
        Some(("True", _, message)) => Health { message: message.to_owned(), ..Health::healthy() },
        Some((_, reason, message)) => Health::progressing(format!("{reason}: {message}")),
        None => Health::progressing("waiting to be processed"),
    }
}

pub(super) fn pod_disruption_budget(live: &Value) -> Health {
    let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
    let Some(conditions) = conditions.filter(|list| !list.is_empty()) else {
        return Health::progressing("waiting for the first status");
    };
    let failed =
        conditions.iter().find(|c| c["status"] == "False" && c["reason"] != "InsufficientPods");
    match failed {
        Some(failed) => Health::degraded(failed["message"].as_str().unwrap_or_default()),
        None => Health::healthy(),
    }
}
