//! Laws of the tree, checked instead of hoped for.

mod edges;
mod files;
mod packages;
mod seeds;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::chart;
use crate::command::{cargo, output};

/// Runs every check and prints every finding.
///
/// # Errors
/// If there is any finding.
pub(crate) fn run() -> Result<()> {
    let metadata = metadata()?;
    let root = metadata["workspace_root"].as_str().context("cargo metadata names no root")?;
    let mut findings = Vec::new();
    findings.extend(edges::check(&metadata));
    findings.extend(edges::purity()?);
    findings.extend(files::check(root.as_ref())?);
    findings.extend(packages::check(&metadata));
    findings.extend(seeds::check(root.as_ref(), &metadata)?);
    findings.extend(chart::check(root.as_ref(), &metadata)?);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: nothing to find");
        return Ok(());
    }
    bail!("tidy: {} findings", findings.len())
}

fn metadata() -> Result<Value> {
    let text = output(cargo().args([
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        "x86_64-unknown-linux-gnu",
    ]))?;
    serde_json::from_str(&text).context("`cargo metadata` printed something that is not JSON")
}
