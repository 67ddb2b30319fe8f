//! Commands whose work is done by binaries of other crates.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::chart;
use crate::command::{cargo, output, run};

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
        // The same selection as for everything else: another one would build the dependencies once more.
        binaries()?;
        run(cargo().args(["build", "-p", "sluice-controller", "--example", "demo_sim"]))?;
        return run(Command::new(target().join("examples/demo_sim")).args(arguments));
    }
    binaries()?;
    run(Command::new(target().join("demo")).args(&passed.arguments))
}

/// Builds the bed's own command-line tool and runs it.
///
/// # Errors
/// If it fails.
pub(crate) fn bed(arguments: &[String]) -> Result<()> {
    binaries()?;
    run(Command::new(target().join("sluice-bed")).args(arguments))
}

/// Builds the explorer and runs it.
///
/// # Errors
/// If a law is broken, a search was not complete, or a seeded defect was not caught.
pub(crate) fn explore(options: &[&str], passed: &Passed) -> Result<()> {
    binaries()?;
    run(Command::new(target().join("sluice-explore")).args(options).args(&passed.arguments))
}

/// Runs a program that is built already.
///
/// # Errors
/// If it fails.
pub(crate) fn built(program: &str, arguments: &[&str]) -> Result<()> {
    run(Command::new(target().join(program)).args(arguments))
}

/// Returns the path of the kustomize that the bed's cache holds.
///
/// # Errors
/// If it cannot be built.
pub(crate) fn kustomize() -> Result<String> {
    Ok(output(Command::new(target().join("sluice-bed")).arg("kustomize"))?.trim().to_owned())
}

/// Builds the programs that the bed and the demo start: one selection, so that dependencies are built once.
fn binaries() -> Result<()> {
    let packages = ["sluice-controller", "sluice-cli", "sluice-e2e", "sluice-sim"];
    run(cargo().arg("build").args(packages.map(|name| ["-p", name]).as_flattened()).arg("--bins"))
}

/// Folder of the programs of the development profile.
fn target() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    folder.join("debug")
}

/// Writes the CRDs and docs/compatibility.md, and then the chart's copies.
///
/// # Errors
/// If the generator fails.
pub(crate) fn generate() -> Result<()> {
    run(cargo().args(["run", "--quiet", "-p", "sluice-crds", "--bin", "crdgen"]))?;
    chart::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}
