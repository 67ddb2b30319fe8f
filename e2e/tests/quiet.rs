//! What the controller does not do while nothing happens, and how soon a bad version loses its traffic: on a bed of its own, one
//! test after the other.

use std::process::ExitCode;

use sluice_e2e::harness;

#[path = "quiet/aborts.rs"]
mod aborts;
#[path = "quiet/cast.rs"]
mod cast;
#[path = "quiet/crowd.rs"]
mod crowd;
#[path = "quiet/idle.rs"]
mod idle;

use aborts::*;
use idle::*;

fn main() -> ExitCode {
    harness::in_order(&sluice_e2e::tests![
        fifty_idle_rollouts_make_no_request,
        failing_answers_on_a_quiet_bed_are_followed_by_weight_zero,
        failing_answers_among_200_progressing_rollouts_are_followed_by_weight_zero,
    ])
}
