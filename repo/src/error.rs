//! Why a source gave no manifests: kind, object, what was observed, what to do.

use std::fmt;

/// What went wrong, as far as it decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepoErrorKind {
    /// The source as written can never work: scheme, path, contradiction.
    InvalidSource,
    /// The source asks for something that Sluice does not do yet.
    Unsupported,
    /// The server cannot be reached: name, connection, TLS.
    Unreachable,
    /// The server or a tool did not answer in time.
    Timeout,
    /// The server answered with an error of its own (5xx) or with something that is no git.
    ServerError,
    /// The server wants credentials, or refuses those it got.
    AuthRequired,
    /// There is no repository at the URL.
    RepositoryNotFound,
    /// The repository has no such branch, tag or commit.
    RevisionNotFound,
    /// The repository has no commit at all.
    EmptyRepository,
    /// The path is not in the commit.
    PathNotFound,
    /// The content points outside of the repository, or has names that no checkout could hold.
    Unsafe,
    /// A file, the repository or the result is larger than the budget.
    TooBig,
    /// A file is no manifest.
    InvalidManifest,
    /// The renderer failed on the content.
    RenderFailed,
    /// The source renders to nothing.
    Empty,
    /// The local copy is damaged; it has been put away and is fetched anew next time.
    Corrupt,
    /// The work was interrupted.
    Cancelled,
    /// Disk or process trouble on our side.
    Local,
}

/// An error about one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoError {
    /// What it means for the next attempt.
    pub kind: RepoErrorKind,
    /// Which repository, revision, path or file: `repository https://…`, `file apps/a.yaml, line 3`.
    pub object: String,
    /// What was observed.
    pub observed: String,
    /// What to do.
    pub hint: Option<String>,
}

impl RepoError {
    pub(crate) fn new(
        kind: RepoErrorKind,
        object: impl Into<String>,
        observed: impl Into<String>,
    ) -> Self {
        RepoError { kind, object: object.into(), observed: observed.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns whether the same request may succeed later without a change of the source or the repository: the last good
    /// revision is kept and the request repeated with backoff.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            RepoErrorKind::Unreachable
            | RepoErrorKind::Timeout
            | RepoErrorKind::ServerError
            | RepoErrorKind::Corrupt
            | RepoErrorKind::Cancelled
            | RepoErrorKind::Local => true,
            RepoErrorKind::InvalidSource
            | RepoErrorKind::Unsupported
            | RepoErrorKind::AuthRequired
            | RepoErrorKind::RepositoryNotFound
            | RepoErrorKind::RevisionNotFound
            | RepoErrorKind::EmptyRepository
            | RepoErrorKind::PathNotFound
            | RepoErrorKind::Unsafe
            | RepoErrorKind::TooBig
            | RepoErrorKind::InvalidManifest
            | RepoErrorKind::RenderFailed
            | RepoErrorKind::Empty => false,
        }
    }
}

impl fmt::Display for RepoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.observed)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RepoError {}
