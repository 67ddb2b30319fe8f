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

/// Runs formatting, tidy, lints, and all tests of the workspace, those on the bed included; then the explorer. The suite against
/// seeded defects is `cargo xtask seeds`.
///
/// One selection of packages for everything that is linked: each further selection would unify features anew and build
/// most dependencies once more.
///
/// # Errors
/// The first stage that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    stage("format", || execute(cargo().args(["fmt", "--all", "--check"])))?;
    stage("tidy", tidy::run)?;
    let parts: &[&str] = if options.without_bed {
        println!("the tests on the bed and those with a real kustomize are left out, as asked");
        &["--workspace", "--exclude", "sluice-e2e"]
    } else {
        &["--workspace", "--features", "sluice-repo/real-kustomize"]
    };
    stage("lints", || {
        let lints = ["clippy", "--quiet", "--workspace", "--all-targets", "--all-features"];
        execute(cargo().args(lints).args(["--", "-D", "warnings"]))
    })?;
    let build = ["test", "--quiet", "--no-run"];
    stage("build", || execute(cargo().args(build).args(parts)))?;
    let mut tests = cargo();
    tests.args(["test", "--no-fail-fast"]).args(parts);
    if !options.without_bed {
        stage("parts of the bed", || delegate::built("sluice-bed", &["parts"]))?;
        tests.env("SLUICE_KUSTOMIZE", delegate::kustomize()?);
    }
    stage("tests", || execute(&mut tests))?;
    stage("explorer", || delegate::built("sluice-explore", &[]))
}
