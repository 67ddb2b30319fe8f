//! What the status says about a blue-green update (`spec-rollouts` 1.6, 5, 8).

use sluice_crds::rollout::RolloutStatus;
use sluice_crds::rollout::status::{AnalysisRunRef, BlueGreenStatus};

use super::BlueGreen;
use crate::rollout::action::{Action, Role};
use crate::rollout::analysis::Purpose;
use crate::rollout::capacity::deadline_of;
use crate::rollout::situation::{Chosen, Roles};
use crate::rollout::status::{Inputs, selector_text};
use crate::rollout::steps::Transition;

/// What the Services select after a plan.
#[derive(Clone, Default)]
pub(crate) struct Switched {
    active: Option<String>,
    preview: Option<String>,
}

impl Switched {
    pub(super) fn after<'a>(s: &BlueGreen<'_>, actions: impl Iterator<Item = &'a Action>) -> Self {
        let observed =
            |lane: Option<super::Lane<'_>>| lane.and_then(|lane| lane.hash()).map(str::to_owned);
        let mut switched = Self { active: observed(s.active), preview: observed(s.preview) };
        for action in actions {
            let Action::SelectPods { role, to, .. } = action else { continue };
            if *role == Role::Active {
                switched.active = Some(to.clone());
            } else {
                switched.preview = Some(to.clone());
            }
        }
        switched
    }
}

/// Writes the strategy's own part of the status, and the counts, which are those of the version that serves.
pub(crate) fn record(
    s: &BlueGreen<'_>,
    switched: &Switched,
    inputs: &Inputs<'_>,
    status: &mut RolloutStatus,
) {
    let mut own = status.blue_green.take().unwrap_or_default();
    own.active_selector.clone_from(&switched.active);
    own.preview_selector.clone_from(&switched.preview);
    runs(inputs, status, &mut own);
    status.blue_green = Some(own);
    let set = switched.active.as_deref().and_then(|hash| s.view.owned(hash));
    if let Some(set) = set {
        let number = |count: u32| Some(i32::try_from(count).unwrap_or(i32::MAX));
        status.ready_replicas = number(set.ready);
        status.available_replicas = number(set.reported_available);
        status.hpa_replicas = number(set.existing);
        status.selector = Some(selector_text(s, set.hash()));
    }
}

/// The runs of the present attempt; what judged a finished update, or took it back, stays on record.
fn runs(inputs: &Inputs<'_>, status: &RolloutStatus, own: &mut BlueGreenStatus) {
    let begins = matches!(inputs.transition, Transition::Reset | Transition::Retry);
    let is_kept = *inputs.transition == Transition::Stay && status.abort == Some(true);
    if begins || is_kept {
        return;
    }
    for (purpose, field) in [
        (Purpose::PrePromotion, &mut own.pre_promotion_analysis_run_status),
        (Purpose::PostPromotion, &mut own.post_promotion_analysis_run_status),
    ] {
        match inputs.verdicts.reference(purpose) {
            Some(run) => *field = Some(run),
            // A run that was ended, or taken away, judges no more; how one ended stays on record.
            None => *field = field.take().filter(|run| !goes_on(run)),
        }
    }
}

/// Whether the run is not over, as far as the status knows.
pub(super) fn goes_on(run: &AnalysisRunRef) -> bool {
    ["", "Pending", "Running"].contains(&run.status.as_str())
}

/// Records that nothing stands between the preview and its full size.
pub(crate) fn pass_check_point(s: &Roles<'_>, status: &mut RolloutStatus) {
    let Chosen::BlueGreen(strategy) = s.chosen else { return };
    if strategy.preview_replica_count.is_some() {
        let own = status.blue_green.get_or_insert_with(BlueGreenStatus::default);
        own.scale_up_preview_check_point = Some(true);
    }
}

/// Whether an update that begins goes back to a version that still waits for its scale-down delay.
pub(crate) fn is_in_time(s: &Roles<'_>) -> bool {
    let Chosen::BlueGreen(_) = s.chosen else { return false };
    let deadline = s.current.and_then(deadline_of);
    s.is_rollback() && deadline.is_some_and(|at| s.now() < at)
}

/// Whatever of the strategy's status is progress when it changes.
pub(crate) fn marks(status: &RolloutStatus) -> Option<BlueGreenStatus> {
    let mut own = status.blue_green.clone()?;
    let runs =
        [&mut own.pre_promotion_analysis_run_status, &mut own.post_promotion_analysis_run_status];
    for run in runs.into_iter().flatten() {
        run.message = None;
    }
    Some(own)
}

/// Whether both Services reach the revision of the template.
pub(crate) fn serves(status: &RolloutStatus) -> bool {
    let Some(own) = &status.blue_green else { return false };
    let current = &status.current_pod_hash;
    own.active_selector == *current
        && (own.preview_selector.is_none() || own.preview_selector == *current)
}

/// Returns what keeps an update whose Pods are all there from being done (`spec-rollouts` 8.1, 8 and 9).
pub(crate) fn waits_for(status: &RolloutStatus) -> Option<&'static str> {
    let own = status.blue_green.as_ref();
    let active = own.and_then(|own| own.active_selector.as_deref());
    if active.is_none() || active != status.current_pod_hash.as_deref() {
        return Some("active service cutover pending");
    }
    if status.stable_rs == status.current_pod_hash {
        return None;
    }
    let run = own.and_then(|own| own.post_promotion_analysis_run_status.as_ref());
    Some(if run.is_some_and(goes_on) {
        "waiting for analysis to complete"
    } else {
        "waiting for post-promotion verification to complete"
    })
}
