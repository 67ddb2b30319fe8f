//! The objects that a search begins with, and what the user and others write.

use serde_json::{Value, json};
use sluice_crds::object::{Change, Kind, ObjectRef, Preconditions, Write};
use sluice_engine::rollout::template_hash::template_hash;

use super::facts::{HEADER, MIRROR};
use super::{
    BlueGreen, Bounds, Foreign, Promotion, Protocol, Routing, Step, Toggle, image, runs,
    users_write,
};

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
    pub(super) fn write(self, bounds: &Bounds) -> Write {
        let hash = sluice_crds::labels::POD_TEMPLATE_HASH;
        let by_subset = bounds.routing == Routing::Subsets;
        let unselect =
            |name: &str| (Kind::SERVICE, name.to_owned(), json!({ "selector": { hash: null } }));
        let (kind, name, spec) = match self {
            Self::Weight(canary) => {
                (Kind::VIRTUAL_SERVICE, "web".to_owned(), network(bounds, canary))
            }
            Self::Stable | Self::Canary if by_subset => {
                (Kind::DESTINATION_RULE, "web".to_owned(), json!({ "subsets": subsets() }))
            }
            Self::Stable => unselect("web-stable"),
            Self::Canary => unselect("web-canary"),
            Self::Size(replicas) => {
                let first = template_hash(&template(1), None);
                (Kind::REPLICA_SET, format!("web-{first}"), json!({ "replicas": replicas }))
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
            Self::Experiment => runs::trial(),
            Self::Header => json!({ "setHeaderRoute": { "name": HEADER, "match": [
                { "headerName": "x-staff", "headerValue": { "exact": "yes" } },
            ] } }),
            Self::NoHeader => json!({ "setHeaderRoute": { "name": HEADER } }),
            Self::Mirror => json!({ "setMirrorRoute": {
                "name": MIRROR, "percentage": 50, "match": [{ "path": { "prefix": "/" } }],
            } }),
        }
    }
}

fn routes(routing: Routing, canary: u8) -> Value {
    let destination = |role: &str, weight: u8| {
        let to = match routing {
            Routing::Hosts | Routing::PingPong | Routing::Basic(..) | Routing::BlueGreen(_) => {
                json!({ "host": format!("web-{role}") })
            }
            Routing::Subsets => json!({ "host": "web", "subset": role }),
        };
        json!({ "destination": to, "weight": weight })
    };
    json!([destination("stable", 100 - canary), destination("canary", canary)])
}

/// What a VirtualService says of the managed routes.
fn network(bounds: &Bounds, canary: u8) -> Value {
    let route = routes(bounds.routing, canary);
    let http = json!([{ "name": "primary", "route": route }]);
    match bounds.protocol {
        Protocol::Http => json!({ "http": http }),
        Protocol::Tcp => json!({ "tcp": [{ "match": [{ "port": 5432 }], "route": route }] }),
        Protocol::HttpAndTls => json!({
            "http": http,
            "tls": [{ "match": [{ "port": 443, "sniHosts": ["web"] }], "route": route }],
        }),
    }
}

/// What the Rollout says of them.
fn managed(protocol: Protocol) -> Value {
    match protocol {
        Protocol::Http => json!({ "name": "web", "routes": ["primary"] }),
        Protocol::Tcp => json!({ "name": "web", "tcpRoutes": [{ "port": 5432 }] }),
        Protocol::HttpAndTls => json!({
            "name": "web", "routes": ["primary"],
            "tlsRoutes": [{ "port": 443, "sniHosts": ["web"] }],
        }),
    }
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
    if let Routing::BlueGreen(strategy) = bounds.routing {
        return blue_green(bounds.replicas, strategy);
    }
    let steps: Vec<Value> = bounds.steps.iter().map(|step| step.json()).collect();
    let mut istio = json!({ "virtualService": managed(bounds.protocol) });
    let mut canary = json!({ "steps": steps });
    if bounds.background {
        canary["analysis"] = runs::step()["analysis"].clone();
    }
    if bounds.dynamic {
        canary["dynamicStableScale"] = json!(true);
    }
    let mut objects = Vec::new();
    match bounds.routing {
        Routing::Hosts => {
            canary["canaryService"] = json!("web-canary");
            canary["stableService"] = json!("web-stable");
            objects.extend([service("web-stable"), service("web-canary")]);
        }
        Routing::PingPong => {
            // Before the first promotion pong is the stable one.
            canary["pingPong"] =
                json!({ "pingService": "web-canary", "pongService": "web-stable" });
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
        Routing::BlueGreen(_) => {}
    }
    let is_routed = bounds.routing.is_routed();
    if is_routed {
        let ours = json!([{ "name": HEADER }, { "name": MIRROR }]);
        canary["trafficRouting"] = json!({ "istio": istio, "managedRoutes": ours });
    }
    objects.push(rollout(bounds.replicas, &json!({ "canary": canary })));
    if is_routed {
        let mut spec = network(bounds, 0);
        spec["hosts"] = json!(["web"]);
        objects.push(json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": metadata("web"), "spec": spec,
        }));
    }
    objects
}

fn blue_green(replicas: u8, of: BlueGreen) -> Vec<Value> {
    let mut strategy = json!({ "activeService": "web-stable" });
    let mut objects = vec![service("web-stable")];
    if of.preview {
        strategy["previewService"] = json!("web-canary");
        objects.push(service("web-canary"));
    }
    match of.pause {
        Promotion::Auto => {}
        Promotion::Wait => strategy["autoPromotionSeconds"] = json!(30),
        Promotion::Person => strategy["autoPromotionEnabled"] = json!(false),
    }
    let judges = runs::step()["analysis"].clone();
    if of.before {
        strategy["prePromotionAnalysis"] = judges.clone();
    }
    if of.after {
        strategy["postPromotionAnalysis"] = judges;
    }
    if let Some(count) = of.preview_replicas {
        strategy["previewReplicaCount"] = json!(count);
    }
    if of.hurries {
        strategy["scaleDownDelaySeconds"] = json!(0);
    }
    objects.push(rollout(replicas, &json!({ "blueGreen": strategy })));
    objects
}

fn template(version: u8) -> Value {
    json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "web", "image": format!("demo:{version}") }] },
    })
}

fn rollout(replicas: u8, strategy: &Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": metadata("web"),
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "web" } },
            "template": template(1),
            "strategy": strategy,
        },
    })
}
