//! Builds the view of an AnalysisRun, and takes its measurements.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use sluice_analysis::{Provided, Query, Sample, SampleError, find};
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_engine::analysis::jobs::measurement_of;
use sluice_engine::analysis::judge::{Measure, recorded, verdict_of};
use sluice_engine::analysis_run::AnalysisRunReconciler;
use sluice_engine::config::EngineConfig;
use sluice_engine::fence::EpochView;
use sluice_engine::view::{
    AnalysisRunView, FailureKind, Lookup, MeasuredValue, MeasurementFact, MeasurementFailure,
    RunView,
};
use sluice_lang::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::rollout::{owner_of, run_view};
use super::{Found, Observer, Sight, Work, subject};
use crate::clock::Clock;
use crate::config::Role;
use crate::execute::Outcome;
use crate::facts::Facts;
use crate::queue::Key;
use crate::secrets::Secrets;
use crate::stores::Stores;
use crate::telemetry::Telemetry;

/// Measurements at a time: a slow metrics server holds up measurements, and nothing else.
pub(crate) const PARALLEL_MEASUREMENTS: usize = 64;

/// How long the record of a failure waits for its Rollout to act on it. A Rollout that cannot be decided, or whose route
/// cannot be written, is no reason to keep the failure from people.
const ROLLOUT_FIRST: Duration = Duration::from_secs(10);

/// Sees AnalysisRuns.
pub(crate) struct RunObserver {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) providers: Arc<Vec<Provided>>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) telemetry: Arc<Telemetry>,
}

impl Observer for RunObserver {
    type R = AnalysisRunReconciler;

    fn observe(&self, key: &Key, _: EpochView) -> Sight<RunView> {
        let Some(run) = self.stores.runs.get(&key.namespace, &key.name) else { return Sight::Gone };
        if run.meta.deletion_timestamp.is_some() {
            self.facts.forget(&run.meta.uid);
            return Sight::Gone;
        }
        let results = run.status.metric_results.as_deref().unwrap_or_default();
        self.facts.prune(&run.meta.uid, |metric| {
            results.iter().find(|result| result.name == metric).map_or(0, recorded)
        });
        let subject = subject(Kind::ANALYSIS_RUN, &run.meta);
        let Lookup::Present(jobs) = self.stores.jobs_of(&run) else {
            return Sight::Waits("the Jobs of its metrics".into());
        };
        let Some(run) = run_view(&self.facts, &self.secrets, key, run, jobs) else {
            return Sight::Waits("a Secret that the run names".into());
        };
        if let Some(until) = self.rollout_first(&run) {
            return Sight::WaitsUntil("its Rollout to take the weight away".into(), until);
        }
        let config = Arc::clone(&self.config);
        let view = RunView { now: self.clock.now(), config, run };
        Sight::Found(Box::new(Found { view, subject }))
    }

    /// Runs are not fenced: they own no traffic.
    fn metas(_: &RunView) -> Vec<&Meta> {
        Vec::new()
    }

    fn run(&self, _: &Key, view: &RunView, task: &Measure) -> Work {
        let (clock, facts) = (Arc::clone(&self.clock), Arc::clone(&self.facts));
        let (providers, slots) = (Arc::clone(&self.providers), Arc::clone(&self.slots));
        let telemetry = Arc::clone(&self.telemetry);
        let (measure, run) = (task.clone(), view.run.clone());
        let (stores, config) = (Arc::clone(&self.stores), Arc::clone(&self.config));
        Box::pin(async move {
            let Ok(_slot) = slots.acquire().await else { return };
            let fact = measured(&measure, &providers, &*clock, &telemetry).await;
            let with = with_fact(&stores, &facts, run, &fact);
            // What panics here panics in the run's decision too, where it is told.
            let judged = AssertUnwindSafe(|| has_failed(&with, &*clock, &config));
            let failed = catch_unwind(judged).unwrap_or(false);
            match owner_of(&with.run) {
                // The Rollout goes first, before all others; what it writes wakes the run.
                Some(key) if failed && key.role == Role::Rollouts => {
                    facts.add_fatal(&measure.uid, fact);
                    stores.queue.wake_first(key);
                }
                owner => {
                    facts.add(&measure.uid, fact);
                    owner.into_iter().for_each(|key| stores.queue.wake(key));
                }
            }
        })
    }

    /// A Job that the API server will not create is a measurement that failed.
    fn wrote(&self, key: &Key, object: &ObjectRef, outcome: &Outcome) {
        let Outcome::Refused(words) = outcome else { return };
        let Some(run) = self.stores.runs.get(&key.namespace, &key.name) else { return };
        let Some((metric, sequence)) =
            (object.kind == Kind::JOB).then(|| measurement_of(&run, &object.name)).flatten()
        else {
            return;
        };
        let now = self.clock.now();
        let message = format!("Job `{}` cannot be created: {words}", object.name);
        let failure = MeasurementFailure { kind: FailureKind::Bad, message };
        let fact = MeasurementFact {
            metric,
            sequence,
            started_at: now,
            finished_at: now,
            outcome: Err(failure),
            metadata: std::collections::BTreeMap::new(),
        };
        self.facts.add(&run.meta.uid, fact);
        self.stores.queue.wake(key.clone());
        owner_of(&run).into_iter().for_each(|owner| self.stores.queue.wake(owner));
    }

    /// Facts of a run that is gone are of no use; they are keyed by uid, and few.
    fn forget(&self, _: &Key) {
        let alive: std::collections::BTreeSet<String> =
            self.stores.runs.all().iter().map(|run| run.meta.uid.clone()).collect();
        self.facts.keep(&alive);
    }
}

impl RunObserver {
    /// Returns until when the run's record waits for its Rollout; `None` if it does not.
    fn rollout_first(&self, run: &AnalysisRunView) -> Option<Instant> {
        let until = self.facts.fatal_since(&run.run.meta.uid)? + ROLLOUT_FIRST;
        let owner = owner_of(&run.run).filter(|owner| owner.role == Role::Rollouts)?;
        // A Rollout that is not here is decided by nobody here.
        self.stores.rollouts.get(&owner.namespace, &owner.name)?;
        (until > Instant::now()).then_some(until)
    }
}

/// Returns the newest that is known of the run, with the fact.
fn with_fact(
    stores: &Stores,
    facts: &Facts,
    mut view: AnalysisRunView,
    fact: &MeasurementFact,
) -> AnalysisRunView {
    let meta = &view.run.meta;
    if let Some(newer) = stores.runs.get(&meta.namespace, &meta.name)
        && newer.meta.uid == meta.uid
    {
        view.run = newer;
    }
    view.facts = facts.of(&view.run.meta.uid);
    view.facts.push(fact.clone());
    view
}

fn has_failed(view: &AnalysisRunView, clock: &dyn Clock, config: &EngineConfig) -> bool {
    let phase = verdict_of(view, clock.now(), config).phase;
    matches!(phase, AnalysisPhase::Failed | AnalysisPhase::Error)
}

async fn measured(
    measure: &Measure,
    providers: &[Provided],
    clock: &dyn Clock,
    telemetry: &Telemetry,
) -> MeasurementFact {
    let (started_at, begun) = (clock.now(), Instant::now());
    let query = Query {
        metric: measure.metric.clone(),
        provider: (*measure.provider).clone(),
        now: started_at,
    };
    let mut metadata = std::collections::BTreeMap::new();
    let mut name = "none";
    let sampled = match find(providers, &query.provider) {
        Ok(provider) => {
            (name, metadata) = (provider.name(), provider.metadata(&query));
            provider.sample(&query).await
        }
        Err(error) => Err(error),
    };
    telemetry.measured(name, sampled.is_ok(), begun.elapsed());
    let outcome = match sampled {
        Ok(Sample { value, metadata: said }) => {
            metadata.extend(said);
            Ok(value_of(value))
        }
        Err(error) => Err(failure_of(&error)),
    };
    MeasurementFact {
        metric: measure.metric.clone(),
        sequence: measure.sequence,
        started_at,
        finished_at: clock.now(),
        outcome,
        metadata,
    }
}

fn value_of(value: Value) -> MeasuredValue {
    match value {
        Value::Nil => MeasuredValue::Nil,
        Value::Bool(value) => MeasuredValue::Bool(value),
        Value::Number(value) => MeasuredValue::Number(value),
        Value::String(value) => MeasuredValue::Text(value),
        Value::Array(values) => MeasuredValue::List(values.into_iter().map(value_of).collect()),
        Value::Map(entries) => {
            MeasuredValue::Map(entries.into_iter().map(|(k, v)| (k, value_of(v))).collect())
        }
    }
}

fn failure_of(error: &SampleError) -> MeasurementFailure {
    let kind = if error.holds_weight() { FailureKind::Unreachable } else { FailureKind::Bad };
    MeasurementFailure { kind, message: error.message.clone() }
}
