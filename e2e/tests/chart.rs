//! The chart and what installs from it: checked by Helm itself, and on a real API server with the rights that it grants and no
//! others. No test here may start the controller of the other promises: it has the same account, with rights of its own.

use std::process::ExitCode;

use sluice_e2e::harness;

#[path = "chart/alerts.rs"]
mod alerts;
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/installed.rs"]
mod installed;
#[path = "chart/output.rs"]
mod output;
#[path = "chart/rights.rs"]
mod rights;
#[path = "chart/stories.rs"]
mod stories;

use alerts::*;
use output::*;
use stories::*;

fn main() -> ExitCode {
    harness::main(&sluice_e2e::tests![
        the_chart_is_clean_and_what_is_committed_comes_from_it,
        each_value_reaches_what_it_is_for,
        wrong_values_are_refused_by_their_path,
        alerts_are_valid_and_ask_for_metrics_that_exist,
        a_canary_from_git_needs_no_right_that_the_chart_does_not_grant,
        a_namespaced_install_looks_at_nothing_outside,
    ])
}
