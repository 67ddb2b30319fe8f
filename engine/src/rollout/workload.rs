//! The Pod template of another workload (`spec.workloadRef`, `spec-rollouts` 2.6), and how a Deployment's Pods give way.
//!
//! A decision on such a Rollout is made on a view in which the template (and the selector, where the Rollout has none) is that of
//! the workload, as if it were written in the Rollout. Nothing of it is ever written back.
//!
//! **Differences from Argo.** What a Deployment loses is counted in *available* Pods that endpoints list, not in ready ones, and
//! in proportion to the size that it had: of a Deployment of 10 and a Rollout of 5, each available Pod takes the place of two. A
//! Deployment is scaled up again only as far as we scaled it down. An update can be aborted while the workload is gone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sluice_crds::labels;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_crds::rollout::{LabelSelector, RolloutRecord, RolloutStatus};
use sluice_crds::validate;

use super::action::{Action, Target};
use super::contention::{self, Field, Fight, Urgency};
use super::ephemeral;
use super::problems::Problem;
use super::replicas::total;
use super::situation::{Roles, revision_of};
use crate::view::{Lookup, RolloutView, ScaleDown, WorkloadRecord, WorkloadView};

/// Returns the view with the template of the workload in it; the view itself if the Rollout has a template of its own, or if
/// there is nothing to take one from.
///
/// In a view that was resolved the Rollout has no `workloadRef` any more; what is left of it is `RolloutView::workload`.
pub(crate) fn resolved(view: &RolloutView) -> Cow<'_, RolloutView> {
    let spec = &view.rollout.spec;
    let Some(workload) = view.workload.as_ref().filter(|_| !validate::has_template(spec)) else {
        return Cow::Borrowed(view);
    };
    let Some((template, selector)) = content(view, workload) else { return Cow::Borrowed(view) };
    let mut rollout = RolloutRecord::clone(&view.rollout);
    rollout.spec.template = Some(template);
    rollout.spec.selector = rollout.spec.selector.take().or(selector);
    rollout.spec.workload_ref = None;
    Cow::Owned(RolloutView { rollout: Arc::new(rollout), ..view.clone() })
}

/// Template and selector: of the workload, or, while that is gone, of what was last rolled out of it.
fn content(view: &RolloutView, workload: &WorkloadView) -> Option<(Value, Option<LabelSelector>)> {
    match &workload.found {
        Lookup::Present(record) => Some((Value::clone(&record.template), record.selector.clone())),
        Lookup::Absent | Lookup::NoKind => {
            let current = view.owned(view.rollout.status.current_pod_hash.as_deref()?)?;
            // Records keep no selector; the labels of a ReplicaSet are at least as exact.
            let mut matched = current.meta.labels.clone();
            matched.remove(labels::POD_TEMPLATE_HASH);
            let selector = LabelSelector { match_labels: Some(matched), match_expressions: None };
            Some((ephemeral::template_of(current), Some(selector)))
        }
        Lookup::Unknown => None,
    }
}

/// Returns the workload that has not been looked up yet, in words.
pub(crate) fn unread(view: &RolloutView) -> Option<String> {
    let workload = view.workload.as_ref()?;
    matches!(workload.found, Lookup::Unknown).then(|| workload.object.to_string())
}

/// Returns what is wrong with the workload: it is not there, or its kind is not.
pub(crate) fn problem(view: &RolloutView) -> Option<Problem> {
    let workload = view.workload.as_ref()?;
    let object = &workload.object;
    match workload.found {
        Lookup::Absent | Lookup::NoKind => Some(Problem::new(
            "spec.workloadRef",
            format!("{object} not found"),
            "create it, or correct the name; Pods and traffic stay as they are",
        )),
        Lookup::Present(_) | Lookup::Unknown => None,
    }
}

/// Returns the path of a field, said of the object that has it: a template that was taken from a workload is the workload's.
pub(crate) fn located(view: &RolloutView, path: &str) -> String {
    match &view.workload {
        Some(workload) if view.rollout.spec.workload_ref.is_none() && is_taken_over(path) => {
            format!("{}: {path}", workload.object)
        }
        Some(_) | None => path.to_owned(),
    }
}

fn is_taken_over(path: &str) -> bool {
    path == "spec.template" || path.starts_with("spec.template.")
}

fn present(view: &RolloutView) -> Option<(&ObjectRef, &Arc<WorkloadRecord>)> {
    let workload = view.workload.as_ref()?;
    Some((&workload.object, workload.found.present()?))
}

/// Returns the annotation that the Rollout should carry: which generation of the workload there is (Argo's way to make a change
/// of the workload a change of the Rollout). `None` if it does.
pub(crate) fn generation_note(view: &RolloutView) -> Option<(String, Option<String>)> {
    let (_, record) = present(view)?;
    let generation = record.meta.generation.to_string();
    let noted = view.rollout.meta.annotations.get(labels::WORKLOAD_GENERATION);
    (noted != Some(&generation)).then(|| (labels::WORKLOAD_GENERATION.to_owned(), Some(generation)))
}

/// Records the generation of the workload that was decided on.
pub(crate) fn observed(view: &RolloutView, status: &mut RolloutStatus) {
    status.workload_observed_generation = match &view.workload {
        None => None,
        Some(_) => match present(view) {
            Some((_, record)) => Some(record.meta.generation.to_string()),
            None => status.workload_observed_generation.take(),
        },
    };
}

/// Returns the Deployment whose Pods give way to those of the Rollout: only those of its first revision do, as in Argo.
pub(crate) fn retiring(view: &RolloutView) -> Option<(&ObjectRef, &Meta)> {
    let (object, record) = present(view)?;
    let asked = view.workload.as_ref()?.scale_down != ScaleDown::Never;
    let first = view.replica_sets.iter().all(|rs| revision_of(&rs.meta) <= 1);
    let applies = asked && first && object.kind == Kind::DEPLOYMENT;
    let leaves = record.meta.deletion_timestamp.is_none() && record.replicas.unwrap_or(1) > 0;
    let returns = record.meta.annotations.contains_key(labels::WORKLOAD_REPLICAS);
    (applies && (leaves || returns)).then_some((object, &record.meta))
}

/// Returns the change of size of the Deployment that gives way, if it is due; or who keeps it from being made.
pub(crate) fn retirement(s: &Roles<'_>) -> Option<Result<Action, Box<Fight>>> {
    let (object, meta) = retiring(s.view)?;
    let record = s.view.workload.as_ref()?.found.present()?;
    if s.n == 0 || s.is_changed() || s.current.is_none() {
        return None;
    }
    let from = record.replicas.unwrap_or(1);
    let noted = meta.annotations.get(labels::WORKLOAD_REPLICAS);
    let original = noted.and_then(|text| text.parse().ok()).unwrap_or(from).max(from);
    let to = wanted(s, original)?;
    let is_back = to > from && noted.is_none();
    if to == from || is_back {
        return None;
    }
    let value = to.to_string();
    let note = match contention::note(s, Field::Size, object, meta, &value, Urgency::Usual) {
        Ok(note) => note,
        Err(fight) => return Some(Err(fight)),
    };
    let mut annotations: BTreeMap<String, Option<String>> =
        note.into_iter().map(|(key, value)| (key, Some(value))).collect();
    // Once all of it is gone nothing of it comes back by our hand.
    let keep = (to > 0 && to < original).then(|| original.to_string());
    if keep.is_some() || noted.is_some() {
        annotations.insert(labels::WORKLOAD_REPLICAS.to_owned(), keep);
    }
    let target = Target::of(s.view, object.clone(), meta);
    Some(Ok(Action::ScaleWorkload { target, from, to, annotations }))
}

/// The size that the Deployment should have; `None` while it keeps the one that it has.
fn wanted(s: &Roles<'_>, original: u32) -> Option<u32> {
    let scale_down = s.view.workload.as_ref()?.scale_down;
    let is_healthy = s.is_promoted() && s.status().phase.as_deref() == Some("Healthy");
    let serves = serving(s);
    if is_healthy && serves >= s.n {
        return Some(0);
    }
    match scale_down {
        ScaleDown::Progressively => Some(remaining(original, s.n, serves)),
        ScaleDown::OnSuccess | ScaleDown::Never => None,
    }
}

/// Returns how many of `original` Pods stay while `serving` of `n` of the Rollout's serve: `ceil(original * (n - serving) / n)`.
///
/// Example: 10 Pods of the Deployment, 4 of the Rollout, of which 1 serves: 8 stay.
pub(crate) fn remaining(original: u32, n: u32, serving: u32) -> u32 {
    if n == 0 {
        return original;
    }
    let missing = u64::from(n.saturating_sub(serving));
    let share = (u64::from(original) * missing).div_ceil(u64::from(n));
    u32::try_from(share).unwrap_or(original)
}

/// Available Pods of the Rollout, as far as every Service of the strategy that may reach them lists them: an available Pod that
/// no proxy knows takes nobody's place.
fn serving(s: &Roles<'_>) -> u32 {
    let available = total(s.owned().map(|rs| rs.available()));
    let listed = s.view.services.iter().filter_map(|(name, lookup)| {
        let service = lookup.present()?;
        let reaches = service.hash().is_none_or(|hash| hash == s.hash);
        let endpoints = s.view.endpoints.get(name).filter(|_| reaches)?;
        Some(endpoints.of(&s.hash))
    });
    listed.min().map_or(available, |listed| listed.min(available))
}
