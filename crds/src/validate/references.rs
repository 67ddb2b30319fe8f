//! The rules that look at other objects: Services, analysis templates, VirtualServices, the DestinationRule.
//!
//! They ask through [`Lookup`], so that the same rules serve the controller (its stores), admission (the API server) and `lint`
//! (the objects of the same files; what is not among them is unknown, and nothing is said about it).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::{FieldPath, Findings, Problem};
use crate::labels;
use crate::object::{Kind, Meta, ObjectRef};
use crate::rollout::{RolloutSpec, Strategy};

mod analysis;
mod istio;

/// What is known about an object.
#[derive(Clone, PartialEq, Debug)]
pub enum Found<'a> {
    /// Nobody can tell; no rule is applied.
    Unknown,
    /// It does not exist.
    Absent,
    /// It exists, with this content.
    Present(Cow<'a, Value>),
}

/// Where other objects are looked up.
pub trait Lookup {
    /// Returns what is known about an object. The version of its kind does not matter, only group and kind.
    fn find(&self, object: &ObjectRef) -> Found<'_>;
}

/// Returns what is wrong with a Rollout in view of the objects that it names.
pub fn rollout(meta: &Meta, spec: &RolloutSpec, lookup: &dyn Lookup) -> Vec<Problem> {
    let mut findings = Findings::default();
    let path = FieldPath::spec().field("strategy");
    let Strategy { canary, blue_green } = &spec.strategy;
    if let Some(canary) = canary {
        let path = path.field("canary");
        let ping_pong = canary.ping_pong.as_ref();
        let services = [
            (path.field("canaryService"), canary.canary_service.as_deref()),
            (path.field("stableService"), canary.stable_service.as_deref()),
            (path.field("pingPong.pingService"), ping_pong.map(|pair| pair.ping_service.as_str())),
            (path.field("pingPong.pongService"), ping_pong.map(|pair| pair.pong_service.as_str())),
        ];
        check_services(&services, meta, spec, lookup, &mut findings);
        if let Some(background) = &canary.analysis {
            analysis::check(
                &path.field("analysis"),
                &background.analysis,
                meta,
                true,
                lookup,
                &mut findings,
            );
        }
        for (index, step) in canary.steps.iter().flatten().enumerate() {
            let path = path.field("steps").index(index);
            if let Some(step) = &step.analysis {
                analysis::check(&path.field("analysis"), step, meta, false, lookup, &mut findings);
            }
        }
        if let Some(istio) =
            canary.traffic_routing.as_ref().and_then(|routing| routing.istio.as_ref())
        {
            istio::check(
                &path.field("trafficRouting.istio"),
                istio,
                canary,
                meta,
                lookup,
                &mut findings,
            );
        }
    }
    if let Some(blue_green) = blue_green {
        let path = path.field("blueGreen");
        let services = [
            (path.field("activeService"), blue_green.active_service.as_deref()),
            (path.field("previewService"), blue_green.preview_service.as_deref()),
        ];
        check_services(&services, meta, spec, lookup, &mut findings);
        for (name, analysis) in [
            ("prePromotionAnalysis", &blue_green.pre_promotion_analysis),
            ("postPromotionAnalysis", &blue_green.post_promotion_analysis),
        ] {
            if let Some(analysis) = analysis {
                analysis::check(&path.field(name), analysis, meta, false, lookup, &mut findings);
            }
        }
    }
    findings.problems
}

fn check_services(
    services: &[(FieldPath, Option<&str>)],
    meta: &Meta,
    spec: &RolloutSpec,
    lookup: &dyn Lookup,
    findings: &mut Findings,
) {
    for (path, name) in services {
        let Some(name) = name.filter(|name| !name.is_empty()) else { continue };
        let object = ObjectRef::namespaced(Kind::SERVICE, meta.namespace.clone(), name);
        if let Some(service) = present(path, &object, lookup, findings) {
            check_service(path, &object, &service, meta, spec, findings);
        }
    }
}

fn check_service(
    path: &FieldPath,
    object: &ObjectRef,
    service: &Value,
    meta: &Meta,
    spec: &RolloutSpec,
    findings: &mut Findings,
) {
    // With `workloadRef` the template is elsewhere; what it selects is seen when it is resolved.
    if let Some(template) = &spec.template {
        let labels = &template["metadata"]["labels"];
        let selector: BTreeMap<&String, &Value> =
            service["spec"]["selector"].as_object().into_iter().flatten().collect();
        for (key, wanted) in selector {
            if key != labels::POD_TEMPLATE_HASH && labels[key] != *wanted {
                let there = labels[key]
                    .as_str()
                    .map_or("has none".into(), |label| format!("has `{label}`"));
                findings.hint(
                    path.clone(),
                    format!(
                        "{object} selects {key}={}, but spec.template.metadata.labels {there}",
                        wanted.as_str().unwrap_or_default()
                    ),
                    "it would select no Pod of this Rollout: change its spec.selector",
                );
            }
        }
    }
    let manager = service["metadata"]["annotations"][labels::MANAGED_BY].as_str();
    if let Some(manager) = manager.filter(|manager| *manager != meta.name) {
        findings.hint(
            path.clone(),
            format!("{object} is managed by Rollout `{manager}`"),
            format!("use another Service, or remove its annotation `{}`", labels::MANAGED_BY),
        );
    }
}

/// Returns the object if it is there, and reports it if it is known to be absent.
fn present<'a>(
    path: &FieldPath,
    object: &ObjectRef,
    lookup: &'a dyn Lookup,
    findings: &mut Findings,
) -> Option<Cow<'a, Value>> {
    match lookup.find(object) {
        Found::Unknown => None,
        Found::Absent => {
            findings.hint(
                path.clone(),
                format!("{object} does not exist"),
                "create it, or correct the name",
            );
            None
        }
        Found::Present(value) => Some(value),
    }
}

#[cfg(test)]
mod tests;
