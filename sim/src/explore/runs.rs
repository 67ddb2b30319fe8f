//! AnalysisRuns of the model: one metric, measured once, judged by the real reconciler. Experiments of the model: how they end
//! is all that a Rollout sees of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sluice_crds::analysis::{AnalysisRunRecord, AnalysisTemplateRecord};
use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::object::{Change, Kind, Preconditions, Write};
use sluice_crds::rollout::steps::TemplateRef;
use sluice_engine::analysis::judge::recorded;
use sluice_engine::analysis_run::AnalysisRunReconciler;
use sluice_engine::config::EngineConfig;
use sluice_engine::plan::Reconciler;
use sluice_engine::view::{
    AnalysisRunView, FailureKind, Lookup, MeasuredValue, MeasurementFact, MeasurementFailure,
    RunView,
};

use super::catalog::{Answer, now};

const METRIC: &str = "errors";

/// The step that runs an analysis.
pub(super) fn step() -> Value {
    json!({ "analysis": { "templates": [{ "templateName": "judge" }] } })
}

/// The step that runs an experiment.
pub(super) fn trial() -> Value {
    let version = json!({ "name": "trial", "specRef": "canary" });
    json!({ "experiment": { "duration": "1m", "templates": [version] } })
}

/// Returns the status write of the experiment that ends so; one that is to end succeeds, as nothing is required of it.
pub(super) fn ended(experiment: &ExperimentRecord, answer: Answer) -> Write {
    let phase = match answer {
        _ if experiment.spec.terminate == Some(true) => "Successful",
        Answer::Good => "Successful",
        Answer::Bad => "Failed",
        Answer::Unreachable => "Inconclusive",
    };
    Write {
        object: experiment.meta.object(Kind::EXPERIMENT),
        preconditions: Preconditions::default(),
        manager: "experiment".into(),
        change: Change::MergePatch { body: json!({ "status": { "phase": phase } }) },
    }
}

/// The templates of every view.
pub(super) fn templates() -> BTreeMap<TemplateRef, Lookup<Arc<AnalysisTemplateRecord>>> {
    let template = json!({
        "metadata": { "name": "judge", "namespace": "default" },
        "spec": { "metrics": [{
            "name": METRIC,
            "successCondition": "result < 0.5",
            "provider": { "prometheus": { "address": "http://prometheus", "query": METRIC } },
        }] },
    });
    let record = serde_json::from_value(template).expect("a template of ours");
    let key = TemplateRef { template_name: "judge".to_owned(), cluster_scope: None };
    BTreeMap::from([(key, Lookup::Present(Arc::new(record)))])
}

/// Returns the status write of the run when its metrics server answers so; a run that is to end is not measured any more.
pub(super) fn answered(run: &Arc<AnalysisRunRecord>, answer: Answer) -> Option<Write> {
    let results = run.status.metric_results.iter().flatten();
    let sequence = results.clone().find(|result| result.name == METRIC).map_or(0, recorded);
    let outcome = match answer {
        Answer::Good => Ok(MeasuredValue::Number(0.0)),
        Answer::Bad => Ok(MeasuredValue::Number(1.0)),
        Answer::Unreachable => Err(MeasurementFailure {
            kind: FailureKind::Unreachable,
            message: "connection refused".to_owned(),
        }),
    };
    let fact = MeasurementFact {
        metric: METRIC.to_owned(),
        sequence,
        started_at: now(),
        finished_at: now(),
        outcome,
        metadata: BTreeMap::new(),
    };
    let measured = run.spec.terminate != Some(true);
    let view = RunView {
        now: now(),
        config: Arc::new(EngineConfig::default()),
        run: AnalysisRunView {
            run: Arc::clone(run),
            facts: measured.then_some(fact).into_iter().collect(),
            jobs: Vec::new(),
            secrets: BTreeMap::new(),
        },
    };
    let decision = AnalysisRunReconciler::decide(&view);
    let violations = AnalysisRunReconciler::audit(&view, &decision);
    assert_eq!(violations, [], "the judge breaks no law");
    decision.status_write
}
