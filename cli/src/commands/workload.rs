//! The object that a Rollout takes its Pod template from: `undo` and `set image` change it there.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef, merge_patch};
use sluice_crds::rollout::Rollout;
use sluice_engine::view::workload_of;

use crate::connection::Connection;
use crate::failure::Failure;

/// A workload as it was read.
pub(crate) struct Workload {
    api: Api<DynamicObject>,
    address: ObjectRef,
    object: DynamicObject,
}

impl Workload {
    /// Reads the workload of a Rollout; `None` if the Rollout has a template of its own.
    ///
    /// # Errors
    /// If the reference is not valid, or cannot be read.
    pub(crate) async fn of(
        connection: &Connection,
        rollout: &Rollout,
    ) -> Result<Option<Self>, Failure> {
        if rollout.spec.workload_ref.is_none() {
            return Ok(None);
        }
        let name = rollout.metadata.name.clone().unwrap_or_default();
        let record = serde_json::to_value(rollout).and_then(serde_json::from_value);
        let record = record.map_err(|error| Failure::new(format!("Rollout {name}: {error}")))?;
        let Some(address) = workload_of(&record) else {
            return Err(Failure::new(format!(
                "rollout '{name}': spec.workloadRef names no workload"
            ))
            .hint("see `kubectl sluice lint`"));
        };
        let resource = ApiResource {
            group: address.kind.group.to_string(),
            version: address.kind.version.to_string(),
            api_version: address.kind.api_version(),
            kind: address.kind.kind.to_string(),
            plural: address.kind.plural.to_string(),
        };
        let client = connection.client.clone();
        let api = Api::namespaced_with(client, &connection.namespace, &resource);
        let found = api.get(&address.name).await;
        let object = found.map_err(|error| Failure::of(&address, "get", &error))?;
        Ok(Some(Self { api, address, object }))
    }

    fn path(&self) -> &'static [&'static str] {
        if self.address.kind == Kind::POD_TEMPLATE { &["template"] } else { &["spec", "template"] }
    }

    /// Returns its Pod template.
    pub(crate) fn template(&self) -> Value {
        let path = self.path().iter();
        path.fold(&self.object.data, |value, field| &value[*field]).clone()
    }

    /// Gives it another Pod template. `Ok(false)` if it changed meanwhile.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub(crate) async fn replace(&mut self, template: Value) -> Result<bool, Failure> {
        let path = self.path().iter();
        let place = path.fold(&mut self.object.data, |value, field| &mut value[*field]);
        *place = template;
        let replaced =
            self.api.replace(&self.address.name, &PostParams::default(), &self.object).await;
        match replaced {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(Failure::of(&self.address, "update", &error)),
        }
    }

    /// Gives it the Pod template of an earlier revision.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub(crate) async fn undo(&self, template: &Value) -> Result<(), Failure> {
        // A merge patch would keep fields that only the present template has, so those are named and set to null.
        let Some(difference) = merge_patch(&self.template(), template) else { return Ok(()) };
        let patch =
            self.path().iter().rev().fold(difference, |inner, field| json!({ *field: inner }));
        let patched = self
            .api
            .patch(&self.address.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        patched.map(|_| ()).map_err(|error| Failure::of(&self.address, "patch", &error))
    }
}
