//! Names of what an Experiment owns: deterministic, so that a repeated create meets itself.

use std::collections::BTreeSet;

use sluice_crds::experiment::{ExperimentRecord, ExperimentTemplate, ExperimentTemplateStatus};

/// Returns the name of a version's ReplicaSet. Argo's, `<experiment>-<template>`; after each collision with somebody else's
/// the next number follows.
pub(super) fn replica_set(experiment: &ExperimentRecord, template: &ExperimentTemplate) -> String {
    let base = format!("{}-{}", experiment.meta.name, template.name);
    match status_of(experiment, &template.name).and_then(|status| status.collision_count) {
        // The count wraps at its greatest value.
        Some(count) if count != 0 => format!("{base}-{}", count.unsigned_abs()),
        Some(_) | None => base,
    }
}

/// Returns the name of a version's Service, if it wants one; `set` is the name of its ReplicaSet.
pub(super) fn service(template: &ExperimentTemplate, set: &str) -> Option<String> {
    let service = template.service.as_ref()?;
    let own = service.name.as_deref().filter(|name| !name.is_empty());
    Some(own.unwrap_or(set).to_owned())
}

/// Returns the names of the Services that the versions want, and of those that they had.
pub(super) fn services(experiment: &ExperimentRecord) -> BTreeSet<String> {
    let templates = experiment.spec.templates.iter();
    let wanted =
        templates.filter_map(|template| service(template, &replica_set(experiment, template)));
    let had = experiment.status.template_statuses.iter();
    let had = had.filter_map(|status| status.service_name.clone());
    wanted.chain(had).filter(|name| !name.is_empty()).collect()
}

/// Returns the recorded state of a version.
pub(super) fn status_of<'a>(
    experiment: &'a ExperimentRecord,
    template: &str,
) -> Option<&'a ExperimentTemplateStatus> {
    experiment.status.template_statuses.iter().find(|status| status.name == template)
}
