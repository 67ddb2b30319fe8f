use serde_json::Value;

use super::{Health, condition};
use crate::key::{annotation, text};

pub(super) fn pod(live: &Value) -> Health {
    let ignores = annotation(live, "argocd.argoproj.io/ignore-restart-policy") == Some("true");
    let always = ignores || text(live, "/spec/restartPolicy").unwrap_or("Always") == "Always";
    if always && let Some(message) = stuck(live) {
        return Health::degraded(message);
    }
    let message = text(live, "/status/message").unwrap_or_default();
    match text(live, "/status/phase") {
        Some("Pending") => Health::progressing(message),
        Some("Succeeded") => Health { message: message.to_owned(), ..Health::healthy() },
        Some("Failed") => Health::degraded(match failure(live) {
            Some(failure) if message.is_empty() => failure,
            Some(_) | None => message.to_owned(),
        }),
        Some("Running") if always => running(live, message),
        Some("Running") => Health::progressing(message),
        other => Health::unknown(format!("phase `{}`", other.unwrap_or_default())),
    }
}

fn running(live: &Value, message: &str) -> Health {
    if condition(live, "Ready").is_some_and(|(status, _, _)| status == "True") {
        return Health { message: message.to_owned(), ..Health::healthy() };
    }
    let crashed = containers(live)
        .find(|c| c.pointer("/lastState/terminated").is_some())
        .and_then(|c| c["name"].as_str());
    match crashed {
        Some(name) => Health::degraded(format!("container `{name}` ended before and is not ready")),
        None => Health::progressing(message),
    }
}

fn containers(live: &Value) -> impl Iterator<Item = &Value> {
    let list = |field: &str| live.pointer(&format!("/status/{field}")).and_then(Value::as_array);
    [list("initContainerStatuses"), list("containerStatuses")].into_iter().flatten().flatten()
}

fn stuck(live: &Value) -> Option<String> {
    containers(live).find_map(|container| {
        let reason = text(container, "/state/waiting/reason")?;
        let bad =
            reason.starts_with("Err") || reason.ends_with("Error") || reason.ends_with("BackOff");
        let name = container["name"].as_str().unwrap_or_default();
        let message = text(container, "/state/waiting/message").unwrap_or_default();
        bad.then(|| format!("container `{name}`: {reason} {message}").trim_end().to_owned())
    })
}

fn failure(live: &Value) -> Option<String> {
    containers(live).find_map(|container| {
        let ended = container.pointer("/state/terminated")?;
        let code = ended["exitCode"].as_i64().filter(|code| *code != 0)?;
        let name = container["name"].as_str().unwrap_or_default();
        let why = text(ended, "/message").or(text(ended, "/reason")).unwrap_or_default();
        Some(format!("container `{name}` ended with exit code {code} {why}").trim_end().to_owned())
    })
}
