//! What follows from the spec of a Rollout alone: computed once for each observed Rollout, and kept with it.

use std::sync::OnceLock;

use serde_json::Value;
use sluice_crds::rollout::{RolloutRecord, RolloutSpec};
use sluice_crds::supported::{self, State};
use sluice_crds::validate::{self, Problem};

use super::template_hash;

static NULL: Value = Value::Null;

/// Facts about a spec (and the count of collisions, which is part of the hash).
pub(crate) struct SpecFacts {
    /// What is wrong with it by itself.
    pub(crate) invalid: Vec<Problem>,
    /// Fields that it sets and that are not acted on.
    pub(crate) in_vain: Vec<(State, Problem)>,
    /// Hash that a new ReplicaSet of the template gets.
    pub(crate) hash: String,
    /// Hash of the steps of a canary.
    pub(crate) step_hash: String,
    legacy_hash: OnceLock<String>,
}

impl SpecFacts {
    pub(crate) fn of(rollout: &RolloutRecord) -> &Self {
        rollout.memo.get(|| Self::compute(rollout))
    }

    fn compute(rollout: &RolloutRecord) -> Self {
        let template = rollout.spec.template.as_ref();
        let collisions = rollout.status.collision_count;
        let canary = rollout.spec.strategy.canary.as_deref();
        Self {
            invalid: validate::rollout(&rollout.spec),
            in_vain: in_vain(&rollout.spec),
            hash: template_hash::template_hash(template.unwrap_or(&NULL), collisions),
            step_hash: template_hash::step_hash(canary.and_then(|canary| canary.steps.as_deref())),
            legacy_hash: OnceLock::new(),
        }
    }

    /// The hash as older controllers computed it.
    pub(crate) fn legacy_hash(&self, rollout: &RolloutRecord) -> &str {
        self.legacy_hash.get_or_init(|| {
            let template = rollout.spec.template.as_ref();
            let collisions = rollout.status.collision_count;
            template_hash::legacy_template_hash(template.unwrap_or(&NULL), collisions)
        })
    }
}

fn in_vain(spec: &RolloutSpec) -> Vec<(State, Problem)> {
    // The Pod template is not looked into; it is the greatest part of a spec.
    let spec = RolloutSpec { template: None, ..spec.clone() };
    let spec = serde_json::to_value(&spec).unwrap_or_default();
    supported::not_acted_on("Rollout", &serde_json::json!({ "spec": spec }))
}
