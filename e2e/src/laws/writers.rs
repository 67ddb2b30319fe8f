//! Who made a revision: the API server does not say so, but its field managers and its audit log do.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;
use sluice_crds::labels::{MANAGER_ROLLOUT, MANAGER_STATUS};

use crate::recorder::{Request, Revision};

/// Who made a revision: the field manager whose entry moved. Times have whole seconds, so that a second write of the same
/// fields in one second moves nothing; it is of the youngest manager, if there is only one. A write that only takes fields
/// away (as `promote` takes off a pause) moves nobody's entry, and may be anybody's.
pub(super) fn writer(before: Option<&Value>, after: &Value, seen: DateTime<Utc>) -> Option<String> {
    // Who deletes an object is no field manager of it.
    if before.is_some_and(|before| is_deleted(after) && !is_deleted(before)) {
        return None;
    }
    let entries = |object: &Value| -> Vec<Value> {
        object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default()
    };
    let old = before.map(entries).unwrap_or_default();
    let all = entries(after);
    let name = |entry: &Value| entry["manager"].as_str().unwrap_or_default().to_owned();
    let time = |entry: &Value| entry["time"].as_str().unwrap_or_default().to_owned();
    let known = |entry: &Value| {
        let same = |o: &&Value| {
            ["manager", "operation", "subresource"].iter().all(|field| o[*field] == entry[*field])
        };
        old.iter().find(same).is_some_and(|o| o["time"] == entry["time"])
    };
    let mut moved: Vec<_> = all.iter().filter(|entry| !known(entry)).collect();
    if moved.is_empty() {
        let youngest = all.iter().map(&time).max()?;
        let written = DateTime::parse_from_rfc3339(&youngest).ok()?.to_utc();
        let takes_away = before.is_some_and(|before| is_part_of(after, before));
        if takes_away || seen - written > Duration::seconds(3) {
            return None;
        }
        moved = all.iter().filter(|entry| time(entry) == youngest).collect();
        if moved.len() > 1 {
            return None;
        }
    }
    let ours = |entry: &&&Value| [MANAGER_ROLLOUT, MANAGER_STATUS].contains(&name(entry).as_str());
    moved.iter().find(ours).or(moved.first()).map(|entry| name(entry))
}

/// Completes what field managers say by the audit log: each revision of which the writer is known takes the request that made
/// it; of the requests that are left, the one next to a revision made it, unless another's is about as near.
pub(super) fn settle(
    revisions: &[Revision],
    mut writers: Vec<Option<String>>,
    requests: &[Request],
) -> Vec<Option<String>> {
    let routes = routes(revisions);
    let mut left: Vec<&Request> =
        requests.iter().filter(|r| r.is_write() && r.is_accepted()).collect();
    let away = |request: &Request, i: usize| (request.stage_timestamp - revisions[i].seen).abs();
    let may_have_made = |request: &Request, i: usize| {
        let subresource = request.object_ref.as_ref().map_or("", |o| o.subresource.as_str());
        request.is_about(&revisions[i])
            && routes[i].is_some_and(|route| route.fits(&request.verb, subresource))
            && request.request_received_timestamp <= revisions[i].seen
            && away(request, i) < Duration::seconds(2)
    };
    let is_ours = |name: &str| name.starts_with("sluice-");
    for (i, writer) in writers.iter().enumerate() {
        let Some(writer) = writer else { continue };
        // We always name ourselves; others may leave it to the API server.
        let fits = |r: &Request| match r.manager() {
            Some(manager) => manager == writer,
            None => !is_ours(writer),
        };
        let made = (0..left.len())
            .filter(|at| may_have_made(left[*at], i) && fits(left[*at]))
            .min_by_key(|at| away(left[*at], i));
        if let Some(made) = made {
            left.remove(made);
        }
    }
    let name = |r: &Request| r.manager().unwrap_or(&r.user.username).to_owned();
    for (i, writer) in writers.iter_mut().enumerate() {
        if writer.is_some() || revisions[i].deleted {
            continue;
        }
        let near = left.iter().filter(|r| may_have_made(r, i));
        let mut near: Vec<_> = near.map(|r| (away(r, i), name(r))).collect();
        near.sort();
        let Some((first, name)) = near.first() else { continue };
        let rival = near.iter().find(|(_, other)| other != name);
        // A watch that is late by a moment brings a revision nearer to the request after its own.
        let apart =
            |next: Duration| next > *first * 3 && next - *first > Duration::milliseconds(500);
        if rival.is_none_or(|(next, _)| apart(*next)) {
            *writer = Some(name.clone());
        }
    }
    writers
}

/// How a revision must have come about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    /// By a deletion that has to wait for finalizers.
    Deletion,
    /// Through the status subresource.
    Status,
    /// Through the object itself.
    Object,
    /// Through either.
    Any,
}

impl Route {
    fn fits(self, verb: &str, subresource: &str) -> bool {
        match self {
            Self::Deletion => verb == "delete",
            Self::Status => verb != "delete" && subresource == "status",
            Self::Object => verb != "delete" && subresource != "status",
            Self::Any => verb != "delete",
        }
    }
}

/// How each revision must have come about; `None` for the end of an object.
fn routes(revisions: &[Revision]) -> Vec<Option<Route>> {
    // Kinds whose status is written apart.
    const APART: [&str; 4] = ["Rollout", "ReplicaSet", "Deployment", "Service"];
    let mut last: BTreeMap<(&str, &str), &Value> = BTreeMap::new();
    let route = |revision: &Revision, before: Option<&Value>| {
        let after = &revision.object;
        let Some(before) = before else { return Route::Object };
        if is_deleted(after) && !is_deleted(before) {
            Route::Deletion
        } else if !APART.contains(&revision.kind.as_str()) {
            Route::Any
        } else if before["status"] != after["status"] {
            Route::Status
        } else {
            Route::Object
        }
    };
    let mut all = Vec::new();
    for revision in revisions {
        let key = (revision.kind.as_str(), revision.name.as_str());
        if revision.deleted {
            last.remove(&key);
            all.push(None);
        } else {
            let before = last.insert(key, &revision.object);
            all.push(Some(route(revision, before)));
        }
    }
    all
}

fn is_deleted(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether everything in `part` is in `whole` too, except what the API server changes with every write.
fn is_part_of(part: &Value, whole: &Value) -> bool {
    const ASIDE: [&str; 3] = ["managedFields", "resourceVersion", "generation"];
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part.iter().all(|(key, value)| {
            let there = whole.get(key).is_some_and(|other| is_part_of(value, other));
            there || ASIDE.contains(&key.as_str())
        }),
        _ => part == whole,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(before: Value, after: Value, writer: Option<&str>) {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let object = |(status, entries): (Value, Value)| {
            let list: Vec<_> = entries
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, time)| json!({ "manager": name, "time": time }))
                .collect();
            json!({ "metadata": { "managedFields": list }, "status": status })
        };
        let parts = |mut value: Value| (value["status"].take(), value["by"].take());
        let (before, after) = (object(parts(before)), object(parts(after)));
        let found = super::writer(Some(&before), &after, at("2026-01-01T00:00:02.5Z"));
        assert_eq!(found.as_deref(), writer, "from {before} to {after}");
    }

    #[test]
    fn a_write_is_of_the_manager_whose_entry_moved() {
        let (first, second) = ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z");
        let old = json!({ "status": { "step": 1, "pause": 1 }, "by": { "sluice-status": first } });
        let step = json!({ "step": 2, "pause": 1 });
        let moved = json!({ "status": step, "by": { "sluice-status": second } });
        check(old.clone(), moved, Some("sluice-status"));
        let user = json!({ "status": step, "by": { "sluice-status": first, "kubectl": second } });
        check(old.clone(), user, Some("kubectl"));
        let in_one_second = json!({ "status": step, "by": { "sluice-status": first } });
        check(old, in_one_second, Some("sluice-status"));
    }

    #[test]
    fn who_only_took_fields_away_is_not_known() {
        let first = "2026-01-01T00:00:01Z";
        let old = json!({ "status": { "step": 1, "pause": 1 }, "by": { "sluice-status": first } });
        let promoted = json!({ "status": { "step": 1 }, "by": { "sluice-status": first } });
        check(old, promoted, None);
        let long_ago = "2025-12-31T23:59:50Z";
        let old = json!({ "status": { "step": 1 }, "by": { "sluice-status": long_ago } });
        let changed = json!({ "status": { "step": 2 }, "by": { "sluice-status": long_ago } });
        check(old, changed, None);
    }

    fn at(milliseconds: i64) -> DateTime<Utc> {
        let start = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc();
        start + Duration::milliseconds(milliseconds)
    }

    /// Revisions (when seen, writer by field managers) and requests (when answered, field manager or else user).
    #[track_caller]
    fn check_settled(
        revisions: &[(i64, Option<&str>)],
        requests: &[(i64, &str)],
        wanted: &[Option<&str>],
    ) {
        let revision = |(seen, _): &(i64, Option<&str>)| Revision {
            kind: "ReplicaSet".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            resource_version: seen.to_string(),
            deleted: false,
            seen: at(*seen),
            object: json!({ "spec": seen }),
        };
        let request = |(answered, name): &(i64, &str)| -> Request {
            let query = if name.starts_with("sluice") {
                format!("?fieldManager={name}")
            } else {
                String::new()
            };
            let value = json!({
                "verb": "patch", "stage": "ResponseComplete",
                "requestURI": format!("/apis/apps/v1/namespaces/shop/replicasets/web{query}"),
                "user": { "username": name },
                "objectRef": { "resource": "replicasets", "namespace": "shop", "name": "web" },
                "responseStatus": { "code": 200 },
                "requestReceivedTimestamp": at(*answered - 20), "stageTimestamp": at(*answered),
            });
            serde_json::from_value(value).unwrap()
        };
        let all: Vec<Revision> = revisions.iter().map(revision).collect();
        let asked: Vec<Request> = requests.iter().map(request).collect();
        let known = revisions.iter().map(|(_, name)| name.map(str::to_owned)).collect();
        let found = settle(&all, known, &asked);
        let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
        assert_eq!(found, wanted, "{revisions:?} by {requests:?}");
    }

    #[test]
    fn an_unknown_writer_is_who_asked_at_that_moment() {
        let (ours, theirs) = ("sluice-rollout", "replicaset-controller");
        check_settled(&[(100, None)], &[(105, ours)], &[Some(ours)]);
        check_settled(&[(100, None)], &[(105, theirs)], &[Some(theirs)]);
        check_settled(&[(100, None)], &[(9000, ours)], &[None]);
        // What made a revision that is known made no other.
        let revisions = [(100, Some(ours)), (110, None)];
        check_settled(&revisions, &[(104, ours), (118, theirs)], &[Some(ours), Some(theirs)]);
        // Two as near as each other: nobody knows.
        check_settled(&[(100, None)], &[(104, ours), (106, theirs)], &[None]);
        // Seen late, it is nearer to what somebody asked for after it.
        check_settled(&[(400, None)], &[(10, ours), (390, theirs)], &[None]);
    }
}
