//! Who answers the users: the share of requests that reaches the new version, what else leads to it, and how many Pods each
//! version has, read from the cluster's objects, not from the Rollout's status.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use sluice_crds::labels::POD_TEMPLATE_HASH;
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::traffic_routing::{IstioTrafficRouting, IstioVirtualService};
use sluice_crds::rollout::{CanaryStep, RolloutSpec};

use super::timeline::Size;
use super::version::text;
use crate::world::World;

/// What the new version is told apart by: ReplicaSets that were there before the push are old.
pub(super) struct Versions {
    pub(super) namespace: String,
    pub(super) uid: String,
    /// Hashes before the push.
    pub(super) old: BTreeSet<String>,
}

impl Versions {
    /// Returns the ReplicaSets of the Rollout with their hashes.
    fn sets(&self, world: &World) -> Vec<(String, Arc<Value>)> {
        let sets = world.api.objects(&Kind::REPLICA_SET, Some(&self.namespace)).into_iter();
        let ours = sets.filter(|set| is_owned_by(set, &self.uid));
        ours.map(|set| (hash_label(&set["metadata"]["labels"]), set)).collect()
    }

    /// Returns the hashes of ReplicaSets.
    pub(super) fn hashes(&self, world: &World) -> BTreeSet<String> {
        self.sets(world).into_iter().map(|(hash, _)| hash).collect()
    }

    /// Returns names of the new version's ReplicaSets.
    pub(super) fn new_sets(&self, world: &World) -> Vec<(String, String)> {
        let sets = self.sets(world).into_iter().filter(|(hash, _)| !self.old.contains(hash));
        sets.map(|(hash, set)| (text(&set, "/metadata/name").to_owned(), hash)).collect()
    }

    /// Returns the Pods of the new version and of all others.
    pub(super) fn sizes(&self, world: &World) -> (Size, Size) {
        let (mut new, mut old) = (Size::default(), Size::default());
        for (hash, set) in self.sets(world) {
            add(&set, if self.old.contains(&hash) { &mut old } else { &mut new });
        }
        (new, old)
    }

    /// Returns the Pods of the Rollout's Experiments.
    pub(super) fn experiment(&self, world: &World) -> Size {
        let objects = |kind: Kind| world.api.objects(&kind, Some(&self.namespace)).into_iter();
        let ours = objects(Kind::EXPERIMENT).filter(|found| is_owned_by(found, &self.uid));
        let owners: Vec<Arc<Value>> = ours.collect();
        let mut size = Size::default();
        for set in objects(Kind::REPLICA_SET) {
            let is_ours = |owner: &Arc<Value>| is_owned_by(&set, text(owner, "/metadata/uid"));
            if owners.iter().any(is_ours) {
                add(&set, &mut size);
            }
        }
        size
    }

    /// Returns what leads to the new version besides the weight: routes that steps set, the preview Service.
    pub(super) fn routes(&self, world: &World, spec: &RolloutSpec) -> Vec<String> {
        let preview = spec.strategy.blue_green.iter().filter_map(|b| b.preview_service.as_deref());
        let preview = preview
            .filter(|name| self.service_hash(world, name).is_some_and(|hash| self.is_new(&hash)));
        let Some(canary) = spec.strategy.canary.as_deref() else {
            return preview.map(str::to_owned).collect();
        };
        let set: BTreeSet<&str> = canary.steps.iter().flatten().filter_map(route_name).collect();
        let istio = canary.traffic_routing.iter().filter_map(|routing| routing.istio.as_ref());
        let mut found: BTreeSet<String> = BTreeSet::new();
        for named in istio.flat_map(|istio| istio.all_virtual_services()) {
            let route = self.virtual_service(world, named);
            let entries = route.as_ref().and_then(|route| route["spec"]["http"].as_array());
            let names = entries.into_iter().flatten().map(|entry| text(entry, "/name"));
            found.extend(names.filter(|name| set.contains(name)).map(str::to_owned));
        }
        found.into_iter().collect()
    }

    fn virtual_service(&self, world: &World, named: &IstioVirtualService) -> Option<Arc<Value>> {
        let (name, namespace) =
            named.name.split_once('.').unwrap_or((&named.name, &self.namespace));
        world.api.get(&ObjectRef::namespaced(Kind::VIRTUAL_SERVICE, namespace, name))
    }

    /// Returns the percentage of the users' requests that the new version answers.
    pub(super) fn weight(&self, world: &World, spec: &RolloutSpec) -> u32 {
        let by_route = spec.strategy.canary.as_deref().and_then(|canary| {
            let routing = canary.traffic_routing.as_deref()?;
            let managed = routing.managed_routes.iter().flatten().map(|route| &*route.name);
            let managed: BTreeSet<&str> = managed.collect();
            self.by_istio(world, routing.istio.as_ref()?, &managed)
        });
        let by_service = spec.strategy.blue_green.as_deref().and_then(|blue_green| {
            let hash = self.service_hash(world, blue_green.active_service.as_deref()?)?;
            Some(if self.is_new(&hash) { 100 } else { 0 })
        });
        by_route.or(by_service).unwrap_or_else(|| {
            let (new, old) = self.sizes(world);
            percent(new.available.into(), u64::from(new.available) + u64::from(old.available))
        })
    }

    fn is_new(&self, hash: &str) -> bool {
        !hash.is_empty() && !self.old.contains(hash)
    }

    fn service_hash(&self, world: &World, name: &str) -> Option<String> {
        let service = ObjectRef::namespaced(Kind::SERVICE, &*self.namespace, name);
        let hash = hash_label(&world.api.get(&service)?["spec"]["selector"]);
        (!hash.is_empty()).then_some(hash)
    }

    fn by_istio(
        &self,
        world: &World,
        istio: &IstioTrafficRouting,
        managed: &BTreeSet<&str>,
    ) -> Option<u32> {
        let rule = istio.destination_rule.as_ref().map(|rule| &*rule.name);
        istio.all_virtual_services().find_map(|named| self.by_route(world, named, rule, managed))
    }

    fn by_route(
        &self,
        world: &World,
        named: &IstioVirtualService,
        rule: Option<&str>,
        managed: &BTreeSet<&str>,
    ) -> Option<u32> {
        let route = self.virtual_service(world, named)?;
        let wanted = named.routes.as_deref().unwrap_or_default();
        let entries = ["http", "tls", "tcp"].into_iter().flat_map(|protocol| {
            route["spec"][protocol].as_array().map(Vec::as_slice).unwrap_or_default()
        });
        let is_ours = |entry: &&Value| {
            let name = text(entry, "/name");
            !managed.contains(name)
                && (wanted.is_empty() || wanted.iter().any(|wanted| wanted == name))
        };
        let entry = entries.into_iter().find(is_ours)?;
        let destinations = entry["route"].as_array()?;
        let (mut new, mut all) = (0, 0);
        for to in destinations {
            let alone = if destinations.len() == 1 { 100 } else { 0 };
            let weight = to["weight"].as_u64().unwrap_or(alone);
            all += weight;
            if self.is_new(&self.destination_hash(world, &to["destination"], rule)) {
                new += weight;
            }
        }
        Some(percent(new, all))
    }

    /// Returns what a destination resolves to.
    fn destination_hash(&self, world: &World, to: &Value, rule: Option<&str>) -> String {
        if let (Some(rule), Some(subset)) = (rule, to["subset"].as_str()) {
            let rule = ObjectRef::namespaced(Kind::DESTINATION_RULE, &*self.namespace, rule);
            let Some(rule) = world.api.get(&rule) else { return String::new() };
            let subsets = rule.pointer("/spec/subsets").and_then(Value::as_array);
            let named = subsets.into_iter().flatten().find(|entry| entry["name"] == subset);
            return named.map(|entry| hash_label(&entry["labels"])).unwrap_or_default();
        }
        let host = text(to, "/host").split('.').next().unwrap_or_default();
        self.service_hash(world, host).unwrap_or_default()
    }
}

fn is_owned_by(object: &Value, uid: &str) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| owner["uid"] == *uid)
}

fn add(set: &Value, to: &mut Size) {
    to.wanted += number(set, "/spec/replicas");
    to.available += number(set, "/status/availableReplicas");
}

/// Returns the route that a step sets or removes.
fn route_name(step: &CanaryStep) -> Option<&str> {
    let header = step.set_header_route.as_ref().map(|route| route.name.as_str());
    header.or_else(|| step.set_mirror_route.as_ref().map(|route| route.name.as_str()))
}

fn hash_label(labels: &Value) -> String {
    labels[POD_TEMPLATE_HASH].as_str().unwrap_or_default().to_owned()
}

fn number(object: &Value, path: &str) -> u32 {
    let number = object.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Rounds to the nearest percent; of nothing it is 0.
fn percent(part: u64, whole: u64) -> u32 {
    if whole == 0 {
        return 0;
    }
    u32::try_from((part * 200 + whole) / (whole * 2)).unwrap_or(100)
}
