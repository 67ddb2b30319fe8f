//! Commands whose work is done by binaries of other crates.

use anyhow::Result;
use clap::Args;

use crate::command::{cargo, run};

/// Arguments that are passed on as they are.
#[derive(Args)]
pub(crate) struct Passed {
    /// Options of the command; see its `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

/// Builds what the demo runs, then runs it.
///
/// # Errors
/// If a build fails or the demo reports a broken promise.
pub(crate) fn demo(passed: &Passed) -> Result<()> {
    if passed.arguments.iter().any(|a| a == "--sim") {
        let arguments: Vec<_> = passed.arguments.iter().filter(|a| *a != "--sim").collect();
        run(cargo().args(["build", "--quiet", "-p", "sluice-cli"]))?;
        return run(cargo()
            .args(["run", "--quiet", "-p", "sluice-controller", "--example", "demo_sim", "--"])
            .args(arguments));
    }
    binaries()?;
    run(cargo()
        .args(["run", "--quiet", "-p", "sluice-e2e", "--bin", "demo", "--"])
        .args(&passed.arguments))
}

/// Runs the bed's own command-line tool.
///
/// # Errors
/// If it fails.
pub(crate) fn bed(arguments: &[String]) -> Result<()> {
    run(cargo()
        .args(["run", "--quiet", "-p", "sluice-e2e", "--bin", "sluice-bed", "--"])
        .args(arguments))
}

/// Builds the programs that the bed and the demo start.
///
/// # Errors
/// If a build fails.
pub(crate) fn binaries() -> Result<()> {
    run(cargo().args(["build", "--quiet", "-p", "sluice-controller", "-p", "sluice-cli"]))?;
    run(cargo().args(["build", "--quiet", "-p", "sluice-e2e", "--bins"]))
}

/// Writes the CRDs and docs/compatibility.md.
///
/// # Errors
/// If the generator fails.
pub(crate) fn generate() -> Result<()> {
    run(cargo().args(["run", "--quiet", "-p", "sluice-crds", "--bin", "crdgen"]))
}
