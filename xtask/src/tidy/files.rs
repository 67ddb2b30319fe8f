//! Sizes of files, the shape of modules, and what pure crates must not contain.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Lines above which a file needs a reason in [`LONG`].
const MAX_LINES: usize = 1_000;

/// Files that may be longer, each with its reason.
const LONG: &[(&str, &str)] = &[];

const CRATES: &[&str] = &[
    "crds",
    "lang",
    "engine",
    "sync",
    "analysis",
    "repo",
    "notify",
    "server",
    "controller",
    "cli",
    "sim",
    "e2e",
    "xtask",
];
const PURE: &[&str] = &["crds", "lang", "engine", "sync"];

/// Documents that a reader of the repository may expect.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "docs/ARCHITECTURE.md",
    "docs/glossary.md",
    "docs/compatibility.md",
    "docs/bug-ledger.md",
    "docs/install.md",
    "docs/simulate.md",
    "docs/README.md",
    "docs/strategies/canary-istio.md",
    "docs/strategies/canary-basic.md",
    "docs/strategies/blue-green.md",
    "docs/strategies/common.md",
    "docs/steps/set-weight.md",
    "docs/steps/pause.md",
    "docs/steps/set-canary-scale.md",
    "docs/steps/set-header-route.md",
    "docs/steps/set-mirror-route.md",
    "docs/steps/analysis.md",
    "docs/steps/experiment.md",
    "docs/invariants.md",
];

/// Words that mark unfinished work, spelled so that this file does not find itself.
const MARKS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[", "ignore")];

/// Checks every Rust file of the workspace, and that the documents exist.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for document in DOCUMENTS.iter().filter(|d| !root.join(d).is_file()) {
        findings.push(format!("{document}: missing"));
    }
    for name in CRATES {
        for file in rust_files(&root.join(name))? {
            let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let text = fs::read_to_string(&file).with_context(|| shown.clone())?;
            check_file(&mut findings, &shown, &text, PURE.contains(name));
        }
    }
    Ok(findings)
}

fn check_file(findings: &mut Vec<String>, shown: &str, text: &str, pure: bool) {
    let lines = text.lines().count();
    let allowed = LONG.iter().any(|(file, _)| *file == shown);
    if lines > MAX_LINES && !allowed {
        findings.push(format!("{shown}: {lines} lines, at most {MAX_LINES} without a reason"));
    }
    if shown.ends_with("/mod.rs") {
        findings.push(format!("{shown}: write foo.rs beside foo/, not mod.rs"));
    }
    if shown.ends_with("src/lib.rs") && !text.starts_with("//!") {
        findings.push(format!("{shown}: a crate begins by saying what it is for"));
    }
    if pure && shown.ends_with("src/lib.rs") && !text.contains("#![deny(missing_docs)]") {
        findings.push(format!("{shown}: a pure crate denies missing documentation"));
    }
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        if pure && shown.contains("/src/") && line.contains(concat!("async", " fn")) {
            findings.push(format!("{shown}:{number}: a pure crate waits for nothing"));
        }
        for mark in MARKS.iter().filter(|m| line.contains(**m)) {
            findings.push(format!("{shown}:{number}: `{mark}`"));
        }
    }
}

pub(super) fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
