//! The objects that a search begins with, and what the user and others write.

use serde_json::{Value, json};
use sluice_crds::object::{Change, Kind, ObjectRef, Preconditions, Write};

use super::{Bounds, Foreign, Routing, Step, Toggle, image, runs, users_write};

impl Toggle {
    pub(super) fn write(self) -> Write {
        let spec = |body: Value| Change::MergePatch { body: json!({ "spec": body }) };
        users_write(match self {
            Self::Abort => Change::Status { body: json!({ "abort": true }) },
            Self::Retry => Change::Status { body: json!({ "abort": false }) },
            Self::PromoteFull => Change::Status { body: json!({ "promoteFull": true }) },
            Self::Resume => Change::Status { body: json!({ "pauseConditions": null }) },
            Self::NewRevision => image(3),
            Self::BackToStable => image(1),
            Self::Pause => spec(json!({ "paused": true })),
            Self::Unpause => spec(json!({ "paused": false })),
            Self::Replicas(replicas) => spec(json!({ "replicas": replicas })),
        })
    }
}

impl Foreign {
    pub(super) fn write(self, routing: Routing) -> Write {
        let hash = sluice_crds::labels::POD_TEMPLATE_HASH;
        let (kind, name, spec) = match (self, routing) {
            (Self::Weight(canary), _) => {
                let route = json!({ "name": "primary", "route": routes(routing, canary) });
                (Kind::VIRTUAL_SERVICE, "web", json!({ "http": [route] }))
            }
            (Self::Stable | Self::Canary, Routing::Subsets) => {
                (Kind::DESTINATION_RULE, "web", json!({ "subsets": subsets() }))
            }
            (Self::Stable, Routing::Hosts | Routing::Basic(..)) => {
                (Kind::SERVICE, "web-stable", json!({ "selector": { hash: null } }))
            }
            (Self::Canary, Routing::Hosts | Routing::Basic(..)) => {
                (Kind::SERVICE, "web-canary", json!({ "selector": { hash: null } }))
            }
        };
        Write {
            object: ObjectRef::namespaced(kind, "default", name),
            preconditions: Preconditions::default(),
            manager: "somebody".into(),
            change: Change::MergePatch { body: json!({ "spec": spec }) },
        }
    }
}

impl Step {
    fn json(self) -> Value {
        match self {
            Self::Weight(weight) => json!({ "setWeight": weight }),
            Self::Wait => json!({ "pause": { "duration": 30 } }),
            Self::Pause => json!({ "pause": {} }),
            Self::Scale(replicas) => json!({ "setCanaryScale": { "replicas": replicas } }),
            Self::ScaleShare(weight) => json!({ "setCanaryScale": { "weight": weight } }),
            Self::FollowWeight => json!({ "setCanaryScale": { "matchTrafficWeight": true } }),
            Self::Analysis => runs::step(),
        }
    }
}

fn routes(routing: Routing, canary: u8) -> Value {
    let destination = |role: &str, weight: u8| {
        let to = match routing {
            Routing::Hosts | Routing::Basic(..) => json!({ "host": format!("web-{role}") }),
            Routing::Subsets => json!({ "host": "web", "subset": role }),
        };
        json!({ "destination": to, "weight": weight })
    };
    json!([destination("stable", 100 - canary), destination("canary", canary)])
}

fn subsets() -> Value {
    let subset = |role: &str| json!({ "name": role, "labels": { "app": "web" } });
    json!([subset("stable"), subset("canary")])
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "namespace": "default", "generation": 1 })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(name),
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
    })
}

/// Returns the objects that exist from the start.
pub(super) fn manifests(bounds: &Bounds) -> Vec<Value> {
    let steps: Vec<Value> = bounds.steps.iter().map(|step| step.json()).collect();
    let mut istio = json!({ "virtualService": { "name": "web", "routes": ["primary"] } });
    let mut canary = json!({ "steps": steps });
    if bounds.background {
        canary["analysis"] = runs::step()["analysis"].clone();
    }
    let mut objects = Vec::new();
    match bounds.routing {
        Routing::Hosts => {
            canary["canaryService"] = json!("web-canary");
            canary["stableService"] = json!("web-stable");
            objects.extend([service("web-stable"), service("web-canary")]);
        }
        Routing::Subsets => {
            istio["destinationRule"] = json!({
                "name": "web", "canarySubsetName": "canary", "stableSubsetName": "stable",
            });
            objects.push(json!({
                "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
                "metadata": metadata("web"),
                "spec": { "host": "web", "subsets": subsets() },
            }));
        }
        Routing::Basic(surge, unavailable) => {
            canary["maxSurge"] = json!(surge);
            canary["maxUnavailable"] = json!(unavailable);
        }
    }
    let is_routed = bounds.limits().is_routed;
    if is_routed {
        canary["trafficRouting"] = json!({ "istio": istio });
    }
    objects.push(rollout(bounds.replicas, &canary));
    if is_routed {
        let route = json!({ "name": "primary", "route": routes(bounds.routing, 0) });
        objects.push(json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": metadata("web"),
            "spec": { "hosts": ["web"], "http": [route] },
        }));
    }
    objects
}

fn rollout(replicas: u8, canary: &Value) -> Value {
    let labels = json!({ "app": "web" });
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": metadata("web"),
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "web", "image": "demo:1" }] },
            },
            "strategy": { "canary": canary },
        },
    })
}
