//! The files of one commit, read from the object database.
//!
//! There is no work tree: no hooks, filters, case folding or symbolic links exist on disk. A link in the repository is
//! followed inside of the repository only.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{RepoError, RepoErrorKind};
use crate::git::Commit;

/// Most links that are followed for one path.
const MAX_LINKS: usize = 8;
/// Longest target of a link in bytes.
const MAX_LINK_BYTES: u64 = 4096;

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A file, executable or not.
    File,
    /// A symbolic link; its blob is the target.
    Link,
    /// A commit of another repository. Never followed.
    Submodule,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name without slash.
    pub name: String,
    /// Folder, file, link or submodule.
    pub kind: EntryKind,
    /// Object id in hex: the same id is the same content.
    pub id: String,
}

/// Where objects are read from. Calls block on the disk.
pub trait Objects: Send + Sync {
    /// Returns the entries of a tree object, in the order of the object.
    ///
    /// # Errors
    ///
    /// The object is missing, damaged, or has names that are unsafe.
    fn list(&self, tree: &str) -> Result<Vec<Entry>, RepoError>;

    /// Returns the content of a blob of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// The object is missing, damaged or larger.
    fn blob(&self, id: &str, limit: u64) -> Result<Vec<u8>, RepoError>;
}

/// The tree of one commit.
#[derive(Clone)]
pub struct Tree {
    /// The commit.
    pub commit: Commit,
    root: String,
    objects: Arc<dyn Objects>,
}

impl Tree {
    /// Makes a tree from its root's object id.
    pub fn new(commit: Commit, root: String, objects: Arc<dyn Objects>) -> Self {
        Tree { commit, root, objects }
    }

    /// Makes a tree from files in memory, by path. Ids are the contents' own.
    pub fn in_memory(commit: Commit, files: BTreeMap<String, Vec<u8>>) -> Self {
        Tree { commit, root: String::new(), objects: Arc::new(Memory::new(files)) }
    }

    /// Returns the entries of a folder, sorted by name.
    ///
    /// # Errors
    ///
    /// [`RepoErrorKind::PathNotFound`] if there is no such folder.
    pub fn list(&self, path: &str) -> Result<Vec<Entry>, RepoError> {
        let id = match self.find(path)? {
            Some((_, Entry { kind: EntryKind::Directory, id, .. })) => id,
            Some(_) => return Err(not_found(path, "it is no folder")),
            None => return Err(not_found(path, "there is no such folder in the commit")),
        };
        let mut entries = self.objects.list(&id)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Returns where `path` leads, links resolved, and what is there; nothing if there is nothing.
    ///
    /// # Errors
    ///
    /// [`RepoErrorKind::Unsafe`] for a link that leaves the repository, or for too many of them.
    pub fn find(&self, path: &str) -> Result<Option<(String, Entry)>, RepoError> {
        let mut links = 0;
        let mut pending: Vec<String> = parts(path).rev().collect();
        let mut walked: Vec<(String, Entry)> = Vec::new();
        while let Some(part) = pending.pop() {
            if part == ".." {
                if walked.pop().is_none() {
                    return Err(leaves(path));
                }
                continue;
            }
            let folder = walked.last().map_or(&self.root, |(_, entry)| &entry.id);
            if walked.last().is_some_and(|(_, entry)| entry.kind != EntryKind::Directory) {
                return Ok(None);
            }
            let Some(entry) =
                self.objects.list(folder)?.into_iter().find(|entry| entry.name == part)
            else {
                return Ok(None);
            };
            if entry.kind != EntryKind::Link {
                walked.push((part, entry));
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                let observed = format!("more than {MAX_LINKS} symbolic links in a row");
                return Err(RepoError::new(RepoErrorKind::Unsafe, path_object(path), observed));
            }
            let target = self.objects.blob(&entry.id, MAX_LINK_BYTES)?;
            let target = String::from_utf8(target).map_err(|_| leaves(path))?;
            if target.starts_with('/') || target.contains(['\0', '\\']) {
                return Err(leaves(path));
            }
            pending.extend(parts(&target).rev());
        }
        let root = Entry { name: String::new(), kind: EntryKind::Directory, id: self.root.clone() };
        let real: Vec<&str> = walked.iter().map(|(name, _)| name.as_str()).collect();
        let real = real.join("/");
        Ok(Some((real, walked.pop().map_or(root, |(_, entry)| entry))))
    }

    /// Reads a file of at most `limit` bytes; links are followed inside of the repository.
    ///
    /// # Errors
    ///
    /// [`RepoErrorKind::PathNotFound`], [`RepoErrorKind::Unsafe`], [`RepoErrorKind::TooBig`].
    pub fn read(&self, path: &str, limit: u64) -> Result<File, RepoError> {
        match self.find(path)? {
            Some((_, Entry { kind: EntryKind::File, id, .. })) => {
                let content = self.objects.blob(&id, limit).map_err(|mut error| {
                    error.object = file_object(path);
                    error
                })?;
                Ok(File { path: path.to_owned(), id, content })
            }
            Some((_, Entry { kind: EntryKind::Submodule, .. })) => {
                Err(not_found(path, "it is a submodule, and submodules are not fetched"))
            }
            Some(_) => Err(not_found(path, "it is no file")),
            None => Err(not_found(path, "there is no such file in the commit")),
        }
    }
}

/// A file with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path from the root, as asked for.
    pub path: String,
    /// Object id in hex.
    pub id: String,
    /// Content.
    pub content: Vec<u8>,
}

pub(crate) fn file_object(path: &str) -> String {
    format!("file `{path}`")
}

fn path_object(path: &str) -> String {
    format!("path `{}`", if path.is_empty() { "." } else { path })
}

fn not_found(path: &str, observed: &str) -> RepoError {
    RepoError::new(RepoErrorKind::PathNotFound, path_object(path), observed)
        .hint("check path and revision of the source")
}

fn leaves(path: &str) -> RepoError {
    RepoError::new(
        RepoErrorKind::Unsafe,
        path_object(path),
        "a symbolic link leads out of the repository",
    )
    .hint("replace the link by a file or a link inside of the repository")
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = String> + '_ {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

/// Checks a name from a tree object: what no checkout could hold safely is refused.
pub(crate) fn safe_name(name: &[u8]) -> Result<String, RepoError> {
    let text = std::str::from_utf8(name).ok().filter(|text| {
        let lower = text.to_ascii_lowercase();
        !text.is_empty()
            && !matches!(*text, "." | "..")
            && !text.contains(['/', '\\', '\0'])
            && lower != ".git"
            && !lower.starts_with("git~")
    });
    match text {
        Some(text) => Ok(text.to_owned()),
        None => Err(RepoError::new(
            RepoErrorKind::Unsafe,
            format!("name `{}`", String::from_utf8_lossy(name).escape_debug()),
            "the commit holds a name that is no file name",
        )
        .hint("no git client writes such a commit; find out who did")),
    }
}

/// Files in a map. The id of a folder is its path, the id of a file that of git.
struct Memory {
    ids: BTreeMap<String, String>,
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Memory {
    fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        let mut memory = Memory { ids: BTreeMap::new(), blobs: BTreeMap::new() };
        for (path, content) in files {
            let id = crate::git::blob_id(&content);
            memory.ids.insert(path, id.clone());
            memory.blobs.insert(id, content);
        }
        memory
    }
}

impl Objects for Memory {
    fn list(&self, tree: &str) -> Result<Vec<Entry>, RepoError> {
        let prefix = if tree.is_empty() { String::new() } else { format!("{tree}/") };
        let mut entries: Vec<Entry> = Vec::new();
        for (path, id) in &self.ids {
            let Some(rest) = path.strip_prefix(&prefix) else { continue };
            let (name, kind, id) = match rest.split_once('/') {
                Some((name, _)) => (name, EntryKind::Directory, format!("{prefix}{name}")),
                None => (rest, EntryKind::File, id.clone()),
            };
            if entries.iter().all(|found| found.name != name) {
                entries.push(Entry { name: safe_name(name.as_bytes())?, kind, id });
            }
        }
        Ok(entries)
    }

    fn blob(&self, id: &str, limit: u64) -> Result<Vec<u8>, RepoError> {
        let content = self.blobs.get(id).ok_or_else(|| not_found(id, "no such file"))?;
        check_size(id, content.len() as u64, limit)?;
        Ok(content.clone())
    }
}

pub(crate) fn check_size(object: &str, size: u64, limit: u64) -> Result<(), RepoError> {
    if size <= limit {
        return Ok(());
    }
    Err(RepoError::new(
        RepoErrorKind::TooBig,
        format!("object {object}"),
        format!("{size} bytes, at most {limit} are read"),
    ))
}
