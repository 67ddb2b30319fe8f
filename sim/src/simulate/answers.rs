//! What measurements give: as a trace says, or a value that passes (or fails) the metric's own conditions.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunRecord, AnalysisRunStatus};
use sluice_engine::analysis::judge;
use sluice_engine::analysis_run::Measure;
use sluice_engine::config::EngineConfig;
use sluice_engine::view::{
    AnalysisRunView, FailureKind, MeasuredValue, MeasurementFact, MeasurementFailure, RunView,
};

use crate::scenario::controller::{Answered, Provider};
use crate::world::World;

/// What measurements give.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Answers {
    /// By metric: what a trace says.
    pub scripts: BTreeMap<String, Vec<Script>>,
    /// What metrics give that no trace names.
    pub otherwise: Assumption,
}

/// What a metric gives that no trace names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Assumption {
    /// A value with which its conditions say Successful.
    #[default]
    Pass,
    /// A value with which they say Failed.
    Fail,
}

/// What a metric gives from a time, or from a measurement, on.
#[derive(Clone, PartialEq, Debug)]
pub struct Script {
    /// From when.
    pub from: Since,
    /// What.
    pub gives: Answered,
}

/// From when an answer holds; it holds until the next one. Before the first one, the first one holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Since {
    /// So long after the push.
    Time(TimeDelta),
    /// At this measurement of the metric in its run, counted from 1.
    Measurement(u32),
}

/// Answers as the controller asks them.
pub(super) struct Answering {
    answers: Answers,
    pushed: Rc<Cell<DateTime<Utc>>>,
    assumed: Rc<RefCell<BTreeSet<String>>>,
}

impl Answering {
    pub(super) fn new(
        answers: &Answers,
        pushed: &Rc<Cell<DateTime<Utc>>>,
        assumed: &Rc<RefCell<BTreeSet<String>>>,
    ) -> Self {
        Self { answers: answers.clone(), pushed: Rc::clone(pushed), assumed: Rc::clone(assumed) }
    }

    fn scripted(&self, task: &Measure, now: DateTime<Utc>) -> Option<Answered> {
        let scripts = self.answers.scripts.get(&task.metric)?;
        let passed = now - self.pushed.get();
        let holds = |script: &&Script| match script.from {
            Since::Time(from) => from <= passed,
            Since::Measurement(number) => number <= task.sequence + 1,
        };
        let script = scripts.iter().rfind(holds).or(scripts.first())?;
        Some(script.gives.clone())
    }

    fn assume(&self, run: &AnalysisRunRecord, metric: &str, now: DateTime<Utc>) -> Answered {
        let (wanted, verb) = match self.answers.otherwise {
            Assumption::Pass => (AnalysisPhase::Successful, "passes"),
            Assumption::Fail => (AnalysisPhase::Failed, "fails"),
        };
        let says = |value: &MeasuredValue| judged(run, metric, &Ok(value.clone()), now);
        let found = candidates(run, metric).into_iter().find_map(|value| {
            says(&value).filter(|(phase, _)| *phase == wanted).map(|(_, text)| (value, text))
        });
        let Some((value, text)) = found else {
            let message =
                format!("no answer is given for `{metric}`, and none was found that {verb}");
            return Err(MeasurementFailure { kind: FailureKind::Bad, message });
        };
        let line = format!("{metric}: no answers given, each measurement is {text}, which {verb}");
        self.assumed.borrow_mut().insert(line);
        Ok(value)
    }
}

impl Provider for Answering {
    fn answer(&mut self, world: &World, task: &Measure) -> Answered {
        let now = world.now();
        let Some(run) = record(world, task) else {
            let message = format!("{} is gone", task.run);
            return Err(MeasurementFailure { kind: FailureKind::Bad, message });
        };
        match self.scripted(task, now) {
            Some(answer) => fitting(&run, &task.metric, answer, now),
            None => self.assume(&run, &task.metric, now),
        }
    }
}

/// Reads the run of a measurement.
pub(super) fn record(world: &World, task: &Measure) -> Option<AnalysisRunRecord> {
    serde_json::from_value((*world.api.get(&task.run)?).clone()).ok()
}

/// A number that the conditions cannot judge becomes a list of one: what Prometheus gives for most queries.
fn fitting(
    run: &AnalysisRunRecord,
    metric: &str,
    answer: Answered,
    now: DateTime<Utc>,
) -> Answered {
    let Ok(MeasuredValue::Number(number)) = answer else { return answer };
    let phase_of = |answer: &Answered| judged(run, metric, answer, now).map(|(phase, _)| phase);
    let listed = Ok(MeasuredValue::List(vec![MeasuredValue::Number(number)]));
    let is_judged = |phase: Option<AnalysisPhase>| phase.is_some_and(|p| p != AnalysisPhase::Error);
    if !is_judged(phase_of(&answer)) && is_judged(phase_of(&listed)) { listed } else { answer }
}

/// Returns what one measurement means by itself: its phase, and its value or why there is none.
pub(super) fn judged(
    run: &AnalysisRunRecord,
    metric: &str,
    outcome: &Answered,
    now: DateTime<Utc>,
) -> Option<(AnalysisPhase, String)> {
    let mut run = run.clone();
    run.status = AnalysisRunStatus::default();
    run.spec.terminate = None;
    run.spec.metrics.retain(|known| known.name == metric);
    let fact = MeasurementFact {
        metric: metric.to_owned(),
        sequence: 0,
        started_at: now,
        finished_at: now,
        outcome: outcome.clone(),
        metadata: BTreeMap::new(),
    };
    let run = AnalysisRunView {
        run: Arc::new(run),
        facts: vec![fact],
        jobs: Vec::new(),
        secrets: BTreeMap::new(),
    };
    let view = RunView { now, config: Arc::new(EngineConfig::default()), run };
    let results = judge::next_status(&view).status.metric_results?;
    let result = results.into_iter().find(|result| result.name == metric)?;
    let measurement = result.measurements?.pop()?;
    let said = measurement.value.or(measurement.message).unwrap_or_default();
    Some((measurement.phase?, said))
}

/// Values that may pass or fail: small and great numbers, the numbers of the conditions and their neighbours, truth values;
/// each alone and as a list of one.
fn candidates(run: &AnalysisRunRecord, metric: &str) -> Vec<MeasuredValue> {
    let mut numbers = vec![0.0, 1.0, 100.0, 1_000_000.0, -1.0];
    let conditions = run.spec.metrics.iter().filter(|known| known.name == metric);
    let conditions = conditions.flat_map(|m| [&m.success_condition, &m.failure_condition]);
    let arguments = run.spec.args.iter().flatten().map(|argument| &argument.value);
    for text in conditions.chain(arguments).flatten() {
        let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
        for number in words.filter_map(|word| word.parse::<f64>().ok()) {
            numbers.extend([number, number + 1.0, number - 1.0, number / 2.0]);
        }
    }
    let alone = numbers.iter().map(|number| MeasuredValue::Number(*number));
    let words = ["true", "ok", "OK", "UP"].into_iter().map(|word| MeasuredValue::Text(word.into()));
    let flags = [true, false].into_iter().map(MeasuredValue::Bool);
    let alone: Vec<MeasuredValue> = alone.chain(flags).chain(words).collect();
    let listed = alone.iter().map(|value| MeasuredValue::List(vec![value.clone()]));
    alone.iter().cloned().chain(listed).collect()
}
