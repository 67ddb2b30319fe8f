//! What Applications said when something was written, and what sync wrote.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_crds::application::{ApplicationRecord, OperationState, QuarantineEntry};

use super::{Commit, Evidence, Revision, is_by_sync};
use crate::hold;
use crate::key::{Discovery, ResourceKey};
use crate::manifest::{self, ManifestSet};
use crate::track;
use crate::view::Rendered;

/// One write of an object of an Application by sync.
pub(super) struct Applied<'a> {
    /// Place in the history.
    pub(super) index: usize,
    pub(super) key: ResourceKey,
    /// Name of the Application.
    pub(super) app: String,
    pub(super) before: Option<&'a Value>,
    pub(super) body: &'a Value,
}

/// The Applications over time, and what was applied for them.
pub(super) struct Apps<'a> {
    /// By name: revisions with their place, oldest first.
    of: BTreeMap<String, Vec<(usize, DateTime<Utc>, ApplicationRecord)>>,
    pub(super) applied: Vec<Applied<'a>>,
    commits: &'a [Commit],
}

/// What an Application said around a write.
pub(super) struct Around<'a> {
    /// The last status before.
    pub(super) before: Option<&'a ApplicationRecord>,
    /// The first status that was written after; the status of a decision is written after what it applies.
    pub(super) after: Option<&'a ApplicationRecord>,
}

/// To which operation a write belongs.
pub(super) enum Attempt {
    /// To one with this commit.
    Commit(String),
    /// To one whose commit the history does not show.
    Unknown,
    /// To none.
    None,
}

impl<'a> Apps<'a> {
    pub(super) fn of(evidence: &Evidence<'a>) -> Self {
        let mut this = Self { of: BTreeMap::new(), applied: Vec::new(), commits: evidence.commits };
        let mut last: BTreeMap<ResourceKey, &Value> = BTreeMap::new();
        for (index, revision) in evidence.history.iter().enumerate() {
            let key = ResourceKey::of(&revision.object);
            let Some(body) = &revision.body else {
                last.remove(&key);
                continue;
            };
            let before = last.insert(key.clone(), body);
            this.take(index, revision, key, before, body);
        }
        this
    }

    fn take(
        &mut self,
        index: usize,
        revision: &Revision,
        key: ResourceKey,
        before: Option<&'a Value>,
        body: &'a Value,
    ) {
        if key.is("argoproj.io", "Application") {
            if let Ok(record) = serde_json::from_value::<ApplicationRecord>(body.clone()) {
                let revisions = self.of.entry(key.name).or_default();
                revisions.push((index, revision.at, record));
            }
            return;
        }
        let Some(app) = track::tracked_by(body, &key).map(str::to_owned) else { return };
        if is_by_sync(before, body) {
            self.applied.push(Applied { index, key, app, before, body });
        }
    }

    /// What the Application said around a place in the history.
    pub(super) fn around(&self, app: &str, index: usize) -> Around<'_> {
        let all = self.of.get(app).map_or(&[][..], Vec::as_slice);
        let split = all.partition_point(|(at, _, _)| *at < index);
        let before = split.checked_sub(1).map(|i| &all[i].2);
        let differs = |(_, _, next): &&(usize, DateTime<Utc>, ApplicationRecord)| {
            before.is_none_or(|before| before.status != next.status)
        };
        Around { before, after: all[split..].iter().find(differs).map(|(_, _, next)| next) }
    }

    /// The place in the history right after what the Application had said by an instant.
    pub(super) fn place(&self, app: &str, at: DateTime<Utc>) -> usize {
        let all = self.of.get(app).map_or(&[][..], Vec::as_slice);
        all.iter().rev().find(|(_, seen, _)| *seen <= at).map_or(0, |(index, _, _)| index + 1)
    }

    /// What the Application said at an instant.
    pub(super) fn at(&self, app: &str, at: DateTime<Utc>) -> Option<&ApplicationRecord> {
        let all = self.of.get(app)?;
        all.iter().rev().find(|(_, seen, _)| *seen <= at).map(|(_, _, record)| record)
    }

    /// What Git has for the Application at a commit; `None` if that is not known.
    pub(super) fn wanted(
        &self,
        app: &ApplicationRecord,
        id: &str,
    ) -> Option<Result<ManifestSet, String>> {
        let commit = self.commits_of(app).find(|commit| commit.id == id)?;
        let namespace = app.spec.destination.namespace.as_deref();
        Some(commit.manifests.clone().and_then(|manifests| {
            let rendered = Rendered { manifests, ..Rendered::default() };
            let set = manifest::read(&rendered, id, namespace, &Discovery::default());
            match set.problems.first() {
                None => Ok(set),
                Some(problem) => Err(problem.clone()),
            }
        }))
    }

    /// All commits that are known of the Application's source.
    pub(super) fn commits_of(&self, app: &ApplicationRecord) -> impl Iterator<Item = &'a Commit> {
        let source = app.spec.effective_sources().first().cloned();
        let of = move |commit: &&Commit| {
            source.as_ref().is_some_and(|source| {
                commit.url == source.repo_url
                    && source.path.as_deref().unwrap_or_default() == commit.path
            })
        };
        self.commits.iter().filter(of)
    }
}

impl Around<'_> {
    pub(super) fn each(&self) -> impl Iterator<Item = &ApplicationRecord> {
        [self.before, self.after].into_iter().flatten()
    }

    /// The operation that the write belongs to. It is under way already, or it is what the next status tells of.
    pub(super) fn attempt(&self) -> Attempt {
        let state = |app: Option<&ApplicationRecord>| -> Option<OperationState> {
            app.and_then(|app| app.status.operation_state.clone())
        };
        let (before, after) = (state(self.before), state(self.after));
        let commit = |state: &OperationState| {
            let result = state.sync_result.as_ref().map(|result| result.revision.clone());
            result.filter(|commit| !commit.is_empty())
        };
        let runs =
            |state: &&OperationState| !state.phase.is_completed() && state.finished_at.is_none();
        if let Some(state) = before.as_ref().filter(runs) {
            let known = commit(state).or_else(|| after.as_ref().and_then(commit));
            return known.map_or(Attempt::Unknown, Attempt::Commit);
        }
        let started = |state: &OperationState| state.started_at;
        match &after {
            Some(next) if before.as_ref().map(started) != Some(started(next)) => {
                commit(next).map_or(Attempt::Unknown, Attempt::Commit)
            }
            Some(next) if before.as_ref().map(|old| &old.operation) != Some(&next.operation) => {
                commit(next).map_or(Attempt::Unknown, Attempt::Commit)
            }
            // One that was asked for: it may have begun in the second in which one like it ended.
            Some(next) if self.before.is_some_and(|app| app.operation.is_some()) => {
                commit(next).map_or(Attempt::Unknown, Attempt::Commit)
            }
            Some(_) => Attempt::None,
            None => Attempt::Unknown,
        }
    }

    /// Quarantine entries in force.
    fn entries(&self) -> impl Iterator<Item = &QuarantineEntry> {
        let all = self.each().filter_map(|app| app.status.sluice.as_ref());
        all.flat_map(|sluice| &sluice.quarantine).filter(|entry| entry.moot != Some(true))
    }

    /// Whether last healthy content may take the object's place.
    pub(super) fn is_restored(&self, key: &ResourceKey) -> bool {
        self.entries().any(|entry| {
            let mentioned = key.is("", "ConfigMap") || key.is("", "Secret");
            hold::entry_key(entry) == *key
                || mentioned
                || entry.scope.as_deref() == Some("application")
        })
    }

    /// Commits whose content may be restored.
    pub(super) fn healthy(&self) -> BTreeSet<String> {
        let replaced = self.entries().filter_map(|entry| entry.replaced_by.clone());
        let last = self.each().filter_map(|app| app.status.sluice.as_ref()?.last_healthy.as_ref());
        replaced.chain(last.map(|healthy| healthy.revision.clone())).collect()
    }
}

/// Returns the message of the condition, if the Application has it.
pub(super) fn condition<'a>(app: &'a ApplicationRecord, kind: &str) -> Option<&'a str> {
    let conditions = &app.status.conditions;
    conditions.iter().find(|c| c.condition_type == kind).map(|c| c.message.as_str())
}
