use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sluice_crds::application::{HealthStatusCode, Operation, OperationPhase, OperationState};
use sluice_crds::supported;
use sluice_engine::plan::Severity;

use super::{finish, results, selects};
use crate::action::{Action, Verb};
use crate::apply;
use crate::compare;
use crate::comparison::{Comparison, Extra, Item, ItemState, option_is};
use crate::draft::Draft;
use crate::key::{ResourceKey, text};
use crate::manifest::{ManifestSet, wave_of};
use crate::namespace;
use crate::prune::{Request, Verdict};
use crate::view::RenderKey;
use crate::waves;

/// Applies the earliest unfinished wave, or ends the operation.
pub(super) fn advance(
    draft: &mut Draft<'_>,
    comparison: &Comparison,
    set: &ManifestSet,
    operation: &Operation,
    mut state: OperationState,
    target: &RenderKey,
) {
    let view = draft.view;
    let started_at = state.started_at.map(|at| at.at());
    let request =
        Request { application: &view.application, operation, started_at, commit: &target.commit };
    if let Some(problem) = not_valid(comparison, operation, &request) {
        finish::fail(draft, state, OperationPhase::Failed, &problem);
        return;
    }
    let mut work = Work::default();
    sort(draft, comparison, operation, &request, &mut state, &mut work);
    if operation.sync.as_ref().is_some_and(|sync| sync.dry_run == Some(true)) {
        let message =
            format!("dry run: {} objects would change", work.open.len() + work.prunes.len());
        finish::end(draft, state, OperationPhase::Succeeded, &message);
        return;
    }
    let is_selective = operation.sync.as_ref().is_some_and(|sync| !sync.resources.is_empty());
    if !is_selective {
        let name = view.application.spec.destination.namespace.as_deref();
        let in_git = namespace::is_in_git(set.manifests.values(), name);
        if let Some(action) = namespace::action(view, request.options(), in_git, &target.commit) {
            results::put(
                &mut state,
                &action.key,
                "v1",
                "Synced",
                "created by `CreateNamespace=true`",
            );
            draft.plan.then(vec![action]);
        }
    }
    let selected: Vec<&Item> =
        comparison.items.iter().filter(|item| selects(operation, item) && !item.is_held).collect();
    match work.next_wave(&selected) {
        Next::Write(wave) => write_wave(draft, &work, wave, &request, &mut state),
        Next::Wait(message) => {
            state.message = Some(message.clone());
            draft.report.waits(message, None);
        }
        Next::Fail(message) => {
            finish::fail(draft, state, OperationPhase::Failed, &message);
            return;
        }
        Next::Done if draft.plan.is_empty() => {
            conclude(draft, &work, state);
            return;
        }
        Next::Done => {}
    }
    draft.status.operation_state = Some(state);
}

#[derive(Default)]
struct Work<'a> {
    /// What is to be applied, and how.
    open: Vec<&'a Item>,
    /// What is to be deleted, by mirrored wave.
    prunes: Vec<(i64, &'a Extra)>,
    /// What failed for good in this attempt.
    failed: Vec<(ResourceKey, i64, String)>,
    /// Objects that wait for their CRD, which is among what is applied.
    awaits_kind: Vec<&'a Item>,
    /// Objects that are being deleted.
    going: Vec<ResourceKey>,
}

enum Next {
    Write(i64),
    Wait(String),
    Fail(String),
    Done,
}

fn not_valid(
    comparison: &Comparison,
    operation: &Operation,
    request: &Request<'_>,
) -> Option<String> {
    let forbidden = comparison.items.iter().filter(|item| selects(operation, item));
    let messages: Vec<&str> = forbidden
        .filter_map(|item| match &item.state {
            ItemState::Forbidden(why) => Some(why.as_str()),
            ItemState::Synced
            | ItemState::Differs
            | ItemState::Missing
            | ItemState::NoNamespace
            | ItemState::NoKind => None,
        })
        .collect();
    if !messages.is_empty() {
        return Some(format!(
            "one or more synchronization tasks are not valid: {}",
            messages.join("; ")
        ));
    }
    let fails_on_shared =
        sluice_crds::application::sync_option(request.options(), "FailOnSharedResource");
    match comparison.shared.first() {
        Some((key, owner)) if fails_on_shared == Some("true") => {
            Some(format!("Shared resource found: {key} is part of application `{owner}`"))
        }
        Some(_) | None => None,
    }
}

/// Sorts what the comparison found into what is to be written and what cannot be.
fn sort<'a>(
    draft: &Draft<'_>,
    comparison: &'a Comparison,
    operation: &Operation,
    request: &Request<'_>,
    state: &mut OperationState,
    work: &mut Work<'a>,
) {
    let view = draft.view;
    let makes_namespace = namespace::wanted(&view.application.spec, request.options());
    for item in &comparison.items {
        if item.is_held || !item.is_open() || !selects(operation, item) {
            continue;
        }
        let refusal = view.refusals.get(&item.key).filter(|refusal| {
            // An attempt's instant has whole seconds.
            state.started_at.is_none_or(|started| refusal.at >= started.at())
        });
        let failure = match (&item.state, refusal) {
            (_, Some(refusal)) => Some(refusal.message.clone()),
            (ItemState::NoKind, None) if defines(comparison, item) => {
                work.awaits_kind.push(item);
                continue;
            }
            (ItemState::NoKind, None) => Some(format!(
                "the cluster has no kind `{}` in group `{}`: install its CRD",
                item.key.kind, item.key.group
            )),
            (ItemState::NoNamespace, None) if makes_namespace == Some(&item.key.namespace) => None,
            (ItemState::NoNamespace, None) => Some(format!(
                "namespace `{}` does not exist: create it, or set the sync option `CreateNamespace=true`",
                item.key.namespace
            )),
            (
                ItemState::Synced
                | ItemState::Differs
                | ItemState::Missing
                | ItemState::Forbidden(_),
                None,
            ) => None,
        };
        match failure {
            Some(message) => {
                results::put(state, &item.key, version(item), "SyncFailed", message.clone());
                work.failed.push((item.key.clone(), item.wave(), message));
            }
            // What was created is declared in the same operation: else it would differ once the operation is over.
            None if item.live.as_ref().is_some_and(|live| live.is_undeclared) => {
                work.open.push(item);
            }
            // What was written and differs again is somebody else's doing, such as a webhook's: once is enough (F23).
            None if results::said(state, &item.key).is_some() => {}
            None => work.open.push(item),
        }
    }
    if operation.sync.as_ref().is_some_and(|sync| sync.resources.is_empty()) {
        sort_extras(comparison, request, state, work);
    }
}

fn sort_extras<'a>(
    comparison: &'a Comparison,
    request: &Request<'_>,
    state: &mut OperationState,
    work: &mut Work<'a>,
) {
    let mut prunes: Vec<(i64, &Extra)> = Vec::new();
    for extra in &comparison.extras {
        let version = extra.live.object.kind.version.as_ref();
        match request.verdict(comparison, extra) {
            Verdict::Prune => prunes.push((wave_of(&extra.live.body), extra)),
            Verdict::Skip(why) | Verdict::Await(why) => {
                results::put(state, &extra.key, version, "PruneSkipped", why);
            }
            Verdict::Going => work.going.push(extra.key.clone()),
        }
    }
    let waves: BTreeSet<i64> = prunes.iter().map(|(wave, _)| *wave).collect();
    let waves: Vec<i64> = waves.into_iter().collect();
    let last = comparison.items.iter().map(Item::wave).max().unwrap_or(0);
    for (wave, extra) in prunes {
        let is_last = option_is(&extra.live.body, request.options(), "PruneLast", "true");
        let wave = if is_last { last + 1 } else { waves::mirrored(wave, &waves) };
        work.prunes.push((wave, extra));
    }
}

/// Returns whether the comparison has the CRD of the item's kind.
fn defines(comparison: &Comparison, item: &Item) -> bool {
    comparison.items.iter().any(|other| {
        other.key.kind == "CustomResourceDefinition"
            && text(&other.body, "/spec/group") == Some(&item.key.group)
            && text(&other.body, "/spec/names/kind") == Some(&item.key.kind)
    })
}

fn version(item: &Item) -> &str {
    compare::version_of(&item.body)
}

impl Work<'_> {
    /// Returns what comes next: the first wave with something to write, or with something that is not healthy while a later
    /// wave exists. Health gates between waves only, as in Argo CD.
    fn next_wave(&self, selected: &[&Item]) -> Next {
        let mut waves: BTreeSet<i64> = selected.iter().map(|item| item.wave()).collect();
        waves.extend(self.prunes.iter().map(|(wave, _)| *wave));
        let last = waves.last().copied();
        for wave in waves {
            let is_open = self.open.iter().any(|item| item.wave() == wave)
                || self.prunes.iter().any(|(w, _)| *w == wave);
            if is_open {
                return Next::Write(wave);
            }
            if let Some((key, _, why)) = self.failed.iter().find(|(_, w, _)| *w == wave) {
                let more = self.failed.len() - 1;
                let tail = if more > 0 { format!(" (and {more} more)") } else { String::new() };
                return Next::Fail(format!(
                    "one or more objects failed to apply, reason: {key}: {why}{tail}"
                ));
            }
            if let Some(item) = self.awaits_kind.iter().find(|item| item.wave() == wave) {
                return Next::Wait(format!("waiting for kind `{}` to be served", item.key.kind));
            }
            if Some(wave) != last
                && let Some(next) = gate(selected, wave)
            {
                return next;
            }
        }
        match self.going.first() {
            Some(key) => Next::Wait(format!("waiting for the deletion of {key}")),
            None => Next::Done,
        }
    }
}

/// Returns what a wave that is applied still waits for.
fn gate(selected: &[&Item], wave: i64) -> Option<Next> {
    let mut waiting = Vec::new();
    for item in selected.iter().filter(|item| item.wave() == wave) {
        let Some(health) = &item.health else { continue };
        match health.status {
            HealthStatusCode::Healthy => {}
            HealthStatusCode::Degraded => {
                return Some(Next::Fail(format!(
                    "one or more synchronization tasks completed unsuccessfully, reason: {} is degraded: {}",
                    item.key, health.message
                )));
            }
            HealthStatusCode::Suspended
            | HealthStatusCode::Progressing
            | HealthStatusCode::Missing
            | HealthStatusCode::Unknown => waiting.push(item.key.to_string()),
        }
    }
    let first = waiting.first()?;
    let tail = match waiting.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more resources"),
    };
    Some(Next::Wait(format!("waiting for healthy state of {first}{tail}")))
}

fn write_wave(
    draft: &mut Draft<'_>,
    work: &Work<'_>,
    wave: i64,
    request: &Request<'_>,
    state: &mut OperationState,
) {
    let mut stages: BTreeMap<usize, Vec<Action>> = BTreeMap::new();
    let count = work.open.iter().filter(|item| item.wave() == wave).count();
    for item in work.open.iter().filter(|item| item.wave() == wave) {
        let Some(action) = action(draft, item, Verb::Apply) else { continue };
        let said = match action.verb {
            Verb::Create => "created",
            Verb::Patch => "patched",
            Verb::Apply
            | Verb::Restore
            | Verb::Record
            | Verb::Prune
            | Verb::Finalize
            | Verb::Project => "serverside-applied",
        };
        results::put(state, &item.key, version(item), "Synced", said);
        stages.entry(waves::rank(&item.key)).or_default().push(action);
    }
    for stage in stages.into_values() {
        draft.plan.then(stage);
    }
    let mut pruned = Vec::new();
    for (_, extra) in work.prunes.iter().filter(|(w, _)| *w == wave) {
        pruned.push(Action {
            verb: Verb::Prune,
            key: extra.key.clone(),
            commit: request.commit.to_owned(),
            because: "it is not in Git any more".to_owned(),
            write: apply::delete(&extra.live, request.propagation()),
        });
        results::put(state, &extra.key, &extra.live.object.kind.version, "Pruned", "pruned");
    }
    let deleted = pruned.len();
    draft.plan.then(pruned);
    let message = format!("wave {wave}: {count} objects applied, {deleted} deleted");
    draft.report.decided.push(message.clone());
    state.message = Some(message);
}

/// Returns the write that brings an item to where it should be.
pub(crate) fn action(draft: &Draft<'_>, item: &Item, verb: Verb) -> Option<Action> {
    let object = item.object.as_ref()?;
    let epoch = draft.view.epoch.as_ref();
    let (verb, write, because) = match &item.live {
        None => {
            let write = apply::create(item.body.clone(), object, epoch);
            let verb = if verb == Verb::Restore { verb } else { Verb::Create };
            (verb, write, "it is missing".to_owned())
        }
        Some(live) if apply::needs_patch(&item.differences) => {
            let write = apply::patch(&item.differences, live, epoch);
            let because = format!("Git dropped or changed {}", compare::summary(&item.differences));
            (if verb == Verb::Restore { verb } else { Verb::Patch }, write, because)
        }
        Some(live) => {
            let write = apply::apply(item.body.clone(), live, object, epoch);
            (verb, write, format!("{} differ", compare::summary(&item.differences)))
        }
    };
    let commit = item.manifest.as_ref().map_or(String::new(), |manifest| manifest.commit.clone());
    Some(Action { verb, key: item.key.clone(), commit, because, write })
}

fn conclude(draft: &mut Draft<'_>, work: &Work<'_>, state: OperationState) {
    if work.failed.is_empty() {
        let message = format!("successfully synced (all tasks run){}", in_vain(&state.operation));
        finish::end(draft, state, OperationPhase::Succeeded, &message);
    } else {
        let names: Vec<String> =
            work.failed.iter().map(|(key, _, why)| format!("{key}: {why}")).collect();
        let message = format!("one or more objects failed to apply, reason: {}", names.join("; "));
        draft.notice(Severity::Warning, "SyncFailed", message.clone());
        finish::fail(draft, state, OperationPhase::Failed, &message);
    }
}

/// Returns what somebody asked for and nobody acted on; of an automated sync the application's conditions say so.
fn in_vain(operation: &Operation) -> String {
    if super::is_automated(operation) {
        return String::new();
    }
    let asked = json!({ "operation": operation });
    let found = supported::not_acted_on("Application", &asked).into_iter();
    found.map(|(_, problem)| format!("; {problem}")).collect()
}
