//! Sends what was decided, stage by stage, and stops at the first write that does not succeed. There is no choice left here.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde::Deserialize;
use serde_json::Value;
use sluice_crds::object::{Change, Kind, Meta, ObjectRef, ResourceVersion, Write};
use sluice_engine::plan::{Lower, Notice, Plan};
use tokio::time::Instant;

use crate::client::{self, CallError, Form, Reply};
use crate::expectations::Expectations;
use crate::leadership::Leadership;
use crate::pace::{Answer, Pace};
use crate::queue::Key;
use crate::telemetry::Telemetry;

/// How the refusal of a create ends that met an object of somebody else.
pub(crate) const NOT_OURS: &str = "exists and is not ours";

/// Writes of one plan under way at the same time: a sync of a thousand objects must not keep the API server from an abort.
const AT_ONCE: usize = 8;

/// What became of one write (`design.md` 8).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It happened; the version that it made, if the answer says.
    Applied(Option<ResourceVersion>),
    /// A create found our own object.
    AlreadyExistsOurs(ResourceVersion),
    /// The deletion happened, and the object is gone at once.
    Gone,
    /// The world moved.
    Conflict(String),
    /// The server will not do it, in its words.
    Refused(String),
    /// A Pod is not evicted, in the server's words; nothing relies on it, and it is asked for again later.
    NotEvicted(String),
    /// The server cannot do it now.
    Unavailable(Option<Duration>),
    /// It may have happened, or may still happen.
    Unknown(String),
    /// This process does not lead any more; nothing was sent.
    NotLeading,
}

impl Outcome {
    fn is_success(&self) -> bool {
        matches!(
            self,
            Self::Applied(_) | Self::AlreadyExistsOurs(_) | Self::Gone | Self::NotEvicted(_)
        )
    }

    /// Returns the label of metrics and logs.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Applied(_) | Self::Gone => "applied",
            Self::AlreadyExistsOurs(_) => "already_exists_ours",
            Self::Conflict(_) => "conflict",
            Self::Refused(_) | Self::NotEvicted(_) => "refused",
            Self::Unavailable(_) => "unavailable",
            Self::Unknown(_) => "unknown",
            Self::NotLeading => "not_leading",
        }
    }
}

/// A write that did not succeed.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Stopped {
    pub(crate) object: ObjectRef,
    pub(crate) outcome: Outcome,
}

/// Sends writes.
pub(crate) struct Executor {
    pub(crate) client: kube::Client,
    pub(crate) leadership: Arc<Leadership>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) limit: Duration,
}

impl Executor {
    /// Executes a plan for the key. `Err` is the first write that did not succeed; nothing of a later stage was sent.
    pub(crate) async fn execute<A: Lower + std::fmt::Debug>(
        &self,
        key: &Key,
        plan: &Plan<A>,
        expectations: &Expectations,
        wrote: &(dyn Fn(&ObjectRef, &Outcome) + Sync),
        told: &(dyn Fn(Vec<Notice>) + Sync),
    ) -> Result<(), Stopped> {
        for stage in &plan.stages {
            let mut failed = None;
            for some in stage.chunks(AT_ONCE) {
                let sent = some.iter().map(|action| async move {
                    let write = action.lower();
                    let outcome = self.perform(key, &write, action.is_touch(), expectations).await;
                    wrote(&write.object, &outcome);
                    if matches!(outcome, Outcome::Applied(_)) {
                        told(action.notices());
                    }
                    if outcome.is_success() && !action.is_touch() {
                        tracing::info!(%key, verb = verb(&write.change), object = %write.object, "executed");
                    }
                    (write.object, outcome)
                });
                let outcomes = join_all(sent).await;
                failed = failed.or(outcomes.into_iter().find(|(_, outcome)| !outcome.is_success()));
            }
            if let Some((object, outcome)) = failed {
                return Err(Stopped { object, outcome });
            }
        }
        Ok(())
    }

    /// Sends one write and records what it means for the fence and for the next observation.
    pub(crate) async fn perform(
        &self,
        key: &Key,
        write: &Write,
        is_touch: bool,
        expectations: &Expectations,
    ) -> Outcome {
        let outcome = match self.obstacle(write).await {
            Some(obstacle) => obstacle,
            None => self.send(write).await,
        };
        self.telemetry.wrote(write, &outcome);
        match &outcome {
            Outcome::Applied(None) if write.change == Change::Evict => {
                if let Some(uid) = &write.preconditions.uid {
                    expectations.deleted(key, &write.object, uid);
                }
            }
            Outcome::Applied(Some(version)) | Outcome::AlreadyExistsOurs(version) => {
                expectations.wrote(key, &write.object.kind, version);
            }
            Outcome::Gone => {
                if let Some(uid) = &write.preconditions.uid {
                    expectations.deleted(key, &write.object, uid);
                }
            }
            // A touch that comes late only stamps; a create that comes late meets its own name.
            Outcome::Unknown(_) if !is_touch && !matches!(write.change, Change::Create { .. }) => {
                self.leadership.unknown(&write.object);
            }
            Outcome::Applied(None)
            | Outcome::Unknown(_)
            | Outcome::Conflict(_)
            | Outcome::Refused(_)
            | Outcome::NotEvicted(_)
            | Outcome::Unavailable(_)
            | Outcome::NotLeading => {}
        }
        outcome
    }

    async fn send(&self, write: &Write) -> Outcome {
        // Permission is asked for at the last moment, and no answer is awaited for longer than it lasts.
        let Some(left) = self.leadership.permission() else { return Outcome::NotLeading };
        let request = write.request();
        let begun = Instant::now();
        let sent = client::send(&self.client, &request, self.limit.min(left)).await;
        // A PodDisruptionBudget answers 429, too: that says nothing about the server.
        let busy = match &sent {
            Err(CallError::Timeout(_)) => true,
            Ok(reply) => reply.status == 429 && write.change != Change::Evict,
            Err(_) => false,
        };
        self.pace.heard(if busy { Answer::Busy } else { Answer::After(begun.elapsed()) });
        let reply = match sent {
            Ok(reply) => reply,
            Err(error) => return Outcome::Unknown(error.to_string()),
        };
        self.telemetry.answered(&write.object, request.method, reply.status);
        match classify(&write.change, &reply) {
            Verdict::Is(outcome) => outcome,
            Verdict::AlreadyExists => self.whose(write, left).await,
        }
    }

    /// Returns why an adoption must not be sent. A cache may still hold an owner that was deleted and left its dependents
    /// behind; what a dead owner is given is collected as garbage. Kubernetes' own controllers read the owner again for the
    /// same reason (`spec-rollouts` 2.4).
    async fn obstacle(&self, write: &Write) -> Option<Outcome> {
        let (name, uid) = adopter(&write.change)?;
        let namespace = write.object.namespace.clone().unwrap_or_default();
        let owner = ObjectRef::namespaced(Kind::ROLLOUT, namespace, name);
        let read = client::get(&self.client, &owner.path(), Form::Metadata, self.limit).await;
        let reply = match read {
            Ok(reply) => reply,
            Err(_) => return Some(Outcome::Unavailable(None)),
        };
        match reply.status {
            200..300 => {}
            404 => return Some(Outcome::Conflict(format!("{owner} is gone and can own nothing"))),
            _ => return Some(Outcome::Unavailable(reply.retry_after)),
        }
        match serde_json::from_slice::<Status>(&reply.body) {
            Ok(Status { metadata, .. })
                if *metadata.uid == *uid && metadata.deletion_timestamp.is_none() =>
            {
                None
            }
            Ok(_) | Err(_) => Some(Outcome::Conflict(format!("{owner} is another one by now"))),
        }
    }

    /// A create met its own name: it is done if the object has the owner that we would have given it.
    async fn whose(&self, write: &Write, left: Duration) -> Outcome {
        #[derive(Deserialize)]
        struct Existing {
            metadata: Meta,
        }
        let path = write.object.path();
        let read = client::get(&self.client, &path, Form::Metadata, self.limit.min(left)).await;
        let existing = match read {
            Ok(reply) if reply.is_success() => serde_json::from_slice::<Existing>(&reply.body),
            Ok(_) | Err(_) => return Outcome::Conflict("it existed, and cannot be read".into()),
        };
        let Ok(Existing { metadata }) = existing else {
            return Outcome::Conflict("it exists, and cannot be decoded".into());
        };
        let wanted = match &write.change {
            Change::Create { body } => body.pointer("/metadata/ownerReferences/0/uid"),
            _ => None,
        };
        match wanted.and_then(Value::as_str) {
            Some(uid) if metadata.is_owned_by(uid) => {
                Outcome::AlreadyExistsOurs(metadata.resource_version)
            }
            // Objects without an owner of ours are known by their name alone.
            None => Outcome::AlreadyExistsOurs(metadata.resource_version),
            Some(_) => Outcome::Refused(format!("{} {NOT_OURS}", write.object)),
        }
    }
}

/// Returns name and uid of the Rollout that takes an ownerless object as its own; of no other write.
fn adopter(change: &Change) -> Option<(&str, &str)> {
    let Change::JsonPatch { operations } = change else { return None };
    let owns = operations.iter().find(|o| o["path"] == "/metadata/ownerReferences")?;
    let owner = &owns["value"][0];
    Some((owner["name"].as_str()?, owner["uid"].as_str()?))
}

/// Returns what a change does in one word. The content is never logged: it may be a Secret's.
pub(crate) fn verb(change: &Change) -> &'static str {
    match change {
        Change::Create { .. } => "create",
        Change::Apply { .. } => "apply",
        Change::MergePatch { .. } | Change::JsonPatch { .. } => "patch",
        Change::Delete { .. } => "delete",
        Change::Evict => "evict",
        Change::Status { .. } => "status",
    }
}

enum Verdict {
    Is(Outcome),
    AlreadyExists,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    kind: String,
    message: String,
    reason: String,
    details: Details,
    metadata: Meta,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
}

/// Says what an answer to a write means (`design.md` 8).
fn classify(change: &Change, reply: &Reply) -> Verdict {
    let status: Status = serde_json::from_slice(&reply.body).unwrap_or_default();
    if reply.is_success() {
        return Verdict::Is(success(change, &status));
    }
    let words = if status.message.is_empty() { reply.message() } else { status.message.clone() };
    let causes = &status.details.causes;
    let is_create = matches!(change, Change::Create { .. });
    if *change == Change::Evict
        && let Some(why) = not_evicted(reply.status, &words, causes)
    {
        return Verdict::Is(Outcome::NotEvicted(why));
    }
    Verdict::Is(match reply.status {
        409 if is_create && status.reason == "AlreadyExists" => return Verdict::AlreadyExists,
        409 if causes.iter().any(|cause| cause.reason == "FieldManagerConflict") => {
            Outcome::Refused(words)
        }
        409 => Outcome::Conflict(words),
        404 if !is_create => Outcome::Conflict(words),
        // A failed `test` of a JSON patch, or a path that is missing, has no causes; a value that is not valid has.
        422 if causes.is_empty() => Outcome::Conflict(words),
        429 => Outcome::Unavailable(reply.retry_after),
        500 if words.contains("failed to create typed patch object") => Outcome::Refused(words),
        500.. => Outcome::Unknown(words),
        _ => Outcome::Refused(words),
    })
}

/// Says why a Pod is not evicted: a PodDisruptionBudget (429), several of them (500), a missing right, a webhook.
fn not_evicted(status: u16, words: &str, causes: &[Cause]) -> Option<String> {
    let budget = causes.iter().find(|cause| cause.reason == "DisruptionBudget");
    let stays = match status {
        429 => budget.is_some(),
        500 => words.contains("PodDisruptionBudget"),
        400 | 403 | 405 | 422 => true,
        _ => false,
    };
    let why = budget.map_or(words, |cause| cause.message.as_str());
    stays.then(|| if why.is_empty() { words } else { why }.to_owned())
}

fn success(change: &Change, body: &Status) -> Outcome {
    let version = &body.metadata.resource_version;
    let lives_on =
        body.metadata.deletion_timestamp.is_some() || !body.metadata.finalizers.is_empty();
    if matches!(change, Change::Delete { .. }) && (body.kind == "Status" || !lives_on) {
        return Outcome::Gone;
    }
    Outcome::Applied((!version.is_empty()).then(|| version.clone()))
}

#[cfg(test)]
mod tests;
