//! The bare store of one repository: open or create, ask, fetch, read.

use std::any::Any;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::bstr::ByteSlice;
use gix::credentials::{helper, protocol};
use gix::protocol::handshake::Ref;
use gix::protocol::transport::client::blocking_io::http;
use gix::remote::{Direction, fetch::Shallow, ref_map};

use super::{Commit, CommitId, Credentials, excerpt, local};
use crate::error::{RepoError, RepoErrorKind};
use crate::limits::Limits;
use crate::tree::{Entry, EntryKind, Objects, Tree, check_size, safe_name};

/// How long a connection may take to be established.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Fetched commits stay reachable under these names, so that the next fetch is a difference.
const KEPT: &str = "refs/sluice/";

/// A repository to talk to.
pub(super) struct Remote {
    pub(super) url: String,
    /// The repository in messages.
    pub(super) object: String,
    pub(super) directory: PathBuf,
    pub(super) credentials: Option<Credentials>,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) limits: Limits,
}

/// An open store.
pub(super) struct Store<'r> {
    remote: &'r Remote,
    repository: gix::ThreadSafeRepository,
}

impl<'r> Store<'r> {
    /// Opens the store, or makes an empty one; a damaged one is put away.
    pub(super) fn open(remote: &'r Remote) -> Result<Self, RepoError> {
        let options = gix::open::Options::isolated().open_path_as_is(true);
        if remote.directory.exists() {
            match options.clone().open(&remote.directory) {
                Ok(repository) => return Ok(Store { remote, repository }),
                Err(error) => {
                    tracing::warn!(repository = %remote.object, %error, "store is damaged, fetching anew");
                    put_away(&remote.directory);
                }
            }
        }
        let made = std::fs::create_dir_all(&remote.directory)
            .map_err(|error| local(&remote.object, &error))
            .and_then(|()| {
                gix::ThreadSafeRepository::init_opts(
                    &remote.directory,
                    gix::create::Kind::Bare,
                    gix::create::Options::default(),
                    options,
                )
                .map_err(|error| local(&remote.object, &error))
            });
        match made {
            Ok(repository) => Ok(Store { remote, repository }),
            Err(error) => {
                put_away(&remote.directory);
                Err(error.hint("check that the cache folder is writable and the disk is not full"))
            }
        }
    }

    /// Asks the server which commit a branch, tag or ref is.
    pub(super) fn resolve(&self, revision: &str) -> Result<CommitId, RepoError> {
        let names = candidates(revision);
        let specs: Vec<String> = names.clone();
        let refs = self.talk(&specs, |connection, options| {
            let (map, _) = connection.ref_map(gix::progress::Discard, options)?;
            Ok(map.remote_refs)
        })?;
        for name in &names {
            for found in &refs {
                let (full, target) = match found {
                    Ref::Peeled { full_ref_name, object, .. }
                    | Ref::Direct { full_ref_name, object }
                    | Ref::Symbolic { full_ref_name, object, .. } => (full_ref_name, object),
                    Ref::Unborn { .. } => continue,
                };
                if full.as_bstr() == name.as_str()
                    && let Some(commit) = CommitId::parse(&target.to_string())
                {
                    return Ok(commit);
                }
            }
        }
        if revision == "HEAD" || refs.is_empty() && self.is_empty()? {
            return Err(RepoError::new(
                RepoErrorKind::EmptyRepository,
                &self.remote.object,
                "the repository has no commit",
            )
            .hint("push a first commit"));
        }
        Err(RepoError::new(
            RepoErrorKind::RevisionNotFound,
            &self.remote.object,
            format!("there is no branch or tag `{}`", revision.escape_debug()),
        )
        .hint("check `targetRevision`: a branch, a tag or a full commit id; the branch may have been deleted"))
    }

    fn is_empty(&self) -> Result<bool, RepoError> {
        let specs = ["heads", "tags"].map(|kind| format!("refs/{kind}/*:refs/all/{kind}/*"));
        let refs = self.talk(&specs, |connection, options| {
            Ok(connection.ref_map(gix::progress::Discard, options)?.0.remote_refs)
        })?;
        Ok(refs.iter().all(|found| matches!(found, Ref::Unborn { .. })))
    }

    /// Returns the files of a commit, fetching it first if it is not here.
    pub(super) fn tree(
        mut self,
        commit: &CommitId,
        interrupt: &AtomicBool,
    ) -> Result<Tree, RepoError> {
        let id = gix::ObjectId::from_hex(commit.as_str().as_bytes())
            .map_err(|error| local(&self.remote.object, &error))?;
        if !self.repository.to_thread_local().has_object(id) {
            // Packs of old commits pile up; starting over is simpler and safer than collecting garbage.
            if size(&self.remote.directory) > self.remote.limits.store_bytes / 2 {
                put_away(&self.remote.directory);
                self = Store::open(self.remote)?;
            }
            self.fetch(commit, interrupt)?;
        }
        let repository = self.repository.to_thread_local();
        let not_a_commit = |_| {
            RepoError::new(
                RepoErrorKind::RevisionNotFound,
                &self.remote.object,
                format!("`{commit}` is no commit"),
            )
        };
        let found = repository.find_commit(id).map_err(not_a_commit)?;
        let (root, described) = describe(&found, commit).map_err(|error| {
            put_away(&self.remote.directory);
            corrupt(&self.remote.object, &error)
        })?;
        let objects = GitObjects {
            repository: self.repository.clone(),
            object: self.remote.object.clone(),
            directory: self.remote.directory.clone(),
        };
        Ok(Tree::new(described, root, Arc::new(objects)))
    }

    fn fetch(&self, commit: &CommitId, interrupt: &AtomicBool) -> Result<(), RepoError> {
        // The second spec matches nothing: it only keeps a server with many refs from listing them all.
        let specs = [format!("+{commit}:{KEPT}{commit}"), "refs/none/*:refs/none/*".to_owned()];
        self.forget_old_commits();
        let fetched = self.talk(&specs, |connection, options| {
            connection
                .prepare_fetch(gix::progress::Discard, options)?
                .with_shallow(Shallow::DepthAtRemote(NonZeroU32::MIN))
                .receive(gix::progress::Discard, interrupt)
                .map(|_| ())
        });
        match fetched {
            Err(error) if error.observed.contains("not our ref") => Err(RepoError::new(
                RepoErrorKind::RevisionNotFound,
                &self.remote.object,
                format!("the server has no commit `{commit}`"),
            )
            .hint("the history may have been rewritten; check `targetRevision`")),
            Ok(()) if size(&self.remote.directory) > self.remote.limits.store_bytes => {
                put_away(&self.remote.directory);
                Err(too_large(&self.remote.object, &self.remote.limits))
            }
            other => other,
        }
    }

    /// Keeps the newest names only; gone objects come again if they are ever wanted.
    fn forget_old_commits(&self) {
        const KEEP: usize = 20;
        let repository = self.repository.to_thread_local();
        let Ok(platform) = repository.references() else { return };
        let Ok(names) = platform.prefixed(KEPT) else { return };
        let mut kept: Vec<_> = names.flatten().collect();
        let age = |reference: &gix::Reference<'_>| {
            let path = self.remote.directory.join(reference.name().as_bstr().to_string());
            std::fs::metadata(path).and_then(|data| data.modified()).ok()
        };
        kept.sort_by_key(age);
        let surplus = kept.len().saturating_sub(KEEP);
        for reference in kept.into_iter().take(surplus) {
            // A name that stays costs nothing but its file.
            let _ = reference.delete();
        }
    }

    /// Connects with exactly these ref specs and credentials, and with nothing from the machine's git configuration.
    fn talk<T>(
        &self,
        specs: &[String],
        exchange: impl FnOnce(Connection<'_, '_, '_>, ref_map::Options) -> gix::Result<T>,
    ) -> Result<T, RepoError> {
        let repository = self.repository.to_thread_local();
        let mut asked = false;
        let result = (|| {
            let url = gix::url::parse(self.remote.url.as_str())?;
            let authority = (url.scheme.clone(), url.host().map(str::to_owned), url.port);
            let remote = repository
                .remote_at_without_url_rewrite(url)?
                .with_fetch_tags(gix::remote::fetch::Tags::None)
                .with_refspecs(specs.iter().map(String::as_str), Direction::Fetch)?;
            let connection = remote
                .connect(Direction::Fetch)?
                .with_transport_options(self.http_options())
                .with_credentials(|action| {
                    asked = true;
                    self.authenticate(action, &authority)
                });
            exchange(connection, ref_map::Options::default())
        })();
        result.map_err(|error| self.classify(&error, asked))
    }

    /// Hands out the credentials to the host of the URL only, not to where a redirect leads.
    fn authenticate(
        &self,
        action: helper::Action,
        authority: &(gix::url::Scheme, Option<String>, Option<u16>),
    ) -> gix::Result<Option<protocol::Outcome>> {
        let helper::Action::Get(context) = action else { return Ok(None) };
        let asking = context.url.as_ref().and_then(|url| gix::url::parse(url.as_bstr()).ok());
        let same = asking.is_some_and(|url| {
            (url.scheme.clone(), url.host().map(str::to_owned), url.port) == *authority
        });
        Ok(self.remote.credentials.as_ref().filter(|_| same).map(|found| protocol::Outcome {
            identity: gix::sec::identity::Account {
                username: found.username.clone(),
                password: found.password.clone(),
                oauth_refresh_token: None,
            },
            next: context.into(),
        }))
    }

    fn http_options(&self) -> Box<dyn Any> {
        let (timeout, ca_pem) = (self.remote.limits.time, self.remote.ca_pem.clone());
        let configure = move |builder: reqwest::blocking::ClientBuilder| {
            let mut builder = builder.timeout(timeout).connect_timeout(CONNECT_TIMEOUT);
            if let Some(pem) = &ca_pem {
                for root in
                    reqwest::Certificate::from_pem_bundle(pem).map_err(gix::Error::from_error)?
                {
                    builder = builder.add_root_certificate(root);
                }
            }
            Ok(builder)
        };
        let backend = http::reqwest::Options {
            configure_client: Some(Box::new(configure)),
            configure_request: None,
        };
        Box::new(http::Options {
            user_agent: Some(concat!("sluice/", env!("CARGO_PKG_VERSION")).to_owned()),
            backend: Some(Arc::new(Mutex::new(backend))),
            ..http::Options::default()
        })
    }

    fn classify(&self, error: &gix::Error, asked_for_credentials: bool) -> RepoError {
        let chain: Vec<String> = error.iter_errors().map(ToString::to_string).collect();
        let text = excerpt(&chain.join(": "));
        let status = |wanted: &str| chain.iter().any(|part| part.contains(wanted));
        let make =
            |kind, hint: &str| RepoError::new(kind, &self.remote.object, text.clone()).hint(hint);
        if asked_for_credentials || error.is_unauthenticated() || status("status 403") {
            let observed = match &self.remote.credentials {
                Some(_) if status("clear text") => "credentials are never sent over plain http",
                Some(_) => "the server refuses the credentials",
                None => "the server wants credentials and there are none for this URL",
            };
            return RepoError::new(RepoErrorKind::AuthRequired, &self.remote.object, observed)
                .hint("add a repository Secret with `url`, `username` and `password`; use https; hosts also answer so if the URL is wrong");
        }
        if status("status 404") || status("status 410") {
            return make(RepoErrorKind::RepositoryNotFound, "check `repoURL`");
        }
        if error.is_cancelled() {
            return make(RepoErrorKind::Cancelled, "it is tried again");
        }
        if ["status 500", "status 502", "status 503", "status 504", "status 429"]
            .iter()
            .any(|code| status(code))
        {
            return make(RepoErrorKind::ServerError, "it is tried again; see the git server's log");
        }
        if status("operation timed out") {
            return make(RepoErrorKind::Timeout, "check that the git server is not overloaded");
        }
        if error.is_retryable() || status("error sending request") {
            return make(
                RepoErrorKind::Unreachable,
                "check `repoURL`, the name service, network policies and certificates",
            );
        }
        make(RepoErrorKind::ServerError, "check that `repoURL` is a git repository")
    }
}

type Connection<'a, 'b, 'c> = gix::remote::Connection<
    'a,
    'b,
    'c,
    Box<dyn gix::protocol::transport::client::blocking_io::Transport + Send>,
>;

/// Full names of what a revision can mean, best first. A branch wins over a tag of the same name.
fn candidates(revision: &str) -> Vec<String> {
    if revision == "HEAD" || revision.starts_with("refs/") {
        return vec![revision.to_owned()];
    }
    vec![format!("refs/heads/{revision}"), format!("refs/tags/{revision}")]
}

fn describe(commit: &gix::Commit<'_>, id: &CommitId) -> gix::Result<(String, Commit)> {
    let author = commit.author()?;
    let described = Commit {
        id: id.clone(),
        author: format!("{} <{}>", author.name.to_str_lossy(), author.email.to_str_lossy()),
        authored_at: author.time().map_or(0, |time| time.seconds),
        subject: excerpt(&commit.message()?.summary().to_str_lossy()),
    };
    Ok((commit.tree_id()?.to_string(), described))
}

/// Moves a damaged store out of the way and removes it; what cannot be removed is no worse than before.
fn put_away(directory: &Path) {
    let mut aside = directory.to_owned();
    aside.set_extension("damaged");
    let _ = std::fs::remove_dir_all(&aside);
    if std::fs::rename(directory, &aside).is_ok() {
        let _ = std::fs::remove_dir_all(&aside);
    }
}

fn corrupt(object: &str, error: &dyn std::fmt::Display) -> RepoError {
    RepoError::new(RepoErrorKind::Corrupt, object, excerpt(&error.to_string()))
        .hint("the local copy is fetched anew with the next attempt")
}

/// The repository does not fit its budget.
pub(super) fn too_large(object: &str, limits: &Limits) -> RepoError {
    let observed = format!("more than {} bytes were received", limits.store_bytes);
    RepoError::new(RepoErrorKind::TooBig, object, observed)
        .hint("split the repository, or raise the limit")
}

/// Returns how many bytes the packs of a store take; unreadable parts count as nothing.
pub(super) fn size(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory.join("objects/pack")) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}

/// Objects of a bare store.
struct GitObjects {
    repository: gix::ThreadSafeRepository,
    object: String,
    directory: PathBuf,
}

impl GitObjects {
    fn find<'g>(
        &self,
        repository: &'g gix::Repository,
        id: &str,
    ) -> Result<gix::Object<'g>, RepoError> {
        let found = gix::ObjectId::from_hex(id.as_bytes())
            .map_err(|error| error.to_string())
            .and_then(|id| repository.find_object(id).map_err(|error| error.to_string()));
        found.map_err(|error| {
            put_away(&self.directory);
            corrupt(&self.object, &error)
        })
    }
}

impl Objects for GitObjects {
    fn list(&self, tree: &str) -> Result<Vec<Entry>, RepoError> {
        let repository = self.repository.to_thread_local();
        let object = self.find(&repository, tree)?;
        let tree = object.try_into_tree().map_err(|error| corrupt(&self.object, &error))?;
        let decoded = tree.decode().map_err(|error| corrupt(&self.object, &error))?;
        decoded
            .entries
            .iter()
            .map(|entry| {
                let kind = match entry.mode.kind() {
                    gix::objs::tree::EntryKind::Tree => EntryKind::Directory,
                    gix::objs::tree::EntryKind::Blob
                    | gix::objs::tree::EntryKind::BlobExecutable => EntryKind::File,
                    gix::objs::tree::EntryKind::Link => EntryKind::Link,
                    gix::objs::tree::EntryKind::Commit => EntryKind::Submodule,
                };
                Ok(Entry { name: safe_name(entry.filename)?, kind, id: entry.oid.to_string() })
            })
            .collect()
    }

    fn blob(&self, id: &str, limit: u64) -> Result<Vec<u8>, RepoError> {
        let repository = self.repository.to_thread_local();
        // The header is read first: a blob of gigabytes is not loaded to find that it is too large.
        if let Ok(parsed) = gix::ObjectId::from_hex(id.as_bytes())
            && let Ok(header) = repository.find_header(parsed)
        {
            check_size(id, header.size(), limit)?;
        }
        let mut object = self.find(&repository, id)?;
        Ok(std::mem::take(&mut object.data))
    }
}
