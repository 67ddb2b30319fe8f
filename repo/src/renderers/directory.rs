//! A folder of plain YAML and JSON.
//!
//! Files `*.yaml`, `*.yml` and `*.json` of the folder (and below with `recurse`), sorted by path; `include`, then `exclude`,
//! are globs on the path relative to the folder, in which `*` also matches `/` and `{a,b}` is a list. `Lists` are expanded.
//! Differs from Argo CD: a document that is no Kubernetes object is an error that names file and line, never skipped.
//!
//! Source: `spec-sync` 6.6.

use globset::{GlobBuilder, GlobMatcher};
use serde_json::Value;
use sluice_crds::application::DirectorySource;

use crate::error::{RepoError, RepoErrorKind};
use crate::git::BoxFuture;
use crate::limits::Limits;
use crate::manifests::{Collector, object_of};
use crate::render::{Inputs, Renderer};
use crate::repo::join;
use crate::source::{Source, SourceKind};
use crate::tree::{EntryKind, Tree};

/// Deepest folder that is looked into.
const MAX_DEPTH: usize = 64;

/// The renderer.
pub(crate) struct Directory;

impl Renderer for Directory {
    fn name(&self) -> &'static str {
        "directory"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn detects(&self, _: &Source, _: &Tree) -> Result<bool, RepoError> {
        Ok(true)
    }

    fn inputs(&self, source: &Source, tree: &Tree, limits: &Limits) -> Result<Inputs, RepoError> {
        let options = match &source.kind {
            SourceKind::Directory(options) => options.clone(),
            SourceKind::Detect | SourceKind::Kustomize(_) => DirectorySource::default(),
        };
        let mut walk = Walk::new(tree, limits, &options, source)?;
        walk.folder(&source.path, 0)?;
        walk.inputs.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(walk.inputs)
    }

    fn render<'a>(
        &'a self,
        _: &'a Source,
        inputs: Inputs,
        limits: &'a Limits,
    ) -> BoxFuture<'a, Result<(Vec<Value>, u64), RepoError>> {
        Box::pin(async move {
            let limits = limits.clone();
            let parsed = tokio::task::spawn_blocking(move || {
                let mut collector = Collector::new(&limits);
                for file in &inputs.files {
                    collector.add(&object_of(&file.path), &file.content)?;
                }
                Ok(collector.finish())
            });
            parsed.await.unwrap_or_else(|error| {
                Err(RepoError::new(RepoErrorKind::Local, "renderer", error.to_string()))
            })
        })
    }
}

struct Walk<'w> {
    tree: &'w Tree,
    limits: &'w Limits,
    root: &'w str,
    recurse: bool,
    any_extension: bool,
    include: Option<GlobMatcher>,
    exclude: Option<GlobMatcher>,
    inputs: Inputs,
    seen: usize,
    bytes: u64,
}

impl<'w> Walk<'w> {
    fn new(
        tree: &'w Tree,
        limits: &'w Limits,
        options: &DirectorySource,
        source: &'w Source,
    ) -> Result<Self, RepoError> {
        Ok(Walk {
            tree,
            limits,
            root: &source.path,
            recurse: options.recurse.unwrap_or(false),
            any_extension: options.disable_extension_filter.unwrap_or(false),
            include: glob(options.include.as_deref(), "include")?,
            exclude: glob(options.exclude.as_deref(), "exclude")?,
            inputs: Inputs::default(),
            seen: 0,
            bytes: 0,
        })
    }

    fn folder(&mut self, path: &str, depth: usize) -> Result<(), RepoError> {
        if depth > MAX_DEPTH {
            return Err(self.too_big(format!("folders are nested deeper than {MAX_DEPTH}")));
        }
        for entry in self.tree.list(path)? {
            self.seen += 1;
            if self.seen > self.limits.files {
                return Err(self.too_big(format!("more than {} files", self.limits.files)));
            }
            let path = join(path, &entry.name);
            match entry.kind {
                EntryKind::Directory if self.recurse => self.folder(&path, depth + 1)?,
                EntryKind::Directory | EntryKind::Submodule => {}
                EntryKind::File => self.file(&path)?,
                // A link to a file is read; one to a folder is not walked, as in Argo CD, and could be a circle.
                EntryKind::Link if self.wanted(&path)? => match self.tree.find(&path)? {
                    Some((_, target)) if target.kind == EntryKind::Directory => {}
                    _ => self.file(&path)?,
                },
                EntryKind::Link => {}
            }
        }
        Ok(())
    }

    fn wanted(&self, path: &str) -> Result<bool, RepoError> {
        let relative = path.strip_prefix(self.root).unwrap_or(path).trim_start_matches('/');
        let named = |extension: &str| relative.ends_with(extension);
        if self.exclude.as_ref().is_some_and(|glob| glob.is_match(relative))
            || self.include.as_ref().is_some_and(|glob| !glob.is_match(relative))
        {
            return Ok(false);
        }
        if named(".jsonnet") {
            return Err(RepoError::new(
                RepoErrorKind::Unsupported,
                object_of(path),
                "jsonnet is not rendered yet",
            )
            .hint("leave it out with `directory.exclude: '*.jsonnet'`"));
        }
        Ok(self.any_extension || named(".yaml") || named(".yml") || named(".json"))
    }

    fn file(&mut self, path: &str) -> Result<(), RepoError> {
        if !self.wanted(path)? {
            return Ok(());
        }
        let file = self.tree.read(path, self.limits.file_bytes)?;
        self.bytes += file.content.len() as u64;
        if self.bytes > self.limits.manifest_bytes {
            let limit = self.limits.manifest_bytes;
            return Err(self.too_big(format!("its manifests are larger than {limit} bytes")));
        }
        self.inputs.files.push(file);
        Ok(())
    }

    fn too_big(&self, observed: String) -> RepoError {
        RepoError::new(RepoErrorKind::TooBig, format!("path `{}`", self.root), observed)
            .hint("choose a narrower path, or raise the limit")
    }
}

fn glob(pattern: Option<&str>, field: &str) -> Result<Option<GlobMatcher>, RepoError> {
    let Some(pattern) = pattern.filter(|pattern| !pattern.is_empty()) else { return Ok(None) };
    match GlobBuilder::new(pattern).literal_separator(false).build() {
        Ok(glob) => Ok(Some(glob.compile_matcher())),
        Err(error) => Err(RepoError::new(
            RepoErrorKind::InvalidSource,
            format!("spec.source.directory.{field}"),
            format!("`{pattern}` is no glob: {}", error.kind()),
        )),
    }
}
