//! Builds the view of an AnalysisRun, and takes its measurements.

use std::sync::Arc;

use sluice_analysis::{Provided, Query, Sample, SampleError, find};
use sluice_crds::object::{Kind, Meta};
use sluice_engine::analysis::judge::{Measure, recorded};
use sluice_engine::analysis_run::AnalysisRunReconciler;
use sluice_engine::config::EngineConfig;
use sluice_engine::fence::EpochView;
use sluice_engine::view::{
    FailureKind, MeasuredValue, MeasurementFact, MeasurementFailure, RunView,
};
use sluice_lang::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::rollout::{owner_of, run_view};
use super::{Found, Observer, Sight, Work, subject};
use crate::clock::Clock;
use crate::facts::Facts;
use crate::queue::Key;
use crate::secrets::Secrets;
use crate::stores::Stores;
use crate::telemetry::Telemetry;

/// Measurements at a time: a slow metrics server holds up measurements, and nothing else.
pub(crate) const PARALLEL_MEASUREMENTS: usize = 64;

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
        let Some(run) = run_view(&self.facts, &self.secrets, key, run) else {
            return Sight::Waits("a Secret that the run names".into());
        };
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
        let (telemetry, queue) = (Arc::clone(&self.telemetry), Arc::clone(&self.stores.queue));
        let (measure, owner) = (task.clone(), owner_of(&view.run.run));
        Box::pin(async move {
            let Ok(_slot) = slots.acquire().await else { return };
            let fact = measured(&measure, &providers, &*clock, &telemetry).await;
            facts.add(&measure.uid, fact);
            // The run's own key is woken at the end of the task; the Rollout's does not wait for what that one does.
            owner.into_iter().for_each(|key| queue.wake(key));
        })
    }

    /// Facts of a run that is gone are of no use; they are keyed by uid, and few.
    fn forget(&self, _: &Key) {
        let alive: std::collections::BTreeSet<String> =
            self.stores.runs.all().iter().map(|run| run.meta.uid.clone()).collect();
        self.facts.keep(&alive);
    }
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
