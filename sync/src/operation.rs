//! The running operation: one sync from its request to its result.
//!
//! Each pass begins anew from live objects and from `status.operationState`, as Argo CD's does: a pass applies the earliest
//! unfinished wave, records what it did, and the next view shows what came of it. Only what differs is written.

use sluice_crds::application::{
    ApplicationSource, Operation, OperationPhase, OperationState, SyncOperationResult,
};
use sluice_crds::time::Time;
use sluice_engine::plan::{Severity, WakeReason};

use crate::comparison::{Comparison, Item, ItemState, compare};
use crate::conditions;
use crate::draft::Draft;
use crate::hold::{Record, admit, short};
use crate::manifest::ManifestSet;
use crate::project::Permission;
use crate::source;
use crate::view::{ApplicationView, RenderKey};

mod auto;
mod finish;
mod results;
mod tasks;

pub(crate) use auto::{contended, start};
pub(crate) use tasks::action;

/// What a pass works with.
pub(crate) struct Pass<'a> {
    pub(crate) permission: &'a Permission<'a>,
    pub(crate) record: &'a Record,
    /// What the application should be at: Git's commit, or the pinned one.
    pub(crate) steady: &'a RenderKey,
    /// Its manifests.
    pub(crate) manifests: &'a ManifestSet,
    /// How live compares with it.
    pub(crate) comparison: &'a Comparison,
}

/// Returns the operation that is under way: requested in `operation`, or started by automated sync.
pub(crate) fn current(view: &ApplicationView) -> Option<(Operation, OperationState)> {
    let application = &view.application;
    let state = application.status.operation_state.as_ref();
    let running = state.filter(|state| !state.phase.is_completed());
    match &application.operation {
        Some(operation) => {
            let state = running.filter(|state| state.operation == *operation).cloned();
            let state = state.unwrap_or_else(|| OperationState {
                operation: operation.clone(),
                phase: OperationPhase::Running,
                started_at: Some(Time::new(view.now)),
                ..OperationState::default()
            });
            Some((operation.clone(), state))
        }
        None => running.map(|state| (state.operation.clone(), state.clone())),
    }
}

/// Returns whether somebody asked for the operation.
pub(crate) fn is_automated(operation: &Operation) -> bool {
    operation.initiated_by.as_ref().is_some_and(|by| by.automated == Some(true))
}

/// Returns the source that the operation is about.
pub(crate) fn source_of<'a>(
    view: &'a ApplicationView,
    operation: &'a Operation,
) -> Option<&'a ApplicationSource> {
    let own = operation.sync.as_ref().and_then(|sync| sync.source.as_ref());
    own.or(view.application.spec.effective_sources().first())
}

/// Returns what the operation syncs to; `None` while its revision is being resolved.
///
/// # Errors
/// Returns why it cannot be resolved.
pub(crate) fn target(
    draft: &mut Draft<'_>,
    operation: &Operation,
    state: &OperationState,
    wanted: &RenderKey,
) -> Result<Option<RenderKey>, String> {
    let view = draft.view;
    let Some(source) = source_of(view, operation) else {
        return Err("the application has no source".to_owned());
    };
    let pinned = state.sync_result.as_ref().map(|result| result.revision.as_str());
    let named = operation.sync.as_ref().and_then(|sync| sync.revision.as_deref());
    let named = named.filter(|revision| !revision.is_empty());
    match pinned.filter(|commit| !commit.is_empty()).or(named) {
        None => Ok(Some(RenderKey::new(&wanted.commit, source))),
        Some(commit) if source::is_commit(commit) => Ok(Some(RenderKey::new(commit, source))),
        // An id that is no full commit id: the one that Git wants, or a name.
        Some(name) if name == wanted.commit => Ok(Some(RenderKey::new(name, source))),
        Some(name) => {
            let key = crate::view::RevisionKey {
                url: source.repo_url.clone(),
                revision: name.to_owned(),
            };
            match view.revisions.get(&key) {
                Some(sluice_engine::view::Fact::Known(revision, _)) => {
                    Ok(Some(RenderKey::new(&revision.commit, source)))
                }
                Some(sluice_engine::view::Fact::Failed(error, _)) => {
                    Err(format!("cannot resolve revision `{name}`: {error}"))
                }
                Some(sluice_engine::view::Fact::Pending) | None => {
                    draft.tasks.insert(crate::view::Task::FetchRevision(key));
                    Ok(None)
                }
            }
        }
    }
}

/// Carries the operation on by one pass.
pub(crate) fn run(
    draft: &mut Draft<'_>,
    pass: &Pass<'_>,
    operation: &Operation,
    mut state: OperationState,
    wanted: &RenderKey,
) {
    if state.phase == OperationPhase::Terminating {
        finish::end(draft, state, OperationPhase::Failed, "Operation terminated");
        return;
    }
    if let Some(problem) = refused(operation) {
        finish::end(draft, state, OperationPhase::Error, problem);
        return;
    }
    if waits_for_retry(draft, &mut state) {
        return;
    }
    let target = match target(draft, operation, &state, wanted) {
        Ok(Some(target)) => target,
        Ok(None) => {
            draft.report.waits("resolving the operation's revision", None);
            draft.status.operation_state = Some(state);
            return;
        }
        Err(problem) => {
            finish::fail(draft, state, OperationPhase::Error, &problem);
            return;
        }
    };
    if is_automated(operation) && target.commit != pass.steady.commit {
        let message = format!("superseded by {}", short(&pass.steady.commit));
        finish::end(draft, state, OperationPhase::Failed, &message);
        return;
    }
    if state.sync_result.is_none() {
        state.sync_result = Some(SyncOperationResult {
            revision: target.commit.clone(),
            source: source_of(draft.view, operation).cloned(),
            managed_namespace_metadata: managed_namespace(draft.view),
            ..SyncOperationResult::default()
        });
    }
    if target == *pass.steady {
        tasks::advance(draft, pass.comparison, pass.manifests, operation, state, &target);
        return;
    }
    // Another commit than the application is at: a rollback, or a sync to a named revision.
    let before = draft.conditions.clone();
    let Some(set) = source::manifests(draft, &target) else {
        let failed = draft.conditions != before;
        let after = std::mem::replace(&mut draft.conditions, before);
        if failed {
            let message = match draft.conditions.has(conditions::COMPARISON_ERROR) {
                false => after.text(conditions::COMPARISON_ERROR),
                true => format!("commit {} cannot be rendered", short(&target.commit)),
            };
            finish::fail(draft, state, OperationPhase::Error, &message);
        } else {
            draft.status.operation_state = Some(state);
        }
        return;
    };
    let effective = admit(draft.view, &set, pass.record);
    let comparison = compare(draft.view, &effective, pass.permission);
    if comparison.unknown.is_empty() {
        tasks::advance(draft, &comparison, &set, operation, state, &target);
    } else {
        draft.report.waits("reading the cluster", None);
    }
}

/// Ends an attempt that could not be carried out.
pub(crate) fn fail(draft: &mut Draft<'_>, state: OperationState, message: &str) {
    if state.finished_at.is_none() {
        finish::fail(draft, state, OperationPhase::Error, message);
    }
}

/// What an operation may ask for and we do not do.
fn refused(operation: &Operation) -> Option<&'static str> {
    let Some(sync) = &operation.sync else { return Some("the operation has no `sync`") };
    if !sync.manifests.is_empty() {
        return Some(
            "`operation.sync.manifests` is not supported: push the manifests to the source",
        );
    }
    if !sync.sources.is_empty() || !sync.revisions.is_empty() {
        return Some("several sources are not supported yet");
    }
    None
}

/// A retry that waits is `Running` with `finishedAt`; when it is due, it begins anew.
fn waits_for_retry(draft: &mut Draft<'_>, state: &mut OperationState) -> bool {
    let Some(finished_at) = state.finished_at else { return false };
    let retries = state.retry_count.unwrap_or(0);
    let due = finished_at.at() + finish::retry_wait(state.operation.retry.as_ref(), retries - 1);
    if due > draft.view.now {
        draft.wake_at(due, WakeReason::Retry);
        draft.report.waits(format!("retry #{retries} of the sync"), Some(due));
        return true;
    }
    let refreshes = state.operation.retry.as_ref().is_some_and(|retry| retry.refresh == Some(true));
    state.finished_at = None;
    // A refusal that is older than this is another attempt's.
    state.started_at = Some(Time::new(draft.view.now));
    state.message = Some(format!("Retrying operation. Attempt #{retries}"));
    state.sync_result = state
        .sync_result
        .take()
        .filter(|_| !refreshes)
        .map(|result| SyncOperationResult { resources: Vec::new(), ..result });
    let message = format!("Retrying operation. Attempt #{retries}");
    draft.notice(Severity::Normal, "OperationStarted", message);
    draft.status.operation_state = Some(state.clone());
    true
}

fn managed_namespace(
    view: &ApplicationView,
) -> Option<sluice_crds::application::NamespaceMetadata> {
    view.application.spec.sync_policy.as_ref()?.managed_namespace_metadata.clone()
}

/// Returns whether the operation is about the item.
pub(crate) fn selects(operation: &Operation, item: &Item) -> bool {
    let selected = operation.sync.as_ref().map_or(&[][..], |sync| &sync.resources);
    selected.is_empty()
        || selected.iter().any(|resource| {
            resource.group == item.key.group
                && resource.kind == item.key.kind
                && resource.name == item.key.name
                && resource
                    .namespace
                    .as_deref()
                    .is_none_or(|ns| ns.is_empty() || ns == item.key.namespace)
        })
}

/// Returns whether something of the comparison is to be written by a sync, beside what a hold restores.
pub(crate) fn has_work(comparison: &Comparison) -> bool {
    comparison.items.iter().any(|item| !item.is_held && !matches!(item.state, ItemState::Synced))
}
