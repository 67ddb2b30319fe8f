//! Fields that sync leaves to others: the rollout engine's and an autoscaler's.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sluice_crds::labels::POD_TEMPLATE_HASH;
use sluice_crds::rollout::{RolloutRecord, RolloutSpec};
use sluice_engine::owned_fields::{OwnedField, owned_fields};
use sluice_engine::traffic::made::Note;

use super::routes;
use crate::key::{ResourceKey, group_version, text};

/// Who owns which field of which object.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OwnedFields {
    fields: BTreeMap<ResourceKey, Vec<Owned>>,
}

#[derive(Clone, PartialEq, Debug)]
enum Owned {
    Engine {
        field: OwnedField,
        /// Hash of the stable version, where the Rollout has one.
        stable: Option<String>,
    },
    Replicas,
}

impl OwnedFields {
    /// Collects the owned fields: of the Rollouts that are wanted and of those that are there, and of the targets of
    /// autoscalers. `manifests` are objects in wire form, wanted or live.
    pub fn collect<'a>(
        manifests: impl Iterator<Item = (&'a ResourceKey, &'a Value)>,
        rollouts: &[Arc<RolloutRecord>],
    ) -> Self {
        let mut owned = Self::default();
        let find = |namespace: &str, name: &str| {
            rollouts.iter().find(|r| r.meta.namespace == namespace && r.meta.name == name)
        };
        let stable_of = |namespace: &str, name: &str| {
            let hash = find(namespace, name).and_then(|r| r.status.stable_rs.clone());
            hash.filter(|hash| !hash.is_empty())
        };
        let side_of = |namespace: &str, name: &str| {
            find(namespace, name)?.status.canary.as_ref()?.stable_ping_pong.clone()
        };
        for rollout in rollouts {
            let stable = stable_of(&rollout.meta.namespace, &rollout.meta.name);
            let side = side_of(&rollout.meta.namespace, &rollout.meta.name);
            owned.rollout(&rollout.meta.namespace, &rollout.spec, &stable, side.as_deref());
        }
        for (key, body) in manifests {
            if key.is_rollout() {
                let spec = body.get("spec").cloned().unwrap_or_default();
                if let Ok(spec) = serde_json::from_value::<RolloutSpec>(spec) {
                    let stable = stable_of(&key.namespace, &key.name);
                    let side = side_of(&key.namespace, &key.name);
                    owned.rollout(&key.namespace, &spec, &stable, side.as_deref());
                }
            } else if key.is("autoscaling", "HorizontalPodAutoscaler")
                || key.is("keda.sh", "ScaledObject")
            {
                owned.autoscaler(key, body);
            }
        }
        owned
    }

    fn rollout(
        &mut self,
        namespace: &str,
        spec: &RolloutSpec,
        stable: &Option<String>,
        side: Option<&str>,
    ) {
        for reference in owned_fields(namespace, spec, side) {
            let owned = Owned::Engine { field: reference.field, stable: stable.clone() };
            self.insert(ResourceKey::of(&reference.object), owned);
        }
    }

    fn autoscaler(&mut self, key: &ResourceKey, body: &Value) {
        let Some(name) = text(body, "/spec/scaleTargetRef/name") else { return };
        let kind = text(body, "/spec/scaleTargetRef/kind").unwrap_or("Deployment");
        let api_version = text(body, "/spec/scaleTargetRef/apiVersion").unwrap_or("apps/v1");
        let target = ResourceKey {
            group: group_version(api_version).0.to_owned(),
            kind: kind.to_owned(),
            namespace: key.namespace.clone(),
            name: name.to_owned(),
        };
        self.insert(target, Owned::Replicas);
    }

    fn insert(&mut self, key: ResourceKey, owned: Owned) {
        let fields = self.fields.entry(key).or_default();
        if !fields.contains(&owned) {
            fields.push(owned);
        }
    }

    /// Copies the live values of owned fields into the body that would be applied over the live object.
    pub fn carry(&self, key: &ResourceKey, body: &mut Value, live: &Value) {
        for owned in self.fields.get(key).into_iter().flatten() {
            match owned {
                Owned::Replicas => {
                    copy(body, live, "/spec/replicas");
                }
                Owned::Engine { field, .. } => match field {
                    OwnedField::SelectorHash => copy_hash(
                        body.pointer_mut("/spec/selector"),
                        live.pointer("/spec/selector"),
                    ),
                    OwnedField::Replicas => copy(body, live, "/spec/replicas"),
                    OwnedField::SubsetHash { subset } => {
                        let live = subset_of(live, subset).and_then(|s| s.get("labels"));
                        copy_hash(subset_labels(body, subset), live);
                    }
                    OwnedField::Weights(weights) => routes::carry_weights(weights, body, live),
                    OwnedField::Routes { names } => routes::carry_routes(names, body, live),
                    OwnedField::Subsets => carry_subsets(body, live),
                },
            }
        }
    }

    /// Gives owned fields of an object that is to be created the value that the engine would: all weight to the stable
    /// version, and the stable version behind every destination.
    pub fn initial(&self, key: &ResourceKey, body: &mut Value) {
        for owned in self.fields.get(key).into_iter().flatten() {
            let Owned::Engine { field, stable } = owned else { continue };
            let stable = stable.as_deref();
            match field {
                OwnedField::SelectorHash => set_hash(body.pointer_mut("/spec/selector"), stable),
                OwnedField::SubsetHash { subset } => set_hash(subset_labels(body, subset), stable),
                // Its Pods serve until the Rollout's do: it is created in the size that Git declares.
                OwnedField::Replicas => {}
                OwnedField::Weights(weights) => routes::initial_weights(weights, body),
                OwnedField::Routes { names } => routes::remove_routes(names, body),
                OwnedField::Subsets => {}
            }
        }
    }

    /// Returns the pointers of owned fields inside a body, for the audit: what a write may not change (G6).
    pub fn values(&self, key: &ResourceKey, body: &Value) -> Vec<(String, Value)> {
        let mut values = Vec::new();
        for owned in self.fields.get(key).into_iter().flatten() {
            match owned {
                Owned::Replicas => values.extend(replicas(body)),
                Owned::Engine { field, .. } => match field {
                    OwnedField::Replicas => values.extend(replicas(body)),
                    OwnedField::SelectorHash => {
                        let hash =
                            body.pointer("/spec/selector").and_then(|s| s.get(POD_TEMPLATE_HASH));
                        values
                            .push(("selector hash".to_owned(), hash.cloned().unwrap_or_default()));
                    }
                    OwnedField::SubsetHash { subset } => {
                        let hash = subset_of(body, subset)
                            .and_then(|s| s.get("labels")?.get(POD_TEMPLATE_HASH));
                        let value = hash.cloned().unwrap_or_default();
                        values.push((format!("hash of subset {subset}"), value));
                    }
                    OwnedField::Weights(weights) => values.extend(routes::weights(weights, body)),
                    OwnedField::Routes { names } => values.extend(routes::made(names, body)),
                    OwnedField::Subsets => {}
                },
            }
        }
        values
    }
}

fn replicas(body: &Value) -> Option<(String, Value)> {
    body.pointer("/spec/replicas").map(|value| ("replicas".to_owned(), value.clone()))
}

fn copy(body: &mut Value, live: &Value, pointer: &str) {
    if let (Some(place), Some(value)) = (body.pointer_mut(pointer), live.pointer(pointer)) {
        *place = value.clone();
    }
}

fn copy_hash(place: Option<&mut Value>, live: Option<&Value>) {
    let hash = live.and_then(|map| map.get(POD_TEMPLATE_HASH)).and_then(Value::as_str);
    if let Some(Value::Object(map)) = place {
        match hash {
            Some(hash) => {
                map.insert(POD_TEMPLATE_HASH.to_owned(), hash.into());
            }
            None => {
                map.remove(POD_TEMPLATE_HASH);
            }
        }
    }
}

fn set_hash(place: Option<&mut Value>, hash: Option<&str>) {
    if let (Some(Value::Object(map)), Some(hash)) = (place, hash) {
        map.insert(POD_TEMPLATE_HASH.to_owned(), hash.into());
    }
}

/// Copies the subsets that the engine made from the live object into the body.
fn carry_subsets(body: &mut Value, live: &Value) {
    let made = Note::of(live).all().subsets;
    let missing: Vec<Value> = made
        .iter()
        .filter(|name| subset_of(body, name).is_none())
        .filter_map(|name| subset_of(live, name).cloned())
        .collect();
    if let Some(Value::Array(subsets)) = body.pointer_mut("/spec/subsets") {
        subsets.extend(missing);
    }
}

fn subset_of<'a>(rule: &'a Value, subset: &str) -> Option<&'a Value> {
    rule.pointer("/spec/subsets")?.as_array()?.iter().find(|s| s["name"] == subset)
}

/// Returns the labels of a subset, made if it has none: the hash has to go somewhere.
fn subset_labels<'a>(rule: &'a mut Value, subset: &str) -> Option<&'a mut Value> {
    let subsets = rule.pointer_mut("/spec/subsets")?.as_array_mut()?;
    let subset = subsets.iter_mut().find(|s| s["name"] == subset)?.as_object_mut()?;
    Some(subset.entry("labels").or_insert_with(|| Value::Object(serde_json::Map::new())))
}
