use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::{Pass, controller_reference, is_controlled_by, is_terminating, number, text};

const CONTROLLER: &str = "replicaset-controller";

impl Pass<'_> {
    pub(super) fn replica_sets(&mut self) {
        for rs in self.api.objects(&Kind::REPLICA_SET, None) {
            if !is_terminating(&rs) {
                self.replica_set(&rs);
            }
        }
    }

    fn replica_set(&mut self, rs: &Value) {
        let namespace = text(rs, "/metadata/namespace");
        let uid = text(rs, "/metadata/uid");
        let all = self.api.objects(&Kind::POD, Some(namespace));
        let owned = all.into_iter().filter(|pod| is_controlled_by(pod, uid));
        let mut pods: Vec<Arc<Value>> = owned.filter(|pod| !is_terminating(pod)).collect();
        let wanted = usize::try_from(number(rs, "/spec/replicas")).unwrap_or(0);
        for _ in pods.len()..wanted {
            self.create_pod(rs, namespace);
        }
        // Unready Pods go first, then the youngest, as in Kubernetes.
        pods.sort_by_key(|pod| {
            (self.ready_at(pod).is_none(), text(pod, "/metadata/creationTimestamp").to_owned())
        });
        for pod in pods.iter().skip(wanted) {
            self.api.delete_quietly(self.now, CONTROLLER, pod);
        }
        self.replica_set_status(rs, namespace, uid);
    }

    fn create_pod(&mut self, rs: &Value, namespace: &str) {
        let template = &rs["spec"]["template"];
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "generateName": format!("{}-", text(rs, "/metadata/name")),
                "namespace": namespace,
                "labels": template["metadata"]["labels"],
                "annotations": template["metadata"]["annotations"],
                "ownerReferences": controller_reference(rs),
            },
            "spec": template["spec"],
        });
        self.api.create_quietly(self.now, CONTROLLER, pod);
    }

    /// Returns since when the Pod is ready.
    pub(super) fn ready_at(&self, pod: &Value) -> Option<DateTime<Utc>> {
        self.pods.get(text(pod, "/metadata/uid")).and_then(|clock| clock.ready_at)
    }

    fn replica_set_status(&mut self, rs: &Value, namespace: &str, uid: &str) {
        let all = self.api.objects(&Kind::POD, Some(namespace));
        let owned = all.iter().filter(|pod| is_controlled_by(pod, uid) && !is_terminating(pod));
        let owned: Vec<Arc<Value>> = owned.cloned().collect();
        let min_ready = TimeDelta::seconds(number(rs, "/spec/minReadySeconds"));
        let ready: Vec<_> = owned.iter().filter_map(|pod| self.ready_at(pod)).collect();
        let available = ready.iter().filter(|at| self.due(**at + min_ready)).count();
        let mut status = json!({
            "replicas": owned.len(),
            "observedGeneration": rs["metadata"]["generation"],
        });
        let counts = [
            ("fullyLabeledReplicas", owned.len()),
            ("readyReplicas", ready.len()),
            ("availableReplicas", available),
        ];
        for (field, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            status[field] = json!(count);
        }
        self.api.set_status_quietly(self.now, CONTROLLER, rs, status);
    }
}
