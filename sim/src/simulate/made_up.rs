//! What a Rollout names and its manifests lack: Services and Istio's routes, made as the Rollout needs them.
//!
//! AnalysisTemplates are not made up: what they would ask cannot be guessed.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::traffic_routing::{IstioTrafficRouting, IstioVirtualService};
use sluice_crds::rollout::{CanaryStrategy, RolloutSpec};

use super::version::text;

/// An object that the manifests lack.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct MadeUp {
    /// The object.
    pub(super) object: Value,
}

/// Makes up what is missing.
pub(super) fn missing(manifests: &[Value], rollout: &Value, spec: &RolloutSpec) -> Vec<MadeUp> {
    let namespace = match text(rollout, "/metadata/namespace") {
        "" => "default",
        namespace => namespace,
    };
    let mut maker = Maker {
        manifests,
        namespace,
        selector: rollout.pointer("/spec/selector/matchLabels").cloned().unwrap_or(json!({})),
        made: Vec::new(),
    };
    for service in services(spec) {
        maker.service(&service);
    }
    if let Some(canary) = spec.strategy.canary.as_deref()
        && let Some(istio) = canary.traffic_routing.as_ref().and_then(|r| r.istio.as_ref())
    {
        maker.istio(text(rollout, "/metadata/name"), canary, istio);
    }
    maker.made
}

/// Returns the Services that the strategy names.
fn services(spec: &RolloutSpec) -> BTreeSet<String> {
    let canary = spec.strategy.canary.iter().flat_map(|canary| {
        let swapping = canary.ping_pong.iter();
        let swapping = swapping.flat_map(|pair| [&pair.ping_service, &pair.pong_service]);
        [&canary.canary_service, &canary.stable_service].into_iter().flatten().chain(swapping)
    });
    let blue_green = spec.strategy.blue_green.iter();
    let blue_green = blue_green.flat_map(|bg| [&bg.active_service, &bg.preview_service]).flatten();
    canary.chain(blue_green).filter(|name| !name.is_empty()).cloned().collect()
}

struct Maker<'a> {
    manifests: &'a [Value],
    namespace: &'a str,
    selector: Value,
    made: Vec<MadeUp>,
}

impl Maker<'_> {
    /// Returns the object, of the manifests or made up.
    fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        let made = self.made.iter().map(|made| &made.object);
        self.manifests.iter().chain(made).find(|object| {
            let namespace = text(object, "/metadata/namespace");
            object["kind"] == kind
                && object["metadata"]["name"] == name
                && (namespace.is_empty() || namespace == self.namespace)
        })
    }

    fn make(&mut self, kind: &Kind, name: &str, namespace: &str, spec: Value) {
        self.made.push(MadeUp {
            object: json!({
                "apiVersion": kind.api_version(),
                "kind": kind.kind,
                "metadata": { "name": name, "namespace": namespace },
                "spec": spec,
            }),
        });
    }

    fn service(&mut self, name: &str) {
        if self.find("Service", name).is_none() {
            let spec = json!({ "selector": self.selector, "ports": [{ "port": 80 }] });
            let namespace = self.namespace.to_owned();
            self.make(&Kind::SERVICE, name, &namespace, spec);
        }
    }

    fn istio(&mut self, rollout: &str, canary: &CanaryStrategy, istio: &IstioTrafficRouting) {
        let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        let (canary_to, stable_to) = match &istio.destination_rule {
            Some(rule) => {
                let first = istio.all_virtual_services().next();
                let host = named(&canary.stable_service)
                    .or_else(|| self.host_of(&rule.name))
                    .unwrap_or_else(|| first.map_or(rollout, |first| &*first.name).to_owned());
                let subset = |name: &str| json!({ "host": host, "subset": name });
                let pair = (subset(rule.canary_subset()), subset(rule.stable_subset()));
                self.service(&host);
                if self.find("DestinationRule", &rule.name).is_none() {
                    let of = |name: &str| json!({ "name": name, "labels": self.selector });
                    let subsets = json!([of(rule.stable_subset()), of(rule.canary_subset())]);
                    let spec = json!({ "host": host, "subsets": subsets });
                    let namespace = self.namespace.to_owned();
                    self.make(&Kind::DESTINATION_RULE, &rule.name, &namespace, spec);
                }
                pair
            }
            None => {
                let pair = canary.ping_pong.as_ref();
                let canary_service = named(&canary.canary_service)
                    .or_else(|| pair.map(|pair| pair.pong_service.clone()));
                let stable_service = named(&canary.stable_service)
                    .or_else(|| pair.map(|pair| pair.ping_service.clone()));
                let (Some(to), Some(stable)) = (canary_service, stable_service) else { return };
                (json!({ "host": to }), json!({ "host": stable }))
            }
        };
        for route in istio.all_virtual_services() {
            self.virtual_service(route, &canary_to, &stable_to);
        }
    }

    fn host_of(&self, rule: &str) -> Option<String> {
        let rule = self.find("DestinationRule", rule)?;
        let host = text(rule, "/spec/host");
        host.split('.').next().filter(|host| !host.is_empty()).map(str::to_owned)
    }

    fn virtual_service(&mut self, named: &IstioVirtualService, canary: &Value, stable: &Value) {
        let (name, namespace) = match named.name.split_once('.') {
            Some((name, namespace)) => (name, namespace.to_owned()),
            None => (named.name.as_str(), self.namespace.to_owned()),
        };
        if self.find("VirtualService", name).is_some() {
            return;
        }
        let route = json!([
            { "destination": stable, "weight": 100 },
            { "destination": canary, "weight": 0 },
        ]);
        let mut spec = json!({ "hosts": [stable["host"]] });
        let tls = named.tls_routes.as_deref().unwrap_or_default();
        let tcp = named.tcp_routes.as_deref().unwrap_or_default();
        let http: Vec<Value> = match named.routes.as_deref().unwrap_or_default() {
            [] if tls.is_empty() && tcp.is_empty() => vec![json!({ "route": route })],
            names => names.iter().map(|name| json!({ "name": name, "route": route })).collect(),
        };
        if !http.is_empty() {
            spec["http"] = json!(http);
        }
        if !tls.is_empty() {
            let entries = tls.iter().map(|tls| {
                let mut wanted =
                    json!({ "sniHosts": tls.sni_hosts.as_deref().unwrap_or_default() });
                if let Some(port) = tls.port {
                    wanted["port"] = json!(port);
                }
                json!({ "match": [wanted], "route": route })
            });
            spec["tls"] = entries.collect();
        }
        if !tcp.is_empty() {
            let entries = tcp.iter().map(|tcp| match tcp.port {
                Some(port) => json!({ "match": [{ "port": port }], "route": route }),
                None => json!({ "route": route }),
            });
            spec["tcp"] = entries.collect();
        }
        self.make(&Kind::VIRTUAL_SERVICE, name, &namespace, spec);
    }
}

impl MadeUp {
    /// Returns the object's kind and name.
    pub(super) fn name(&self) -> String {
        format!("{} {}", text(&self.object, "/kind"), text(&self.object, "/metadata/name"))
    }
}

/// Returns the address of a manifest of a kind.
pub(super) fn address(kind: Kind, object: &Value) -> ObjectRef {
    let namespace = match text(object, "/metadata/namespace") {
        "" => "default",
        namespace => namespace,
    };
    ObjectRef::namespaced(kind, namespace, text(object, "/metadata/name"))
}
