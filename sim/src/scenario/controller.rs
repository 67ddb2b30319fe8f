//! A controller in a value: observe, decide, audit, execute, as the real shell does, with nothing between it and the server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_crds::object::{Change, Kind, ObjectRef, Write};
use sluice_engine::analysis_run::{AnalysisRunReconciler, Measure};
use sluice_engine::config::EngineConfig;
use sluice_engine::experiment::ExperimentReconciler;
use sluice_engine::fence::{EpochView, Term};
use sluice_engine::plan::{Decision, Lower, Reconciler};
use sluice_engine::rollout::RolloutReconciler;
use sluice_engine::view::{
    FailureKind, MeasuredValue, MeasurementFact, MeasurementFailure, RefusedEviction, RunView,
};

use super::{Answer, Transcript, seconds, start};
use crate::observe::{self, Surroundings};
use crate::world::World;

const ACTOR: &str = "sluice-controller";

/// A bound on decisions at one instant; more is a hot loop.
const ROUNDS: usize = 200;

/// Answers measurements.
pub(crate) trait Provider {
    /// Takes a measurement at this time.
    fn answer(&mut self, world: &World, task: &Measure) -> Answered;
}

/// What a measurement gives.
pub(crate) type Answered = Result<MeasuredValue, MeasurementFailure>;

/// Answers by metric and time, as a scenario has them.
impl Provider for BTreeMap<String, Vec<Answer>> {
    fn answer(&mut self, world: &World, task: &Measure) -> Answered {
        let answers = self.get(&task.metric).map(Vec::as_slice).unwrap_or_default();
        let passed = world.now() - start();
        outcome(answers.iter().rfind(|answer| seconds(answer.from) <= passed))
    }
}

/// The controller.
pub(crate) struct Controller {
    config: Arc<EngineConfig>,
    metrics: Box<dyn Provider>,
    facts: BTreeMap<(String, String), Vec<MeasurementFact>>,
    wakes: BTreeMap<ObjectRef, DateTime<Utc>>,
    refused_evictions: BTreeMap<String, RefusedEviction>,
    n: u64,
}

impl Controller {
    pub(crate) fn new(metrics: Box<dyn Provider>) -> Self {
        Self {
            config: Arc::new(EngineConfig::default()),
            metrics,
            facts: BTreeMap::new(),
            wakes: BTreeMap::new(),
            refused_evictions: BTreeMap::new(),
            n: 0,
        }
    }

    /// Returns the next deadline after now.
    pub(crate) fn next_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.wakes.values().copied().filter(|at| *at > now).min()
    }

    /// Decides and writes until nothing changes any more.
    pub(crate) fn settle(&mut self, world: &mut World, transcript: &mut Transcript) {
        self.settle_watched(world, transcript, |_, _| {});
    }

    /// Likewise, and shows the world after each round: a round is at most one plan of each object.
    pub(crate) fn settle_watched(
        &mut self,
        world: &mut World,
        transcript: &mut Transcript,
        mut watch: impl FnMut(&World, &mut Transcript),
    ) {
        for _ in 0..ROUNDS {
            let before = (world.api.version(), self.refused_evictions.clone());
            self.rollouts(world, transcript);
            self.experiments(world, transcript);
            let measured = self.analysis_runs(world, transcript);
            world.settle();
            watch(world, transcript);
            let after = (world.api.version(), &self.refused_evictions);
            if after == (before.0, &before.1) && !measured {
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
            refused_evictions: self.refused_evictions.clone(),
            facts: self.facts.clone(),
        }
    }

    fn rollouts(&mut self, world: &mut World, transcript: &mut Transcript) {
        for object in world.api.objects(&Kind::ROLLOUT, None) {
            let object = reference(Kind::ROLLOUT, &object);
            let around = self.surroundings(world.now());
            let Some(view) = observe::rollout(&world.api, &object, &around) else { continue };
            let decision = RolloutReconciler::decide(&view);
            transcript.reported(&object, &decision.report);
            let violations = RolloutReconciler::audit(&view, &decision);
            for violation in &violations {
                let text = format!("{}: {}", violation.id, violation.detail);
                transcript.violation(world.now(), &text);
            }
            if violations.is_empty() {
                self.execute(world, transcript, &object, &decision, ToString::to_string);
            }
        }
    }

    fn experiments(&mut self, world: &mut World, transcript: &mut Transcript) {
        for object in world.api.objects(&Kind::EXPERIMENT, None) {
            let object = reference(Kind::EXPERIMENT, &object);
            let around = self.surroundings(world.now());
            let Some(view) = observe::experiment(&world.api, &object, &around) else { continue };
            let decision = ExperimentReconciler::decide(&view);
            let violations = ExperimentReconciler::audit(&view, &decision);
            for violation in &violations {
                let text = format!("{}: {}", violation.id, violation.detail);
                transcript.violation(world.now(), &text);
            }
            if violations.is_empty() {
                self.execute(world, transcript, &object, &decision, ToString::to_string);
            }
        }
    }

    /// Decides on each run and takes the measurements that are due. Returns whether it took any.
    fn analysis_runs(&mut self, world: &mut World, transcript: &mut Transcript) -> bool {
        let mut measured = false;
        for object in world.api.objects(&Kind::ANALYSIS_RUN, None) {
            let address = reference(Kind::ANALYSIS_RUN, &object);
            let Ok(run) = serde_json::from_value((*object).clone()) else { continue };
            let around = self.surroundings(world.now());
            let view = RunView {
                now: world.now(),
                config: Arc::clone(&self.config),
                run: observe::run_view(&world.api, run, &around),
            };
            let decision = AnalysisRunReconciler::decide(&view);
            for violation in AnalysisRunReconciler::audit(&view, &decision) {
                let text = format!("{}: {}", violation.id, violation.detail);
                transcript.violation(world.now(), &text);
            }
            self.execute(world, transcript, &address, &decision, ToString::to_string);
            for task in &decision.tasks {
                measured |= self.measure(world, task, transcript);
            }
        }
        measured
    }

    /// Takes a measurement, unless it was taken. Returns whether it was not.
    fn measure(&mut self, world: &World, task: &Measure, transcript: &mut Transcript) -> bool {
        let now = world.now();
        let namespace = task.run.namespace.clone().unwrap_or_default();
        let facts = self.facts.entry((namespace, task.run.name.clone())).or_default();
        let same =
            |fact: &MeasurementFact| fact.metric == task.metric && fact.sequence == task.sequence;
        if facts.iter().any(same) {
            return false;
        }
        let outcome = self.metrics.answer(world, task);
        transcript.measured(now, task, &outcome);
        facts.push(MeasurementFact {
            metric: task.metric.clone(),
            sequence: task.sequence,
            started_at: now,
            finished_at: now,
            outcome,
            metadata: BTreeMap::new(),
        });
        true
    }

    /// Writes stage by stage; the first write that is refused ends the plan.
    fn execute<R: Reconciler>(
        &mut self,
        world: &mut World,
        transcript: &mut Transcript,
        object: &ObjectRef,
        decision: &Decision<R>,
        describe: impl Fn(&R::Action) -> String,
    ) {
        let now = world.now();
        match &decision.wake {
            Some(wake) => self.wakes.insert(object.clone(), wake.at),
            None => self.wakes.remove(object),
        };
        // A refused write ends the plan, except that of an eviction: the view shows it, and nothing relies on it.
        for action in decision.plan.actions() {
            transcript.action(now, object, &describe(action), action.is_touch());
            let wanted = action.lower();
            if write(world, transcript, &wanted) {
                continue;
            }
            if wanted.change != Change::Evict {
                return;
            }
            let refused = RefusedEviction { at: now, why: "see the transcript".to_owned() };
            self.refused_evictions.insert(wanted.object.name, refused);
        }
        let Some(status) = &decision.status_write else { return };
        if !write(world, transcript, status) {
            return;
        }
        if let Some(object) = world.api.get(object) {
            transcript.state(now, &status.object.to_string(), &description(&object));
        }
        for notice in &decision.notices {
            transcript.notice(now, object, notice);
        }
    }
}

fn write(world: &mut World, transcript: &mut Transcript, write: &Write) -> bool {
    let now = world.now();
    match world.api.write(now, ACTOR, write) {
        Ok(_) => true,
        Err(failure) => {
            transcript.refused(now, format!("{}: refused: {failure}", write.object));
            false
        }
    }
}

fn reference(kind: Kind, object: &Value) -> ObjectRef {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    ObjectRef::namespaced(kind, text("/metadata/namespace"), text("/metadata/name"))
}

fn outcome(answer: Option<&Answer>) -> Result<MeasuredValue, MeasurementFailure> {
    let failure = |kind, message: &str| Err(MeasurementFailure { kind, message: message.into() });
    match answer {
        Some(Answer { unreachable: Some(message), .. }) => {
            failure(FailureKind::Unreachable, message)
        }
        Some(Answer { error: Some(message), .. }) => failure(FailureKind::Bad, message),
        Some(Answer { value: Some(value), .. }) => Ok(measured(value)),
        Some(_) | None => failure(FailureKind::Bad, "the scenario has no answer for this metric"),
    }
}

/// Returns a value of JSON as a provider would give it.
pub(crate) fn measured(value: &Value) -> MeasuredValue {
    match value {
        Value::Null => MeasuredValue::Nil,
        Value::Bool(value) => MeasuredValue::Bool(*value),
        Value::Number(number) => MeasuredValue::Number(number.as_f64().unwrap_or(f64::NAN)),
        // JSON has no NaN; a scenario writes it as text.
        Value::String(text) if text == "NaN" => MeasuredValue::Number(f64::NAN),
        Value::String(text) => MeasuredValue::Text(text.clone()),
        Value::Array(items) => MeasuredValue::List(items.iter().map(measured).collect()),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| (key.clone(), measured(value)));
            MeasuredValue::Map(pairs.collect())
        }
    }
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
