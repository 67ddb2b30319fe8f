//! The one place where an Experiment's status is built.

use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::experiment::{
    ExperimentAnalysisRunStatus, ExperimentStatus, ExperimentTemplateStatus,
};
use sluice_crds::labels;
use sluice_crds::object::{Change, Meta, Write, merge_patch};
use sluice_crds::rollout::status::Condition;
use sluice_crds::time::Time;
use sluice_crds::validate::Problem;

use super::situation::{ERROR, FAILED, PROGRESSING, RUNNING, SUCCESSFUL, Situation};
use super::verdict;
use crate::plan::{Notice, Severity, Wake, WakeReason};
use crate::report::Report;
use crate::view::{ExperimentView, Lookup};

/// The next status, what people should hear of it, and when to look again.
pub(super) struct Next {
    pub(super) status: ExperimentStatus,
    pub(super) notices: Vec<Notice>,
    pub(super) wake: Option<Wake>,
}

/// Builds the next status.
pub(super) fn next(s: &Situation<'_>, report: &mut Report) -> Next {
    let old = s.status();
    let mut status = old.clone();
    let versions: Vec<ExperimentTemplateStatus> =
        s.versions.iter().map(|version| verdict::version(s, version)).collect();
    let running = |version: &ExperimentTemplateStatus| version.status.as_deref() == Some(RUNNING);
    let all_run = !s.is_ending() && versions.iter().all(running);
    if status.available_at.is_none() && all_run {
        status.available_at = Some(s.now().into());
    }
    status.analysis_runs =
        s.analyses.iter().filter_map(|analysis| verdict::analysis(s, analysis)).collect();
    if !s.is_finished() {
        let is_available = status.available_at.is_some();
        let (phase, message) = verdict::whole(s, &versions, &status.analysis_runs, is_available);
        status.phase = Some(phase);
        status.message = (!message.is_empty()).then_some(message);
    }
    status.template_statuses = versions;
    status.template_statuses.extend(leaving(s));
    remove(&mut status.conditions, "InvalidSpec");
    progressing(s, &mut status);
    let wake = deadlines(s, &status, report);
    let notices = notices(old, &status);
    Next { status, notices, wake }
}

/// The records of versions that the spec does not have any more, until all that they had is gone.
fn leaving(s: &Situation<'_>) -> Vec<ExperimentTemplateStatus> {
    let is_there = |version: &ExperimentTemplateStatus| {
        let of =
            |meta: &Meta| meta.annotations.get(labels::EXPERIMENT_TEMPLATE) == Some(&version.name);
        let mut services = s.view.services.values().filter_map(Lookup::present);
        s.strays.iter().any(|set| of(&set.meta) && set.replicas > 0)
            || services.any(|service| of(&service.meta))
    };
    let is_known = |version: &ExperimentTemplateStatus| {
        s.versions.iter().any(|known| known.template.name == version.name)
    };
    let recorded = s.status().template_statuses.iter();
    recorded.filter(|version| !is_known(version) && is_there(version)).cloned().collect()
}

/// Deadlines, and what is waited for.
fn deadlines(s: &Situation<'_>, status: &ExperimentStatus, report: &mut Report) -> Option<Wake> {
    if status.phase.is_some_and(AnalysisPhase::is_completed) {
        return None;
    }
    let mut wake = None;
    if let Some(obstacle) = verdict::obstacle(s) {
        report.problem(obstacle.to_string(), "create or correct it; nothing runs before that");
    }
    let known = s.versions.len();
    for version in status.template_statuses.iter().take(known) {
        let Some(at) = verdict::deadline(s, version) else { continue };
        let name = &version.name;
        report.waits(format!("the Pods of version `{name}` to be available"), Some(at));
        let next = Wake { at, reason: WakeReason::ProgressDeadline };
        wake = Wake::earliest(wake, Some(next));
    }
    if let Some(at) = s.ends_at().filter(|at| *at > s.now() && !s.is_ending()) {
        report.waits("the duration of the experiment", Some(at));
        wake = Wake::earliest(wake, Some(Wake { at, reason: WakeReason::ExperimentEnds }));
    }
    let open =
        |run: &&ExperimentAnalysisRunStatus| !run.phase.is_some_and(AnalysisPhase::is_completed);
    for run in status.analysis_runs.iter().filter(open) {
        report.waits(format!("analysis `{}` (AnalysisRun `{}`)", run.name, run.analysis_run), None);
    }
    wake
}

fn progressing(s: &Situation<'_>, status: &mut ExperimentStatus) {
    let name = &s.experiment.meta.name;
    let (truth, reason, message) = if status.phase.is_some_and(AnalysisPhase::is_completed) {
        let message = format!("Experiment \"{name}\" has ended.");
        ("False", "ExperimentCompleted", message)
    } else if status.available_at.is_some() {
        ("True", "NewReplicaSetAvailable", format!("Experiment \"{name}\" is running."))
    } else {
        ("True", "ReplicaSetUpdated", format!("Experiment \"{name}\" is progressing."))
    };
    set(&mut status.conditions, s.now().into(), "Progressing", truth, reason, &message);
}

fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|condition| condition.kind != kind);
}

/// Sets a condition: rewritten only if status, reason or, of `InvalidSpec`, the message changed.
fn set(
    conditions: &mut Vec<Condition>,
    now: Time,
    kind: &str,
    truth: &str,
    reason: &str,
    message: &str,
) {
    let old = conditions.iter_mut().find(|condition| condition.kind == kind);
    let same = old.as_ref().is_some_and(|old| {
        let spoken = kind == "InvalidSpec" && old.message != message;
        old.status == truth && old.reason == reason && !spoken
    });
    if same {
        return;
    }
    let since = old.as_ref().filter(|old| old.status == truth);
    let fresh = Condition {
        kind: kind.to_owned(),
        status: truth.to_owned(),
        last_update_time: Some(now),
        last_transition_time: since.and_then(|old| old.last_transition_time).or(Some(now)),
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    match old {
        Some(old) => *old = fresh,
        None => conditions.push(fresh),
    }
}

fn notices(old: &ExperimentStatus, new: &ExperimentStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    let words = |name: &str| if name.is_empty() { "none".to_owned() } else { name.to_owned() };
    let why = |message: &Option<String>| {
        message.as_ref().map(|message| format!(": {message}")).unwrap_or_default()
    };
    for version in &new.template_statuses {
        let before = old.template_statuses.iter().find(|before| before.name == version.name);
        let before = before.and_then(|before| before.status.clone()).unwrap_or_default();
        let after = version.status.as_deref().unwrap_or_default();
        if before == after {
            continue;
        }
        let (severity, reason) = template_reason(after);
        let message = format!(
            "Template '{}' transitioned from {} -> {after}{}",
            version.name,
            words(&before),
            why(&version.message)
        );
        notices.push(Notice { severity, reason, message });
    }
    for run in &new.analysis_runs {
        let before = old.analysis_runs.iter().find(|before| before.name == run.name);
        let (before, after) = (before.and_then(|before| before.phase), run.phase);
        let Some(after) = after.filter(|after| before != Some(*after)) else { continue };
        let (severity, _, reason) = phase_reasons(after);
        let message = format!(
            "AnalysisRun '{}' transitioned from {} -> {}{}",
            run.name,
            before.map_or("none", AnalysisPhase::as_str),
            after.as_str(),
            why(&run.message)
        );
        notices.push(Notice { severity, reason, message });
    }
    if let Some(after) = new.phase.filter(|after| old.phase != Some(*after)) {
        let (severity, reason, _) = phase_reasons(after);
        let message = format!(
            "Experiment transitioned from {} -> {}{}",
            old.phase.map_or("none", AnalysisPhase::as_str),
            after.as_str(),
            why(&new.message)
        );
        notices.push(Notice { severity, reason, message });
    }
    notices
}

fn template_reason(state: &str) -> (Severity, &'static str) {
    match state {
        RUNNING => (Severity::Normal, "TemplateRunning"),
        SUCCESSFUL => (Severity::Normal, "TemplateSuccessful"),
        FAILED => (Severity::Warning, "TemplateFailed"),
        ERROR => (Severity::Warning, "TemplateError"),
        _ => (Severity::Normal, "TemplateProgressing"),
    }
}

/// Severity, and Argo's event reasons for an experiment and for a run.
fn phase_reasons(phase: AnalysisPhase) -> (Severity, &'static str, &'static str) {
    match phase {
        AnalysisPhase::Pending => (Severity::Normal, "ExperimentPending", "AnalysisRunPending"),
        AnalysisPhase::Running => (Severity::Normal, "ExperimentRunning", "AnalysisRunRunning"),
        AnalysisPhase::Successful => {
            (Severity::Normal, "ExperimentSuccessful", "AnalysisRunSuccessful")
        }
        AnalysisPhase::Failed => (Severity::Warning, "ExperimentFailed", "AnalysisRunFailed"),
        AnalysisPhase::Error => (Severity::Warning, "ExperimentError", "AnalysisRunError"),
        AnalysisPhase::Inconclusive => {
            (Severity::Normal, "ExperimentInconclusive", "AnalysisRunInconclusive")
        }
    }
}

/// Returns the status of an Experiment whose spec is not valid: all stays, and the condition says what is wrong.
pub(super) fn invalid(view: &ExperimentView, found: &[Problem]) -> (ExperimentStatus, Vec<Notice>) {
    let mut status = view.experiment.status.clone();
    let details =
        found.iter().map(|problem| format!("{}: {}", problem.path.as_str(), problem.message));
    let details = sluice_crds::conditions::joined(details);
    let name = &view.experiment.meta.name;
    let message = format!("The Experiment \"{name}\" is invalid: {details}");
    let known = status.conditions.iter().any(|c| c.kind == "InvalidSpec" && c.message == message);
    let now = view.now.into();
    set(&mut status.conditions, now, "InvalidSpec", "True", "InvalidSpec", &message);
    let notice = Notice { severity: Severity::Warning, reason: "InvalidSpec", message };
    (status, if known { Vec::new() } else { vec![notice] })
}

/// How long a change of mere counts may wait for company.
const COMPANY_SECONDS: i64 = 5;

/// Returns the write that brings the status to `next`, or nothing if they are equal. A change of counts alone waits for up to
/// five seconds, so that a version of many Pods does not cost a write for each of them.
pub(super) fn write(
    view: &ExperimentView,
    next: &ExperimentStatus,
    wake: &mut Option<Wake>,
) -> Option<Write> {
    if view.experiment.status == *next {
        return None;
    }
    let old = serde_json::to_value(&view.experiment.status).ok()?;
    let new = serde_json::to_value(next).ok()?;
    let body = merge_patch(&old, &new)?;
    if weighty(&view.experiment.status) == weighty(next) {
        let recorded = view.experiment.status.template_statuses.iter();
        let since = recorded.filter_map(|version| version.last_transition_time).max();
        let due = since.map(|at| at.at() + chrono::Duration::seconds(COMPANY_SECONDS));
        let soon = view.now + chrono::Duration::seconds(COMPANY_SECONDS);
        if let Some(at) = due.filter(|due| view.now < *due && *due <= soon) {
            let next = Wake { at, reason: WakeReason::StatusDue };
            *wake = Wake::earliest(wake.take(), Some(next));
            return None;
        }
    }
    Some(Write {
        object: view.object(),
        preconditions: view.epoch.preconditions(&view.experiment.meta),
        manager: labels::MANAGER_STATUS.into(),
        change: Change::Status { body },
    })
}

/// What a later decision or a person acts on: all but counts, and the progress that they are.
fn weighty(status: &ExperimentStatus) -> ExperimentStatus {
    let mut status = status.clone();
    for version in &mut status.template_statuses {
        let on_its_way = version.status.as_deref() == Some(PROGRESSING);
        *version = ExperimentTemplateStatus {
            replicas: 0,
            updated_replicas: 0,
            ready_replicas: 0,
            available_replicas: 0,
            message: None,
            last_transition_time: version.last_transition_time.filter(|_| !on_its_way),
            ..version.clone()
        };
    }
    status
}
