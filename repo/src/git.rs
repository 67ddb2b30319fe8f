//! Git, seen as two questions: which commit is a revision now, and which files does a commit hold.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::{RepoError, RepoErrorKind};
use crate::limits::Limits;
use crate::tree::Tree;

mod client;
mod store;
mod url;

pub use client::GixGit;

/// A future that a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where commits and their files come from.
pub trait Git: Send + Sync {
    /// Asks the server which commit `revision` is; a full commit id is itself, without a request. Nothing is fetched.
    fn resolve<'a>(
        &'a self,
        url: &'a str,
        revision: &'a str,
    ) -> BoxFuture<'a, Result<CommitId, RepoError>>;

    /// Makes the commit's files available, fetching the commit only if it is not here yet, and checks that `path` is a folder
    /// in it. Interruptible: dropping the future stops the transfer.
    fn tree<'a>(
        &'a self,
        url: &'a str,
        commit: &'a CommitId,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Tree, RepoError>>;
}

/// A full commit id in hex, 40 digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(String);

impl CommitId {
    /// Reads a full commit id; nothing if `text` is none.
    pub fn parse(text: &str) -> Option<Self> {
        let full = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        full.then(|| CommitId(text.to_ascii_lowercase()))
    }

    /// Returns the 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first seven digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl std::fmt::Display for CommitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A commit as people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// `Name <address>` of the author.
    pub author: String,
    /// When it was written, in seconds since 1970.
    pub authored_at: i64,
    /// First line of the message.
    pub subject: String,
}

/// User name and password, or token, for one repository.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name; any text if the password is a token.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Finds the credentials of a repository by its URL; nothing means anonymous.
pub type FindCredentials = Arc<dyn Fn(&str) -> Option<Credentials> + Send + Sync>;

/// How git is spoken.
///
/// For `https` the process must have installed a rustls provider (`rustls::crypto::ring`) before the first request; roots are
/// those of the system, plus `ca_pem`.
#[derive(Clone)]
pub struct GitConfig {
    /// Folder for bare stores, one for each repository. Everything in it can be fetched again.
    pub cache_dir: PathBuf,
    /// Budgets.
    pub limits: Limits,
    /// Credentials by URL.
    pub credentials: Option<FindCredentials>,
    /// Further roots of trust, PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Accepts `file://` URLs: for tests only, because a path of the controller's machine is no repository of a tenant.
    pub allow_file_urls: bool,
}

impl GitConfig {
    /// Returns the defaults with this cache folder.
    pub fn new(cache_dir: PathBuf) -> Self {
        GitConfig {
            cache_dir,
            limits: Limits::default(),
            credentials: None,
            ca_pem: None,
            allow_file_urls: false,
        }
    }
}

/// Returns the id that git gives to a file with this content.
pub(crate) fn blob_id(content: &[u8]) -> String {
    gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::objs::Kind::Blob, content)
        .map_or_else(|_| String::from("collision"), |id| id.to_string())
}

/// Cuts what a server or tool said, for messages.
pub(crate) fn excerpt(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > 400 { line.chars().take(400).chain(['…']).collect() } else { line }
}

pub(crate) fn local(object: &str, error: &dyn std::fmt::Display) -> RepoError {
    RepoError::new(RepoErrorKind::Local, object, error.to_string())
}
