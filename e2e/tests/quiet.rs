//! How soon a bad version loses its traffic: on a bed of its own, one test after the other.

use std::process::ExitCode;

use sluice_e2e::harness;

#[path = "quiet/aborts.rs"]
mod aborts;
#[path = "quiet/cast.rs"]
mod cast;
#[path = "quiet/crowd.rs"]
mod crowd;

use aborts::*;

fn main() -> ExitCode {
    harness::in_order(&sluice_e2e::tests![
        failing_answers_on_a_quiet_bed_are_followed_by_weight_zero,
        failing_answers_among_200_progressing_rollouts_are_followed_by_weight_zero,
    ])
}
