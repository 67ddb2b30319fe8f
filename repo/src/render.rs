//! From a tree to objects: what a renderer is.

use std::sync::Arc;

use serde_json::Value;

use crate::error::RepoError;
use crate::git::{BoxFuture, Commit};
use crate::limits::Limits;
use crate::source::Source;
use crate::tree::{File, Tree};

/// The objects of a source at one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifests {
    /// Objects in the order of files and documents; `List`s are expanded.
    pub objects: Arc<Vec<Value>>,
    /// The commit from which they were rendered.
    pub commit: Commit,
    /// Changes exactly when renderer, options or one of the files that matter change: two commits with the same key render
    /// to the same objects.
    pub content_key: String,
}

/// What a renderer reads: the files that matter, and nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    /// Files by path from the repository's root, sorted.
    pub files: Vec<File>,
}

/// A way from files to objects.
pub trait Renderer: Send + Sync {
    /// Name in messages and in content keys.
    fn name(&self) -> &'static str;

    /// Version of the renderer: another version may render the same files differently.
    fn version(&self) -> String;

    /// Returns whether a folder of which the user says nothing is rendered by this one. The first in the table wins.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    fn detects(&self, source: &Source, tree: &Tree) -> Result<bool, RepoError>;

    /// Reads the files that matter. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// Missing or unsafe paths, budgets.
    fn inputs(&self, source: &Source, tree: &Tree, limits: &Limits) -> Result<Inputs, RepoError>;

    /// Renders; answers the objects and how many bytes of text they were.
    fn render<'a>(
        &'a self,
        source: &'a Source,
        inputs: Inputs,
        limits: &'a Limits,
    ) -> BoxFuture<'a, Result<(Vec<Value>, u64), RepoError>>;
}
