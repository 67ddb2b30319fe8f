//! `spec.strategy.canary.trafficRouting` of a Rollout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{preserved_object, preserved_value};

/// Traffic routers, and what they share.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficRouting {
    /// Istio VirtualServices, and a DestinationRule where subsets are used.
    pub istio: Option<IstioTrafficRouting>,
    /// Ingress NGINX.
    #[schemars(schema_with = "preserved_object")]
    pub nginx: Option<serde_json::Value>,
    /// AWS Application Load Balancer.
    #[schemars(schema_with = "preserved_object")]
    pub alb: Option<serde_json::Value>,
    /// Service Mesh Interface.
    #[schemars(schema_with = "preserved_object")]
    pub smi: Option<serde_json::Value>,
    /// Ambassador.
    #[schemars(schema_with = "preserved_object")]
    pub ambassador: Option<serde_json::Value>,
    /// AWS App Mesh.
    #[schemars(schema_with = "preserved_object")]
    pub app_mesh: Option<serde_json::Value>,
    /// Traefik.
    #[schemars(schema_with = "preserved_object")]
    pub traefik: Option<serde_json::Value>,
    /// Apache APISIX.
    #[schemars(schema_with = "preserved_object")]
    pub apisix: Option<serde_json::Value>,
    /// Router plugins by name.
    #[schemars(schema_with = "preserved_value")]
    pub plugins: Option<serde_json::Value>,
    /// Names of routes that we may create, in order of precedence.
    pub managed_routes: Option<Vec<ManagedRoute>>,
    /// Weight that means all traffic. Default 100; only with nginx or plugins.
    pub max_traffic_weight: Option<i32>,
}

/// Name of a route that we may create.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ManagedRoute {
    /// Name.
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
