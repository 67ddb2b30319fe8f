//! A kustomization, built by the real kustomize.
//!
//! Only the files that the kustomization and its bases name are written into a private folder; the program runs there with
//! an own home, an empty environment, without plugins, without Helm, and without a `git` that it could fetch remote bases
//! with. The options of the Application are edited into the private copy of the kustomization, as `kustomize edit` does it in
//! Argo CD.
//!
//! Source: `spec-sync` 6.6. Remote bases, Helm charts inside of kustomizations and `version` are refused.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use sluice_crds::application::KustomizeSource;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::{RepoError, RepoErrorKind};
use crate::git::{BoxFuture, excerpt, local};
use crate::limits::Limits;
use crate::manifests::Collector;
use crate::registry::RenderDeps;
use crate::render::{Inputs, Renderer};
use crate::repo::join;
use crate::source::{Source, SourceKind};
use crate::tree::Tree;

mod closure;
mod edit;

/// Names of a kustomization, as kustomize knows them.
const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Most of what kustomize says on standard error that is read.
const STDERR_BYTES: u64 = 64 << 10;

/// The renderer.
pub(crate) struct Kustomize {
    binary: Option<PathBuf>,
    version: String,
}

impl Kustomize {
    pub(crate) fn new(deps: &RenderDeps) -> Self {
        Kustomize { binary: deps.kustomize.clone(), version: deps.kustomize_version.clone() }
    }

    async fn build(
        &self,
        source: &Source,
        root: &Path,
        limits: &Limits,
    ) -> Result<Vec<u8>, RepoError> {
        let object = object_of(source);
        let Some(binary) = &self.binary else {
            let observed = "it is a kustomization, and there is no kustomize binary";
            return Err(RepoError::new(RepoErrorKind::Unsupported, object, observed)
                .hint("start the controller with a kustomize binary"));
        };
        let home = root.join("home");
        let mut child = tokio::process::Command::new(binary)
            .arg("build")
            .arg(root.join("files").join(&source.path))
            .current_dir(&home)
            .env_clear()
            .env("HOME", &home)
            .env("XDG_CONFIG_HOME", &home)
            .env("TMPDIR", &home)
            .env("PATH", "")
            .env("GOMEMLIMIT", "512MiB")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| local(&object, &format!("kustomize does not start: {error}")))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(local(&object, &"kustomize has no output"));
        };
        let (text, errors) =
            tokio::join!(read(stdout, limits.manifest_bytes + 1), read(stderr, STDERR_BYTES));
        let text = text.map_err(|error| local(&object, &error))?;
        if text.len() as u64 > limits.manifest_bytes {
            let observed = format!("kustomize writes more than {} bytes", limits.manifest_bytes);
            return Err(RepoError::new(RepoErrorKind::TooBig, object, observed));
        }
        let status = child.wait().await.map_err(|error| local(&object, &error))?;
        if status.success() {
            return Ok(text);
        }
        let said = String::from_utf8_lossy(&errors.unwrap_or_default())
            .replace(&*root.join("files").to_string_lossy(), "<source>");
        Err(RepoError::new(
            RepoErrorKind::RenderFailed,
            object,
            format!("kustomize failed: {}", excerpt(said.trim_start_matches("Error: "))),
        )
        .hint("run `kustomize build` in that folder"))
    }
}

async fn read(stream: impl AsyncRead + Unpin, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(limit).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn object_of(source: &Source) -> String {
    format!("path `{}`", if source.path.is_empty() { "." } else { &source.path })
}

fn options(source: &Source) -> KustomizeSource {
    match &source.kind {
        SourceKind::Kustomize(options) => (**options).clone(),
        SourceKind::Detect | SourceKind::Directory(_) => KustomizeSource::default(),
    }
}

/// Returns the path of the kustomization in a folder.
fn kustomization(tree: &Tree, folder: &str) -> Result<Option<String>, RepoError> {
    let mut found = Vec::new();
    for name in FILE_NAMES {
        let path = join(folder, name);
        if tree.find(&path)?.is_some() {
            found.push(path);
        }
    }
    if found.len() > 1 {
        return Err(RepoError::new(
            RepoErrorKind::RenderFailed,
            format!("path `{folder}`"),
            format!("more than one kustomization: {}", found.join(", ")),
        ));
    }
    Ok(found.pop())
}

impl Renderer for Kustomize {
    fn name(&self) -> &'static str {
        "kustomize"
    }

    fn version(&self) -> String {
        format!("1 {}", self.version)
    }

    fn detects(&self, source: &Source, tree: &Tree) -> Result<bool, RepoError> {
        Ok(kustomization(tree, &source.path)?.is_some())
    }

    fn inputs(&self, source: &Source, tree: &Tree, limits: &Limits) -> Result<Inputs, RepoError> {
        let options = options(source);
        edit::refuse_unsupported(&options)?;
        closure::collect(tree, &source.path, &options, limits)
    }

    fn render<'a>(
        &'a self,
        source: &'a Source,
        inputs: Inputs,
        limits: &'a Limits,
    ) -> BoxFuture<'a, Result<(Vec<Value>, u64), RepoError>> {
        Box::pin(async move {
            let (kept, options) = (source.clone(), options(source));
            let budget = limits.clone();
            let written =
                tokio::task::spawn_blocking(move || write(&kept, &options, inputs, &budget));
            let folder = written.await.unwrap_or_else(|error| Err(local("kustomize", &error)))?;
            let text = self.build(source, folder.path(), limits).await?;
            let mut collector = Collector::new(limits);
            collector.add(&format!("output of kustomize, {}", object_of(source)), &text)?;
            Ok(collector.finish())
        })
    }
}

/// Writes the files into a private folder that vanishes with the returned value.
fn write(
    source: &Source,
    options: &KustomizeSource,
    inputs: Inputs,
    limits: &Limits,
) -> Result<tempfile::TempDir, RepoError> {
    let failed = |error: std::io::Error| {
        local("private folder for kustomize", &error).hint("check that the disk is not full")
    };
    let folder = tempfile::Builder::new().prefix("sluice-render-").tempdir().map_err(failed)?;
    let files = folder.path().join("files");
    std::fs::create_dir_all(files.join(&source.path)).map_err(failed)?;
    std::fs::create_dir(folder.path().join("home")).map_err(failed)?;
    let top: Vec<String> = FILE_NAMES.iter().map(|name| join(&source.path, name)).collect();
    for mut file in inputs.files {
        if top.contains(&file.path) {
            file.content = edit::apply(options, &file, limits)?;
        }
        // `file.path` has no `..` and no root: it went through `confined`.
        let path = files.join(&file.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        std::fs::write(path, file.content).map_err(failed)?;
    }
    Ok(folder)
}
