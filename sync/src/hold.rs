//! Why a bad commit is never applied again: what failed is quarantined, and the last healthy content is applied in its place.
//!
//! Law: `design` 6, `spec-sync` 10.1 (R1–R10). The key of an entry is a resource and the hash of its content (of the Pod
//! template for a Rollout), not a commit: an unrelated commit does not arm it again, a changed template makes it moot, and the
//! same content is refused when it comes back. An entry goes only when somebody releases it, with the annotation
//! [`RELEASE`] on the Application (`kubectl sluice quarantine release` writes it), or when 20 younger ones are kept.
//!
//! Entries live in two places: in the Application's `status.sluice`, and in a ConfigMap without owner in the control namespace
//! ([`record_object`]), because a deleted and re-created Application has no status. What either has, counts. Both are
//! written before anything else is written for the application.

use sluice_crds::application::{ApplicationRecord, QuarantineEntry};
use sluice_crds::object::{Kind, ObjectRef};

use crate::key::ResourceKey;
use crate::view::SyncConfig;

mod detect;
mod effective;
mod healthy;
mod record;
mod scope;

pub(crate) use detect::{detect, health_failures, replacement};
pub(crate) use effective::{Effective, admit, holds, matches};
pub(crate) use healthy::observe as observe_healthy;
pub use record::{HealthyScope, Pin, Record, Release};
pub use scope::{content_hash, mentions};

/// Annotation of an Application: comma-separated template hashes, or `all`, whose quarantine ends. Removed once acted on.
pub const RELEASE: &str = "sluice.dev/quarantine-release";
/// Entries that are kept.
pub const KEPT: usize = 20;
/// Label of the ConfigMaps that keep records: the name of the Application.
pub const RECORD_LABEL: &str = "sluice.dev/record-of";

/// Returns the address of the ConfigMap that keeps the application's record.
pub fn record_object(application: &ApplicationRecord, config: &SyncConfig) -> ObjectRef {
    let meta = &application.meta;
    let full = if meta.namespace == config.control_namespace {
        format!("sluice-hold-{}", meta.name)
    } else {
        format!("sluice-hold-{}--{}", meta.namespace, meta.name)
    };
    let name = if full.len() <= 253 {
        full
    } else {
        let digest = crate::manifest::digest(&full.clone().into());
        format!("{}-{digest}", &full[..230])
    };
    ObjectRef::namespaced(Kind::CONFIG_MAP, &config.control_namespace, name)
}

/// Returns the resource that an entry is about.
pub fn entry_key(entry: &QuarantineEntry) -> ResourceKey {
    ResourceKey {
        group: entry.group.clone(),
        kind: entry.kind.clone(),
        namespace: entry.namespace.clone(),
        name: entry.name.clone(),
    }
}

/// Returns the template hashes of a Rollout that an application holds in quarantine, each with its evidence: what the engine
/// refuses to run (`RolloutView.quarantined`).
pub fn quarantined_hashes(
    application: &ApplicationRecord,
    rollout: &ResourceKey,
) -> std::collections::BTreeMap<String, String> {
    let entries = application.status.sluice.iter().flat_map(|sluice| &sluice.quarantine);
    entries
        .filter(|entry| entry_key(entry) == *rollout && !entry.template_hash.is_empty())
        .map(|entry| (entry.template_hash.clone(), evidence(entry)))
        .collect()
}

/// Returns why an entry is there, for people: what failed where, with the figures, and how it ends.
pub fn evidence(entry: &QuarantineEntry) -> String {
    let commit = short(&entry.revision);
    let why = entry.message.as_deref().unwrap_or(&entry.reason);
    let instead = match &entry.replaced_by {
        Some(commit) => format!("; commit {} is applied instead", short(commit)),
        None => String::new(),
    };
    format!(
        "{} of commit {commit} (template hash {}) failed: {}: {why}{instead}",
        entry_key(entry),
        entry.template_hash,
        entry.reason
    )
}

/// Returns what to do about an entry.
pub fn advice(entry: &QuarantineEntry) -> String {
    format!(
        "push a changed template, or release it with the annotation `{RELEASE}: {}` on the Application \
         (`kubectl sluice quarantine release`)",
        entry.template_hash
    )
}

/// Returns the first 8 characters of a commit.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}
