//! One Rollout on a cluster in a value, and the decisions about it: for tests and benchmarks that need views of real updates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::DateTime;
use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_engine::config::EngineConfig;
use sluice_engine::fence::{EpochView, FenceRules, Term};
use sluice_engine::plan::{Decision, Lower, Reconciler};
use sluice_engine::rollout::RolloutReconciler;
use sluice_engine::view::RolloutView;

use crate::api_server::{Call, Failure};
use crate::observe::{self, Surroundings};
use crate::workloads::WorkloadConfig;
use crate::world::World;

/// A cluster, the Rollout that is looked at, and a controller that does nothing but decide on it.
#[derive(Clone, Debug)]
pub struct Solo {
    /// The cluster.
    pub world: World,
    /// The Rollout.
    pub object: ObjectRef,
    config: Arc<EngineConfig>,
    n: u64,
}

impl Solo {
    /// Returns a cluster with these objects; the Rollout is `default/name`.
    ///
    /// # Errors
    /// If the API server refuses an object.
    pub fn new(name: &str, manifests: Vec<Value>) -> Result<Self, Failure> {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
        let mut world = World::new(start, WorkloadConfig::default());
        for manifest in manifests {
            world.api.load(start, "kubectl", manifest)?;
        }
        world.settle();
        let object = ObjectRef::namespaced(Kind::ROLLOUT, "default", name);
        Ok(Self { world, object, config: Arc::new(EngineConfig::default()), n: 0 })
    }

    /// Sets the image of the first container.
    pub fn set_image(&mut self, image: &str) {
        let path = "/spec/template/spec/containers/0/image";
        let patch = json!([{ "op": "replace", "path": path, "value": image }]);
        let call = Call::new("PATCH", &self.object.path());
        self.world.handle(&call.with_body("application/json-patch+json", &patch).by("kubectl"));
    }

    /// Returns what the process adds to a view, at the present time.
    pub fn surroundings(&mut self) -> Surroundings {
        self.n += 1;
        Surroundings {
            now: self.world.now(),
            config: Arc::clone(&self.config),
            epoch: EpochView {
                term: Term {
                    lease: "sluice".into(),
                    lease_uid: "lease".into(),
                    acquired: 1.into(),
                },
                n: self.n,
                needed: BTreeMap::new(),
                disowned: BTreeSet::new(),
                rules: FenceRules::ALL,
            },
            facts: BTreeMap::new(),
            refused_evictions: BTreeMap::new(),
        }
    }

    /// Returns what a decision may look at; `None` if the Rollout cannot be read.
    pub fn view(&mut self) -> Option<RolloutView> {
        let around = self.surroundings();
        observe::rollout(&self.world.api, &self.object, &around)
    }

    /// Decides and lets time pass until nothing is pending, or until a view is the one that is looked for. Returns every view
    /// on the way.
    ///
    /// # Errors
    /// If the API server refuses a write.
    pub fn run(
        &mut self,
        is_wanted: impl Fn(&RolloutView) -> bool,
    ) -> Result<Vec<RolloutView>, Failure> {
        let mut views = Vec::new();
        while let Some(view) = self.view() {
            let is_last = is_wanted(&view);
            let decision = RolloutReconciler::decide(&view);
            views.push(view);
            if is_last || !self.follow(&decision)? {
                break;
            }
        }
        Ok(views)
    }

    /// Does what was decided; if that changes nothing, lets time pass until something is due. Returns whether anything was.
    ///
    /// # Errors
    /// If the API server refuses a write.
    pub fn follow(&mut self, decision: &Decision<RolloutReconciler>) -> Result<bool, Failure> {
        let (now, version) = (self.world.now(), self.world.api.version());
        let writes = decision.plan.actions().map(Lower::lower);
        for write in writes.chain(decision.status_write.clone()) {
            self.world.api.write(now, "sluice-controller", &write)?;
        }
        self.world.settle();
        if self.world.api.version() != version {
            return Ok(true);
        }
        let next = [self.world.next_at(), decision.wake.as_ref().map(|wake| wake.at)];
        let next = next.into_iter().flatten().filter(|at| *at > now).min();
        if let Some(next) = next {
            self.world.advance_to(next);
        }
        Ok(next.is_some())
    }
}
