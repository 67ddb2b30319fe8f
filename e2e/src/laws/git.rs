//! What Git has: every commit of the branches that Applications follow, read from the repositories of the bed.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluice_sync::audit::Commit;

use crate::recorder::Revision;

/// Reads the commits of every source of the Applications among the revisions. A source that is rendered by a tool, or that is
/// in no repository of the bed, is left out: nothing of it can be judged by content.
pub(super) fn commits(bare: &Path, revisions: &[Revision]) -> Result<Vec<Commit>> {
    let mut sources = BTreeSet::new();
    for revision in revisions.iter().filter(|r| r.kind == "Application") {
        let source = &revision.object["spec"]["source"];
        let text = |field: &str| source[field].as_str().unwrap_or_default().to_owned();
        let is_plain = ["kustomize", "helm", "plugin"].iter().all(|tool| source[*tool].is_null());
        if is_plain {
            sources.insert((text("repoURL"), text("path"), text("targetRevision")));
        }
    }
    let mut all = Vec::new();
    for (url, path, branch) in sources {
        let name = url.rsplit('/').next().unwrap_or_default();
        let folder = bare.join(name);
        let branch = if branch.is_empty() { "HEAD" } else { &branch };
        if name.is_empty() || !folder.is_dir() {
            continue;
        }
        // A branch that is not there has no commits.
        let Ok(list) = git(&folder, &["rev-list", branch, "--"]) else { continue };
        for id in list.lines() {
            let Some(manifests) = manifests(&folder, id, &path)? else { continue };
            let (url, path) = (url.clone(), path.clone());
            all.push(Commit { url, path, id: id.to_owned(), manifests });
        }
    }
    Ok(all)
}

/// The manifests of a folder, or why they cannot be read; `None` for what is no plain folder of manifests.
fn manifests(folder: &Path, id: &str, path: &str) -> Result<Option<Result<Vec<Value>, String>>> {
    let tree = format!("{id}:{}", path.trim_matches('/'));
    let Ok(list) = git(folder, &["ls-tree", "--name-only", &tree]) else {
        return Ok(Some(Err(format!("no folder `{path}`"))));
    };
    if list.lines().any(|file| file.starts_with("kustomization.") || file == "Chart.yaml") {
        return Ok(None);
    }
    let is_manifest =
        |file: &&str| [".yaml", ".yml", ".json"].iter().any(|end| file.ends_with(end));
    let mut all = Vec::new();
    for file in list.lines().filter(is_manifest) {
        let text = git(folder, &["cat-file", "blob", &format!("{tree}/{file}")])?;
        match sluice_crds::yaml::values(&text) {
            Ok(values) => all.extend(values.into_iter().filter(|value| !value.is_null())),
            Err(why) => return Ok(Some(Err(format!("{file}: {why}")))),
        }
    }
    Ok(Some(Ok(all)))
}

fn git(folder: &Path, args: &[&str]) -> Result<String> {
    ensure!(fs::exists(folder)?, "no repository {}", folder.display());
    let mut command = Command::new("git");
    command.arg("--git-dir").arg(folder).args(args);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    let out = command.output().context("cannot run `git`")?;
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "`git {}`: {}", args.join(" "), errors.trim());
    Ok(String::from_utf8(out.stdout)?)
}
