//! `spec.strategy.canary.trafficRouting` of a Rollout.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// Traffic routers, and what they share.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficRouting {
    /// Istio VirtualServices, and a DestinationRule where subsets are used.
    pub istio: Option<IstioTrafficRouting>,
    /// Ingress NGINX, by canary Ingresses with annotations.
    pub nginx: Option<NginxTrafficRouting>,
    /// AWS Application Load Balancer, by an annotation of the Ingress.
    pub alb: Option<AlbTrafficRouting>,
    /// Service Mesh Interface, by a TrafficSplit.
    pub smi: Option<SmiTrafficRouting>,
    /// Ambassador (Emissary), by canary Mappings.
    pub ambassador: Option<AmbassadorTrafficRouting>,
    /// AWS App Mesh.
    pub app_mesh: Option<AppMeshTrafficRouting>,
    /// Traefik, by a TraefikService.
    pub traefik: Option<TraefikTrafficRouting>,
    /// Apache APISIX, by an ApisixRoute.
    pub apisix: Option<ApisixTrafficRouting>,
    /// Router plugins: name and configuration, kept as written.
    #[schemars(schema_with = "crate::schema::any_object_map")]
    pub plugins: Option<BTreeMap<String, serde_json::Value>>,
    /// Names of routes that we may create, in order of precedence.
    pub managed_routes: Option<Vec<ManagedRoute>>,
    /// Weight that means all traffic. Default 100; only with nginx or plugins.
    #[schemars(range(min = 1))]
    pub max_traffic_weight: Option<i32>,
}

/// Name of a route that we may create.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ManagedRoute {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
}

/// Istio: exactly one of `virtualService` and `virtualServices`.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioTrafficRouting {
    /// One VirtualService.
    pub virtual_service: Option<IstioVirtualService>,
    /// Several VirtualServices.
    pub virtual_services: Option<Vec<IstioVirtualService>>,
    /// A DestinationRule whose subsets tell canary and stable apart.
    pub destination_rule: Option<IstioDestinationRule>,
}

impl IstioTrafficRouting {
    /// Returns the VirtualServices of either form.
    pub fn all_virtual_services(&self) -> impl Iterator<Item = &IstioVirtualService> {
        self.virtual_service.iter().chain(self.virtual_services.iter().flatten())
    }
}

/// A VirtualService and which of its routes are ours to weigh.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioVirtualService {
    /// Name, or `name.namespace`.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Names of HTTP routes. Default: the only one.
    pub routes: Option<Vec<String>>,
    /// TLS routes.
    pub tls_routes: Option<Vec<IstioTlsRoute>>,
    /// TCP routes.
    pub tcp_routes: Option<Vec<IstioTcpRoute>>,
}

/// Selects TLS routes.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioTlsRoute {
    /// Port.
    pub port: Option<i64>,
    /// SNI hosts.
    pub sni_hosts: Option<Vec<String>>,
}

/// Selects TCP routes.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioTcpRoute {
    /// Port.
    pub port: Option<i64>,
}

/// A DestinationRule and its subsets.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioDestinationRule {
    /// Name, in the Rollout's namespace.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Subset of the canary. Default `canary` (superset; Argo requires it).
    pub canary_subset_name: Option<String>,
    /// Subset of the stable version. Default `stable` (superset; Argo requires it).
    pub stable_subset_name: Option<String>,
    /// Subsets whose weights are left alone.
    pub additional_subset_names: Option<Vec<String>>,
}

impl IstioDestinationRule {
    /// Returns the canary's subset.
    pub fn canary_subset(&self) -> &str {
        self.canary_subset_name.as_deref().unwrap_or("canary")
    }

    /// Returns the stable subset.
    pub fn stable_subset(&self) -> &str {
        self.stable_subset_name.as_deref().unwrap_or("stable")
    }
}

/// Ingress NGINX: exactly one of `stableIngress` and `stableIngresses`.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NginxTrafficRouting {
    /// Prefix of the annotations. Default `nginx.ingress.kubernetes.io`.
    pub annotation_prefix: Option<String>,
    /// Ingress that reaches the stable Service.
    pub stable_ingress: Option<String>,
    /// Several such Ingresses.
    pub stable_ingresses: Option<Vec<String>>,
    /// Further annotations for the canary Ingress, after the prefix.
    pub additional_ingress_annotations: Option<BTreeMap<String, String>>,
    /// Annotations for the canary Ingress, whole.
    pub canary_ingress_annotations: Option<BTreeMap<String, String>>,
}

/// AWS Application Load Balancer: exactly one of `ingress` and `ingresses`.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AlbTrafficRouting {
    /// Ingress whose forward action carries the weights.
    pub ingress: Option<String>,
    /// Several such Ingresses.
    pub ingresses: Option<Vec<String>>,
    /// Port of the Services.
    #[schemars(extend("x-required" = true))]
    pub service_port: i32,
    /// Service that the Ingress names. Default: the stable Service.
    pub root_service: Option<String>,
    /// Prefix of the annotations. Default `alb.ingress.kubernetes.io`.
    pub annotation_prefix: Option<String>,
    /// Keeps a client at the version that it met.
    pub stickiness_config: Option<StickinessConfig>,
}

/// Keeps a client at the version that it met.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StickinessConfig {
    /// Whether it is on.
    #[schemars(extend("x-required" = true))]
    pub enabled: bool,
    /// How long, in seconds.
    #[schemars(extend("x-required" = true), range(min = 1, max = 604_800))]
    pub duration_seconds: i64,
}

/// Service Mesh Interface.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SmiTrafficRouting {
    /// Service that clients call. Default: the stable Service.
    pub root_service: Option<String>,
    /// Name of the TrafficSplit. Default: the Rollout's name.
    pub traffic_split_name: Option<String>,
}

/// Ambassador (Emissary).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AmbassadorTrafficRouting {
    /// Mappings that reach the stable Service; at least one.
    #[schemars(extend("x-required" = true))]
    pub mappings: Vec<String>,
}

/// AWS App Mesh.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppMeshTrafficRouting {
    /// The virtual service and its routes.
    pub virtual_service: Option<AppMeshVirtualService>,
    /// The virtual nodes of the two versions.
    pub virtual_node_group: Option<AppMeshVirtualNodeGroup>,
}

/// An App Mesh virtual service.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppMeshVirtualService {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Routes. Default: the only one.
    pub routes: Option<Vec<String>>,
}

/// The virtual nodes of the two versions.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppMeshVirtualNodeGroup {
    /// Virtual node of the canary.
    #[schemars(extend("x-required" = true))]
    pub canary_virtual_node_ref: AppMeshVirtualNodeRef,
    /// Virtual node of the stable version.
    #[schemars(extend("x-required" = true))]
    pub stable_virtual_node_ref: AppMeshVirtualNodeRef,
}

/// A virtual node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppMeshVirtualNodeRef {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
}

/// Traefik.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TraefikTrafficRouting {
    /// TraefikService of the weighted kind.
    #[schemars(extend("x-required" = true))]
    pub weighted_traefik_service_name: String,
}

/// Apache APISIX.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApisixTrafficRouting {
    /// The route.
    pub route: Option<ApisixRoute>,
}

/// An ApisixRoute.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApisixRoute {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Rules (`http[].name`). Default: the only one.
    pub rules: Option<Vec<String>>,
}
