use sluice_crds::application::{
    AutomatedSync, Operation, OperationInitiator, OperationPhase, OperationState, RetryStrategy,
    SyncOperation, SyncOperationResource, SyncOperationResult, SyncPolicy,
};
use sluice_engine::plan::{Severity, WakeReason};

use super::{Pass, has_work};
use crate::comparison::Item;
use crate::conditions;
use crate::draft::Draft;
use crate::heal::{self, Gate};
use crate::hold::short;
use crate::prune;
use crate::view::RenderKey;

/// Starts an automated sync if one is due (`spec-sync` 4.1): it is recorded in the status, and the next pass acts on it.
pub(crate) fn start(draft: &mut Draft<'_>, pass: &Pass<'_>) {
    let view = draft.view;
    let Some(policy) = view.application.spec.sync_policy.as_ref() else { return };
    let Some(automated) = policy.automated.as_ref().filter(|a| a.enabled != Some(false)) else {
        return;
    };
    let prunes = automated.prune == Some(true);
    let extras = pass.comparison.extras.iter().filter(|extra| extra.counts).count();
    let is_due = has_work(pass.comparison) || (prunes && extras > 0);
    if !is_due {
        return;
    }
    if let Some(why) = crate::spec::windows(pass.permission.project) {
        draft.report.problem(why, "`kubectl sluice app sync`");
        draft.conditions.add(conditions::SYNC_ERROR, why);
        return;
    }
    match attempt(draft, pass) {
        Attempt::None => {
            if let Some(why) = wipes_out(pass, automated) {
                draft.conditions.add(conditions::SYNC_ERROR, why);
                return;
            }
            begin(draft, pass, policy, prunes, Vec::new());
        }
        Attempt::Failed(state) => {
            let message = state.message.as_deref().unwrap_or_default();
            let text = format!(
                "Failed last sync attempt to [{}]: {message}; sync by hand, or push a new commit",
                short(&pass.steady.commit)
            );
            draft.report.problem(&text, "`kubectl sluice app sync`");
            draft.conditions.add(conditions::SYNC_ERROR, text);
        }
        Attempt::Succeeded => {
            if prunes && approved_prune(draft, pass) && wipes_out(pass, automated).is_none() {
                begin(draft, pass, policy, prunes, Vec::new());
            } else if view.application.spec.self_heals() {
                heal_what_differs(draft, pass, policy);
            }
        }
    }
}

enum Attempt {
    None,
    Failed(Box<OperationState>),
    Succeeded,
}

/// Returns what became of the last sync to the same commit and source. What was released since then was not attempted.
fn attempt(draft: &Draft<'_>, pass: &Pass<'_>) -> Attempt {
    let steady = pass.steady;
    let Some(state) = &draft.view.application.status.operation_state else { return Attempt::None };
    if pass.record.released.iter().any(|release| release.at >= state.finished_at) {
        return Attempt::None;
    }
    let is_same = match &state.sync_result {
        None => state.phase.is_completed() && state.operation.sync.is_none(),
        Some(result) => {
            let source = result.source.as_ref();
            result.revision == steady.commit
                && source.is_some_and(|s| RenderKey::new(&steady.commit, s) == *steady)
        }
    };
    match state.phase {
        _ if !is_same => Attempt::None,
        OperationPhase::Succeeded => Attempt::Succeeded,
        OperationPhase::Failed
        | OperationPhase::Error
        | OperationPhase::Running
        | OperationPhase::Terminating
        | OperationPhase::Unknown => Attempt::Failed(Box::new(state.clone())),
    }
}

fn wipes_out(pass: &Pass<'_>, automated: &AutomatedSync) -> Option<String> {
    let comparison = pass.comparison;
    let everything = comparison.items.is_empty() && !comparison.extras.is_empty();
    (everything && automated.allow_empty != Some(true)).then(|| {
        format!(
            "auto-sync will wipe out all resources: commit {} has none, {} are live; \
             push a commit that has some, or set spec.syncPolicy.automated.allowEmpty",
            short(&pass.steady.commit),
            comparison.extras.len()
        )
    })
}

fn approved_prune(draft: &Draft<'_>, pass: &Pass<'_>) -> bool {
    prune::mass_prune(pass.comparison).is_some()
        && prune::is_approved(&draft.view.application, &pass.steady.commit)
}

/// Puts right what differs, object by object, each at its own pace.
fn heal_what_differs(draft: &mut Draft<'_>, pass: &Pass<'_>, policy: &SyncPolicy) {
    let view = draft.view;
    let mut due: Vec<&Item> = Vec::new();
    for item in pass.comparison.items.iter().filter(|item| can_heal(item)) {
        match heal::gate(&view.application.status, &view.config, &item.key, view.now) {
            Gate::Open => due.push(item),
            Gate::Wait(at) => {
                draft.wake_at(at, WakeReason::SelfHeal);
                draft.report.waits(format!("self-heal of {}", item.key), Some(at));
            }
            Gate::Contended(until) => contended(draft, item, until),
        }
    }
    if due.is_empty() {
        return;
    }
    for item in &due {
        heal::count(&mut draft.status, &view.config, &item.key, view.now);
    }
    let resources = due
        .iter()
        .map(|item| SyncOperationResource {
            group: item.key.group.clone(),
            kind: item.key.kind.clone(),
            name: item.key.name.clone(),
            namespace: Some(item.key.namespace.clone()).filter(|ns| !ns.is_empty()),
        })
        .collect();
    begin(draft, pass, policy, false, resources);
}

/// What is forbidden, or has no kind or namespace, is no drift.
fn can_heal(item: &Item) -> bool {
    !item.is_held && item.is_writable()
}

/// Says that somebody undoes what self-heal does, and that it is left alone.
pub(crate) fn contended(draft: &mut Draft<'_>, item: &Item, until: chrono::DateTime<chrono::Utc>) {
    let fields = crate::compare::summary(&item.differences);
    let text = format!(
        "{}: somebody changes {fields} each time it is put right; it is left alone after {} attempts in {} minutes: \
         find the writer in metadata.managedFields, or add the field to spec.ignoreDifferences",
        item.key,
        draft.view.config.heal_limit,
        draft.view.config.heal_window.num_minutes()
    );
    draft.report.problem(&text, "stop the other writer");
    draft.conditions.add(conditions::FIELD_CONTENDED, text);
    draft.wake_at(until, WakeReason::SelfHeal);
}

fn begin(
    draft: &mut Draft<'_>,
    pass: &Pass<'_>,
    policy: &SyncPolicy,
    prune: bool,
    resources: Vec<SyncOperationResource>,
) {
    let source = pass.steady.source();
    let is_heal = !resources.is_empty();
    let before = draft.view.application.status.operation_state.as_ref();
    let attempts = before.and_then(|s| s.operation.sync.as_ref()?.auto_heal_attempts_count);
    let operation = Operation {
        sync: Some(SyncOperation {
            revision: Some(pass.steady.commit.clone()),
            prune: prune.then_some(true),
            sync_options: policy.sync_options.clone(),
            resources,
            auto_heal_attempts_count: is_heal.then(|| attempts.unwrap_or(0) + 1),
            ..SyncOperation::default()
        }),
        initiated_by: Some(OperationInitiator { automated: Some(true), username: None }),
        retry: Some(
            policy
                .retry
                .clone()
                .unwrap_or(RetryStrategy { limit: Some(5), ..RetryStrategy::default() }),
        ),
        ..Operation::default()
    };
    let what = if is_heal { "partial sync" } else { "sync" };
    let message = format!("Initiated automated {what} to {}", pass.steady.commit);
    draft.notice(Severity::Normal, "OperationStarted", message.clone());
    draft.report.decided.push(message);
    draft.status.operation_state = Some(OperationState {
        operation,
        phase: OperationPhase::Running,
        started_at: Some(draft.now()),
        sync_result: Some(SyncOperationResult {
            revision: pass.steady.commit.clone(),
            source,
            managed_namespace_metadata: policy.managed_namespace_metadata.clone(),
            ..SyncOperationResult::default()
        }),
        ..OperationState::default()
    });
}
