//! What the product promises, shown with the real controller on a real control plane, istiod and Envoy.

use std::process::ExitCode;

use sluice_e2e::harness;

#[path = "promises/analysis.rs"]
mod analysis;
#[path = "promises/canary.rs"]
mod canary;
#[path = "promises/faults.rs"]
mod faults;
#[path = "promises/gitops.rs"]
mod gitops;
#[path = "promises/laws.rs"]
mod laws;
#[path = "promises/oracle.rs"]
mod oracle;
#[path = "promises/stage.rs"]
mod stage;

use analysis::*;
use canary::*;
use faults::*;
use gitops::*;
use laws::*;

fn main() -> ExitCode {
    harness::main(&sluice_e2e::tests![
        a_canary_split_by_host_serves_its_share_and_fails_no_request,
        a_canary_split_by_subset_serves_its_share_and_fails_no_request,
        an_abort_takes_the_weight_back_before_anything_else,
        a_new_version_in_mid_canary_starts_at_the_first_step,
        going_back_to_stable_in_mid_canary_needs_no_steps,
        an_edit_of_retries_in_mid_canary_survives_every_write,
        a_rollout_that_is_created_again_adopts_what_it_left_behind,
        a_canary_without_router_keeps_to_surge_and_unavailability,
        a_failing_analysis_is_answered_by_weight_zero_first,
        an_inconclusive_analysis_holds_the_weight,
        an_unreachable_metrics_server_holds_the_weight,
        a_missing_service_is_named_and_waited_for,
        a_second_rollout_on_a_service_is_refused,
        a_crash_looping_canary_is_aborted_at_its_deadline,
        weights_in_git_stay_out_of_a_canary_and_retries_come_in,
        an_edit_of_retries_by_hand_survives_every_write_without_self_heal,
        what_git_drops_is_pruned_and_nothing_else,
        a_commit_that_does_not_render_changes_nothing,
        syncs_ten_times_a_second_leave_the_weights_to_the_plan,
        a_bad_commit_is_never_applied_again,
        faults_planted_under_our_names_are_found,
    ])
}
