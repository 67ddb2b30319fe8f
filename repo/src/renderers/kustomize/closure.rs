//! Which files a kustomization is made of.

use std::collections::BTreeSet;

use serde_json::Value;
use sluice_crds::application::KustomizeSource;

use super::kustomization;
use crate::error::{RepoError, RepoErrorKind};
use crate::limits::Limits;
use crate::manifests::{object_of, parse_yaml};
use crate::render::Inputs;
use crate::repo::join;
use crate::source::confined;
use crate::tree::{EntryKind, Tree};

/// Lists of paths to files or to folders with a kustomization; some may also hold YAML itself.
const PATH_LISTS: [&str; 9] = [
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "patchesStrategicMerge",
];
/// Lists of objects with a `path`.
const OBJECT_LISTS: [&str; 3] = ["patches", "patchesJson6902", "replacements"];
/// Lists of generators with files.
const GENERATORS: [&str; 2] = ["configMapGenerator", "secretGenerator"];
/// Fields that make kustomize fetch or run something.
const REFUSED: [&str; 3] = ["helmCharts", "helmChartInflationGenerator", "helmGlobals"];

/// Reads the kustomization of `path`, its bases, and all files that they name.
pub(super) fn collect(
    tree: &Tree,
    path: &str,
    options: &KustomizeSource,
    limits: &Limits,
) -> Result<Inputs, RepoError> {
    let mut closure = Closure {
        tree,
        limits,
        folders: BTreeSet::new(),
        paths: BTreeSet::new(),
        inputs: Inputs::default(),
        bytes: 0,
    };
    closure.folder(path)?;
    let top = join(path, "kustomization.yaml");
    for component in &options.components {
        let missing = tree.find(&confined(&join(path, component), &top)?)?.is_none();
        if !(missing && options.ignore_missing_components.unwrap_or(false)) {
            closure.reference(path, component, &top)?;
        }
    }
    for patch in options.patches.iter().filter_map(|patch| patch.path.as_deref()) {
        closure.reference(path, patch, &top)?;
    }
    closure.inputs.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(closure.inputs)
}

struct Closure<'c> {
    tree: &'c Tree,
    limits: &'c Limits,
    folders: BTreeSet<String>,
    paths: BTreeSet<String>,
    inputs: Inputs,
    bytes: u64,
}

impl Closure<'_> {
    fn folder(&mut self, path: &str) -> Result<(), RepoError> {
        if !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        let Some(file) = kustomization(self.tree, path)? else {
            return Err(RepoError::new(
                RepoErrorKind::RenderFailed,
                format!("path `{path}`"),
                "there is no kustomization in it",
            )
            .hint("add a `kustomization.yaml`"));
        };
        let content = self.file(&file)?;
        let object = object_of(&file);
        let documents = parse_yaml(&object, &String::from_utf8_lossy(&content), self.limits)?;
        for document in &documents {
            if let Some(field) = REFUSED.iter().find(|field| document.get(**field).is_some()) {
                return Err(RepoError::new(
                    RepoErrorKind::Unsupported,
                    object,
                    format!("`{field}` is not rendered yet"),
                )
                .hint("commit the rendered chart"));
            }
            for reference in references(document) {
                self.reference(path, &reference, &object)?;
            }
        }
        Ok(())
    }

    fn reference(&mut self, folder: &str, reference: &str, by: &str) -> Result<(), RepoError> {
        if reference.contains('\n') {
            return Ok(()); // YAML in place of a path.
        }
        let remote = is_remote(reference);
        let path = match confined(&join(folder, reference), by) {
            Ok(path) if !reference.contains("://") => path,
            _ if remote => return Err(remote_base(reference, by)),
            Ok(path) => path,
            Err(error) => return Err(error),
        };
        match self.tree.find(&path)? {
            Some((_, entry)) if entry.kind == EntryKind::Directory => self.folder(&path),
            Some(_) => self.file(&path).map(|_| ()),
            None if remote => Err(remote_base(reference, by)),
            None => Err(RepoError::new(
                RepoErrorKind::PathNotFound,
                by,
                format!("it names `{reference}`, which is not in the commit"),
            )),
        }
    }

    fn file(&mut self, path: &str) -> Result<Vec<u8>, RepoError> {
        let file = self.tree.read(path, self.limits.file_bytes)?;
        let content = file.content.clone();
        if !self.paths.insert(path.to_owned()) {
            return Ok(content);
        }
        self.bytes += content.len() as u64;
        if self.paths.len() > self.limits.files || self.bytes > self.limits.manifest_bytes {
            return Err(RepoError::new(
                RepoErrorKind::TooBig,
                format!("kustomization, file `{path}`"),
                format!(
                    "more than {} files or {} bytes",
                    self.limits.files, self.limits.manifest_bytes
                ),
            ));
        }
        self.inputs.files.push(file);
        Ok(content)
    }
}

fn remote_base(reference: &str, by: &str) -> RepoError {
    RepoError::new(
        RepoErrorKind::Unsupported,
        by,
        format!("it names `{reference}`, and remote bases are not fetched"),
    )
    .hint("copy the base into the repository")
}

fn is_remote(reference: &str) -> bool {
    let host = reference.split('/').next().unwrap_or_default();
    reference.contains("://")
        || reference.contains("?ref=")
        || reference.starts_with("git@")
        || reference.starts_with("git::")
        || (host.contains('.') && !host.starts_with('.') && reference.contains('/'))
}

/// Returns all paths that a kustomization names.
fn references(document: &Value) -> Vec<String> {
    let list = |field: &str| document.get(field).and_then(Value::as_array).into_iter().flatten();
    let mut found: Vec<String> = Vec::new();
    let mut add = |value: Option<&Value>| {
        found.extend(value.and_then(Value::as_str).map(str::to_owned));
    };
    PATH_LISTS.iter().flat_map(|field| list(field)).for_each(|item| add(Some(item)));
    OBJECT_LISTS.iter().flat_map(|field| list(field)).for_each(|item| add(item.get("path")));
    add(document.get("openapi").and_then(|openapi| openapi.get("path")));
    for generator in GENERATORS.iter().flat_map(|field| list(field)) {
        add(generator.get("env"));
        let of = |field: &str| generator.get(field).and_then(Value::as_array).into_iter().flatten();
        of("envs").for_each(|item| add(Some(item)));
        for item in of("files").filter_map(Value::as_str) {
            let path = item.split_once('=').map_or(item, |(_, path)| path);
            add(Some(&Value::from(path)));
        }
    }
    found
}
