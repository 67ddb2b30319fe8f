//! The chart's copies of the CRDs and of the controller's rights: a chart must hold all that it installs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Folder that is the source, folder of the chart, and the files of the source that are not copied.
const COPIES: &[(&str, &str, &[&str])] = &[
    ("crds/yaml", "charts/sluice/files/crds", &[]),
    // The chart has an account and namespaces of its own.
    ("controller/rbac", "charts/sluice/files/rbac", &["00-account.yaml"]),
];

/// Writes the copies anew.
///
/// # Errors
/// If a file cannot be read or written.
pub(crate) fn copy(root: &Path) -> Result<()> {
    for (source, chart, left_out) in COPIES {
        let (wanted, there) =
            (files(&root.join(source), left_out)?, files(&root.join(chart), &[])?);
        for (name, text) in &wanted {
            fs::write(root.join(chart).join(name), text)?;
        }
        for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
            fs::remove_file(root.join(chart).join(name))?;
        }
    }
    Ok(())
}

/// Compares the copies with their sources, and the chart's versions with that of the workspace.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn check(root: &Path, metadata: &Value) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (source, chart, left_out) in COPIES {
        let (wanted, there) =
            (files(&root.join(source), left_out)?, files(&root.join(chart), &[])?);
        let names = wanted.keys().chain(there.keys().filter(|name| !wanted.contains_key(*name)));
        for name in names.filter(|name| wanted.get(*name) != there.get(*name)) {
            findings
                .push(format!("{chart}/{name}: differs from {source}; run `cargo xtask generate`"));
        }
    }
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let version =
        packages.filter(|p| p["name"] == "sluice-controller").find_map(|p| p["version"].as_str());
    let version = version.context("cargo metadata names no `sluice-controller`")?;
    let file = "charts/sluice/Chart.yaml";
    let text = fs::read_to_string(root.join(file)).context(file)?;
    for field in ["version", "appVersion"] {
        let line = format!("{field}: {version}");
        if !text.lines().any(|found| found == line) {
            findings.push(format!("{file}: `{line}` is missing"));
        }
    }
    Ok(findings)
}

fn files(folder: &Path, left_out: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !left_out.contains(&name.as_str()) {
            all.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(all)
}
