//! What moves a Rollout on: at most one transition in a decision, written to the status and acted on in the next one
//! (`spec-rollouts` 3.2, 3.3).

use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::rollout::CanaryStep;

use super::abort::Abort;
use super::analysis::Verdicts;
use super::pause::{self, PauseState};
use super::replicas::{Threshold, explicit_scale, routed_size, weight_at};
use super::routes::Traffic;
use super::situation::Situation;
use crate::plan::{Wake, WakeReason};
use crate::report::Report;

/// A change of the status that later decisions act on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Transition {
    /// None.
    Stay,
    /// The name of the ReplicaSet to be created is taken by one that is not ours: another hash is tried.
    Collide,
    /// A new template, or new steps: start anew.
    Reset,
    /// An abort was asked for where there is nothing to take back.
    DropAbort,
    /// An abort is recorded, with its cause.
    Abort(String),
    /// The user cleared an abort.
    Retry,
    /// The current revision becomes the stable one.
    Promote,
    /// The current step is complete.
    Advance,
    /// A pause starts, for the reason.
    Pause(&'static str),
    /// The user ended an inconclusive pause and a new run starts.
    Resume,
    /// A pause of a step that is not the current one any more is taken off.
    DropPause,
    /// The time of a pause is over while Pods are missing: it counts as ended by hand.
    EndPause,
    /// Nothing stands between a blue-green update and its switch any more: the pause before it is over.
    CheckPoint,
}

/// Decides the transition. What it waits for goes to the report.
pub(crate) fn transition(
    s: &Situation<'_>,
    traffic: Option<&Traffic<'_>>,
    verdicts: &Verdicts,
    abort: &Abort,
    report: &mut Report,
    wake: &mut Option<Wake>,
) -> Transition {
    if s.is_taken() {
        return Transition::Collide;
    }
    if s.is_changed() {
        // The hash of a ReplicaSet is what its label says; it is recorded once the ReplicaSet is there.
        return if s.current.is_some() { Transition::Reset } else { Transition::Stay };
    }
    if s.is_promoted() {
        let asked = s.status().abort == Some(true) || s.status().promote_full == Some(true);
        return if asked { Transition::DropAbort } else { drop_stale_pause(s) };
    }
    if seeded!(PauseBeforeAbort) && s.is_paused_by_user() {
        return Transition::Stay;
    }
    if abort.is_on() && !seeded!(AbortedGoesOn) {
        return match &abort.cause {
            Some(_) if seeded!(AbortUnrecorded) => Transition::Stay,
            Some(cause) => Transition::Abort(cause.clone()),
            None => Transition::Stay,
        };
    }
    if s.status().aborted_at.is_some() && !seeded!(AbortedGoesOn) {
        return if seeded!(RetryLost) { Transition::Stay } else { Transition::Retry };
    }
    if verdicts.resumed {
        return Transition::Resume;
    }
    let undecided = verdicts.inconclusive && !seeded!(InconclusiveGoesOn);
    if undecided && !s.has_pause(pause::INCONCLUSIVE) && !s.skips_steps() {
        return Transition::Pause(pause::INCONCLUSIVE);
    }
    let trial_pause = pause::INCONCLUSIVE_EXPERIMENT;
    if verdicts.trial_is_inconclusive() && !s.has_pause(trial_pause) && !s.skips_steps() {
        return Transition::Pause(trial_pause);
    }
    if s.is_paused_by_user() {
        report.waits_for_person("spec.paused is true", "`kubectl sluice promote` resumes");
        return Transition::Stay;
    }
    if s.has_pause(pause::INCONCLUSIVE) && !s.skips_steps() {
        report.waits_for_person("an inconclusive analysis", after_unsure(verdicts));
        return Transition::Stay;
    }
    if s.has_pause(trial_pause) && !s.skips_steps() {
        report.waits_for_person(
            "an inconclusive experiment",
            "`kubectl sluice promote` goes on with a new one, `kubectl sluice abort` takes the update back",
        );
        return Transition::Stay;
    }
    if let Some(outage) = verdicts.outage().filter(|_| !s.is_first() && !s.skips_steps()) {
        report.waits(outage.message(s), None);
        return Transition::Stay;
    }
    if s.is_first() || s.skips_steps() || s.step().is_none() {
        return match may_promote(s, traffic) {
            Ok(()) => Transition::Promote,
            Err(what) => {
                report.waits(what, None);
                drop_stale_pause(s)
            }
        };
    }
    match s.step() {
        Some(step) => proceed(s, step, traffic, verdicts, report, wake),
        None => Transition::Stay,
    }
}

/// What ends the pause of an inconclusive analysis: as with Argo's plugin, `promote` leaves an `analysis` step behind.
fn after_unsure(verdicts: &Verdicts) -> &'static str {
    if verdicts.step.as_ref().is_some_and(|run| run.phase == AnalysisPhase::Inconclusive) {
        "`kubectl sluice promote` goes on with the next step, `kubectl sluice abort` takes the update back"
    } else {
        "`kubectl sluice promote` goes on with a new run, `kubectl sluice abort` takes the update back"
    }
}

fn drop_stale_pause(s: &Situation<'_>) -> Transition {
    let pausing = s.step().is_some_and(|step| step.pause_length().is_some());
    if s.has_pause(pause::STEP) && (!pausing || s.skips_steps() || s.is_promoted()) {
        Transition::DropPause
    } else {
        Transition::Stay
    }
}

fn proceed(
    s: &Situation<'_>,
    step: &CanaryStep,
    traffic: Option<&Traffic<'_>>,
    verdicts: &Verdicts,
    report: &mut Report,
    wake: &mut Option<Wake>,
) -> Transition {
    // Once it pauses, a `setWeight` with `duration` is a pause like any other: its weight was reached.
    let pauses = |length| pause::state(s, length) != PauseState::NotStarted;
    if step.pause.is_none()
        && !step.pause_length().is_some_and(pauses)
        && let Err(what) = work_is_done(s, step, traffic, verdicts)
    {
        report.waits(what, None);
        return drop_stale_pause(s);
    }
    // The last step and the promotion share one status.
    let done = || {
        let last = s.index() + 1 == s.steps.len();
        if last && may_promote(s, traffic).is_ok() {
            Transition::Promote
        } else {
            Transition::Advance
        }
    };
    let Some(length) = step.pause_length() else {
        return done();
    };
    match pause::state(s, length) {
        PauseState::NotStarted => Transition::Pause(pause::STEP),
        PauseState::Over => done(),
        PauseState::Until(at) => {
            report.waits(format!("step {} of {} pauses", s.index() + 1, s.steps.len()), Some(at));
            *wake = Wake::earliest(wake.take(), Some(Wake { at, reason: WakeReason::PauseEnds }));
            Transition::Stay
        }
        PauseState::UntilPromoted => {
            report.waits_for_person(
                format!("step {} of {} pauses without end", s.index() + 1, s.steps.len()),
                "`kubectl sluice promote` goes on",
            );
            Transition::Stay
        }
    }
}

/// Whether the work of a step is done; else what it waits for.
fn work_is_done(
    s: &Situation<'_>,
    step: &CanaryStep,
    traffic: Option<&Traffic<'_>>,
    verdicts: &Verdicts,
) -> Result<(), String> {
    if step.analysis.is_some() {
        let over =
            seeded!(AnalysisSkipped) || (seeded!(InconclusiveGoesOn) && verdicts.inconclusive);
        return if verdicts.step_succeeded || over {
            Ok(())
        } else {
            Err(format!("the analysis of step {} of {}", s.index() + 1, s.steps.len()))
        };
    }
    if step.experiment.is_some() {
        return super::experiment::is_done(s, verdicts);
    }
    if step.set_header_route.is_some() || step.set_mirror_route.is_some() {
        return super::rules::are_there(s, traffic);
    }
    if step.set_weight.is_none() && step.set_canary_scale.is_none() {
        return Ok(());
    }
    if !seeded!(StepWithoutPods) {
        sizes_are_right(s, traffic)?;
    }
    if step.set_weight.is_none() {
        return Ok(());
    }
    let weight = weight_at(s.steps, s.index());
    match traffic {
        Some(_) if seeded!(StepWithoutWeight) => Ok(()),
        Some(traffic) if s.n > 0 => traffic.is_at(weight, &s.hash).map_err(|live| {
            format!("weight {weight} of the canary on every managed route; it is {live}")
        }),
        Some(_) | None => Ok(()),
    }
}

/// Argo's `AtDesiredReplicaCounts`.
fn sizes_are_right(s: &Situation<'_>, traffic: Option<&Traffic<'_>>) -> Result<(), String> {
    let index = s.index();
    let Some(current) = s.current else {
        return Err("the ReplicaSet of the new revision".to_owned());
    };
    let weight = weight_at(s.steps, index);
    let (wanted, wanted_stable) = match (s.is_routed(), s.stable) {
        (true, _) => {
            let explicit = explicit_scale(s.canary, s.steps, index, s.n);
            (explicit.unwrap_or_else(|| routed_size(s.canary, s.n, weight)), s.n)
        }
        (false, Some(_)) => {
            let surge = super::replicas::Bounds::of(s.canary, s.n).surge;
            super::replicas::basic_target(s.n, weight, surge)
        }
        (false, None) => (s.n, 0),
    };
    let least = s.threshold().least(wanted);
    // A routed canary may have to keep Pods until the traffic that it had is gone for a while: nobody waits for that.
    let shrinks_to = match traffic {
        Some(traffic) => super::canary::shrinks_to(s, traffic, current),
        None => (current.replicas > wanted).then_some(wanted),
    };
    if let Some(smaller) = shrinks_to.filter(|_| s.threshold() == Threshold::All) {
        let size = current.replicas;
        return Err(format!("{} to shrink from {size} to {smaller} Pods", current.object()));
    }
    if current.replicas < wanted || current.available() < least {
        return Err(format!(
            "{least} available Pods of {}; there are {}",
            current.object(),
            current.available()
        ));
    }
    if let Some(stable) = s.stable.filter(|_| !super::dynamic::is_on(s))
        && (stable.replicas != wanted_stable || stable.existing != wanted_stable)
    {
        return Err(format!(
            "{wanted_stable} Pods of {}; there are {}",
            stable.object(),
            stable.existing
        ));
    }
    let old = super::replicas::total(s.older.iter().map(|rs| rs.available()));
    if !s.is_routed() && old > 0 {
        return Err(format!("{old} Pods of older revisions to end"));
    }
    Ok(())
}

/// Whether the current revision may become the stable one; else what it waits for (S9).
pub(crate) fn may_promote(s: &Situation<'_>, traffic: Option<&Traffic<'_>>) -> Result<(), String> {
    let Some(current) = s.current else {
        return Err("the ReplicaSet of the new revision".to_owned());
    };
    if s.is_first() {
        return Ok(());
    }
    let least = s.threshold().least(s.n);
    if current.available() < least && !seeded!(PromoteWithoutPods) {
        return Err(format!(
            "{least} available Pods of {}; there are {}",
            current.object(),
            current.available()
        ));
    }
    match traffic {
        Some(_) if seeded!(PromoteWithoutWeight) => Ok(()),
        Some(traffic) if s.n > 0 => traffic.is_at(100, &s.hash).map_err(|live| {
            format!("all traffic on the canary before it is promoted; its weight is {live}")
        }),
        Some(_) | None => Ok(()),
    }
}

/// Returns the step in a word or two, for messages.
pub(crate) fn words(step: &CanaryStep) -> &'static str {
    if step.set_weight.is_some() {
        "setWeight"
    } else if step.pause.is_some() {
        "pause"
    } else if step.set_canary_scale.is_some() {
        "setCanaryScale"
    } else if step.analysis.is_some() {
        "analysis"
    } else if step.experiment.is_some() {
        "experiment"
    } else if step.set_header_route.is_some() {
        "setHeaderRoute"
    } else if step.set_mirror_route.is_some() {
        "setMirrorRoute"
    } else {
        "step"
    }
}
