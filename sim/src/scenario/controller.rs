//! A controller in a value: observe, decide, audit, execute, as the real shell does, with nothing between it and the server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_crds::object::{Kind, ObjectRef, Write};
use sluice_engine::config::EngineConfig;
use sluice_engine::fence::{EpochView, Term};
use sluice_engine::plan::{Decision, Lower, Reconciler, Severity};
use sluice_engine::rollout::RolloutReconciler;
use sluice_engine::view::MeasurementFact;

use super::{Answer, Transcript};
use crate::observe::{self, Surroundings};
use crate::world::World;

const ACTOR: &str = "sluice-controller";

/// A bound on decisions at one instant; more is a hot loop.
const ROUNDS: usize = 200;

/// The controller.
pub(super) struct Controller {
    config: Arc<EngineConfig>,
    metrics: BTreeMap<String, Vec<Answer>>,
    facts: BTreeMap<(String, String), Vec<MeasurementFact>>,
    wakes: BTreeMap<ObjectRef, DateTime<Utc>>,
    n: u64,
}

impl Controller {
    pub(super) fn new(metrics: &BTreeMap<String, Vec<Answer>>) -> Self {
        Self {
            config: Arc::new(EngineConfig::default()),
            metrics: metrics.clone(),
            facts: BTreeMap::new(),
            wakes: BTreeMap::new(),
            n: 0,
        }
    }

    /// Returns the next deadline after now.
    pub(super) fn next_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.wakes.values().copied().filter(|at| *at > now).min()
    }

    /// Decides and writes until nothing changes any more.
    pub(super) fn settle(&mut self, world: &mut World, transcript: &mut Transcript) {
        for _ in 0..ROUNDS {
            let before = world.api.version();
            self.rollouts(world, transcript);
            world.settle();
            if world.api.version() == before {
                return;
            }
        }
        transcript.violation(world.now(), "S21: the controller does not come to rest");
    }

    fn surroundings(&mut self, now: DateTime<Utc>) -> Surroundings {
        self.n += 1;
        Surroundings {
            now,
            config: Arc::clone(&self.config),
            epoch: EpochView {
                term: Term {
                    lease: "sluice".into(),
                    lease_uid: "lease".into(),
                    acquired: 1.into(),
                },
                n: self.n,
                needed: BTreeMap::new(),
                disowned: BTreeSet::new(),
                rules: self.config.fence,
            },
            facts: self.facts.clone(),
        }
    }

    fn rollouts(&mut self, world: &mut World, transcript: &mut Transcript) {
        for object in world.api.objects(&Kind::ROLLOUT, None) {
            let object = reference(Kind::ROLLOUT, &object);
            let around = self.surroundings(world.now());
            let Some(view) = observe::rollout(&world.api, &object, &around) else { continue };
            let decision = RolloutReconciler::decide(&view);
            let violations = RolloutReconciler::audit(&view, &decision);
            for violation in &violations {
                let text = format!("{}: {}", violation.id, violation.detail);
                transcript.violation(world.now(), &text);
            }
            if violations.is_empty() {
                self.execute(world, transcript, &object, &decision);
            }
        }
    }

    /// Writes stage by stage; the first write that is refused ends the plan.
    fn execute<R: Reconciler>(
        &mut self,
        world: &mut World,
        transcript: &mut Transcript,
        object: &ObjectRef,
        decision: &Decision<R>,
    ) where
        R::Action: std::fmt::Display,
    {
        let now = world.now();
        match &decision.wake {
            Some(wake) => self.wakes.insert(object.clone(), wake.at),
            None => self.wakes.remove(object),
        };
        for action in decision.plan.actions() {
            transcript.line(now, &format!("{object}: {action}"));
            if !write(world, transcript, &action.lower()) {
                return;
            }
        }
        let Some(status) = &decision.status_write else { return };
        if !write(world, transcript, status) {
            return;
        }
        if let Some(object) = world.api.get(object) {
            transcript.state(now, &status.object.to_string(), &description(&object));
        }
        for notice in &decision.notices {
            let severity = match notice.severity {
                Severity::Normal => "event",
                Severity::Warning => "warning",
            };
            transcript.line(now, &format!("{severity} {}: {}", notice.reason, notice.message));
        }
    }
}

fn write(world: &mut World, transcript: &mut Transcript, write: &Write) -> bool {
    let now = world.now();
    match world.api.write(now, ACTOR, write) {
        Ok(_) => true,
        Err(failure) => {
            transcript.line(now, &format!("{}: refused: {failure}", write.object));
            false
        }
    }
}

fn reference(kind: Kind, object: &Value) -> ObjectRef {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    ObjectRef::namespaced(kind, text("/metadata/namespace"), text("/metadata/name"))
}

/// Returns phase, step, and what it waits for.
fn description(object: &Value) -> String {
    let status = &object["status"];
    let mut parts = vec![status["phase"].as_str().unwrap_or("without phase").to_owned()];
    if let Some(step) = status["currentStepIndex"].as_i64() {
        parts.push(format!("step {step}"));
    }
    if let Some(message) = status["message"].as_str().filter(|message| !message.is_empty()) {
        parts.push(message.to_owned());
    }
    parts.join(", ")
}
