//! How long an update takes, and how much of that people took (`status.duration`, `spec-rollouts` 8.4).
//!
//! It starts with a new template, new steps or a retry, and ends when the current revision is stable and whole, with an abort,
//! or with the next template (`Superseded`; then it starts anew).

use chrono::{DateTime, Duration, Utc};
use sluice_crds::rollout::RolloutStatus;
use sluice_crds::rollout::status::RolloutDuration;

use super::pause;
use super::situation::Roles;

/// An update that ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// `Promoted`, `FastPromoted`, `Aborted`, `Superseded`, `RolledBack` or `FastRolledBack`.
    pub status: String,
    /// From its start to its end.
    pub total: Duration,
    /// Of that: manual pauses.
    pub paused: Duration,
}

impl Ended {
    /// Returns the time in which the update went on by itself.
    pub fn progression(&self) -> Duration {
        (self.total - self.paused).max(Duration::zero())
    }
}

/// Returns the updates that ended between two statuses, the latter written at `now`: the one under way, if the next one took its
/// place, and the one that the new status is about.
pub fn ended(old: &RolloutStatus, new: &RolloutStatus, now: DateTime<Utc>) -> Vec<Ended> {
    let Some(last) = &new.duration else { return Vec::new() };
    let open = old.duration.as_ref().filter(|duration| duration.finished_at.is_none());
    let is_new =
        old.duration.as_ref().is_none_or(|d| d.rollout_started_at != last.rollout_started_at);
    let superseded = open.filter(|_| is_new).and_then(|open| measured(open, now, "Superseded"));
    let end = last.finished_at.filter(|_| is_new || open.is_some());
    let ended = end.and_then(|end| measured(last, end.at(), last.completion_status.as_deref()?));
    superseded.into_iter().chain(ended).collect()
}

fn measured(duration: &RolloutDuration, end: DateTime<Utc>, status: &str) -> Option<Ended> {
    let started = duration.rollout_started_at?.at();
    let since = duration.manual_pause_started_at.map_or(Duration::zero(), |at| end - at.at());
    let seconds = duration.total_manual_pause_duration_seconds.unwrap_or(0);
    let paused = Duration::try_seconds(seconds).unwrap_or_default() + since;
    Some(Ended { status: status.to_owned(), total: end - started, paused })
}

/// Starts the clock anew.
pub(crate) fn start(s: &Roles<'_>, status: &mut RolloutStatus) {
    status.duration = Some(RolloutDuration {
        rollout_started_at: Some(s.now().into()),
        ..RolloutDuration::default()
    });
}

/// Says how the update ends, if it has not ended; the clock stops once its Pods are there.
pub(crate) fn promoted(s: &Roles<'_>, status: &mut RolloutStatus) {
    let rolled_back = match (s.current, s.stable) {
        (Some(current), Some(stable)) => {
            current.meta.creation_timestamp < stable.meta.creation_timestamp
        }
        _ => false,
    };
    let completion = match (rolled_back, s.skips_steps()) {
        (true, true) => "FastRolledBack",
        (true, false) => "RolledBack",
        (false, true) => "FastPromoted",
        (false, false) => "Promoted",
    };
    complete(status, completion);
}

/// Stops the clock of an update that is taken back.
pub(crate) fn aborted(s: &Roles<'_>, status: &mut RolloutStatus) {
    complete(status, "Aborted");
    finish(s.now(), status);
}

fn complete(status: &mut RolloutStatus, completion: &str) {
    let duration = status.duration.get_or_insert_with(Default::default);
    if duration.finished_at.is_none() {
        duration.completion_status = Some(completion.to_owned());
    }
}

fn finish(now: DateTime<Utc>, status: &mut RolloutStatus) {
    let Some(duration) = status.duration.as_mut().filter(|d| d.finished_at.is_none()) else {
        return;
    };
    end_pause(duration, now);
    duration.finished_at = Some(now.into());
}

/// Keeps the clock with the rest of the next status: pauses that begin and end, and the end.
pub(crate) fn update(s: &Roles<'_>, status: &mut RolloutStatus) {
    let promoted = status.stable_rs.is_some() && status.stable_rs == status.current_pod_hash;
    let runs = status.duration.as_ref().is_some_and(|duration| {
        duration.rollout_started_at.is_some() && duration.finished_at.is_none()
    });
    if !runs {
        return;
    }
    if promoted && s.current_available() >= s.n {
        // Back to the stable revision: nobody promotes what is stable, and every step is skipped.
        if status.duration.as_ref().is_some_and(|duration| duration.completion_status.is_none()) {
            complete(status, "FastRolledBack");
        }
        finish(s.now(), status);
        return;
    }
    let pauses = !promoted && is_paused_by_people(s, status);
    let Some(duration) = &mut status.duration else { return };
    if pauses && duration.manual_pause_started_at.is_none() {
        duration.manual_pause_started_at = Some(s.now().into());
    } else if !pauses {
        end_pause(duration, s.now());
    }
}

fn end_pause(duration: &mut RolloutDuration, now: DateTime<Utc>) {
    if let Some(since) = duration.manual_pause_started_at.take() {
        let total = duration.total_manual_pause_duration_seconds.unwrap_or(0);
        let seconds = (now - since.at()).num_seconds().max(0);
        duration.total_manual_pause_duration_seconds = Some(total.saturating_add(seconds));
    }
}

/// Whether the update waits for a person: `spec.paused`, an inconclusive judgement, a pause without end.
fn is_paused_by_people(s: &Roles<'_>, status: &RolloutStatus) -> bool {
    let index = status.current_step_index.and_then(|index| usize::try_from(index).ok());
    let endless = || {
        let step = index.and_then(|index| s.steps.get(index));
        step.and_then(|step| step.pause_length()).is_some_and(|length| length.is_none())
    };
    let blue_green = s.rollout.spec.strategy.blue_green.as_deref();
    let by_hand = || blue_green.is_some_and(|b| b.auto_promotion_enabled == Some(false));
    let counts = |reason: &str| match reason {
        pause::STEP => endless(),
        pause::BLUE_GREEN => by_hand(),
        reason => reason.starts_with("Inconclusive"),
    };
    let conditions = status.pause_conditions.iter().flatten();
    s.is_paused_by_user() || conditions.into_iter().any(|condition| counts(&condition.reason))
}
