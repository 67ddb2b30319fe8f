//! Laws about the shares of traffic that versions of an Experiment get: S3, S7, S10, S19.

use std::collections::BTreeSet;

use serde_json::Value;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::labels::POD_TEMPLATE_HASH;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_crds::rollout::steps::ExperimentTemplate;

use super::decision::{Audit, violation};
use crate::fence::FenceState;
use crate::plan::Violation;
use crate::traffic::made::Note;
use crate::view::{ExperimentSight, Lookup};

impl Audit<'_> {
    /// A share rises only for a version that the present step declares, while its Experiment runs, onto Pods that its Service
    /// lists, with everything fenced; and never in an update that is taken back.
    pub(super) fn versions(&self, before: &Value, after: &Value, found: &mut Vec<Violation>) {
        for service in hosts(after) {
            let (from, to) = (share(before, &service), share(after, &service));
            let Some(sight) = self.trial_of(&service).filter(|_| to > from) else { continue };
            if self.status_now().abort == Some(true) {
                let what = format!("an aborted update would give {to} % to {service}");
                found.push(violation("S7", what));
            }
            let declared = self.declared(sight, &service);
            let allowed = declared.and_then(|version| version.weight).unwrap_or(0);
            let runs = sight.experiment.status.phase == Some(AnalysisPhase::Running);
            if i64::from(allowed) < to || !runs {
                let what = format!("{service} would get {to} %, and the step declares {allowed}");
                found.push(violation("S10", what));
            }
            let wanted = declared.map_or(1, |version| version.replicas.unwrap_or(1));
            let listed = self.listed(sight, &service);
            if i64::from(listed) < i64::from(wanted.max(1)) {
                let what = format!("{service} would get {to} % with {listed} of {wanted} Pods");
                found.push(violation("S3", what));
            }
            for (object, meta) in parts(sight, &service) {
                if self.view.epoch.state(&object, meta) == FenceState::NeedsTouch {
                    let what = format!("a share relies on {object}, which is not fenced");
                    found.push(violation("S19", what));
                }
            }
        }
    }

    /// Whether a version has a share and nobody to answer: what it had may go to a stable set that cannot carry it.
    pub(super) fn has_dead_version(&self) -> bool {
        let name = &self.rollout.meta.name;
        let is_dead = |service: &String| {
            let endpoints = self.view.endpoints.get(service);
            endpoints.is_none_or(|endpoints| endpoints.ready.values().all(|ready| *ready == 0))
        };
        self.view.routes.values().filter_map(Lookup::present).any(|route| {
            let made = Note::read(&route.meta.annotations).made(name).destinations;
            made.iter().any(|service| share(&route.spec, service) > 0 && is_dead(service))
        })
    }

    fn trial_of(&self, service: &str) -> Option<&ExperimentSight> {
        let uid = &self.rollout.meta.uid;
        let mut sights = self.view.experiments.present()?.iter();
        sights.find(|sight| {
            sight.experiment.meta.is_owned_by(uid)
                && sight.services.get(service).is_some_and(|service| service.present().is_some())
        })
    }

    /// The template of the present step that stands for the version behind the Service.
    fn declared(&self, sight: &ExperimentSight, service: &str) -> Option<&ExperimentTemplate> {
        let mut statuses = sight.experiment.status.template_statuses.iter();
        let of = statuses.find(|status| status.service_name.as_deref() == Some(service))?;
        let index = usize::try_from(self.status_now().current_step_index?).ok()?;
        let canary = self.rollout.spec.strategy.canary.as_deref()?;
        let step = canary.steps.as_ref()?.get(index)?.experiment.as_ref()?;
        step.templates.as_ref()?.iter().find(|template| template.name == of.name)
    }

    fn listed(&self, sight: &ExperimentSight, service: &str) -> u32 {
        let record = sight.services.get(service).and_then(Lookup::present);
        let hash = record.and_then(|record| record.selector.get(POD_TEMPLATE_HASH));
        let endpoints = self.view.endpoints.get(service);
        endpoints.zip(hash).map_or(0, |(endpoints, hash)| endpoints.of(hash))
    }
}

/// What makes a share arrive: the Experiment, the Service, and the ReplicaSet behind it.
fn parts<'a>(sight: &'a ExperimentSight, service: &str) -> Vec<(ObjectRef, &'a Meta)> {
    let experiment = &sight.experiment.meta;
    let mut all = vec![(experiment.object(Kind::EXPERIMENT), experiment)];
    if let Some(record) = sight.services.get(service).and_then(Lookup::present) {
        all.push((record.object(), &record.meta));
        let sets = sight.replica_sets.iter().filter(|set| set.hash() == record.hash());
        all.extend(sets.map(|set| (set.object(), &set.meta)));
    }
    all
}

fn destinations(spec: &Value) -> impl Iterator<Item = &Value> {
    let sections = ["http", "tls", "tcp"].into_iter();
    let routes = sections.flat_map(|section| spec[section].as_array().into_iter().flatten());
    routes.flat_map(|route| route["route"].as_array().into_iter().flatten())
}

fn host(destination: &Value) -> &str {
    let host = destination["destination"]["host"].as_str().unwrap_or_default();
    host.split('.').next().unwrap_or_default()
}

/// Services that a VirtualService names.
fn hosts(spec: &Value) -> BTreeSet<String> {
    destinations(spec).map(|to| host(to).to_owned()).collect()
}

/// The greatest share of a Service.
fn share(spec: &Value, service: &str) -> i64 {
    let of = destinations(spec).filter(|to| host(to) == service);
    of.filter_map(|to| to["weight"].as_i64()).max().unwrap_or(0)
}
