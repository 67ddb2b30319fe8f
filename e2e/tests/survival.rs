//! What is left of canaries when their controller is killed, stopped and woken again: the same as without. And what Rollouts
//! that have nothing to do cost meanwhile: nothing.

use std::process::ExitCode;

use sluice_e2e::harness;

#[path = "survival/cast.rs"]
mod cast;
#[path = "survival/ending.rs"]
mod ending;
#[path = "survival/eyes.rs"]
mod eyes;
#[path = "survival/idle.rs"]
mod idle;
#[path = "survival/kills.rs"]
mod kills;
#[path = "survival/lanes.rs"]
mod lanes;
#[path = "survival/player.rs"]
mod player;
#[path = "survival/turns.rs"]
mod turns;

use idle::*;
use kills::*;
use turns::*;

fn main() -> ExitCode {
    harness::main(&sluice_e2e::tests![
        fifty_kills_in_mid_canary_end_as_if_undisturbed,
        a_stopped_leader_that_wakes_again_harms_nothing,
        fifty_idle_rollouts_make_no_request,
    ])
}
