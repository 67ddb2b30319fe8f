//! Scenario files: manifests, timed facts, and the transcript that they must give.
//!
//! A scenario runs on a [`World`] under virtual time with the real decisions. Its transcript says in one line each what was
//! decided, what people were told, and how the state of each Rollout and AnalysisRun changed. Such files are the specification
//! that people write and read; `kubectl sluice simulate` runs the same format.
//!
//! ```yaml
//! manifests:                       # created at the start, in order
//! - {apiVersion: argoproj.io/v1alpha1, kind: Rollout, …}
//! pods: {readyAfterSeconds: 2}     # how long things take; default 1 s; listedAfterSeconds by default 0
//! until: 120                       # seconds; default 600
//! events:
//! - {at: 10, image: "demo:2"}      # kubectl argo rollouts set image
//! - {at: 60, abort: true}          # or retry, promote, promoteFull, pause, resume, restart
//! - {at: 70, apply: {…}}           # server-side apply of any object by `git`
//! - {at: 80, patch: {…}}           # merge patch; names its object by kind and metadata
//! - {at: 85, failPod: web-6fd4}    # or failPods, healPods; by name prefix
//! - {at: 90, delete: {kind: Rollout, name: web}}
//! metrics:                         # what a provider answers, by metric name
//!   error-rate: [{from: 0, value: 0}, {from: 30, value: 0.2}, {from: 50, unreachable: timeout}]
//! ```

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_crds::object::Kind;

use crate::api_server::{ApiServer, Call, Reply};
use crate::workloads::WorkloadConfig;
use crate::world::World;

pub(crate) mod controller;
pub(crate) mod transcript;

use controller::Controller;
pub use transcript::Transcript;

/// A scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// Objects that exist from the start.
    pub manifests: Vec<Value>,
    /// What happens, and when.
    #[serde(default)]
    pub events: Vec<Event>,
    /// What metric providers answer.
    #[serde(default)]
    pub metrics: BTreeMap<String, Vec<Answer>>,
    /// How long Pods take.
    #[serde(default)]
    pub pods: Pods,
    /// Seconds after which the scenario ends; it ends earlier if nothing is pending. Default 600.
    #[serde(default = "ten_minutes")]
    pub until: f64,
    /// Events out of any order that time gives: played on the explorer's model ([`crate::explore::replay`]).
    #[serde(default)]
    pub interleaving: Option<Vec<String>>,
}

fn ten_minutes() -> f64 {
    600.0
}

/// How long Pods take.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pods {
    /// From creation to ready. Default 1 s.
    pub ready_after_seconds: Option<f64>,
    /// From deletion to the end. Default 1 s.
    pub terminated_after_seconds: Option<f64>,
    /// From ready (or its loss) to the EndpointSlice. Default 0.
    pub listed_after_seconds: Option<f64>,
}

/// Something that happens.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// Seconds since the start.
    pub at: f64,
    /// What.
    #[serde(flatten)]
    pub deed: Deed,
}

/// What happens. Deeds without an object concern the only Rollout of the scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Deed {
    /// Sets the image of the first container.
    Image(String),
    /// Asks for an abort.
    Abort(bool),
    /// Retries an aborted update.
    Retry(bool),
    /// Ends the present pause.
    Promote(bool),
    /// Skips all that is left.
    PromoteFull(bool),
    /// Sets `spec.paused`.
    Pause(bool),
    /// Sets `spec.replicas`.
    Replicas(u32),
    /// Applies an object server-side as field manager `git`.
    Apply(Value),
    /// Merges into the object that the patch names.
    Patch(Value),
    /// Deletes an object.
    Delete(Named),
    /// Lets the available Pods of a ReplicaSet fail, by name prefix, until they are deleted or healed.
    FailPods(String),
    /// Lets one Pod fail that has not failed yet, by name prefix.
    FailPod(String),
    /// Lets failed Pods start again, by name prefix.
    HealPods(String),
}

/// An object by kind and name.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// What a provider answers from a time on.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// Seconds since the start.
    pub from: f64,
    /// A value.
    #[serde(default)]
    pub value: Option<Value>,
    /// The server cannot be reached, with this message.
    #[serde(default)]
    pub unreachable: Option<String>,
    /// The question or the answer is bad, with this message.
    #[serde(default)]
    pub error: Option<String>,
}

/// Why a scenario could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file is not a scenario.
    #[error("the scenario cannot be read: {0}")]
    Malformed(String),
    /// The API server refused an object of the scenario.
    #[error("{what}: the API server refused it: {message}")]
    Refused {
        /// What was refused.
        what: String,
        /// The server's words.
        message: String,
    },
    /// A deed needs exactly one Rollout.
    #[error("the event at {at} s concerns the only Rollout, but there are {count}")]
    NoRollout {
        /// Time of the event.
        at: f64,
        /// Rollouts there are.
        count: usize,
    },
}

/// The instant at which scenarios start.
pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()
}

pub(crate) fn seconds(seconds: f64) -> TimeDelta {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of a scenario")]
    TimeDelta::milliseconds((seconds * 1000.0).round() as i64)
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(yaml: &str) -> Result<Self, ScenarioError> {
        serde_saphyr::from_str(yaml).map_err(|error| ScenarioError::Malformed(error.to_string()))
    }

    /// Runs the scenario and returns what happened.
    ///
    /// # Errors
    /// If the API server refuses an object or an event of the scenario.
    pub fn run(&self) -> Result<Transcript, ScenarioError> {
        if let Some(events) = &self.interleaving {
            return self.replay(events);
        }
        let default = WorkloadConfig::default();
        let config = WorkloadConfig {
            ready_after: self.pods.ready_after_seconds.map_or(default.ready_after, seconds),
            terminated_after: self
                .pods
                .terminated_after_seconds
                .map_or(default.terminated_after, seconds),
            endpoint_delay: self.pods.listed_after_seconds.map_or(default.endpoint_delay, seconds),
        };
        let mut world = World::new(start(), config);
        for manifest in &self.manifests {
            load(&mut world, manifest)?;
        }
        let mut controller = Controller::new(Box::new(self.metrics.clone()));
        let mut transcript = Transcript::new(start());
        let mut events = self.events.clone();
        events.sort_by(|a, b| a.at.total_cmp(&b.at));
        let mut events = events.into_iter().peekable();
        let end = start() + seconds(self.until);
        loop {
            while let Some(event) =
                events.next_if(|event| start() + seconds(event.at) <= world.now())
            {
                perform(&mut world, &event, &mut transcript)?;
            }
            controller.settle(&mut world, &mut transcript);
            let next = [
                world.next_at(),
                controller.next_at(world.now()),
                events.peek().map(|event| start() + seconds(event.at)),
            ];
            match next.into_iter().flatten().min().filter(|next| *next <= end) {
                Some(next) => world.advance_to(next),
                None => break,
            }
        }
        transcript.end(&world);
        Ok(transcript)
    }
}

impl Scenario {
    fn replay(&self, events: &[String]) -> Result<Transcript, ScenarioError> {
        let replay = crate::explore::replay::run(&self.manifests, events)
            .map_err(ScenarioError::Malformed)?;
        let mut transcript = Transcript::new(start());
        for line in &replay.lines {
            transcript.line(start(), line);
        }
        if let Some(broken) = &replay.broken {
            transcript.violation(start(), &format!("{}: {}", broken.law, broken.detail));
        }
        Ok(transcript)
    }
}

fn load(world: &mut World, manifest: &Value) -> Result<(), ScenarioError> {
    let now = world.now();
    world.api.load(now, "kubectl", manifest.clone()).map_err(|failure| ScenarioError::Refused {
        what: name_of(manifest),
        message: failure.to_string(),
    })?;
    world.settle();
    Ok(())
}

fn name_of(object: &Value) -> String {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    format!("{} {}", text("/kind"), text("/metadata/name"))
}

fn send(world: &mut World, what: &str, call: &Call) -> Result<(), ScenarioError> {
    match world.handle(call) {
        Reply::Json { code, body } if code >= 300 => Err(ScenarioError::Refused {
            what: what.to_owned(),
            message: body["message"].as_str().unwrap_or_default().to_owned(),
        }),
        Reply::Json { .. } | Reply::Text(_) | Reply::Watch(_) => Ok(()),
    }
}

const MERGE: &str = "application/merge-patch+json";

/// Does what an event says.
pub(crate) fn perform(
    world: &mut World,
    event: &Event,
    transcript: &mut Transcript,
) -> Result<(), ScenarioError> {
    let (text, call) = match &event.deed {
        Deed::Apply(object) => {
            let path = path_of(&world.api, object)?;
            let call = Call::new("PATCH", &format!("{path}?fieldManager=git&force=true"));
            let call = call.with_body("application/apply-patch+yaml", object);
            (format!("applies {}", name_of(object)), call)
        }
        Deed::Patch(object) => {
            let call = Call::new("PATCH", &path_of(&world.api, object)?).with_body(MERGE, object);
            (format!("patches {} {}", name_of(object), brief(object)), call)
        }
        Deed::Delete(named) => {
            let object = world.api.find(&named.kind, &named.name);
            let path = path_of(&world.api, &object.unwrap_or_default())?;
            (format!("deletes {} {}", named.kind, named.name), Call::new("DELETE", &path))
        }
        Deed::FailPods(prefix) => {
            transcript.user(world.now(), &format!("the Pods {prefix}* fail"));
            return set_behaviour(world, prefix, &json!("crash"), usize::MAX);
        }
        Deed::FailPod(prefix) => {
            transcript.user(world.now(), &format!("a Pod {prefix}* fails"));
            return set_behaviour(world, prefix, &json!("crash"), 1);
        }
        Deed::HealPods(prefix) => {
            transcript.user(world.now(), &format!("the Pods {prefix}* start again"));
            return set_behaviour(world, prefix, &Value::Null, usize::MAX);
        }
        about_rollout => on_rollout(world, event.at, about_rollout)?,
    };
    transcript.user(world.now(), &text);
    send(world, &text, &call.by("kubectl"))
}

fn brief(patch: &Value) -> String {
    let mut patch = patch.clone();
    if let Some(object) = patch.as_object_mut() {
        object.retain(|key, _| !matches!(key.as_str(), "apiVersion" | "kind"));
    }
    patch.to_string()
}

fn path_of(api: &ApiServer, object: &Value) -> Result<String, ScenarioError> {
    api.path_of(object).map_err(|failure| ScenarioError::Refused {
        what: name_of(object),
        message: failure.to_string(),
    })
}

/// What Argo's kubectl plugin sends.
fn on_rollout(world: &World, at: f64, deed: &Deed) -> Result<(String, Call), ScenarioError> {
    let rollouts = world.api.objects(&Kind::ROLLOUT, None);
    let [rollout] = &rollouts[..] else {
        return Err(ScenarioError::NoRollout { at, count: rollouts.len() });
    };
    let path = path_of(&world.api, rollout)?;
    let status = |body: Value| {
        Call::new("PATCH", &format!("{path}/status")).with_body(MERGE, &json!({ "status": body }))
    };
    let spec = |body: Value| Call::new("PATCH", &path).with_body(MERGE, &json!({ "spec": body }));
    Ok(match deed {
        Deed::Image(image) => {
            let patch = json!([{
                "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image,
            }]);
            let call = Call::new("PATCH", &path).with_body("application/json-patch+json", &patch);
            (format!("sets the image to {image}"), call)
        }
        Deed::Abort(_) => ("aborts".to_owned(), status(json!({ "abort": true }))),
        Deed::Retry(_) => ("retries".to_owned(), status(json!({ "abort": false }))),
        Deed::Promote(_) => ("promotes".to_owned(), status(json!({ "pauseConditions": null }))),
        Deed::PromoteFull(_) => {
            ("promotes fully".to_owned(), status(json!({ "promoteFull": true })))
        }
        Deed::Pause(paused) => (
            if *paused { "pauses" } else { "resumes" }.to_owned(),
            spec(json!({ "paused": paused })),
        ),
        Deed::Replicas(replicas) => {
            (format!("sets replicas to {replicas}"), spec(json!({ "replicas": replicas })))
        }
        Deed::Apply(_)
        | Deed::Patch(_)
        | Deed::Delete(_)
        | Deed::FailPods(_)
        | Deed::FailPod(_)
        | Deed::HealPods(_) => (String::new(), Call::new("GET", &path)),
    })
}

/// Changes how at most so many Pods behave, of those that behave otherwise.
fn set_behaviour(
    world: &mut World,
    prefix: &str,
    behaviour: &Value,
    most: usize,
) -> Result<(), ScenarioError> {
    let key = crate::workloads::BEHAVIOUR;
    let mut pods = world.api.objects(&Kind::POD, None);
    pods.retain(|pod| {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        name.starts_with(prefix) && pod["metadata"]["annotations"][key] != *behaviour
    });
    for pod in pods.into_iter().take(most) {
        let patch = json!({ "metadata": { "annotations": { key: behaviour } } });
        let call = Call::new("PATCH", &path_of(&world.api, &pod)?).with_body(MERGE, &patch);
        send(world, pod["metadata"]["name"].as_str().unwrap_or_default(), &call)?;
    }
    Ok(())
}
