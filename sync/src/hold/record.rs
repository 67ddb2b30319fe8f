use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_crds::application::{ApplicationRecord, LastHealthy, QuarantineEntry};
use sluice_crds::labels::MANAGER_SYNC;
use sluice_crds::object::{Change, ObjectRef, Preconditions, Write};
use sluice_crds::time::Time;
use sluice_engine::fence::EpochView;

use super::{KEPT, RECORD_LABEL, entry_key};
use crate::view::LiveObject;

const DATA_KEY: &str = "record.json";
/// Of 1 MiB that a ConfigMap may hold, this much is used.
const MAX_BYTES: usize = 900 * 1024;

/// What is kept about an application beside its status.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// Content that failed, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<QuarantineEntry>,
    /// What was released, so that a failure that was seen before is not recorded again; newest last, at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<Release>,
    /// The last commit at which the whole application was synced and healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_healthy: Option<LastHealthy>,
    /// Source of that commit, as [`crate::RenderKey`] has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_healthy_source: String,
    /// The last healthy content of each Rollout, by `ResourceKey::path`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub healthy: BTreeMap<String, HealthyScope>,
    /// A rollback that somebody asked for while automated sync is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
}

/// The last healthy content of a Rollout: the Rollout, and the ConfigMaps that its template mentions.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthyScope {
    /// Commit that it was first rendered from.
    pub revision: String,
    /// Source, as [`crate::RenderKey`] has it.
    pub source: String,
    /// Template hash.
    pub template_hash: String,
    /// Digest of all objects of the scope.
    pub digest: String,
    /// When it was first seen healthy.
    pub at: Option<Time>,
    /// Whether `manifests` is all of it: Secrets are never kept here, and very large scopes are not.
    pub complete: bool,
    /// The objects.
    pub manifests: Vec<Value>,
}

/// A released entry.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Release {
    /// `ResourceKey::path` of the resource.
    pub resource: String,
    /// Template hash.
    pub template_hash: String,
    /// When.
    pub at: Option<Time>,
}

/// A rollback that somebody asked for while automated sync is on: it lasts until Git moves on (R5).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pin {
    /// Commit that Git wanted then; another one ends the pin.
    pub instead_of: String,
    /// Commit that is applied.
    pub commit: String,
    /// Source, as [`crate::RenderKey`] has it.
    pub source: String,
    /// When.
    pub at: Option<Time>,
}

impl Record {
    /// Reads the ConfigMap.
    ///
    /// # Errors
    /// Returns why it cannot be read: then nothing may be written, because what is quarantined is not known.
    pub fn read(live: &LiveObject) -> Result<Self, String> {
        let text = live.body.pointer(&format!("/data/{DATA_KEY}")).and_then(Value::as_str);
        let text = text.ok_or_else(|| format!("{} has no `data[\"{DATA_KEY}\"]`", live.object))?;
        serde_json::from_str(text).map_err(|e| format!("{}: `{DATA_KEY}`: {e}", live.object))
    }

    /// Adds entries of the status that the ConfigMap lost, unless they were released.
    pub fn merge_status(&mut self, status: &[QuarantineEntry]) {
        for entry in status {
            if !self.has(entry) && !self.was_released(entry) {
                self.quarantine.push(entry.clone());
            }
        }
        self.trim();
    }

    /// Returns whether an entry about the same content is there.
    pub fn has(&self, entry: &QuarantineEntry) -> bool {
        self.quarantine.iter().any(|have| same(have, entry))
    }

    /// Returns whether the content was released at or after the entry's failure.
    pub fn was_released(&self, entry: &QuarantineEntry) -> bool {
        let path = entry_key(entry).path();
        self.released.iter().any(|release| {
            release.resource == path
                && release.template_hash == entry.template_hash
                && release.at >= entry.at
        })
    }

    /// Adds an entry.
    pub fn quarantine(&mut self, entry: QuarantineEntry) {
        self.quarantine.push(entry);
        self.trim();
    }

    /// Releases the entries with one of the hashes; `all` means every one. Returns those that went.
    pub fn release(&mut self, hashes: &str, at: Time) -> Vec<QuarantineEntry> {
        let wanted: Vec<&str> = hashes.split(',').map(str::trim).collect();
        let (gone, kept) =
            std::mem::take(&mut self.quarantine).into_iter().partition(|e: &QuarantineEntry| {
                wanted.contains(&"all") || wanted.contains(&e.template_hash.as_str())
            });
        self.quarantine = kept;
        for entry in &gone {
            self.released.push(Release {
                resource: entry_key(entry).path(),
                template_hash: entry.template_hash.clone(),
                at: Some(at),
            });
        }
        let surplus = self.released.len().saturating_sub(KEPT);
        self.released.drain(..surplus);
        gone
    }

    /// Keeps the youngest 20; what holds something back outlives what is moot.
    fn trim(&mut self) {
        while self.quarantine.len() > KEPT {
            let moot = self.quarantine.iter().position(|entry| entry.moot == Some(true));
            self.quarantine.remove(moot.unwrap_or(0));
        }
    }

    /// Returns the write that stores the record; `None` if the ConfigMap has it already.
    pub fn write(
        &self,
        application: &ApplicationRecord,
        object: &ObjectRef,
        live: Option<&LiveObject>,
        epoch: Option<&EpochView>,
    ) -> Option<Write> {
        if live.is_none() && *self == Self::default() {
            return None;
        }
        let mut record = self.clone();
        record.fit();
        if live.and_then(|live| Self::read(live).ok()).as_ref() == Some(&record) {
            return None;
        }
        let text = serde_json::to_string_pretty(&record).expect("a record has only string keys");
        let data = json!({ DATA_KEY: text });
        let stamped = |body| match epoch {
            Some(epoch) => epoch.stamped(body),
            None => body,
        };
        let (preconditions, change) = match live {
            Some(live) => {
                let body = stamped(json!({ "data": data }));
                (Preconditions::of(&live.meta), Change::MergePatch { body })
            }
            None => {
                let body = stamped(json!({
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {
                        "name": object.name,
                        "namespace": object.namespace,
                        "labels": { RECORD_LABEL: label_value(&application.meta.name) },
                    },
                    "data": data,
                }));
                (Preconditions::default(), Change::Create { body })
            }
        };
        let manager = MANAGER_SYNC.into();
        Some(Write { object: object.clone(), preconditions, manager, change })
    }

    /// Drops the largest kept manifests until the record fits; they are rendered again from their commit when needed.
    fn fit(&mut self) {
        while serde_json::to_string_pretty(self).is_ok_and(|text| text.len() > MAX_BYTES) {
            let size =
                |scope: &HealthyScope| Value::from(scope.manifests.clone()).to_string().len();
            let largest = self.healthy.values_mut().max_by_key(|scope| size(scope));
            match largest.filter(|scope| !scope.manifests.is_empty()) {
                Some(scope) => {
                    scope.manifests.clear();
                    scope.complete = false;
                }
                None => return,
            }
        }
    }
}

fn label_value(name: &str) -> &str {
    name.get(..63).unwrap_or(name).trim_end_matches(['-', '.', '_'])
}

fn same(a: &QuarantineEntry, b: &QuarantineEntry) -> bool {
    entry_key(a) == entry_key(b) && a.template_hash == b.template_hash
}
