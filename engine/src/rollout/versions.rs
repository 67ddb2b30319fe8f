//! The shares of traffic that versions of an Experiment get (`weight` of a template of the step; `spec-rollouts` 3.5, 3.11).
//!
//! A version gets its share while its Experiment runs, onto Pods that its Service lists, once proxies know the Service. Of lost
//! Pods the others keep their part. Every way out of the step takes all of it, in the write that moves the canary's weight: the
//! Pods of an Experiment stay until nothing is sent to them.
//!
//! Example: 20 % on 4 Pods, one is lost: 15 %.
//!
//! **Differences from Argo.** It sends the share before anybody listens, and all of it to whatever Pods are left.

use chrono::{DateTime, Utc};
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::experiment::{ExperimentRecord, ExperimentTemplateStatus};
use sluice_crds::labels::STEP_INDEX;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_crds::rollout::steps::{CanaryStep, ExperimentTemplate};

use super::abort::Abort;
use super::experiment;
use super::replicas;
use super::routes::Traffic;
use super::situation::{Roles, Situation};
use super::split::{Split, stable_need};
use crate::plan::{Wake, WakeReason};
use crate::traffic::ExtraDestination;
use crate::view::{ExperimentSight, Lookup, RolloutView, ServiceRecord};

/// A version that is to have a share.
struct Version<'a> {
    to: ExtraDestination,
    service: &'a ServiceRecord,
    /// Pods that its share is meant for.
    need: u32,
    /// Pods that are available and listed.
    ready: u32,
}

/// The templates of a step that ask for a share, with it.
fn shares(step: &CanaryStep) -> impl Iterator<Item = (&ExperimentTemplate, u32)> {
    let templates = step.experiment.iter().flat_map(|e| e.templates.iter().flatten());
    templates.filter_map(|template| {
        let weight = u32::try_from(template.weight?).ok().filter(|weight| *weight > 0)?;
        Some((template, weight.min(100)))
    })
}

/// Adds the shares that should be there to the split.
pub(crate) fn decide(s: &Situation<'_>, traffic: &Traffic<'_>, abort: &Abort, split: &mut Split) {
    let out = s.is_promoted()
        || s.is_first()
        || s.is_changed()
        || s.skips_steps()
        || abort.is_on()
        || s.status().aborted_at.is_some()
        || s.n == 0;
    let sight = if out { None } else { experiment::latest(s) };
    let versions = sight.map(|sight| running(s, sight)).unwrap_or_default();
    for version in versions {
        let present = traffic.extra.get(&version.to.service).copied().unwrap_or(0);
        match weight(s, traffic, &version, present, split) {
            0 => {}
            weight => split.extra.push(ExtraDestination { weight, ..version.to }),
        }
    }
    keep_what_stable_cannot_take(s, traffic, abort, split);
    split.extra.sort();
}

/// The share that the version should have now.
fn weight(
    s: &Situation<'_>,
    traffic: &Traffic<'_>,
    version: &Version<'_>,
    present: u32,
    split: &mut Split,
) -> u32 {
    let wanted = version.to.weight;
    if version.ready < version.need {
        let carried = u64::from(wanted) * u64::from(version.ready) / u64::from(version.need);
        split.waits.get_or_insert_with(|| {
            let (need, name, ready) = (version.need, version.service.object(), version.ready);
            format!("{need} ready endpoints in {name}; there are {ready}")
        });
        return u32::try_from(carried).unwrap_or(0).min(present);
    }
    if wanted <= present {
        return wanted;
    }
    if split.canary.is_none() {
        // What holds the canary's weight holds this, too; its reason is said already.
        return present;
    }
    // Pods that come and go must not take the share with them each time.
    let still = traffic.routed_at().map(|at| at + s.view.config.route_confirmation);
    let at = known_at(s, version.service).max(still);
    match at.filter(|at| s.now() < *at) {
        Some(at) => {
            let what = format!("proxies to learn of {}", version.service.object());
            split.waits.get_or_insert(what);
            let wake = Wake { at, reason: WakeReason::RouteConfirmed };
            split.wake = Wake::earliest(split.wake.take(), Some(wake));
            present
        }
        None => wanted,
    }
}

/// When the Service counts as known to proxies.
fn known_at(s: &Situation<'_>, service: &ServiceRecord) -> Option<DateTime<Utc>> {
    let created = service.meta.creation_timestamp?;
    Some(created.at() + s.view.config.switch_confirmation)
}

/// A share that goes back goes to the stable set; what that cannot carry stays where it is, as long as somebody is there.
fn keep_what_stable_cannot_take(
    s: &Situation<'_>,
    traffic: &Traffic<'_>,
    abort: &Abort,
    split: &mut Split,
) {
    let canary = split.canary.unwrap_or(traffic.canary.weight).min(100);
    let given = |split: &Split| split.extra.iter().fold(canary, |sum, to| sum + to.weight);
    let stable = s.stable_hash.unwrap_or_default();
    let known = traffic.stable.hash.is_some() && !abort.is_on();
    let carries = if known { traffic.stable.ready(s.view, stable) } else { s.stable_available() };
    let suffices = |split: &Split| {
        let share = 100_u32.saturating_sub(given(split)).saturating_sub(traffic.other);
        // A threshold lets it carry with Pods on their way, not without them (S2).
        let is_sized = s.stable.is_some_and(|rs| rs.replicas >= replicas::share(s.n, share));
        share <= traffic.stable.least || (is_sized && carries >= stable_need(s, share))
    };
    if s.is_promoted() || suffices(split) {
        return;
    }
    for (service, present) in &traffic.extra {
        if suffices(split) {
            return;
        }
        let Some((hash, ready)) = behind(s, service).filter(|(_, ready)| *ready > 0) else {
            continue;
        };
        let stays = ExtraDestination { service: service.clone(), hash, weight: *present };
        match split.extra.iter_mut().find(|to| to.service == *service) {
            Some(to) if to.weight < *present && ready > 0 => *to = stays,
            Some(_) => {}
            None => split.extra.push(stays),
        }
        split.waits.get_or_insert_with(|| {
            format!("available stable Pods before they take back what `{service}` gets; there are {carries}")
        });
    }
}

/// The versions of a running Experiment that have a Service.
fn running<'a>(s: &Roles<'a>, sight: &'a ExperimentSight) -> Vec<Version<'a>> {
    let Some(step) = s.step() else { return Vec::new() };
    let runs = sight.experiment.status.phase == Some(AnalysisPhase::Running)
        && sight.experiment.spec.terminate != Some(true)
        && sight.experiment.meta.deletion_timestamp.is_none();
    if !runs {
        return Vec::new();
    }
    let versions = shares(step).filter_map(|(template, weight)| {
        let status = status_of(&sight.experiment, &template.name)?;
        let (name, hash) = (status.service_name.as_ref()?, status.pod_template_hash.as_ref()?);
        let service = sight.services.get(name)?.present()?;
        let selects = service.hash() == Some(hash) && service.meta.deletion_timestamp.is_none();
        let ended = status.status.as_deref().is_some_and(|status| {
            ["Successful", "Failed", "Error", "Inconclusive"].contains(&status)
        });
        let (hash, ready) = ready(s.view, sight, name).filter(|_| selects && !ended)?;
        let need = u32::try_from(template.replicas.unwrap_or(1)).unwrap_or(0);
        let to = ExtraDestination { service: name.clone(), hash, weight };
        (need > 0).then_some(Version { to, service, need, ready })
    });
    versions.collect()
}

fn status_of<'a>(
    experiment: &'a ExperimentRecord,
    template: &str,
) -> Option<&'a ExperimentTemplateStatus> {
    experiment.status.template_statuses.iter().find(|status| status.name == template)
}

/// The revision that the Service of a version reaches, and how many of its Pods are available and listed.
fn ready(view: &RolloutView, sight: &ExperimentSight, service: &str) -> Option<(String, u32)> {
    let hash = sight.services.get(service)?.present()?.hash()?;
    let listed = view.endpoints.get(service).map_or(0, |endpoints| endpoints.of(hash));
    let set = sight.replica_sets.iter().find(|set| set.hash() == Some(hash));
    // Who only looks (`kubectl sluice why`) does not read them.
    let ready = set.map_or(listed, |set| set.available().min(listed));
    Some((hash.to_owned(), ready))
}

/// Likewise, of any Experiment of the Rollout.
pub(crate) fn behind(s: &Roles<'_>, service: &str) -> Option<(String, u32)> {
    experiment::all(s).find_map(|sight| ready(s.view, sight, service))
}

/// Returns the objects of the Experiment whose versions get shares at the present step: what makes the shares arrive.
pub(crate) fn relied_on(view: &RolloutView) -> Vec<(ObjectRef, &Meta)> {
    let canary = view.rollout.spec.strategy.canary.as_deref();
    let index = view.rollout.status.current_step_index.and_then(|i| usize::try_from(i).ok());
    let step = canary.and_then(|canary| canary.steps.as_ref()?.get(index?));
    if step.is_none_or(|step| shares(step).next().is_none()) {
        return Vec::new();
    }
    let uid = &view.rollout.meta.uid;
    let of_step = |sight: &&ExperimentSight| {
        let meta = &sight.experiment.meta;
        let label = meta.labels.get(STEP_INDEX).and_then(|label| label.parse().ok());
        let open = !sight.experiment.status.phase.is_some_and(AnalysisPhase::is_completed);
        meta.is_owned_by(uid) && meta.deletion_timestamp.is_none() && open && label == index
    };
    let sights = view.experiments.present().into_iter().flatten().filter(of_step);
    sights.flat_map(objects).collect()
}

/// The Experiment, its ReplicaSets with Pods, and its Services.
pub(crate) fn objects(sight: &ExperimentSight) -> Vec<(ObjectRef, &Meta)> {
    let experiment = &sight.experiment.meta;
    let mut all = vec![(experiment.object(Kind::EXPERIMENT), experiment)];
    let stays = |meta: &Meta| meta.deletion_timestamp.is_none();
    let sets = sight.replica_sets.iter().filter(|set| set.replicas > 0 && stays(&set.meta));
    all.extend(sets.map(|set| (set.object(), &set.meta)));
    let services = sight.services.values().filter_map(Lookup::present);
    let ours = services
        .filter(|service| service.meta.is_owned_by(&experiment.uid) && stays(&service.meta));
    all.extend(ours.map(|service| (service.object(), &service.meta)));
    all
}
