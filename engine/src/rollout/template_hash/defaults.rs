//! The defaults that the API server fills into a Pod template (core/v1, Kubernetes 1.34–1.36).

use serde_json::{Map, Value, json};

use super::quantity;

/// `(type, field, JSON of the default)`: set where the field is absent, null, or Go's zero value.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("Container", "terminationMessagePath", "\"/dev/termination-log\""),
    ("Container", "terminationMessagePolicy", "\"File\""),
    ("EphemeralContainer", "terminationMessagePath", "\"/dev/termination-log\""),
    ("EphemeralContainer", "terminationMessagePolicy", "\"File\""),
    ("ContainerPort", "protocol", "\"TCP\""),
    ("PodSpec", "restartPolicy", "\"Always\""),
    ("PodSpec", "dnsPolicy", "\"ClusterFirst\""),
    ("PodSpec", "schedulerName", "\"default-scheduler\""),
    ("Probe", "timeoutSeconds", "1"),
    ("Probe", "periodSeconds", "10"),
    ("Probe", "successThreshold", "1"),
    ("Probe", "failureThreshold", "3"),
    ("HTTPGetAction", "path", "\"/\""),
    ("HTTPGetAction", "scheme", "\"HTTP\""),
    ("ObjectFieldSelector", "apiVersion", "\"v1\""),
    ("ISCSIVolumeSource", "iscsiInterface", "\"default\""),
    ("RBDVolumeSource", "pool", "\"rbd\""),
    ("RBDVolumeSource", "user", "\"admin\""),
    ("RBDVolumeSource", "keyring", "\"/etc/ceph/keyring\""),
    ("ScaleIOVolumeSource", "storageMode", "\"ThinProvisioned\""),
    ("ScaleIOVolumeSource", "fsType", "\"xfs\""),
];

/// The same for fields that are pointers in Go: only an absent one is filled, a written zero is kept.
const POINTER_DEFAULTS: &[(&str, &str, &str)] = &[
    ("PodSpec", "securityContext", "{}"),
    ("PodSpec", "terminationGracePeriodSeconds", "30"),
    ("SecretVolumeSource", "defaultMode", "420"),
    ("ConfigMapVolumeSource", "defaultMode", "420"),
    ("DownwardAPIVolumeSource", "defaultMode", "420"),
    ("ProjectedVolumeSource", "defaultMode", "420"),
    ("ServiceAccountTokenProjection", "expirationSeconds", "3600"),
    ("HostPathVolumeSource", "type", "\"\""),
    ("GRPCAction", "service", "\"\""),
    ("FileKeySelector", "optional", "false"),
    ("PersistentVolumeClaimSpec", "volumeMode", "\"Filesystem\""),
    ("AzureDiskVolumeSource", "cachingMode", "\"ReadWrite\""),
    ("AzureDiskVolumeSource", "fsType", "\"ext4\""),
    ("AzureDiskVolumeSource", "readOnly", "false"),
    ("AzureDiskVolumeSource", "kind", "\"Shared\""),
];

/// Returns the fields of an object of the type with the API server's defaults.
pub(super) fn applied(type_name: &str, fields: &Map<String, Value>) -> Map<String, Value> {
    let mut fields = fields.clone();
    for (name, field, default) in DEFAULTS {
        if *name == type_name && is_zero(fields.get(*field)) {
            fields.insert((*field).to_owned(), parsed(default));
        }
    }
    for (name, field, default) in POINTER_DEFAULTS {
        if *name == type_name && fields.get(*field).is_none_or(Value::is_null) {
            fields.insert((*field).to_owned(), parsed(default));
        }
    }
    match type_name {
        "Container" | "EphemeralContainer" => pull_policy(&mut fields, "image", "imagePullPolicy"),
        "ImageVolumeSource" => pull_policy(&mut fields, "reference", "pullPolicy"),
        "PodSpec" => pod_spec(&mut fields),
        // A volume without a source is an empty directory.
        "Volume" if fields.keys().all(|key| key == "name") => {
            fields.insert("emptyDir".into(), json!({}));
        }
        "ResourceRequirements" | "VolumeResourceRequirements" => {
            for list in ["limits", "requests"] {
                if let Some(entries) = fields.get_mut(list).and_then(Value::as_object_mut) {
                    entries.values_mut().for_each(rounded_to_milli);
                }
            }
        }
        _ => {}
    }
    fields
}

fn parsed(default: &str) -> Value {
    serde_json::from_str(default).expect("the tables hold JSON")
}

fn is_zero(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => false,
    }
}

/// `Always` for the tag `latest`, written or implied; a digest implies no tag.
fn pull_policy(fields: &mut Map<String, Value>, image: &str, policy: &str) {
    if !is_zero(fields.get(policy)) {
        return;
    }
    let reference = fields.get(image).and_then(Value::as_str).unwrap_or_default();
    let (name, digest) = match reference.split_once('@') {
        Some((name, _)) => (name, true),
        None => (reference, false),
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    let latest = match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !digest,
    };
    fields.insert(policy.to_owned(), json!(if latest { "Always" } else { "IfNotPresent" }));
}

fn pod_spec(fields: &mut Map<String, Value>) {
    // `serviceAccount` is the deprecated alias: the API server keeps both equal.
    if is_zero(fields.get("serviceAccountName"))
        && let Some(account) = fields.get("serviceAccount").cloned()
    {
        fields.insert("serviceAccountName".into(), account);
    }
    fields.remove("serviceAccount");
    if fields.get("hostNetwork") != Some(&json!(true)) {
        return;
    }
    for list in ["containers", "initContainers"] {
        let containers = fields.get_mut(list).and_then(Value::as_array_mut);
        let ports = containers
            .into_iter()
            .flatten()
            .filter_map(|container| container.get_mut("ports").and_then(Value::as_array_mut));
        for port in ports.flatten() {
            if is_zero(port.get("hostPort"))
                && let Some(number) = port.get("containerPort").cloned()
            {
                port["hostPort"] = number;
            }
        }
    }
}

fn rounded_to_milli(value: &mut Value) {
    if let Some(rounded) = value.as_str().and_then(quantity::rounded_to_milli) {
        *value = Value::String(rounded);
    }
}
