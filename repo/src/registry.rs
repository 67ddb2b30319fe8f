//! The table of renderers. Adding one is a file in `renderers/` and a line here.

use std::path::PathBuf;

use crate::render::Renderer;
use crate::renderers::{directory::Directory, kustomize::Kustomize};

/// What renderers need from the outside.
#[derive(Clone, Debug, Default)]
pub struct RenderDeps {
    /// The kustomize binary, pinned by the caller; without it, sources with a kustomization are refused.
    pub kustomize: Option<PathBuf>,
    /// Version of that binary, for content keys.
    pub kustomize_version: String,
}

/// Returns all renderers in the order of detection: what needs a marker file first, plain files last.
pub fn renderers(deps: &RenderDeps) -> Vec<Box<dyn Renderer>> {
    vec![Box::new(Kustomize::new(deps)), Box::new(Directory)]
}
