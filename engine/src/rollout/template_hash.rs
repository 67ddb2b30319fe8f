//! The identity of a revision: Argo's pod-template-hash, bit by bit.
//!
//! Argo hashes the bytes that Go's `encoding/json` makes of `corev1.PodTemplateSpec` (k8s.io/api v0.34.5). We keep templates as
//! JSON, so those bytes are rebuilt from a table of Go's structs (`go_types.txt`, written by `tests/hash_vectors`, which
//! also makes the test vectors with Argo's own function). Fields that Argo's types do not know would be invisible to such a
//! hash; a template that has some is hashed over Argo's bytes followed by canonical JSON of what they miss, so that a change
//! there is a new revision too (`design` 11).
//!
//! The hash finds a ReplicaSet; it does not name it: the label on a ReplicaSet is always trusted over a recomputed hash, and
//! [`same_template`] finds one that was hashed by another library version. Source: `spec-rollouts` 2.2.

use serde_json::Value;
use sluice_crds::labels;
use sluice_crds::rollout::CanaryStep;

use go_json::Form;

mod defaults;
mod go_json;
mod quantity;

/// Returns the pod-template-hash of a template as Argo Rollouts v1.9 computes it. `collision_count` is
/// `status.collisionCount`; absent and 0 differ.
pub fn template_hash(template: &Value, collision_count: Option<i32>) -> String {
    hash_in(Form::Argo, template, collision_count)
}

/// Returns the hash as controllers built with older Kubernetes libraries computed it: with `"creationTimestamp":null` in
/// every metadata. For adoption only.
pub fn legacy_template_hash(template: &Value, collision_count: Option<i32>) -> String {
    hash_in(Form::Legacy, template, collision_count)
}

/// Returns `status.currentStepHash`: Argo's hash over the steps; `None` for a strategy without them (Go's `null`). Our own
/// fields of a step count too, after Argo's bytes.
pub fn step_hash(steps: Option<&[CanaryStep]>) -> String {
    let value = steps.map_or(Value::Null, |steps| {
        serde_json::to_value(steps).expect("steps are plain data with string keys")
    });
    let encoded = go_json::encode("[]CanaryStep", &value, Form::Argo);
    safe_encoded(fnv(&[encoded.text.as_bytes(), encoded.rest.as_bytes()]))
}

/// Returns whether a ReplicaSet's template makes the same Pods as `template`: without the hash label, with the defaults that
/// the API server fills in, and without the deprecated `serviceAccount`. What is injected into Pods (ephemeral metadata,
/// anti-affinity) counts as a difference.
pub fn same_template(replica_set_template: &Value, template: &Value) -> bool {
    let normal = |template: &Value| {
        let mut template = template.clone();
        if let Some(labels) =
            template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut)
        {
            labels.remove(labels::POD_TEMPLATE_HASH);
        }
        go_json::encode("PodTemplateSpec", &template, Form::Defaulted)
    };
    normal(replica_set_template) == normal(template)
}

fn hash_in(form: Form, template: &Value, collision_count: Option<i32>) -> String {
    let encoded = go_json::encode("PodTemplateSpec", template, form);
    // Argo writes the count as an uint32, little endian, into a buffer of 8 bytes.
    let mut collision = Vec::new();
    if let Some(count) = collision_count {
        collision.extend_from_slice(&count.to_le_bytes());
        collision.extend_from_slice(&[0; 4]);
    }
    safe_encoded(fnv(&[encoded.text.as_bytes(), encoded.rest.as_bytes(), &collision]))
}

/// 32-bit FNV-1a.
fn fnv(parts: &[&[u8]]) -> u32 {
    parts
        .iter()
        .copied()
        .flatten()
        .fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Kubernetes' encoding without vowels: each digit of the decimal number, by code point modulo 27.
fn safe_encoded(sum: u32) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    sum.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % 27])).collect()
}

#[cfg(test)]
mod tests;
