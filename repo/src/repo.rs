//! [`Repo`]: git, renderers and cache together.

use std::sync::Arc;

use crate::cache::RenderCache;
use crate::error::{RepoError, RepoErrorKind};
use crate::git::{CommitId, Git};
use crate::limits::Limits;
use crate::registry::{self, RenderDeps};
use crate::render::{Inputs, Manifests, Renderer};
use crate::source::{Source, SourceKind};
use crate::tree::Tree;

/// Size of the cache of rendered results in bytes of text.
const CACHE_BYTES: u64 = 64 << 20;
/// Renders at a time, so that a push to a monorepo does not start a hundred processes.
const PARALLEL_RENDERS: usize = 4;

/// Sources to manifests.
pub struct Repo {
    git: Arc<dyn Git>,
    renderers: Arc<Vec<Box<dyn Renderer>>>,
    cache: Arc<RenderCache>,
    limits: Limits,
    slots: tokio::sync::Semaphore,
}

impl Repo {
    /// Puts git, the renderers of the table and an empty cache together.
    pub fn new(git: Arc<dyn Git>, deps: &RenderDeps, limits: Limits) -> Self {
        Repo {
            git,
            renderers: Arc::new(registry::renderers(deps)),
            cache: Arc::new(RenderCache::new(CACHE_BYTES)),
            limits,
            slots: tokio::sync::Semaphore::new(PARALLEL_RENDERS),
        }
    }

    /// Asks which commit the source's revision is now. One short request; nothing is fetched.
    ///
    /// # Errors
    ///
    /// See [`RepoErrorKind`]; [`RepoError::is_transient`] says whether the last known commit stays true for now.
    pub async fn resolve(&self, source: &Source) -> Result<CommitId, RepoError> {
        self.git.resolve(&source.repo_url, &source.revision).await
    }

    /// Returns the objects of the source at a commit. The commit is fetched only if it is not here, and rendered only if no
    /// source with the same content was.
    ///
    /// # Errors
    ///
    /// See [`RepoErrorKind`].
    pub async fn render(&self, source: &Source, commit: &CommitId) -> Result<Manifests, RepoError> {
        let tree = self.git.tree(&source.repo_url, commit, &source.path).await?;
        self.render_tree(source, tree).await
    }

    /// As [`Repo::render`], of files that are here already, such as a local folder that is compared.
    ///
    /// # Errors
    ///
    /// See [`RepoErrorKind`].
    pub async fn render_tree(&self, source: &Source, tree: Tree) -> Result<Manifests, RepoError> {
        let _slot = self.slots.acquire().await.map_err(|error| {
            RepoError::new(RepoErrorKind::Cancelled, "renderer", error.to_string())
        })?;
        let work = render(source, tree, &self.renderers, &self.cache, &self.limits);
        match tokio::time::timeout(self.limits.time, work).await {
            Ok(rendered) => rendered,
            Err(_) => Err(RepoError::new(
                RepoErrorKind::Timeout,
                format!("path `{}`", source.path),
                format!("not rendered within {} s", self.limits.time.as_secs_f32()),
            )),
        }
    }
}

/// Renders a tree with the first renderer that fits, or answers from the cache.
///
/// # Errors
///
/// See [`RepoErrorKind`]; an empty result is an error unless the source allows it.
pub async fn render(
    source: &Source,
    tree: Tree,
    renderers: &Arc<Vec<Box<dyn Renderer>>>,
    cache: &RenderCache,
    limits: &Limits,
) -> Result<Manifests, RepoError> {
    let commit = tree.commit.clone();
    let (index, inputs, content_key) = {
        let (renderers, source, limits) = (Arc::clone(renderers), source.clone(), limits.clone());
        let read = tokio::task::spawn_blocking(move || {
            let index = choose(&renderers, &source, &tree)?;
            let inputs = renderers[index].inputs(&source, &tree, &limits)?;
            let key = content_key(&*renderers[index], &source, &inputs);
            Ok((index, inputs, key))
        });
        read.await.unwrap_or_else(|error| {
            Err(RepoError::new(RepoErrorKind::Local, "renderer", error.to_string()))
        })?
    };
    let objects = match cache.get(&content_key) {
        Some(objects) => objects,
        None => {
            let (objects, bytes) = renderers[index].render(source, inputs, limits).await?;
            let objects = Arc::new(objects);
            cache.put(&content_key, Arc::clone(&objects), bytes);
            objects
        }
    };
    if objects.is_empty() && !source.allow_empty {
        return Err(RepoError::new(
            RepoErrorKind::Empty,
            format!("path `{}` at {}", display(&source.path), commit.id.short()),
            "it renders to no object at all",
        )
        .hint("check the path; `syncPolicy.automated.allowEmpty: true` accepts an empty source"));
    }
    Ok(Manifests { objects, commit, content_key })
}

fn display(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

fn choose(
    renderers: &[Box<dyn Renderer>],
    source: &Source,
    tree: &Tree,
) -> Result<usize, RepoError> {
    let wanted = match &source.kind {
        SourceKind::Directory(_) => Some("directory"),
        SourceKind::Kustomize(_) => Some("kustomize"),
        SourceKind::Detect => None,
    };
    if wanted.is_none() && tree.find(&join(&source.path, "Chart.yaml"))?.is_some() {
        return Err(RepoError::new(
            RepoErrorKind::Unsupported,
            format!("path `{}`", display(&source.path)),
            "it holds a Helm chart, and charts are not rendered yet",
        )
        .hint(
            "commit the rendered manifests, or set `directory: {}` to take the files as they are",
        ));
    }
    for (index, renderer) in renderers.iter().enumerate() {
        let fits = match wanted {
            Some(name) => renderer.name() == name,
            None => renderer.detects(source, tree)?,
        };
        if fits {
            return Ok(index);
        }
    }
    Err(RepoError::new(
        RepoErrorKind::Unsupported,
        format!("path `{}`", display(&source.path)),
        "no renderer fits",
    ))
}

/// Joins a folder and a name.
pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn content_key(renderer: &dyn Renderer, source: &Source, inputs: &Inputs) -> String {
    let options = match &source.kind {
        SourceKind::Detect => String::new(),
        SourceKind::Directory(options) => serde_json::to_string(options).unwrap_or_default(),
        SourceKind::Kustomize(options) => serde_json::to_string(options).unwrap_or_default(),
    };
    let mut text =
        format!("{}\0{}\0{}\0{options}\0", renderer.name(), renderer.version(), source.path);
    for file in &inputs.files {
        text.push_str(&format!("{}\0{}\0", file.path, file.id));
    }
    format!("{}-{}", renderer.name(), crate::git::blob_id(text.as_bytes()))
}
