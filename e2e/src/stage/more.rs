//! Further hands and eyes of a user: what `kubectl scale`, `kubectl get` and `kubectl delete --cascade=orphan` do.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};

use super::{LONG, Stage};
use crate::bed::process::until;

impl Stage {
    /// Merges into the status, as Argo's own command line does.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn merge_status(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        let params = PatchParams::default();
        self.api(kind).patch_status(name, &params, &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// The scale subresource of a Rollout.
    ///
    /// # Errors
    /// When there is none.
    pub async fn scale(&self, name: &str) -> Result<Value> {
        Ok(serde_json::to_value(self.api("Rollout").get_scale(name).await?)?)
    }

    /// Scales a Rollout as an autoscaler does.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn when_scaled(&self, name: &str, replicas: u32) -> Result<()> {
        let patch = json!({ "spec": { "replicas": replicas } });
        let params = PatchParams::default();
        self.api("Rollout").patch_scale(name, &params, &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// Deletes a Rollout and leaves what it owns; returns when it is gone.
    ///
    /// # Errors
    /// When it is still there after [`LONG`].
    pub async fn when_orphaned(&self, name: &str) -> Result<()> {
        let rollouts = self.api("Rollout");
        let orphan = Some(PropagationPolicy::Orphan);
        let options = DeleteParams { propagation_policy: orphan, ..DeleteParams::default() };
        rollouts.delete(name, &options).await?;
        until("the Rollout is gone", LONG, || async {
            Ok(rollouts.get_opt(name).await?.is_none().then_some(()))
        })
        .await
    }

    /// All objects of a kind in the namespace.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn list(&self, kind: &str) -> Result<Vec<Value>> {
        let all = self.api(kind).list(&ListParams::default()).await?;
        all.items.iter().map(|object| serde_json::to_value(object).context("an object")).collect()
    }

    /// Waits until the objects of a kind are as `test` wants them.
    ///
    /// # Errors
    /// When they are not within [`LONG`].
    pub async fn then_list(
        &self,
        what: &str,
        kind: &str,
        test: impl Fn(&[Value]) -> bool,
    ) -> Result<()> {
        until(what, LONG, || async { Ok(test(&self.list(kind).await?).then_some(())) }).await
    }

    /// Shows that since an instant never fewer Pods were available, and never more wanted, over all ReplicaSets.
    ///
    /// # Errors
    /// With the revision at which it was otherwise.
    pub async fn then_available_since(
        &self,
        name: &str,
        since: DateTime<Utc>,
        least: u64,
        most: u64,
    ) -> Result<()> {
        self.caught_up("Rollout", name).await?;
        let mut sets = BTreeMap::new();
        for revision in self.scene.bed.recorder.history(&self.scene.namespace)? {
            if revision.kind != "ReplicaSet" {
                continue;
            }
            let of = |at: &str| revision.object.pointer(at).and_then(Value::as_u64).unwrap_or(0);
            let sizes = (of("/spec/replicas"), of("/status/availableReplicas"));
            sets.insert(revision.name.clone(), sizes);
            if revision.seen > since {
                let wanted: u64 = sets.values().map(|(wanted, _)| wanted).sum();
                let available: u64 = sets.values().map(|(_, available)| available).sum();
                let at = &revision.resource_version;
                ensure!(wanted <= most, "{wanted} Pods wanted at {at}");
                ensure!(available >= least, "{available} available at {at}");
            }
        }
        ensure!(sets.len() >= 2, "{} ReplicaSets were seen", sets.len());
        Ok(())
    }
}
