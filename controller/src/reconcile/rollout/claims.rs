//! Other Rollouts that name one of our Services or routes (F30).

use std::collections::{BTreeMap, BTreeSet};

use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::RolloutRecord;

use crate::config::Role;
use crate::queue::Key;
use crate::stores::Stores;

/// Returns, for each object of ours that another Rollout names too, which one. Two Rollouts may share a VirtualService if
/// each weighs named routes of its own.
pub(crate) fn of(
    stores: &Stores,
    key: &Key,
    rollout: &RolloutRecord,
    objects: &BTreeSet<ObjectRef>,
) -> BTreeMap<ObjectRef, String> {
    let mut claims = BTreeMap::new();
    for object in objects.iter().filter(|object| is_exclusive(&object.kind)) {
        let readers = stores.references.readers(object);
        let others = readers.iter().filter(|other| other.role == Role::Rollouts && *other != key);
        for other in others {
            let Some(record) = stores.rollouts.get(&other.namespace, &other.name) else { continue };
            if object.kind != Kind::VIRTUAL_SERVICE || overlap(object, rollout, &record) {
                claims.insert(object.clone(), format!("{}/{}", other.namespace, other.name));
                break;
            }
        }
    }
    claims
}

fn is_exclusive(kind: &Kind) -> bool {
    [Kind::SERVICE, Kind::VIRTUAL_SERVICE, Kind::DESTINATION_RULE].contains(kind)
}

fn overlap(object: &ObjectRef, a: &RolloutRecord, b: &RolloutRecord) -> bool {
    let (a, b) = (routes(object, a), routes(object, b));
    // Naming no route means the only one, whichever that is.
    a.is_empty() || b.is_empty() || a.intersection(&b).next().is_some()
}

fn routes(object: &ObjectRef, rollout: &RolloutRecord) -> BTreeSet<String> {
    let canary = rollout.spec.strategy.canary.as_ref();
    let routing = canary.and_then(|canary| canary.traffic_routing.as_deref());
    let istio = routing.and_then(|routing| routing.istio.as_ref());
    let all = istio.into_iter().flat_map(|istio| istio.all_virtual_services());
    let here = all.filter(|service| {
        let (name, namespace) =
            service.name.split_once('.').unwrap_or((&service.name, &rollout.meta.namespace));
        name == object.name && Some(namespace) == object.namespace.as_deref()
    });
    here.flat_map(|service| service.routes.iter().flatten().cloned()).collect()
}
