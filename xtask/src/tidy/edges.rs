//! Which crate may depend on which (design, section 2), and which crates stay pure.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;

use crate::command::{cargo, output};

/// Allowed edges: crate, what it may depend on, what its tests may depend on besides.
const EDGES: &[(&str, &[&str], &[&str])] = &[
    ("crds", &[], &[]),
    ("lang", &[], &[]),
    ("engine", &["crds", "lang"], &[]),
    ("sync", &["crds", "lang", "engine"], &[]),
    ("repo", &["crds"], &[]),
    ("analysis", &["crds", "lang"], &[]),
    ("notify", &["crds", "lang"], &[]),
    ("server", &["crds", "engine"], &[]),
    (
        "controller",
        &["crds", "lang", "engine", "sync", "repo", "analysis", "notify", "server"],
        &["sim"],
    ),
    ("cli", &["crds", "lang", "engine", "sync", "repo", "analysis", "server", "sim"], &[]),
    ("sim", &["crds", "lang", "engine", "sync"], &[]),
    ("e2e", &["crds", "engine", "sync"], &[]),
    ("xtask", &["crds"], &[]),
];

/// Crates that decide and do no IO.
const PURE: &[&str] = &["crds", "lang", "engine", "sync"];

/// What must not be reachable from a pure crate.
const IMPURE: &[&str] = &["tokio", "hyper", "reqwest", "futures", "futures-util", "mio"];

/// Compares the workspace's edges with the table.
pub(crate) fn check(metadata: &Value) -> Vec<String> {
    let members: BTreeSet<&str> = metadata["workspace_members"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let mut findings = Vec::new();
    for package in packages.filter(|p| p["id"].as_str().is_some_and(|id| members.contains(id))) {
        let name = folder(package["name"].as_str().unwrap_or_default());
        let Some((_, normal, dev)) = EDGES.iter().find(|(crate_name, ..)| *crate_name == name)
        else {
            findings.push(format!("{name}: the crate is not in the table of crate edges"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            if !target.starts_with("sluice-") {
                continue;
            }
            let target = folder(target);
            let is_dev = dependency["kind"].as_str() == Some("dev");
            let allowed = normal.contains(&target) || is_dev && dev.contains(&target);
            if !allowed {
                findings.push(format!("{name}: must not depend on {target} (design, section 2)"));
            }
        }
    }
    findings
}

fn folder(package: &str) -> &str {
    package.strip_prefix("sluice-").unwrap_or(package)
}

/// Looks for a runtime, a socket or a promise below the pure crates.
///
/// # Errors
/// If `cargo tree` cannot be run.
pub(crate) fn purity() -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for name in PURE {
        let package = format!("sluice-{name}");
        let tree = output(
            cargo().args(["tree", "--edges", "normal", "--prefix", "none", "-p", &package]),
        )?;
        let names: BTreeSet<&str> = tree.lines().filter_map(|l| l.split(' ').next()).collect();
        for impure in IMPURE.iter().filter(|i| names.contains(**i)) {
            findings.push(format!("{name}: a pure crate reaches `{impure}`"));
        }
    }
    Ok(findings)
}
