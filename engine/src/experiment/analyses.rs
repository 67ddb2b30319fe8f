//! AnalysisRuns of an Experiment: begun once all versions are available, ended with it (`spec-rollouts` 7.7, 7.9).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunSpec};
use sluice_crds::labels;
use sluice_crds::object::{Kind, ObjectRef, controller_reference};

use super::situation::{Analysis, Situation};
use crate::analysis::arguments;
use crate::analysis::judge;
use crate::rollout::{Action, Target};
use crate::view::Refusal;

/// Returns the starts and ends of runs that are due.
pub(super) fn changes(s: &Situation<'_>) -> Vec<Action> {
    if s.is_ending() {
        return s.view.analysis_runs.iter().filter_map(|run| stop(s, run)).collect();
    }
    if s.available_at().is_none() {
        return Vec::new();
    }
    s.analyses.iter().filter_map(|analysis| start(s, analysis)).collect()
}

fn start(s: &Situation<'_>, analysis: &Analysis<'_>) -> Option<Action> {
    let known = analysis.status.and_then(|status| status.phase);
    if analysis.run.is_some() || known.is_some_and(AnalysisPhase::is_completed) {
        return None;
    }
    let name = free_name(s, &analysis.analysis.name);
    if s.refusal(Kind::ANALYSIS_RUN, &name).is_some() {
        return None;
    }
    // What cannot be resolved is told by the status.
    let words = s.words();
    let templates = &s.view.templates;
    let spec =
        arguments::experiment_run_spec(s.experiment, analysis.analysis, templates, &words).ok()?;
    let body = body(s, analysis, &name, &spec);
    let object = ObjectRef::namespaced(Kind::ANALYSIS_RUN, &s.experiment.meta.namespace, name);
    Some(Action::StartAnalysis { target: Target::new(s.view, object), body })
}

/// The first of `<experiment>-<analysis>`, `….1`, `….2` that nobody has.
pub(super) fn free_name(s: &Situation<'_>, analysis: &str) -> String {
    let base = format!("{}-{analysis}", s.experiment.meta.name);
    let ours = |name: &str| s.view.analysis_runs.iter().any(|run| run.run.meta.name == name);
    let taken = |name: &str| s.refusal(Kind::ANALYSIS_RUN, name) == Some(&Refusal::Taken);
    let mut name = base.clone();
    let mut n = 0_u32;
    while ours(&name) || taken(&name) {
        n += 1;
        name = format!("{base}.{n}");
    }
    name
}

fn body(s: &Situation<'_>, analysis: &Analysis<'_>, name: &str, spec: &AnalysisRunSpec) -> Value {
    let metadata = s.spec.analysis_run_metadata.clone().unwrap_or_default();
    let mut run_labels = metadata.labels.unwrap_or_default();
    if let Some(id) = s.experiment.meta.labels.get(labels::INSTANCE_ID) {
        run_labels.insert(labels::INSTANCE_ID.to_owned(), id.clone());
    }
    let mut annotations: BTreeMap<String, String> = metadata.annotations.unwrap_or_default();
    annotations.insert(labels::ANALYSIS.to_owned(), analysis.analysis.name.clone());
    if let Some(at) = s.status().available_at {
        annotations.insert(labels::ATTEMPT.to_owned(), at.to_string());
    }
    json!({
        "apiVersion": Kind::ANALYSIS_RUN.api_version(),
        "kind": "AnalysisRun",
        "metadata": {
            "name": name,
            "namespace": s.experiment.meta.namespace,
            "labels": run_labels,
            "annotations": annotations,
            "ownerReferences": [controller_reference(&s.view.object(), &s.experiment.meta.uid)],
        },
        "spec": spec,
    })
}

fn stop(s: &Situation<'_>, run: &crate::view::AnalysisRunView) -> Option<Action> {
    let meta = &run.run.meta;
    let open = meta.is_owned_by(&s.experiment.meta.uid)
        && meta.deletion_timestamp.is_none()
        && !run.run.status.phase.is_some_and(AnalysisPhase::is_completed)
        && run.run.spec.terminate != Some(true)
        // The patch that completes the run is on its way when the verdict is in already.
        && !judge::verdict_of(run, s.now(), &s.view.config).phase.is_completed();
    open.then(|| Action::StopAnalysis {
        target: Target::of(s.view, meta.object(Kind::ANALYSIS_RUN), meta),
    })
}
