use std::sync::Arc;

use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::{Pass, controller_reference, is_controlled_by, is_terminating, text};
use crate::api_server::Selector;

const CONTROLLER: &str = "endpointslice-controller";

impl Pass<'_> {
    pub(super) fn endpoints(&mut self) {
        for service in self.api.objects(&Kind::SERVICE, None) {
            let selector = &service["spec"]["selector"];
            if !is_terminating(&service) && selector.as_object().is_some_and(|s| !s.is_empty()) {
                self.endpoints_of(&service);
            }
        }
    }

    fn endpoints_of(&mut self, service: &Value) {
        let namespace = text(service, "/metadata/namespace");
        let selector = Selector::labels(&service["spec"]["selector"]);
        let mut pods = self.api.objects(&Kind::POD, Some(namespace));
        pods.retain(|pod| selector.matches_labels(pod) && !text(pod, "/status/podIP").is_empty());
        let endpoints: Vec<Value> = pods.iter().map(|pod| self.endpoint(pod)).collect();
        let ports = ports(service, &pods);
        let uid = text(service, "/metadata/uid");
        let slices = self.api.objects(&Kind::ENDPOINT_SLICE, Some(namespace));
        match slices.iter().find(|slice| is_controlled_by(slice, uid)) {
            Some(slice) => self.api.edit_quietly(self.now, CONTROLLER, slice, |slice| {
                slice["endpoints"] = json!(endpoints);
                slice["ports"] = ports;
            }),
            None => {
                let name = text(service, "/metadata/name");
                let slice = json!({
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {
                        "generateName": format!("{name}-"),
                        "namespace": namespace,
                        "labels": {
                            "kubernetes.io/service-name": name,
                            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                        },
                        "ownerReferences": controller_reference(service),
                    },
                    "addressType": "IPv4",
                    "endpoints": endpoints,
                    "ports": ports,
                });
                self.api.create_quietly(self.now, CONTROLLER, slice);
            }
        }
    }

    fn endpoint(&mut self, pod: &Value) -> Value {
        let ready = match self.ready_at(pod) {
            Some(at) => self.due(at + self.config.endpoint_delay),
            None => false,
        };
        let terminating = is_terminating(pod);
        json!({
            "addresses": [pod["status"]["podIP"]],
            "conditions": { "ready": ready && !terminating, "serving": ready, "terminating": terminating },
            "nodeName": pod["spec"]["nodeName"],
            "targetRef": {
                "kind": "Pod",
                "namespace": pod["metadata"]["namespace"],
                "name": pod["metadata"]["name"],
                "uid": pod["metadata"]["uid"],
            },
        })
    }
}

fn ports(service: &Value, pods: &[Arc<Value>]) -> Value {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let number = |target: &Value| match target {
        Value::String(name) => pods.iter().find_map(|pod| {
            let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            let mut ports = containers.flat_map(|c| c["ports"].as_array().into_iter().flatten());
            ports.find(|port| port["name"] == **name).map(|port| port["containerPort"].clone())
        }),
        number => Some(number.clone()),
    };
    let ports = ports.map(|port| {
        json!({
            "name": port["name"].as_str().unwrap_or_default(),
            "port": number(&port["targetPort"]),
            "protocol": port["protocol"],
        })
    });
    ports.collect()
}
