//! What an Experiment has come to, from its versions and analyses (`spec-rollouts` 7.5–7.9).

use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::experiment::{ExperimentAnalysisRunStatus, ExperimentTemplateStatus};
use sluice_crds::labels;
use sluice_crds::object::Kind;

use super::analyses;
use super::situation::{
    Analysis, ERROR, FAILED, PROGRESSING, RUNNING, SUCCESSFUL, Situation, Version, is_over,
};
use super::versions;
use crate::analysis::arguments::{self, ArgumentError};
use crate::analysis::judge;
use crate::view::Refusal;

/// What keeps an Experiment from beginning: an analysis that could not be begun. Once Pods run it is too late to wait.
pub(super) fn obstacle(s: &Situation<'_>) -> Option<ArgumentError> {
    let begun = s.available_at().is_some() || s.versions.iter().any(|v| v.set.is_some());
    if begun || s.is_ending() {
        return None;
    }
    let names = s.spec.templates.iter().map(|template| template.name.as_str());
    let words = arguments::guessed_words(names, s.spec.duration.as_deref());
    s.analyses.iter().find_map(|analysis| {
        let templates = &s.view.templates;
        arguments::experiment_run_spec(s.experiment, analysis.analysis, templates, &words).err()
    })
}

/// Returns the next state of a version.
pub(super) fn version(s: &Situation<'_>, version: &Version<'_>) -> ExperimentTemplateStatus {
    let name = version.template.name.clone();
    let mut status = version.status.cloned().unwrap_or_default();
    status.name = name;
    if obstacle(s).is_some() {
        // No deadline runs before anything has begun.
        return status;
    }
    let before = status.clone();
    counts(version, &mut status);
    if version.set.is_none() && s.is_taken(&version.set_name) {
        // Wraps, as in a Rollout.
        status.collision_count = Some(status.collision_count.unwrap_or(0).wrapping_add(1));
    }
    let (state, message) = state(s, version, &before);
    status.status = Some(state.to_owned());
    status.message = message;
    let grew = status.available_replicas > before.available_replicas
        || status.ready_replicas > before.ready_replicas;
    let moved = before.status.as_deref() != Some(state) || (grew && !is_over(Some(state)));
    if moved || status.last_transition_time.is_none() {
        status.last_transition_time = Some(s.now().into());
    }
    status
}

fn counts(version: &Version<'_>, status: &mut ExperimentTemplateStatus) {
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let (existing, ready, available) = match version.set {
        Some(set) => (set.existing, set.ready, set.reported_available),
        None => (0, 0, 0),
    };
    status.replicas = number(existing);
    status.updated_replicas = number(existing);
    status.ready_replicas = number(ready);
    status.available_replicas = number(available);
    if let Some(hash) = version.set.and_then(|set| set.hash()) {
        status.pod_template_hash = Some(hash.to_owned());
    }
    let present = version.service.filter(|service| service.meta.deletion_timestamp.is_none());
    status.service_name = present.map(|service| service.meta.name.clone());
}

/// The state of a version, and what there is to say. An end is final.
fn state(
    s: &Situation<'_>,
    version: &Version<'_>,
    before: &ExperimentTemplateStatus,
) -> (&'static str, Option<String>) {
    for end in [SUCCESSFUL, FAILED, ERROR] {
        if before.status.as_deref() == Some(end) {
            return (end, before.message.clone());
        }
    }
    if let Some(words) = refused(s, version) {
        return (ERROR, Some(words));
    }
    let wanted = s.wanted(version);
    let has = version.set.map_or(0, |set| set.available());
    let size = version.set.map_or(0, |set| set.replicas);
    let serves = version.service.is_some() || wanted == 0 || !versions::wants_service(version);
    let is_there = has == wanted && size == wanted && serves;
    if s.is_ending() {
        // What is on its way out fails no deadline any more.
        let state = if is_there {
            SUCCESSFUL
        } else if before.status.as_deref() == Some(RUNNING) {
            RUNNING
        } else {
            PROGRESSING
        };
        return (state, None);
    }
    if is_there {
        let over = s.ends_at().is_some_and(|at| s.now() >= at);
        return (if over { SUCCESSFUL } else { RUNNING }, None);
    }
    let why = version.set.and_then(|set| set.failure.clone());
    if deadline(s, before).is_some_and(|at| s.now() >= at) {
        let seconds = s.progress_deadline().num_seconds();
        let name = &version.template.name;
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        let message =
            format!("Template '{name}' exceeded its progressDeadlineSeconds ({seconds}){why}");
        return (FAILED, Some(message));
    }
    (PROGRESSING, why)
}

/// When a version that makes no progress fails; `None` for one that is not on its way, and before anything was recorded.
pub(super) fn deadline(
    s: &Situation<'_>,
    status: &ExperimentTemplateStatus,
) -> Option<chrono::DateTime<chrono::Utc>> {
    if status.status.as_deref() != Some(PROGRESSING) || s.is_ending() {
        return None;
    }
    // The instant is cut off to seconds: a second more, so that it is never short.
    let deadline = s.progress_deadline() + chrono::Duration::seconds(1);
    Some(status.last_transition_time?.at() + deadline)
}

/// What the API server said to the create of something that the version needs.
fn refused(s: &Situation<'_>, version: &Version<'_>) -> Option<String> {
    let set = s.refusal(Kind::REPLICA_SET, &version.set_name).filter(|_| version.set.is_none());
    if let Some(Refusal::Said(words)) = set {
        return Some(format!("ReplicaSet `{}` cannot be created: {words}", version.set_name));
    }
    let name = version.service_name.as_ref().filter(|_| version.service.is_none())?;
    if s.wanted(version) == 0 {
        return None;
    }
    let exists = s.view.services.get(name).and_then(|service| service.present()).is_some();
    match s.refusal(Kind::SERVICE, name) {
        Some(Refusal::Said(words)) => Some(format!("Service `{name}` cannot be created: {words}")),
        Some(Refusal::Taken) => Some(format!("Service `{name}` exists and is not ours")),
        None => exists.then(|| format!("Service `{name}` exists and is not ours")),
    }
}

/// Returns the next state of an analysis; `None` while it has not begun.
pub(super) fn analysis(
    s: &Situation<'_>,
    analysis: &Analysis<'_>,
) -> Option<ExperimentAnalysisRunStatus> {
    let before = analysis.status;
    if let Some(before) = before
        && before.phase.is_some_and(AnalysisPhase::is_completed)
    {
        return Some(before.clone());
    }
    let name = analysis.analysis.name.clone();
    if let Some(run) = analysis.run {
        let outcome = judge::verdict_of(run, s.now(), &s.view.config);
        return Some(ExperimentAnalysisRunStatus {
            name,
            analysis_run: run.run.meta.name.clone(),
            phase: Some(outcome.phase),
            message: (!outcome.message.is_empty()).then_some(outcome.message),
        });
    }
    if s.available_at().is_none() || s.is_ending() {
        return before.cloned();
    }
    let run = analyses::free_name(s, &name);
    let words = s.words();
    let templates = &s.view.templates;
    let spec = arguments::experiment_run_spec(s.experiment, analysis.analysis, templates, &words);
    let message = match (spec, s.refusal(Kind::ANALYSIS_RUN, &run)) {
        (Err(error), _) => error.to_string(),
        (Ok(_), Some(Refusal::Said(words))) => {
            format!("AnalysisRun `{run}` cannot be created: {words}")
        }
        (Ok(_), Some(Refusal::Taken) | None) => return before.cloned(),
    };
    let phase = Some(AnalysisPhase::Error);
    Some(ExperimentAnalysisRunStatus { name, analysis_run: run, phase, message: Some(message) })
}

/// Returns the phase of the whole, and why.
pub(super) fn whole(
    s: &Situation<'_>,
    versions: &[ExperimentTemplateStatus],
    runs: &[ExperimentAnalysisRunStatus],
    is_available: bool,
) -> (AnalysisPhase, String) {
    let end = |state: &str| versions.iter().find(|v| v.status.as_deref() == Some(state));
    for (state, phase) in [(FAILED, AnalysisPhase::Failed), (ERROR, AnalysisPhase::Error)] {
        if let Some(version) = end(state) {
            return (phase, version.message.clone().unwrap_or_default());
        }
    }
    if let Some((phase, message)) = worst(s, runs) {
        return (phase, message);
    }
    let phase_of = |name: &str| runs.iter().find(|run| run.name == name).and_then(|run| run.phase);
    let mut required = s.analyses.iter().filter(|analysis| analysis.is_required()).peekable();
    let any_required = required.peek().is_some();
    let open: Vec<&str> = required
        .map(|analysis| analysis.analysis.name.as_str())
        .filter(|name| phase_of(name) != Some(AnalysisPhase::Successful))
        .collect();
    if any_required && open.is_empty() {
        return (AnalysisPhase::Successful, String::new());
    }
    if versions.iter().all(|version| version.status.as_deref() == Some(SUCCESSFUL)) {
        let goes_on = |name: &&&str| phase_of(name).is_some_and(|phase| !phase.is_completed());
        return match (open.iter().find(goes_on), open.first()) {
            (Some(name), _) => {
                (AnalysisPhase::Running, format!("waiting for the required analysis '{name}'"))
            }
            (None, Some(name)) => (
                AnalysisPhase::Inconclusive,
                format!("ended before the required analysis '{name}' had a verdict"),
            ),
            (None, None) => (AnalysisPhase::Successful, String::new()),
        };
    }
    match obstacle(s) {
        Some(obstacle) => (AnalysisPhase::Pending, format!("waiting: {obstacle}")),
        None if is_available => (AnalysisPhase::Running, String::new()),
        None => {
            let message = versions.iter().find_map(|version| version.message.clone());
            (AnalysisPhase::Pending, message.unwrap_or_default())
        }
    }
}

/// The worst verdict that is not good. A run that we ended ourselves says nothing by ending without one.
fn worst(
    s: &Situation<'_>,
    runs: &[ExperimentAnalysisRunStatus],
) -> Option<(AnalysisPhase, String)> {
    let stopped = |run: &&ExperimentAnalysisRunStatus| {
        let mut all = s.view.analysis_runs.iter();
        run.phase == Some(AnalysisPhase::Inconclusive)
            && all.any(|view| {
                let meta = &view.run.meta;
                meta.name == run.analysis_run && meta.annotations.contains_key(labels::STOPPED)
            })
    };
    let of = |phase: AnalysisPhase| {
        let mut here = runs.iter().filter(|run| !stopped(run));
        here.find(|run| run.phase == Some(phase)).map(|run| (phase, run))
    };
    let (phase, run) = of(AnalysisPhase::Failed)
        .or_else(|| of(AnalysisPhase::Error))
        .or_else(|| of(AnalysisPhase::Inconclusive))?;
    let why = run.message.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    Some((phase, format!("Analysis '{}' is {}{why}", run.name, phase.as_str())))
}
