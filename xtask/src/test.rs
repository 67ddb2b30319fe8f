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

/// Runs tidy, formatting, lints, all tests of the workspace, and the promises on the bed.
///
/// # Errors
/// The first stage that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    stage("format", || execute(cargo().args(["fmt", "--all", "--check"])))?;
    stage("tidy", tidy::run)?;
    stage("lints", || {
        execute(
            cargo()
                .args(["clippy", "--quiet", "--workspace", "--all-targets"])
                .args(["--", "-D", "warnings"]),
        )
    })?;
    stage("tests", || {
        execute(cargo().args(["test", "--workspace", "--exclude", "sluice-e2e", "--no-fail-fast"]))
    })?;
    if options.without_bed {
        println!("the tests on the bed were left out, as asked");
        return Ok(());
    }
    stage("binaries for the bed", delegate::binaries)?;
    stage("parts of the bed", || delegate::bed(&["parts".to_owned()]))?;
    stage("promises on the bed", || execute(cargo().args(["test", "-p", "sluice-e2e"])))
}
