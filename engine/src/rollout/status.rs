//! The one place where a Rollout's status is built.

use std::collections::BTreeMap;

use sluice_crds::labels;
use sluice_crds::object::{Change, Write, merge_patch};
use sluice_crds::rollout::RolloutStatus;
use sluice_crds::rollout::status::{
    AnalysisRunRef, CanaryStatus, Condition, PauseCondition, SluiceStatus, TrafficWeights,
    WeightDestination,
};

use super::analysis::Verdicts;
use super::blue_green::{self, BlueGreen, Switched};
use super::destinations::after_promotion;
use super::fencing::is_made_up;
use super::pause;
use super::problems::Problem;
use super::routes::Traffic;
use super::situation::{Roles, Set, Situation};
use super::split::Wanted;
use super::steps::Transition;
use super::{duration, restart, workload};
use crate::plan::{Notice, Severity, Wake, WakeReason};
use crate::view::RolloutView;

mod announce;
pub(crate) mod conditions;
mod phase;

/// The strategy's own part.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    Canary(&'a Situation<'a>),
    /// With what its Services select after this decision's plan.
    BlueGreen(&'a BlueGreen<'a>, &'a Switched),
}

/// Everything that the status is made from, besides the roles.
pub(crate) struct Inputs<'a> {
    pub(crate) part: Part<'a>,
    pub(crate) traffic: Option<&'a Traffic<'a>>,
    pub(crate) verdicts: &'a Verdicts,
    pub(crate) transition: &'a Transition,
    /// What routes show after this decision's plan, if the plan writes them.
    pub(crate) routed: Option<&'a Wanted>,
    /// Fields that are left alone because somebody else keeps changing them, in words.
    pub(crate) contended: &'a [String],
}

/// Builds the next status, and the notices that its transition gives rise to.
pub(crate) fn next(s: &Roles<'_>, inputs: &Inputs<'_>) -> (RolloutStatus, Vec<Notice>) {
    let mut status = s.status().clone();
    let mut notices = Vec::new();
    let ahead = i64::from(seeded!(ObservedAhead));
    status.observed_generation = Some((s.rollout.meta.generation + ahead).to_string());
    apply(s, inputs.transition, &mut status, &mut notices);
    counts(s, &mut status);
    match inputs.part {
        Part::Canary(canary) => {
            status.blue_green = None;
            runs(inputs, &mut status);
            trial(inputs, &mut status, &mut notices);
            weights(canary, inputs, &mut status);
            sized(canary, inputs, &mut status);
        }
        Part::BlueGreen(blue_green, switched) => {
            status.canary = None;
            blue_green::record(blue_green, switched, inputs, &mut status);
        }
    }
    workload::observed(s.view, &mut status);
    status.restarted_at = restart::done(s).or(status.restarted_at);
    duration::update(s, &mut status);
    // The revision that counts as stable may be another one after this transition.
    conditions::update(s, inputs, &mut status);
    conditions::hindrances(s, inputs, &mut status, &mut notices);
    notices.extend(announce::changes(s, &status));
    let (name, message) = phase::of(s, inputs, &status);
    if status.phase.as_deref() != Some(name) {
        status.phase = Some(name.to_owned());
    }
    status.message = (!message.is_empty()).then_some(message);
    (status, notices)
}

fn apply(
    s: &Roles<'_>,
    transition: &Transition,
    status: &mut RolloutStatus,
    notices: &mut Vec<Notice>,
) {
    let len = i32::try_from(s.steps.len()).unwrap_or(i32::MAX);
    match transition {
        Transition::Stay => {}
        Transition::Collide => {
            // Wraps: any other number is another hash, and a greatest one would be tried for ever.
            let count = status.collision_count.unwrap_or(0).wrapping_add(1);
            status.collision_count = Some(count);
            let set = format!("{}-{}", s.rollout.meta.name, s.hash);
            let message = format!("ReplicaSet {set} exists and is not ours; another hash is tried");
            notices.push(notice(Severity::Warning, "HashCollision", message));
        }
        Transition::Reset => reset(s, status, notices),
        Transition::DropAbort => {
            status.abort = None;
            status.aborted_at = None;
            status.promote_full = None;
            forget_pauses(status);
        }
        Transition::Abort(cause) => {
            status.abort = Some(true);
            status.aborted_at = Some(s.now().into());
            status.current_step_index = (len > 0).then_some(0);
            forget_pauses(status);
            let message = super::abort::message(s, cause);
            sluice(status).abort_cause = Some(message.clone());
            duration::aborted(s, status);
            notices.push(notice(Severity::Warning, "RolloutAborted", message));
        }
        Transition::Retry => {
            status.abort = None;
            status.aborted_at = None;
            status.current_step_index = (len > 0).then_some(0);
            let more = i64::from(!seeded!(RetryOldRuns));
            let attempt = s.sluice().attempt.unwrap_or(1).saturating_add(more);
            let own = sluice(status);
            own.attempt = Some(attempt);
            own.abort_cause = None;
            own.fast_rollback = None;
            forget_runs(status);
            duration::start(s, status);
        }
        Transition::Promote => promote(s, status, notices),
        Transition::Advance => advance(s, status, notices),
        Transition::Pause(reason) => {
            add_pause(s, status, reason);
            notices.push(notice(
                Severity::Normal,
                "RolloutPaused",
                format!("Rollout is paused ({reason})"),
            ));
        }
        Transition::Resume => status.controller_pause = None,
        Transition::DropPause => forget_pauses(status),
        Transition::EndPause => {
            status.pause_conditions = None;
            status.controller_pause = Some(true);
        }
        Transition::CheckPoint => {
            blue_green::pass_check_point(s, status);
            forget_pauses(status);
        }
    }
}

fn reset(s: &Roles<'_>, status: &mut RolloutStatus, notices: &mut Vec<Notice>) {
    let len = i32::try_from(s.steps.len()).unwrap_or(i32::MAX);
    let skip =
        s.is_promoted() || (s.is_fast_rollback() && s.current.is_some_and(|rs| rs.replicas > 0));
    let new_revision = status.current_pod_hash.as_deref() != Some(s.hash.as_str());
    let edits_of_finished = s.is_promoted() && !new_revision;
    status.current_pod_hash = Some(s.hash.clone());
    status.current_step_hash = (!s.step_hash.is_empty()).then(|| s.step_hash.clone());
    let skip = skip && !seeded!(BackToStableWaits);
    if !seeded!(ResetKeepsStep) {
        status.current_step_index = (len > 0).then_some(if skip { len } else { 0 });
    }
    if !seeded!(ResetKeepsAbort) {
        status.abort = None;
        status.aborted_at = None;
    }
    status.promote_full = None;
    status.restarted_at = s.rollout.spec.restart_at;
    forget_pauses(status);
    forget_runs(status);
    let own = sluice(status);
    own.abort_cause = None;
    own.fast_rollback = blue_green::is_in_time(s).then_some(true);
    if !edits_of_finished {
        own.attempt = Some(1);
        duration::start(s, status);
    }
    if skip && len > 0 {
        notices.push(notice(
            Severity::Normal,
            "SkipSteps",
            "Rollback: all steps are skipped".to_owned(),
        ));
    } else if new_revision {
        notices.push(notice(
            Severity::Normal,
            "RolloutUpdated",
            format!("Rollout updated to revision {}", s.revision()),
        ));
    }
}

fn promote(s: &Roles<'_>, status: &mut RolloutStatus, notices: &mut Vec<Notice>) {
    let len = i32::try_from(s.steps.len()).unwrap_or(i32::MAX);
    if !s.is_first() && !s.skips_steps() && s.step().is_some() {
        notices.push(step_completed(s));
    }
    status.current_step_index = (len > 0).then_some(len);
    status.stable_rs = Some(s.hash.clone());
    status.promote_full = None;
    status.abort = None;
    status.aborted_at = None;
    forget_pauses(status);
    let canary = s.rollout.spec.strategy.canary.as_deref();
    let swapped = canary.and_then(|canary| after_promotion(s.status(), canary));
    if let Some(stable) = swapped.filter(|_| !seeded!(RolesNeverSwap)) {
        status.canary.get_or_insert_with(CanaryStatus::default).stable_ping_pong = Some(stable);
    }
    let more = i64::from(!seeded!(PromotionUncounted));
    let stable_seq = s.sluice().stable_seq.unwrap_or(0).saturating_add(more);
    let own = sluice(status);
    own.stable_seq = Some(stable_seq);
    own.fast_rollback = None;
    if let Some(blue_green) = &mut status.blue_green {
        blue_green.scale_up_preview_check_point = None;
    }
    duration::promoted(s, status);
    let completion = status.duration.as_ref().and_then(|d| d.completion_status.clone());
    notices.push(notice(
        Severity::Normal,
        "RolloutCompleted",
        format!(
            "Rollout completed update to revision {} ({}): {}",
            s.revision(),
            s.hash,
            completion.unwrap_or_default()
        ),
    ));
}

fn advance(s: &Roles<'_>, status: &mut RolloutStatus, notices: &mut Vec<Notice>) {
    let next = s.index() + 1 + usize::from(seeded!(StepTwice));
    status.current_step_index = i32::try_from(next).ok();
    forget_pauses(status);
    if let Some(canary) = &mut status.canary {
        canary.current_step_analysis_run_status = None;
    }
    notices.push(step_completed(s));
    // The start of a pause rides in the status that leads to it.
    let pauses = s.steps.get(next).is_some_and(|step| step.pause.is_some());
    if pauses {
        add_pause(s, status, pause::STEP);
        notices.push(notice(
            Severity::Normal,
            "RolloutPaused",
            format!("Rollout is paused ({})", pause::STEP),
        ));
    }
}

fn step_completed(s: &Roles<'_>) -> Notice {
    let words = s.step().map_or("", super::steps::words);
    let message = format!("Rollout step {}/{} completed ({words})", s.index() + 1, s.steps.len());
    notice(Severity::Normal, "RolloutStepCompleted", message)
}

fn add_pause(s: &Roles<'_>, status: &mut RolloutStatus, reason: &str) {
    let mut pauses = status.pause_conditions.take().unwrap_or_default();
    pauses.push(PauseCondition { reason: reason.to_owned(), start_time: s.now().into() });
    status.pause_conditions = Some(pauses);
    status.controller_pause = Some(true);
}

fn forget_pauses(status: &mut RolloutStatus) {
    status.pause_conditions = None;
    status.controller_pause = None;
}

fn forget_runs(status: &mut RolloutStatus) {
    if let Some(canary) = &mut status.canary {
        canary.current_step_analysis_run_status = None;
        canary.current_background_analysis_run_status = None;
    }
    if let Some(blue_green) = &mut status.blue_green {
        blue_green.pre_promotion_analysis_run_status = None;
        blue_green.post_promotion_analysis_run_status = None;
        blue_green.scale_up_preview_check_point = None;
    }
}

fn sluice(status: &mut RolloutStatus) -> &mut SluiceStatus {
    status.sluice.get_or_insert_with(Default::default)
}

fn runs(inputs: &Inputs<'_>, status: &mut RolloutStatus) {
    let leaves_step = matches!(
        inputs.transition,
        Transition::Advance | Transition::Reset | Transition::Retry | Transition::Promote
    );
    let resets = matches!(inputs.transition, Transition::Reset | Transition::Retry);
    if *inputs.transition == Transition::Stay && status.abort == Some(true) {
        // What took the update back stays on record.
        return;
    }
    let step = inputs.verdicts.step_ref().filter(|_| !leaves_step);
    let background = inputs.verdicts.background_ref().filter(|_| !resets);
    if status.canary.is_none() && step.is_none() && background.is_none() {
        return;
    }
    let canary = status.canary.get_or_insert_with(CanaryStatus::default);
    canary.current_step_analysis_run_status = step;
    canary.current_background_analysis_run_status = background;
}

/// Records the Experiment of the current step.
fn trial(inputs: &Inputs<'_>, status: &mut RolloutStatus, notices: &mut Vec<Notice>) {
    let leaves_step = matches!(
        inputs.transition,
        Transition::Advance | Transition::Reset | Transition::Retry | Transition::Promote
    );
    if *inputs.transition == Transition::Stay && status.abort == Some(true) {
        // What took the update back stays on record.
        return;
    }
    let trial = inputs.verdicts.trial.as_ref().filter(|_| !leaves_step);
    let name = trial.map(|trial| trial.name.clone());
    let recorded = status.canary.as_ref().and_then(|canary| canary.current_experiment.clone());
    if name == recorded {
        return;
    }
    if let Some(name) = &name {
        let message = format!("Created Experiment '{name}'");
        notices.push(notice(Severity::Normal, "ExperimentCreated", message));
    }
    status.canary.get_or_insert_with(CanaryStatus::default).current_experiment = name;
}

fn counts(s: &Roles<'_>, status: &mut RolloutStatus) {
    let number = |count: u32| Some(i32::try_from(count).unwrap_or(i32::MAX));
    let sum = |of: fn(Set<'_>) -> u32| number(super::replicas::total(s.owned().map(of)));
    status.replicas = sum(|rs| rs.existing);
    status.ready_replicas = sum(|rs| rs.ready);
    status.available_replicas = sum(|rs| rs.reported_available);
    status.hpa_replicas = status.replicas;
    status.updated_replicas = number(s.current.map_or(0, |rs| rs.existing));
    status.selector = Some(selector_text(s, None));
}

/// The selector of the Rollout's Pods, or of those of one revision.
pub(crate) fn selector_text(s: &Roles<'_>, hash: Option<&str>) -> String {
    let Some(selector) = &s.rollout.spec.selector else { return String::new() };
    let mut wanted: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in selector.match_labels.iter().flatten() {
        wanted.insert(key, value);
    }
    wanted.extend(hash.map(|hash| (labels::POD_TEMPLATE_HASH, hash)));
    let matched = wanted.into_iter().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|requirement| {
        let key = &requirement.key;
        let values = requirement.values.clone().unwrap_or_default().join(",");
        match requirement.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        }
    });
    matched.chain(expressions).collect::<Vec<_>>().join(",")
}

/// The canary's share after this decision's plan.
fn share(inputs: &Inputs<'_>, traffic: &Traffic<'_>) -> u32 {
    inputs.routed.map_or(traffic.canary.weight, |wanted| wanted.canary).min(100)
}

/// Records the weights: those of this decision's plan, else what the routes show.
fn weights(s: &Situation<'_>, inputs: &Inputs<'_>, status: &mut RolloutStatus) {
    let Some(traffic) = inputs.traffic else { return };
    let canary = share(inputs, traffic);
    let number = |weight: u32| i32::try_from(weight).unwrap_or(100);
    let destination = |weight: u32, service: Option<&str>, hash: Option<&str>| WeightDestination {
        weight: number(weight),
        service_name: service.map(str::to_owned),
        pod_template_hash: hash.map(str::to_owned),
    };
    let to = super::destinations::services(s.rollout, s.canary);
    let versions: Vec<(String, u32)> = match inputs.routed {
        Some(wanted) => wanted.extra.iter().map(|to| (to.service.clone(), to.weight)).collect(),
        None => traffic.extra.clone().into_iter().collect(),
    };
    let given = versions.iter().fold(0_u32, |sum, (_, weight)| sum.saturating_add(*weight));
    let additional = versions.iter().map(|(service, weight)| {
        let hash = super::versions::behind(s, service).map(|(hash, _)| hash);
        destination(*weight, Some(service), hash.as_deref())
    });
    let additional = additional.collect();
    let promoted = status.stable_rs.as_deref().filter(|hash| !hash.is_empty());
    let old = status.canary.as_ref().and_then(|c| c.weights.as_ref());
    let mut next = TrafficWeights {
        canary: destination(canary, to.canary, Some(&s.hash)),
        stable: destination(100 - canary - given.min(100 - canary), to.stable, promoted),
        additional: (!versions.is_empty()).then_some(additional),
        verified: traffic.observed(s.view, inputs.routed.is_some()),
    };
    // An observer that was just started knows nothing yet; what was seen of the same weights stays on record.
    let same = old.filter(|old| (&old.canary, &old.stable) == (&next.canary, &next.stable));
    next.verified = next.verified.or(same.and_then(|old| old.verified));
    if old != Some(&next) {
        status.canary.get_or_insert_with(CanaryStatus::default).weights = Some(next);
    }
}

/// Records for how many replicas the canary has the Pods that its weight needs.
fn sized(s: &Situation<'_>, inputs: &Inputs<'_>, status: &mut RolloutStatus) {
    let Some(traffic) = inputs.traffic else { return };
    let weight = share(inputs, traffic);
    let sized_for =
        super::split::sized_for(s, weight).filter(|_| *inputs.transition != Transition::Promote);
    if sized_for.is_some() || status.sluice.is_some() {
        sluice(status).sized_for = sized_for;
    }
}

/// Returns the status of a Rollout that cannot be acted on: everything stays, and the condition `InvalidSpec` says why.
pub(crate) fn invalid(view: &RolloutView, found: &[Problem]) -> (RolloutStatus, Vec<Notice>) {
    let mut status = view.rollout.status.clone();
    status.observed_generation = Some(view.rollout.meta.generation.to_string());
    let details = found.iter().map(|problem| format!("{}: {}", problem.at, problem.message));
    let details = sluice_crds::conditions::joined(details);
    let message = format!("The Rollout \"{}\" is invalid: {details}", view.rollout.meta.name);
    let known = conditions::find(&status, "InvalidSpec").is_some_and(|c| c.message == message);
    conditions::set(&mut status, view.now.into(), "InvalidSpec", "True", "InvalidSpec", &message);
    if let Some((name, text)) = phase::by_conditions(&status) {
        status.phase = Some(name.to_owned());
        status.message = Some(text);
    }
    let notices =
        if known { Vec::new() } else { vec![notice(Severity::Warning, "InvalidSpec", message)] };
    (status, notices)
}

pub(crate) fn notice(severity: Severity, reason: &'static str, message: String) -> Notice {
    Notice { severity, reason, message }
}

/// How long a change of mere counts may wait for company.
const COMPANY_SECONDS: i64 = 5;

/// Returns the write that brings the status to `next`, or nothing if they are equal.
///
/// A change of counts, weights and messages alone waits for a decision to ride with, for at most five seconds after the
/// last recorded progress: a canary of many Pods must not cost a write for each of them. The wake says when it is due.
pub(crate) fn write(
    view: &RolloutView,
    next: &RolloutStatus,
    wake: &mut Option<Wake>,
) -> Option<Write> {
    if view.rollout.status == *next {
        return None;
    }
    let old = serde_json::to_value(&view.rollout.status).ok()?;
    let new = serde_json::to_value(next).ok()?;
    let body = merge_patch(&old, &new)?;
    if is_mere_count(&view.rollout.status, next) && !seeded!(CountsAtOnce) {
        let since = view
            .rollout
            .status
            .conditions
            .iter()
            .flatten()
            .filter_map(|c| c.last_update_time)
            .max();
        let due = since.map(|at| at.at() + chrono::Duration::seconds(COMPANY_SECONDS));
        if let Some(due) = due.filter(|due| view.now < *due && !is_made_up(*due, view.now)) {
            let wait = Wake { at: due, reason: WakeReason::StatusDue };
            *wake = Wake::earliest(wake.take(), Some(wait));
            return None;
        }
    }
    Some(Write {
        object: view.object(),
        preconditions: view.epoch.preconditions(&view.rollout.meta),
        manager: labels::MANAGER_STATUS.into(),
        change: Change::Status { body },
    })
}

/// Whether nothing differs that a later decision or a person acts on.
fn is_mere_count(old: &RolloutStatus, new: &RolloutStatus) -> bool {
    // That a run exists and goes on is told by the run itself; how it ended is not mere count.
    let goes_on = |run: &AnalysisRunRef| ["", "Pending", "Running"].contains(&run.status.as_str());
    let decisive = |status: &RolloutStatus| {
        let mut status = status.clone();
        status.replicas = None;
        status.updated_replicas = None;
        status.ready_replicas = None;
        status.available_replicas = None;
        status.hpa_replicas = None;
        status.message = None;
        if let Some(own) = &mut status.sluice {
            own.sized_for = None;
        }
        status.sluice = status.sluice.take().filter(|own| *own != SluiceStatus::default());
        if let Some(canary) = &mut status.canary {
            canary.weights = None;
            for run in [
                &mut canary.current_step_analysis_run_status,
                &mut canary.current_background_analysis_run_status,
            ] {
                *run = run.take().filter(|run| !goes_on(run));
            }
            if *canary == CanaryStatus::default() {
                status.canary = None;
            }
        }
        if let Some(blue_green) = &mut status.blue_green {
            for run in [
                &mut blue_green.pre_promotion_analysis_run_status,
                &mut blue_green.post_promotion_analysis_run_status,
            ] {
                *run = run.take().filter(|run| !goes_on(run));
            }
        }
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_update_time = None;
            let resumed = ["RolloutResumed", "RolloutRetry"].contains(&condition.reason.as_str());
            if condition.kind == "Progressing" && (condition.status == "True" || resumed) {
                *condition = Condition { kind: condition.kind.clone(), ..Condition::default() };
            }
        }
        status
    };
    old.phase == new.phase && decisive(old) == decisive(new)
}

/// Returns whether the change of status is one that later decisions act on, so that the Rollout must be fenced.
pub(crate) fn is_decisive(transition: &Transition) -> bool {
    *transition != Transition::Stay
}
