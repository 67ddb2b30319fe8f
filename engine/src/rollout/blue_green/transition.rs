//! What moves a blue-green update on: at most one transition in a decision (`spec-rollouts` 5, 4 to 9).

use super::BlueGreen;
use crate::plan::{Wake, WakeReason};
use crate::report::Report;
use crate::rollout::abort::Abort;
use crate::rollout::analysis::Verdicts;
use crate::rollout::pause::{self, PauseState};
use crate::rollout::steps::Transition;

/// Decides the transition. What it waits for goes to the report.
pub(super) fn transition(
    s: &BlueGreen<'_>,
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
        if !s.is_switched() && !s.is_saturated() {
            report.waits(pods(s, s.n), None);
        }
        return if asked { Transition::DropAbort } else { drop_stale_pause(s) };
    }
    if abort.is_on() {
        return match &abort.cause {
            Some(cause) => Transition::Abort(cause.clone()),
            None => Transition::Stay,
        };
    }
    if s.status().aborted_at.is_some() {
        return Transition::Retry;
    }
    if s.is_first() {
        // There is nothing to compare it with, and nobody to take from.
        return if s.current.is_some() { Transition::Promote } else { Transition::Stay };
    }
    if verdicts.resumed {
        return Transition::Resume;
    }
    if verdicts.inconclusive && !s.has_pause(pause::INCONCLUSIVE) && !s.skips_steps() {
        return Transition::Pause(pause::INCONCLUSIVE);
    }
    if s.is_paused_by_user() {
        report.waits_for_person("spec.paused is true", "`kubectl sluice promote` resumes");
        return Transition::Stay;
    }
    if s.has_pause(pause::INCONCLUSIVE) && !s.skips_steps() {
        report.waits_for_person(
            "an inconclusive analysis",
            "`kubectl sluice promote` goes on with a new run, `kubectl sluice abort` takes the update back",
        );
        return Transition::Stay;
    }
    if let Some(outage) = verdicts.outage().filter(|_| !s.skips_steps()) {
        report.waits(outage.message(s), None);
        return Transition::Stay;
    }
    if s.is_switched() {
        after_switch(s, verdicts, report)
    } else {
        before_switch(s, verdicts, report, wake)
    }
}

fn is_paused(s: &BlueGreen<'_>) -> bool {
    let status = s.status();
    status.controller_pause == Some(true)
        || status.pause_conditions.iter().flatten().next().is_some()
}

fn drop_stale_pause(s: &BlueGreen<'_>) -> Transition {
    if is_paused(s) { Transition::DropPause } else { Transition::Stay }
}

fn before_switch(
    s: &BlueGreen<'_>,
    verdicts: &Verdicts,
    report: &mut Report,
    wake: &mut Option<Wake>,
) -> Transition {
    if s.skips_steps() && is_paused(s) {
        return Transition::CheckPoint;
    }
    if !s.is_ready() {
        report.waits(pods(s, s.wanted_size()), None);
        return without_pods(s, wake);
    }
    if s.skips_steps() || s.has_passed() {
        return Transition::Stay;
    }
    if !s.is_judged_before(verdicts) {
        report.waits("the pre-promotion analysis", None);
        return Transition::Stay;
    }
    let grows = s.strategy.preview_replica_count.is_some();
    match s.pause() {
        Some(PauseState::NotStarted) => Transition::Pause(pause::BLUE_GREEN),
        Some(PauseState::Until(at)) => {
            report.waits("the pause before users are switched", Some(at));
            *wake = Wake::earliest(wake.take(), Some(Wake { at, reason: WakeReason::PauseEnds }));
            Transition::Stay
        }
        Some(PauseState::UntilPromoted) => {
            report.waits_for_person(
                "the pause before users are switched",
                "`kubectl sluice promote` switches them",
            );
            Transition::Stay
        }
        Some(PauseState::Over) if grows => Transition::CheckPoint,
        None if grows || s.has_pause(pause::BLUE_GREEN) => Transition::CheckPoint,
        // The switch itself is an action; that the pause is over stays visible until it is done.
        Some(PauseState::Over) | None => Transition::Stay,
    }
}

/// Pods are missing in the pause: it ends with its time all the same, so that the progress deadline counts again.
fn without_pods(s: &BlueGreen<'_>, wake: &mut Option<Wake>) -> Transition {
    match s.pause().filter(|_| s.has_pause(pause::BLUE_GREEN)) {
        Some(PauseState::Over) => Transition::EndPause,
        Some(PauseState::Until(at)) => {
            *wake = Wake::earliest(wake.take(), Some(Wake { at, reason: WakeReason::PauseEnds }));
            Transition::Stay
        }
        Some(PauseState::NotStarted | PauseState::UntilPromoted) | None => Transition::Stay,
    }
}

fn after_switch(s: &BlueGreen<'_>, verdicts: &Verdicts, report: &mut Report) -> Transition {
    if is_paused(s) {
        return Transition::CheckPoint;
    }
    match may_promote(s, verdicts) {
        Ok(()) => Transition::Promote,
        Err(what) => {
            report.waits(what, None);
            Transition::Stay
        }
    }
}

/// Whether the revision that users reach may become the stable one; else what it waits for (S9).
fn may_promote(s: &BlueGreen<'_>, verdicts: &Verdicts) -> Result<(), String> {
    if !s.is_saturated() {
        return Err(pods(s, s.n));
    }
    if let Some(lane) = s.active
        && lane.lists(&s.hash) < s.n
        && !seeded!(PromoteUnlisted)
    {
        let object = lane.service.object();
        let listed = lane.lists(&s.hash);
        return Err(format!("{} ready endpoints in {object}; there are {listed}", s.n));
    }
    if !s.is_judged_after(verdicts) {
        return Err("the post-promotion analysis".to_owned());
    }
    Ok(())
}

fn pods(s: &BlueGreen<'_>, wanted: u32) -> String {
    match s.current {
        Some(set) => {
            format!("{wanted} available Pods of {}; there are {}", set.object(), set.available())
        }
        None => "the ReplicaSet of the new revision".to_owned(),
    }
}
