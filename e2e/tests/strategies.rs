//! What each strategy, step and router promises, shown with the real controller on a real control plane, istiod and Envoy.

use std::process::ExitCode;

use sluice_e2e::harness;

#[path = "strategies/adoption.rs"]
mod adoption;
#[path = "strategies/blue_green.rs"]
mod blue_green;
#[path = "strategies/experiments.rs"]
mod experiments;
#[path = "strategies/istio.rs"]
mod istio;
#[path = "strategies/jobs.rs"]
mod jobs;
#[path = "strategies/restart.rs"]
mod restart;
#[path = "strategies/sizes.rs"]
mod sizes;
#[path = "strategies/steps.rs"]
mod steps;
#[path = "strategies/transcripts.rs"]
mod transcripts;
#[path = "strategies/workload.rs"]
mod workload;

use adoption::*;
use blue_green::*;
use experiments::*;
use istio::*;
use jobs::*;
use restart::*;
use sizes::*;
use steps::*;
use transcripts::*;
use workload::*;

#[expect(clippy::too_many_lines, reason = "the list of all promises")]
fn main() -> ExitCode {
    harness::main(&sluice_e2e::tests![
        a_pause_with_a_duration_ends_by_itself,
        a_pause_of_a_set_weight_is_a_step_of_its_own_length,
        a_promotion_ends_one_pause_and_stops_at_the_next,
        full_promotion_skips_what_is_left,
        argos_own_patch_of_the_status_resumes,
        a_rollout_paused_by_its_user_makes_no_step,
        steps_that_change_in_mid_canary_start_anew,
        steps_that_change_when_all_is_done_move_nothing,
        without_steps_a_canary_is_a_rolling_update,
        an_abort_without_router_brings_the_old_pods_back,
        a_retry_begins_with_the_first_step,
        undo_brings_the_former_version_by_all_steps,
        within_the_rollback_window_the_steps_are_skipped,
        set_canary_scale_moves_pods_and_no_weight,
        a_background_analysis_judges_from_its_step_and_ends_with_the_update,
        an_edit_in_mid_canary_that_changes_no_pod_moves_nothing,
        replicas_that_change_in_mid_canary_are_followed,
        replicas_that_change_while_the_user_pauses_are_followed,
        an_autoscaler_finds_what_it_needs,
        no_replicas_at_all_are_an_update_too,
        min_ready_seconds_hold_the_next_step,
        a_deadline_that_passes_is_told_and_forgotten_when_pods_come,
        the_history_keeps_as_many_revisions_as_it_may,
        a_template_that_returns_uses_its_old_set,
        an_old_set_goes_after_the_scale_down_delay,
        no_more_old_sets_wait_than_may,
        an_aborted_canary_may_be_kept,
        an_aborted_canary_goes_after_its_delay,
        a_canary_has_at_least_min_pods,
        a_threshold_lets_a_step_go_on_with_fewer_pods,
        a_spec_that_is_wrong_is_named_and_harms_nothing,
        a_deleted_rollout_leaves_its_traffic_serving,
        a_healthy_rollout_of_argo_is_taken_over_untouched,
        a_set_that_an_old_controller_hashed_otherwise_is_kept,
        a_canary_of_argo_is_taken_over_in_its_pause,
        an_abort_of_argo_stays_an_abort,
        a_blue_green_update_waits_for_a_word_and_fails_no_request,
        a_blue_green_update_promotes_itself_after_its_time,
        a_preview_of_one_pod_is_whole_before_users_come,
        the_first_version_needs_no_word_and_no_verdict,
        a_failed_pre_promotion_analysis_keeps_users_where_they_are,
        an_inconclusive_pre_promotion_analysis_waits_for_a_person,
        a_failed_post_promotion_analysis_is_answered_by_the_switch_first,
        a_good_post_promotion_analysis_makes_the_version_stable,
        an_abort_in_the_pause_moves_nobody,
        an_abort_takes_users_back_while_the_new_version_crashes,
        a_retry_of_an_aborted_version_is_judged_again,
        going_back_within_the_scale_down_delay_starts_no_pod,
        going_back_to_stable_after_the_switch_needs_no_word,
        replicas_that_change_in_the_pause_are_followed,
        full_promotion_skips_pause_and_verdict_and_waits_for_pods,
        a_third_version_in_the_pause_takes_the_place_of_the_second,
        an_active_service_that_is_led_astray_is_given_back,
        a_preview_that_never_comes_up_is_aborted_at_its_deadline,
        versions_of_an_experiment_run_side_by_side_and_go,
        an_experiment_waits_for_what_shall_judge_it,
        a_required_analysis_ends_an_experiment_early,
        a_failing_analysis_takes_the_versions_away,
        who_terminates_an_experiment_leaves_nothing_running,
        a_version_that_cannot_start_fails_its_experiment,
        an_invalid_experiment_says_so_and_starts_nothing,
        a_finished_experiment_costs_no_write,
        an_experiment_step_lets_a_good_canary_go_on,
        an_experiment_step_that_fails_takes_the_weight_first,
        an_experiment_step_without_a_verdict_asks_a_person,
        an_abort_ends_the_experiment_of_its_step,
        a_good_job_lets_a_canary_go_on,
        a_failing_job_takes_the_update_back,
        a_job_without_an_image_proves_nothing,
        a_job_that_nobody_waits_for_goes_with_its_pods,
        staff_reach_the_canary_by_header_and_nobody_else_does,
        a_header_route_by_subset_reaches_the_canary,
        a_header_route_comes_only_when_pods_behind_it_are_available,
        an_abort_removes_header_routes_with_the_weight_in_one_write,
        a_promotion_removes_header_routes_and_fails_no_request,
        full_promotion_removes_header_routes,
        a_header_route_whose_step_is_gone_is_removed,
        routes_of_steps_keep_their_order_and_foreign_routes_their_bytes,
        mirrored_requests_reach_the_canary_and_are_answered_by_stable,
        a_tcp_route_serves_its_share,
        three_protocols_of_one_virtual_service_move_in_one_write,
        ambiguous_tcp_routes_are_refused_with_their_path,
        a_stable_set_that_follows_its_traffic_fails_no_request,
        an_abort_lets_the_stable_set_grow_before_weight_returns,
        going_back_to_stable_lets_the_stable_set_grow_first,
        ping_and_pong_swap_over_two_releases_and_fail_no_request,
        an_aborted_release_swaps_no_services,
        a_change_of_a_deployment_goes_through_the_steps_of_its_rollout,
        a_pod_template_is_a_workload_too,
        a_deployment_gives_way_to_a_rollout_and_no_request_fails,
        a_deployment_stays_until_the_rollout_is_healthy,
        a_missing_workload_is_named_and_waited_for,
        an_update_is_aborted_although_its_workload_is_gone,
        syncs_leave_the_size_of_a_deployment_that_gave_way,
        a_deleted_rollout_leaves_services_and_routes_serving,
        a_service_that_is_named_no_longer_is_given_back,
        events_of_a_canary_come_in_order_and_in_argos_words,
        metrics_of_a_rollout_have_argos_names_and_end_with_it,
        a_restart_replaces_every_pod_and_no_request_fails,
        a_budget_holds_a_restart_until_it_allows_it,
        a_restart_in_mid_canary_keeps_step_and_weight,
        a_scheduled_restart_waits_for_its_time,
        metadata_of_a_role_moves_on_live_pods,
        anti_affinity_names_the_stable_version_until_promotion,
        the_duration_of_an_update_counts_what_people_took,
        a_canary_obeys_the_commands_of_kubectl_and_argo,
        a_blue_green_update_obeys_the_commands_of_kubectl_and_argo,
    ])
}
