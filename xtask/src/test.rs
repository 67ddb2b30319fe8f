//! `cargo xtask test`: everything that must hold, cheapest first.

use anyhow::Result;
use clap::Args;

use crate::command::{cargo, run as execute, stage};
use crate::{delegate, tidy};

/// Which part to run; by default all.
#[derive(Args)]
pub(crate) struct Options {
    /// Leaves out the tests on the bed (no root, no Go needed).
    #[arg(long)]
    without_bed: bool,
}

/// Runs formatting, tidy, lints, and all tests of the workspace, those on the bed included.
///
/// One selection of packages for everything that is linked: each further selection would unify features anew and build
/// most dependencies once more.
///
/// # Errors
/// The first stage that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    stage("format", || execute(cargo().args(["fmt", "--all", "--check"])))?;
    stage("tidy", tidy::run)?;
    stage("lints", || {
        let lints = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
        execute(cargo().args(lints))
    })?;
    let build = ["test", "--quiet", "--workspace", "--no-run"];
    stage("build", || execute(cargo().args(build)))?;
    let mut tests = vec!["test", "--workspace", "--no-fail-fast"];
    if options.without_bed {
        println!("the tests on the bed are left out, as asked");
        tests.extend(["--exclude", "sluice-e2e"]);
    } else {
        stage("parts of the bed", || delegate::built("sluice-bed", &["parts"]))?;
    }
    stage("tests", || execute(cargo().args(tests)))
}
