//! Turns a source (git; a folder of YAML, kustomize) into a list of manifests.
//!
//! Start with [`Repo`]: [`Repo::resolve`] asks which commit a source is at, [`Repo::render`] gives its objects. Both are
//! background tasks of the shell and never run inside a reconcile; results are facts keyed by content.
//!
//! Nothing of a repository is executed or written, except that kustomize, an external program, gets a private copy of the
//! files that its kustomization names.

pub mod cache;
mod error;
pub mod git;
mod limits;
mod manifests;
pub mod registry;
pub mod render;
mod renderers;
mod repo;
mod source;
mod tree;

pub use error::{RepoError, RepoErrorKind};
pub use git::{BoxFuture, Commit, CommitId, Credentials, Git, GitConfig, GixGit};
pub use limits::Limits;
pub use registry::RenderDeps;
pub use render::{Manifests, Renderer};
pub use repo::{Repo, render};
pub use source::{Source, SourceKind};
pub use tree::{Entry, EntryKind, File, Objects, Tree};
