//! The laws of sync (`reliability` 3.4: G1–G6, G9, and R2: what is quarantined is not applied), checked without knowing how
//! decisions are made: over one decision, and over recorded revisions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sluice_crds::application::QuarantineEntry;
use sluice_crds::object::{Change, Write};
use sluice_engine::plan::{Decision, Violation};
use sluice_engine::view::{Fact, Lookup};

use crate::ApplicationReconciler;
use crate::action::{Action, Verb};
use crate::apply::OwnedFields;
use crate::hold::{self, Record};
use crate::key::ResourceKey;
use crate::manifest::{self, ManifestSet, sync_option};
use crate::project::Permission;
use crate::prune;
use crate::track;
use crate::view::{ApplicationView, LiveObject};

mod history;

pub use history::{Commit, Evidence, Revision, check_evidence, check_history};

/// Checks one decision.
pub fn audit(view: &ApplicationView, decision: &Decision<ApplicationReconciler>) -> Vec<Violation> {
    let mut found = Vec::new();
    let actions: Vec<&Action> = decision.plan.actions().collect();
    let is_deletion = view.application.meta.deletion_timestamp.is_some();
    if !is_deletion {
        let sets = wanted_sets(view);
        pruned_rightly(view, &actions, &sets, &mut found);
        prunes_wait(view, &actions, &mut found);
        nothing_on_errors(view, &actions, &sets, &mut found);
        one_commit(view, &actions, &mut found);
        nothing_quarantined(view, decision, &actions, &mut found);
    }
    permitted(view, &actions, &mut found);
    owned_fields_stay(view, &actions, &mut found);
    let limit = view.config.heal_limit;
    let heals = decision.status.sluice.iter().flat_map(|sluice| &sluice.self_heal);
    for attempt in heals.filter(|attempt| attempt.attempts > limit) {
        found.push(violation(
            "G9",
            format!("{}: {} self-heal attempts", attempt.resource, attempt.attempts),
        ));
    }
    found
}

fn violation(id: &'static str, detail: String) -> Violation {
    Violation { id, detail }
}

fn wanted_sets(view: &ApplicationView) -> BTreeMap<String, ManifestSet> {
    let namespace = view.application.spec.destination.namespace.as_deref();
    let known = view.rendered.iter().filter_map(|(key, fact)| match fact {
        Fact::Known(rendered, _) => {
            let set = manifest::read(rendered, &key.commit, namespace, &view.discovery);
            Some((key.commit.clone(), set))
        }
        Fact::Pending | Fact::Failed(_, _) => None,
    });
    known.collect()
}

/// G1: ours by a tracking id about itself, not wanted at a commit that was rendered without a problem, and exactly the
/// incarnation and version that was seen.
fn pruned_rightly(
    view: &ApplicationView,
    actions: &[&Action],
    sets: &BTreeMap<String, ManifestSet>,
    found: &mut Vec<Violation>,
) {
    let instance = track::instance(&view.application, &view.config.control_namespace);
    let tracked = view.tracked.present().map_or(&[][..], Vec::as_slice);
    for action in actions.iter().filter(|a| matches!(a.write.change, Change::Delete { .. })) {
        let key = &action.key;
        let Some(live) = tracked.iter().find(|live| live.key() == *key) else {
            found.push(violation("G1", format!("{key} is deleted and not tracked")));
            continue;
        };
        let wanted = sets.get(&action.commit);
        let reasons = [
            (track::tracked_by(&live.body, key) != Some(&instance), "it is not ours"),
            (wanted.is_none_or(|set| !set.problems.is_empty()), "its commit was not rendered"),
            (wanted.is_some_and(|set| set.manifests.contains_key(key)), "Git wants it"),
            (sync_option(&live.body, "Prune") == Some("false"), "it says Prune=false"),
            (!is_exact(&action.write, live), "its version is not checked"),
        ];
        for (_, why) in reasons.iter().filter(|(is_bad, _)| *is_bad) {
            found.push(violation("G1", format!("{key} is deleted, but {why}")));
        }
    }
}

fn is_exact(write: &Write, live: &LiveObject) -> bool {
    write.preconditions.uid.as_deref() == Some(&live.meta.uid)
        && write.preconditions.resource_version.as_ref() == Some(&live.meta.resource_version)
}

/// G2: everything, or more than half of at least ten, is not deleted without approval.
fn prunes_wait(view: &ApplicationView, actions: &[&Action], found: &mut Vec<Violation>) {
    let deleted: Vec<&&Action> =
        actions.iter().filter(|a| matches!(a.write.change, Change::Delete { .. })).collect();
    let Some(first) = deleted.first() else { return };
    let all = view.tracked.present().map_or(0, Vec::len);
    let gone = deleted.len();
    let is_mass = gone == all || (gone >= prune::MASS && gone * 2 > all);
    // An operation may have pruned part of them in an earlier wave; that can only make this check weaker, not wrong.
    let allows_empty = view
        .application
        .spec
        .sync_policy
        .as_ref()
        .and_then(|policy| policy.automated.as_ref())
        .is_some_and(|automated| automated.allow_empty == Some(true));
    if is_mass && !allows_empty && !prune::is_approved(&view.application, &first.commit) {
        found
            .push(violation("G2", format!("{gone} of {all} objects are deleted without approval")));
    }
}

/// G3: without a complete picture nothing is written but the last healthy content of what failed.
fn nothing_on_errors(
    view: &ApplicationView,
    actions: &[&Action],
    sets: &BTreeMap<String, ManifestSet>,
    found: &mut Vec<Violation>,
) {
    let writes = |action: &&&Action| action.verb.is_mutation();
    let reason = if view.discovery.failed.is_some() {
        "discovery failed"
    } else if !matches!(view.tracked, Lookup::Present(_)) {
        "the objects of the application could not be listed"
    } else if matches!(view.record, Lookup::Unknown | Lookup::NoKind) {
        "what is quarantined is not known"
    } else {
        ""
    };
    if let (Some(action), false) = (actions.iter().find(writes), reason.is_empty()) {
        found.push(violation("G3", format!("{} is written, but {reason}", action.key)));
    }
    for action in actions.iter().filter(writes).filter(|action| action.verb != Verb::Restore) {
        if sets.get(&action.commit).is_none_or(|set| !set.problems.is_empty()) {
            let text = format!("{}: commit {} was not rendered", action.key, action.commit);
            found.push(violation("G3", text));
        }
        if view.live.get(&action.key) == Some(&Lookup::Unknown) {
            found.push(violation("G3", format!("{} is written and was not read", action.key)));
        }
    }
}

/// G4: one commit for all of a sync, and for what is restored the recorded healthy ones.
fn one_commit(view: &ApplicationView, actions: &[&Action], found: &mut Vec<Violation>) {
    let mut commits = BTreeSet::new();
    let record = record_of(view);
    let mut healthy: BTreeSet<&str> =
        record.healthy.values().map(|scope| scope.revision.as_str()).collect();
    healthy.extend(record.last_healthy.iter().map(|healthy| healthy.revision.as_str()));
    for action in actions.iter().filter(|action| action.verb.is_mutation()) {
        if action.verb == Verb::Restore || healthy.contains(action.commit.as_str()) {
            if !healthy.contains(action.commit.as_str()) {
                let text = format!("{}: {} was never healthy", action.key, action.commit);
                found.push(violation("G4", text));
            }
        } else {
            commits.insert(action.commit.as_str());
        }
    }
    if commits.len() > 1 {
        found.push(violation("G4", format!("one plan applies several commits: {commits:?}")));
    }
}

fn record_of(view: &ApplicationView) -> Record {
    let read = view.record.present().and_then(|live| Record::read(live).ok());
    let mut record = read.unwrap_or_default();
    if let Some(sluice) = &view.application.status.sluice {
        record.last_healthy = record.last_healthy.or_else(|| sluice.last_healthy.clone());
    }
    record
}

/// R2: no Rollout gets content that is quarantined, by either record, before or after this decision.
fn nothing_quarantined(
    view: &ApplicationView,
    decision: &Decision<ApplicationReconciler>,
    actions: &[&Action],
    found: &mut Vec<Violation>,
) {
    let record = record_of(view);
    let before = view.application.status.sluice.iter().flat_map(|s| &s.quarantine);
    let after = decision.status.sluice.iter().flat_map(|s| &s.quarantine);
    let entries: Vec<&QuarantineEntry> = record
        .quarantine
        .iter()
        .chain(before)
        .filter(|entry| !record.was_released(entry))
        .chain(after)
        .collect();
    for action in actions.iter().filter(|action| action.verb.is_mutation()) {
        let Some(body) = written(view, action) else { continue };
        let collisions = view.rollout(&action.key).and_then(|r| r.status.collision_count);
        let bad = entries.iter().find(|entry| {
            hold::entry_key(entry) == action.key
                && action.key.is_rollout()
                && hold::matches(entry, &action.key, &body, collisions)
        });
        if let Some(entry) = bad {
            let text = format!("{} gets quarantined content {}", action.key, entry.template_hash);
            found.push(violation("R2", text));
        }
    }
}

/// Returns the object as the write leaves it, as far as the write says.
fn written(view: &ApplicationView, action: &Action) -> Option<Value> {
    match &action.write.change {
        Change::Create { body } | Change::Apply { body } => Some(body.clone()),
        Change::JsonPatch { operations } => {
            let mut body = view.live(&action.key)?.body.clone();
            let patch: json_patch::Patch =
                serde_json::from_value(Value::from(operations.clone())).ok()?;
            json_patch::patch(&mut body, &patch).ok()?;
            Some(body)
        }
        Change::MergePatch { .. }
        | Change::Delete { .. }
        | Change::Evict
        | Change::Status { .. } => None,
    }
}

/// G5: the project permits every object that is written.
fn permitted(view: &ApplicationView, actions: &[&Action], found: &mut Vec<Violation>) {
    let Lookup::Present(project) = &view.project else { return };
    let permission = Permission {
        name: view.application.spec.project_name(),
        project: &project.spec,
        destination: &view.application.spec.destination,
    };
    let made = view.application.spec.destination.namespace.as_deref().map(ResourceKey::namespace);
    for action in actions.iter().filter(|action| action.verb.is_mutation()) {
        // The destination's own namespace is permitted by the destination.
        if made.as_ref() == Some(&action.key) {
            continue;
        }
        if let Err(why) = permission.resource(&action.key, Some(&action.write.object)) {
            found.push(violation("G5", format!("{} is written: {why}", action.key)));
        }
    }
}

/// G6: what the engine and autoscalers own keeps its live value.
fn owned_fields_stay(view: &ApplicationView, actions: &[&Action], found: &mut Vec<Violation>) {
    let live = view.live.iter().filter_map(|(key, found)| Some((key, &found.present()?.body)));
    let owned = OwnedFields::collect(live, &view.rollouts);
    for action in actions.iter().filter(|action| action.verb.is_mutation()) {
        let Some(live) = view.live(&action.key) else { continue };
        let Some(body) = written(view, action) else { continue };
        let before: BTreeMap<String, Value> =
            owned.values(&action.key, &live.body).into_iter().collect();
        for (field, value) in owned.values(&action.key, &body) {
            if before.get(&field).is_some_and(|before| *before != value) {
                let text =
                    format!("{}: {field} becomes {value}, live is {}", action.key, before[&field]);
                found.push(violation("G6", text));
            }
        }
    }
}

#[cfg(test)]
mod tests;
