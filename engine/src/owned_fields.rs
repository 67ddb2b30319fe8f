//! Which fields of which objects the rollout engine owns, as data: sync never diffs, heals or changes them (G6).
//!
//! The engine writes these fields by JSON patch; Git may declare a value for them, but that value counts only when the object
//! is created. What is owned follows from the Rollout's spec alone, so that sync and engine cannot disagree about it.

use std::collections::BTreeSet;

use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::{CanaryStrategy, RolloutSpec, TrafficRouting};

/// One field, or a family of fields, of one object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FieldRef {
    /// The object that has the field.
    pub object: ObjectRef,
    /// The field.
    pub field: OwnedField,
}

/// A field that the engine writes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum OwnedField {
    /// `spec.selector["rollouts-pod-template-hash"]` of a Service.
    SelectorHash,
    /// `weight` of each destination of the managed routes of a VirtualService: of the HTTP routes that are named, and of TLS and
    /// TCP routes that lead to both versions. Also the destinations that the engine added to them, as the note
    /// ([`Note`](crate::traffic::made::Note)) on the object says.
    Weights(ManagedWeights),
    /// Whole routes of a VirtualService that the engine creates and removes: those that steps name, and those that the note on
    /// the object says it made.
    Routes {
        /// Names of the steps' routes.
        names: Vec<String>,
    },
    /// `spec.replicas` of a Deployment that gives way to a Rollout (`spec.workloadRef.scaleDown`).
    Replicas,
    /// `labels["rollouts-pod-template-hash"]` of a subset of a DestinationRule.
    SubsetHash {
        /// Name of the subset.
        subset: String,
    },
    /// Whole subsets of a DestinationRule that the engine creates and removes, as the note on the object says.
    Subsets,
}

/// Whose weights the engine sets in one VirtualService.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ManagedWeights {
    /// Names of HTTP routes; empty: the only one.
    pub http: Vec<String>,
    /// Names of HTTP routes that the engine may have made above them.
    pub above: Vec<String>,
    /// Destination that gets all traffic while there is no canary.
    pub stable: RouteTarget,
    /// Destination of the canary.
    pub canary: RouteTarget,
}

/// A destination of a route: a Service, or a subset of a host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RouteTarget {
    /// A Service in the Rollout's namespace, by any of the names that Istio accepts.
    Service {
        /// Name.
        name: String,
        /// Namespace.
        namespace: String,
    },
    /// A subset, whatever the host.
    Subset {
        /// Name.
        name: String,
    },
}

impl RouteTarget {
    /// Returns whether a route destination (`host`, `subset`) means this target.
    pub fn matches(&self, host: Option<&str>, subset: Option<&str>) -> bool {
        match self {
            Self::Subset { name } => subset == Some(name.as_str()),
            Self::Service { name, namespace } => host.is_some_and(|host| {
                let mut parts = host.splitn(3, '.');
                let same_name = parts.next() == Some(name.as_str());
                let same_namespace = parts.next().is_none_or(|ns| ns == namespace);
                let rest = parts.next();
                same_name && same_namespace && rest.is_none_or(|rest| rest.starts_with("svc"))
            }),
        }
    }
}

/// Returns the fields that the engine owns for a Rollout with this spec in this namespace, sorted. `stable_ping_pong` is what its
/// status says of `pingPong`: which of the two Services is the stable one.
pub fn owned_fields(
    namespace: &str,
    spec: &RolloutSpec,
    stable_ping_pong: Option<&str>,
) -> Vec<FieldRef> {
    let mut fields = Vec::new();
    for service in services(spec) {
        let object = ObjectRef::namespaced(Kind::SERVICE, namespace, service);
        fields.push(FieldRef { object, field: OwnedField::SelectorHash });
    }
    fields.extend(taken_over(namespace, spec));
    if let Some(canary) = &spec.strategy.canary
        && let Some(routing) = &canary.traffic_routing
    {
        let is_ping = stable_ping_pong == Some("ping");
        let pair = canary.ping_pong.as_ref().map(|pair| {
            let (ping, pong) = (pair.ping_service.as_str(), pair.pong_service.as_str());
            if is_ping { (ping, pong) } else { (pong, ping) }
        });
        fn set(name: &Option<String>) -> Option<&str> {
            name.as_deref().filter(|name| !name.is_empty())
        }
        let stable = set(&canary.stable_service).or(pair.map(|pair| pair.0));
        let to_canary = set(&canary.canary_service).or(pair.map(|pair| pair.1));
        istio(namespace, routing, [stable, to_canary], step_routes(canary), &mut fields);
    }
    fields.sort();
    fields.dedup();
    fields
}

/// The size of a Deployment, while a Rollout refers to it that scales it down. Who takes `workloadRef` or `scaleDown` away gives
/// it back to Git.
fn taken_over(namespace: &str, spec: &RolloutSpec) -> Option<FieldRef> {
    let reference = spec.workload_ref.as_ref()?;
    let scales = matches!(reference.scale_down.as_deref(), Some("onsuccess" | "progressively"));
    let name = reference.name.as_deref().filter(|name| scales && !name.is_empty())?;
    let is_deployment = reference.kind.as_deref() == Some("Deployment");
    let object = ObjectRef::namespaced(Kind::DEPLOYMENT, namespace, name);
    is_deployment.then_some(FieldRef { object, field: OwnedField::Replicas })
}

fn services(spec: &RolloutSpec) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    if let Some(canary) = &spec.strategy.canary {
        names.extend(canary.stable_service.as_deref());
        names.extend(canary.canary_service.as_deref());
        if let Some(ping_pong) = &canary.ping_pong {
            names.extend([ping_pong.ping_service.as_str(), ping_pong.pong_service.as_str()]);
        }
    }
    if let Some(blue_green) = &spec.strategy.blue_green {
        names.extend(blue_green.active_service.as_deref());
        names.extend(blue_green.preview_service.as_deref());
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Names of the routes that steps set or remove.
fn step_routes(canary: &CanaryStrategy) -> Vec<String> {
    let steps = canary.steps.iter().flatten();
    let named = steps.flat_map(|step| {
        let header = step.set_header_route.as_ref().map(|route| &route.name);
        header.into_iter().chain(step.set_mirror_route.as_ref().map(|route| &route.name))
    });
    named.cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

fn istio(
    namespace: &str,
    routing: &TrafficRouting,
    [stable, canary]: [Option<&str>; 2],
    managed: Vec<String>,
    fields: &mut Vec<FieldRef>,
) {
    let Some(istio) = &routing.istio else { return };
    let rule = istio.destination_rule.as_ref();
    let target = |service: Option<&str>, subset: Option<&str>| match subset {
        Some(subset) => RouteTarget::Subset { name: subset.to_owned() },
        None => RouteTarget::Service {
            name: service.unwrap_or_default().to_owned(),
            namespace: namespace.to_owned(),
        },
    };
    let stable = target(stable, rule.map(|r| r.stable_subset()));
    let canary = target(canary, rule.map(|r| r.canary_subset()));
    for service in istio.all_virtual_services() {
        let (name, home) = service.name.split_once('.').unwrap_or((&service.name, namespace));
        let object = ObjectRef::namespaced(Kind::VIRTUAL_SERVICE, home, name);
        let weights = ManagedWeights {
            http: service.routes.clone().unwrap_or_default(),
            above: managed.clone(),
            stable: stable.clone(),
            canary: canary.clone(),
        };
        fields.push(FieldRef { object: object.clone(), field: OwnedField::Weights(weights) });
        fields.push(FieldRef { object, field: OwnedField::Routes { names: managed.clone() } });
    }
    if let Some(rule) = rule {
        let object = ObjectRef::namespaced(Kind::DESTINATION_RULE, namespace, rule.name.as_str());
        fields.push(FieldRef { object, field: OwnedField::Subsets });
    }
    for subset in rule.iter().flat_map(|r| [r.stable_subset(), r.canary_subset()]) {
        let object = ObjectRef::namespaced(
            Kind::DESTINATION_RULE,
            namespace,
            rule.map_or("", |r| r.name.as_str()),
        );
        let field = OwnedField::SubsetHash { subset: subset.to_owned() };
        fields.push(FieldRef { object, field });
    }
}

#[cfg(test)]
mod tests;
