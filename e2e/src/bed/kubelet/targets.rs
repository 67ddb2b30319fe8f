//! The file from which Prometheus learns of backends (`file_sd_configs`).

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};

/// All targets by Pod uid, and the file that holds them.
pub(super) struct Targets {
    file: PathBuf,
    all: Mutex<BTreeMap<String, Value>>,
}

impl Targets {
    pub(super) fn new(file: PathBuf) -> Result<Self> {
        fs::write(&file, "[]")?;
        Ok(Self { file, all: Mutex::default() })
    }

    /// Adds a Pod. Labels: `namespace`, `pod`, and the Pod's `app` and
    /// `rollouts-pod-template-hash` (as `hash`) where it has them.
    pub(super) fn add(&self, pod: &Pod, address: &str) {
        let mut labels = json!({
            "namespace": pod.namespace().unwrap_or_default(),
            "pod": pod.name_any(),
        });
        for (label, name) in [("app", "app"), ("rollouts-pod-template-hash", "hash")] {
            if let Some(value) = pod.labels().get(label) {
                labels[name] = json!(value);
            }
        }
        let target = json!({ "targets": [address], "labels": labels });
        self.change(|all| {
            all.insert(pod.uid().unwrap_or_default(), target.clone()) != Some(target)
        });
    }

    pub(super) fn remove(&self, pod: &Pod) {
        self.change(|all| all.remove(&pod.uid().unwrap_or_default()).is_some());
    }

    /// Writes the file when `change` says that something changed.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Value>) -> bool) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if !change(&mut all) {
            return;
        }
        let list: Vec<_> = all.values().collect();
        // Renamed into place: Prometheus must not read half a file.
        let part = self.file.with_extension("part");
        let written = fs::write(&part, json!(list).to_string());
        if let Err(error) = written.and_then(|()| fs::rename(&part, &self.file)) {
            tracing::warn!("cannot write the scrape targets: {error}");
        }
    }
}
