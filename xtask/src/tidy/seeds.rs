//! What production must not contain: defects that can be switched on.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::files::rust_files;

/// Crates that may name the defects: the one that has them and the one that tries them out.
const MAY: &[&str] = &["engine", "sim"];
const MUST_NOT: &[&str] =
    &["crds", "lang", "sync", "analysis", "repo", "notify", "server", "controller", "cli", "e2e"];

/// The words by which a binary is known that can be made to misbehave, as in `engine/src/seeds.rs`; put together here so that
/// this program is not taken for one.
const MARK: &[&str] = &["sluice: defects can", "be seeded in this build"];

/// Checks that releases are built without debug assertions, that only those make defects, that no other crate knows of them,
/// and that the release binaries, where there are any, do not have them.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn check(root: &Path, metadata: &Value) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let manifest = read(&root.join("Cargo.toml"))?;
    if manifest.lines().any(|line| line.trim_start().starts_with("debug-assertions")) {
        findings
            .push("Cargo.toml: a profile sets debug-assertions, which seeds defects".to_owned());
    }
    for name in MAY {
        let file = root.join(name).join("src/lib.rs");
        let text = read(&file)?;
        let lines: Vec<&str> = text.lines().collect();
        let bare = lines.windows(2).any(|pair| {
            pair[1].trim() == "pub mod seeds;" && pair[0].trim() != "#[cfg(debug_assertions)]"
        });
        if bare {
            findings.push(format!("{name}/src/lib.rs: `mod seeds` is in releases too"));
        }
    }
    for name in MUST_NOT {
        for file in rust_files(&root.join(name))? {
            if read(&file)?.contains("seeds::") {
                findings.push(format!("{}: names seeded defects", file.display()));
            }
        }
    }
    let target = metadata["target_directory"].as_str().unwrap_or_default();
    let mark = MARK.join(" ");
    for entry in fs::read_dir(Path::new(target).join("release")).into_iter().flatten() {
        let path = entry.context("the folder of releases")?.path();
        let binary = path.is_file() && path.extension().is_none();
        if binary && fs::read(&path)?.windows(mark.len()).any(|part| part == mark.as_bytes()) {
            findings.push(format!("{}: defects can be seeded in it", path.display()));
        }
    }
    Ok(findings)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| file.display().to_string())
}
