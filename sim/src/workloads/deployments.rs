use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::{Pass, controller_reference, is_controlled_by, is_terminating, number, text};

const CONTROLLER: &str = "deployment-controller";
const HASH: &str = "pod-template-hash";

impl Pass<'_> {
    /// One ReplicaSet for each template; the new one is scaled up at once, the old ones down when it is available.
    pub(super) fn deployments(&mut self) {
        for deployment in self.api.objects(&Kind::DEPLOYMENT, None) {
            if !is_terminating(&deployment) {
                self.deployment(&deployment);
            }
        }
    }

    fn deployment(&mut self, deployment: &Value) {
        let namespace = text(deployment, "/metadata/namespace");
        let uid = text(deployment, "/metadata/uid");
        let replicas = number(deployment, "/spec/replicas");
        let hash = hash(&deployment["spec"]["template"]);
        let all = self.api.objects(&Kind::REPLICA_SET, Some(namespace));
        let owned: Vec<_> = all.into_iter().filter(|rs| is_controlled_by(rs, uid)).collect();
        let current = owned.iter().find(|rs| rs["metadata"]["labels"][HASH] == hash);
        let Some(current) = current else {
            self.create_replica_set(deployment, &hash, replicas);
            return;
        };
        self.scale(current, replicas);
        let available = number(current, "/status/availableReplicas");
        for old in owned.iter().filter(|rs| rs["metadata"]["labels"][HASH] != hash) {
            if available >= replicas {
                self.scale(old, 0);
            }
        }
        let sum = |path: &str| owned.iter().map(|rs| number(rs, path)).sum::<i64>();
        let complete = available >= replicas;
        let condition = json!({
            "type": "Available",
            "status": if complete { "True" } else { "False" },
            "reason": if complete { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" },
        });
        let progressing = json!({
            "type": "Progressing",
            "status": "True",
            "reason": if complete { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" },
        });
        let status = json!({
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": sum("/status/replicas"),
            "updatedReplicas": number(current, "/status/replicas"),
            "readyReplicas": sum("/status/readyReplicas"),
            "availableReplicas": sum("/status/availableReplicas"),
            "conditions": [condition, progressing],
        });
        self.api.set_status_quietly(self.now, CONTROLLER, deployment, status);
    }

    fn scale(&mut self, rs: &Value, replicas: i64) {
        self.api.edit_quietly(self.now, CONTROLLER, rs, |rs| {
            rs["spec"]["replicas"] = json!(replicas);
        });
    }

    fn create_replica_set(&mut self, deployment: &Value, hash: &str, replicas: i64) {
        let mut template = deployment["spec"]["template"].clone();
        template["metadata"]["labels"][HASH] = json!(hash);
        let mut selector = deployment["spec"]["selector"].clone();
        selector["matchLabels"][HASH] = json!(hash);
        let rs = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", text(deployment, "/metadata/name")),
                "namespace": deployment["metadata"]["namespace"],
                "labels": template["metadata"]["labels"],
                "ownerReferences": controller_reference(deployment),
            },
            "spec": {
                "replicas": replicas,
                "minReadySeconds": number(deployment, "/spec/minReadySeconds"),
                "selector": selector,
                "template": template,
            },
        });
        self.api.create_quietly(self.now, CONTROLLER, rs);
    }
}

/// Returns a name for the template. Not Kubernetes' own hash: nothing compares these with a real cluster's.
fn hash(template: &Value) -> String {
    let bytes = template.to_string().into_bytes();
    let fnv = bytes
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("{fnv:x}")
}
