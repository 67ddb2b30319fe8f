//! [`Git`] over gix: a bare store for each repository, shallow fetches of single commits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as Gate;

use super::store::{Remote, Store};
use super::{BoxFuture, CommitId, Git, GitConfig, store, url};
use crate::error::{RepoError, RepoErrorKind};
use crate::tree::Tree;

/// How often a running transfer is checked against its budgets.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// Git over HTTP by gix.
pub struct GixGit {
    config: GitConfig,
    /// One transfer at a time for each repository.
    gates: Mutex<BTreeMap<PathBuf, Arc<Gate<()>>>>,
}

impl GixGit {
    /// Makes a client; the cache folder is created when it is needed.
    pub fn new(config: GitConfig) -> Self {
        GixGit { config, gates: Mutex::default() }
    }

    fn remote(&self, url: &str) -> Result<Remote, RepoError> {
        let shown = url::check(url, self.config.allow_file_urls)?;
        Ok(Remote {
            url: url.to_owned(),
            object: format!("repository `{shown}`"),
            directory: self.config.cache_dir.join(url::store_name(&shown)),
            credentials: self.config.credentials.as_ref().and_then(|find| find(url)),
            ca_pem: self.config.ca_pem.clone(),
            limits: self.config.limits.clone(),
        })
    }

    fn gate(&self, directory: &Path) -> Arc<Gate<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(directory.to_owned()).or_default())
    }

    /// Runs blocking git work; the budgets of time and size interrupt it, and so does dropping the future.
    async fn run<T: Send + 'static>(
        &self,
        remote: Remote,
        work: impl FnOnce(&Remote, &AtomicBool) -> Result<T, RepoError> + Send + 'static,
    ) -> Result<T, RepoError> {
        let gate = self.gate(&remote.directory);
        let (object, directory, limits) =
            (remote.object.clone(), remote.directory.clone(), remote.limits.clone());
        let deadline = tokio::time::Instant::now() + limits.time;
        let timeout = || {
            RepoError::new(
                RepoErrorKind::Timeout,
                object.clone(),
                format!("no answer within {} s", limits.time.as_secs_f32()),
            )
            .hint("check that the git server can be reached and is not overloaded")
        };
        let guard =
            tokio::time::timeout_at(deadline, gate.lock_owned()).await.map_err(|_| timeout())?;
        // What lies here from before is no transfer; the store starts over when it is next fetched into.
        let before = store::size(&directory);
        let interrupt = InterruptOnDrop(Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&interrupt.0);
        let mut task = tokio::task::spawn_blocking(move || {
            let _held_until_the_work_has_stopped = guard;
            work(&remote, &flag)
        });
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        loop {
            tokio::select! {
                done = &mut task => {
                    return done.unwrap_or_else(|error| Err(super::local(&object, &error)));
                }
                () = tokio::time::sleep_until(deadline) => return Err(timeout()),
                _ = watch.tick() => {
                    if store::size(&directory) > limits.store_bytes.max(before) {
                        return Err(store::too_large(&object, &limits));
                    }
                }
            }
        }
    }
}

/// Tells gix to stop when the future that waits for it ends.
struct InterruptOnDrop(Arc<AtomicBool>);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Git for GixGit {
    fn resolve<'a>(
        &'a self,
        url: &'a str,
        revision: &'a str,
    ) -> BoxFuture<'a, Result<CommitId, RepoError>> {
        Box::pin(async move {
            let remote = self.remote(url)?;
            if let Some(commit) = CommitId::parse(revision) {
                return Ok(commit);
            }
            let revision = revision.to_owned();
            self.run(remote, move |remote, _| Store::open(remote)?.resolve(&revision)).await
        })
    }

    fn tree<'a>(
        &'a self,
        url: &'a str,
        commit: &'a CommitId,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Tree, RepoError>> {
        Box::pin(async move {
            let remote = self.remote(url)?;
            let (commit, path) = (commit.clone(), path.to_owned());
            self.run(remote, move |remote, interrupt| {
                let tree = Store::open(remote)?.tree(&commit, interrupt)?;
                tree.list(&path)?;
                Ok(tree)
            })
            .await
        })
    }
}
