//! A source, checked: which repository, which revision, which folder, rendered how.

use sluice_crds::application::{ApplicationSource, DirectorySource, KustomizeSource};

use crate::error::{RepoError, RepoErrorKind};

/// One Git source of an Application.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// URL as the user wrote it.
    pub repo_url: String,
    /// Branch, tag, full ref name or commit; `HEAD` is the default branch.
    pub revision: String,
    /// Folder, relative to the root, without leading or trailing slash; empty for the root.
    pub path: String,
    /// How the folder becomes manifests.
    pub kind: SourceKind,
    /// Whether a source without any object is a result and not an error.
    pub allow_empty: bool,
}

/// How a folder becomes manifests.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    /// By what the folder holds: a kustomization, else plain files.
    Detect,
    /// Plain YAML and JSON files.
    Directory(DirectorySource),
    /// A kustomization with these options.
    Kustomize(Box<KustomizeSource>),
}

impl Source {
    /// Reads the source of an Application.
    ///
    /// # Errors
    ///
    /// [`RepoErrorKind::InvalidSource`] for what can never work, [`RepoErrorKind::Unsupported`] for Helm, OCI, Jsonnet and
    /// plugin sources, which are not rendered yet.
    pub fn from_application(
        source: &ApplicationSource,
        allow_empty: bool,
    ) -> Result<Self, RepoError> {
        let unsupported = [
            ("chart", source.is_chart()),
            ("repoURL", source.is_oci()),
            ("helm", source.helm.is_some()),
            ("plugin", source.plugin.is_some()),
            ("ref", source.reference.is_some() && source.path.is_none()),
        ];
        if let Some((field, _)) = unsupported.iter().find(|(_, set)| *set) {
            let observed = "this kind of source is not rendered yet";
            return Err(RepoError::new(
                RepoErrorKind::Unsupported,
                format!("spec.source.{field}"),
                observed,
            )
            .hint("use a Git source with plain YAML or kustomize"));
        }
        let kind = match (&source.directory, &source.kustomize) {
            (Some(_), Some(_)) => {
                return Err(RepoError::new(
                    RepoErrorKind::InvalidSource,
                    "spec.source",
                    "multiple application sources defined: `directory` and `kustomize`",
                )
                .hint("keep one of them"));
            }
            (Some(directory), None) => SourceKind::Directory(directory.clone()),
            (None, Some(kustomize)) => SourceKind::Kustomize(Box::new(kustomize.clone())),
            (None, None) => SourceKind::Detect,
        };
        let Some(path) = &source.path else {
            return Err(RepoError::new(
                RepoErrorKind::InvalidSource,
                "spec.source.path",
                "a Git source needs a path",
            )
            .hint("write `path: .` for the root of the repository"));
        };
        Ok(Source {
            repo_url: source.repo_url.clone(),
            revision: source.revision().to_owned(),
            path: confined(path, "spec.source.path")?,
            kind,
            allow_empty,
        })
    }
}

/// Normalises a relative path: no `.`, no empty parts, and never above the root.
pub(crate) fn confined(path: &str, object: &str) -> Result<String, RepoError> {
    let refuse = |observed: String| {
        Err(RepoError::new(RepoErrorKind::InvalidSource, object, observed)
            .hint("a path is relative to the repository's root and stays inside of it"))
    };
    if path.starts_with('/') || path.contains(['\0', '\\']) {
        return refuse(format!("`{}` is no relative path", path.escape_debug()));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return refuse(format!("`{path}` leaves the repository"));
                }
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests;
