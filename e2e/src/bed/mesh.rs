//! istiod as a plain process, and a stock Envoy as its ingress gateway.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        RuleWithOperations, ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    apply::Applier,
    http,
    identity::Authority,
    network::BRIDGE,
    parts::Parts,
    ports,
    process::{Process, until},
};

const MESH: &str = include_str!("../../bed/istio/mesh.yaml");
const NAMESPACE: &str = "istio-system";
const READY: Duration = Duration::from_secs(30);
/// Logical name of the version in the gateway's node metadata; without it istiod assumes newest.
const VERSION: &str = "1.31.0";

/// The running mesh. Dropping it kills both programs.
#[derive(Debug)]
pub struct Mesh {
    pub istiod: Process,
    pub envoy: Process,
}

/// One destination of a route, as Envoy has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// Fully qualified host of the Service.
    pub host: String,
    /// Subset of the DestinationRule; empty where hosts are split.
    pub subset: String,
    /// Its weight; 100 for the only destination of a route. Weight 0 is not in Envoy at all.
    pub weight: u32,
}

/// One route of a virtual host, as Envoy has it, in order of matching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `spec.http[].name` of the VirtualService, empty where it has none.
    pub name: String,
    pub destinations: Vec<Destination>,
}

impl Mesh {
    /// Applies Istio's CRDs and validation, starts istiod and the gateway, and waits until the
    /// gateway has taken a first configuration.
    ///
    /// # Errors
    /// When one of them is not ready in time or Envoy refuses what istiod pushes.
    pub async fn start(
        parts: &Parts,
        run: &Path,
        authority: &Authority,
        client: &Client,
    ) -> Result<Self> {
        let applier = Applier::new(client.clone(), "sluice-bed");
        let crds = super::apply::documents(&fs::read_to_string(&parts.istio_crds)?)?;
        applier.objects("", crds).await.context("Istio's CRDs")?;
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        applier.objects("", vec![namespace]).await?;
        let mut istiod = istiod(parts, run, authority)?;
        let address = format!("127.0.0.1:{}", ports::ISTIOD_HTTP);
        istiod.ready(READY, || async { http::get_ok(&address, "/ready").await }).await?;
        validate_routes(client, authority).await?;
        let mut envoy = envoy(parts, run)?;
        envoy.ready(READY, || async { synced().await }).await?;
        Ok(Self { istiod, envoy })
    }
}

fn istiod(parts: &Parts, run: &Path, authority: &Authority) -> Result<Process> {
    let kubeconfig = authority.kubeconfig("bed:istiod", None)?;
    let mesh = run.join("mesh.yaml");
    fs::write(&mesh, MESH)?;
    let mut command = Command::new(&parts.pilot_discovery);
    command.envs([
        ("POD_NAMESPACE", NAMESPACE),
        ("POD_NAME", "istiod-0"),
        ("CLUSTER_ID", "Kubernetes"),
        ("REVISION", "default"),
        // A stock Envoy knows neither of Istio's own filters: it would refuse every listener.
        ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
        ("PILOT_ENABLE_ALPN_FILTER", "false"),
        // With its certificate authority on, istiod writes ConfigMaps into every namespace.
        ("ENABLE_CA_SERVER", "false"),
        ("PILOT_CERT_PROVIDER", "none"),
        ("XDS_AUTH", "false"),
        ("INJECT_ENABLED", "false"),
        ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
        ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
        ("ENABLE_LEADER_ELECTION", "false"),
        ("PILOT_ENABLE_GATEWAY_API", "false"),
        // The default of 100 ms would be added to every change of weight.
        ("PILOT_DEBOUNCE_AFTER", "10ms"),
        ("PILOT_DEBOUNCE_MAX", "1s"),
    ]);
    command.arg("discovery");
    for (flag, file) in [
        ("kubeconfig", kubeconfig),
        ("meshConfig", mesh),
        ("tlsCertFile", authority.file("server.crt")),
        ("tlsKeyFile", authority.file("server.key")),
        ("caCertFile", authority.file("ca.crt")),
    ] {
        command.arg(format!("--{flag}={}", file.display()));
    }
    for (flag, port) in [
        ("httpAddr", ports::ISTIOD_HTTP),
        ("grpcAddr", ports::ISTIOD_XDS),
        ("httpsAddr", ports::ISTIOD_WEBHOOK),
        ("monitoringAddr", ports::ISTIOD_MONITORING),
    ] {
        command.arg(format!("--{flag}=127.0.0.1:{port}"));
    }
    command.args(["--secureGRPCAddr=", "--ctrlz_port=0"]);
    Process::start("istiod", command, &run.join("logs"))
}

/// Istio's own admission: without it the API server takes weights that Envoy refuses later.
async fn validate_routes(client: &Client, authority: &Authority) -> Result<()> {
    let name = "bed-istio-validation";
    let rules = |group: &str| RuleWithOperations {
        api_groups: Some(vec![group.to_owned()]),
        api_versions: Some(vec!["*".to_owned()]),
        operations: Some(vec!["CREATE".to_owned(), "UPDATE".to_owned()]),
        resources: Some(vec!["*".to_owned()]),
        scope: None,
    };
    let mut configuration = ValidatingWebhookConfiguration {
        webhooks: Some(vec![ValidatingWebhook {
            name: "validation.istio.io".to_owned(),
            admission_review_versions: vec!["v1".to_owned()],
            side_effects: "None".to_owned(),
            failure_policy: Some("Fail".to_owned()),
            rules: Some(vec![rules("networking.istio.io"), rules("security.istio.io")]),
            client_config: WebhookClientConfig {
                url: Some(format!("https://127.0.0.1:{}/validate", ports::ISTIOD_WEBHOOK)),
                ca_bundle: Some(ByteString(authority.ca_pem().into_bytes())),
                service: None,
            },
            ..ValidatingWebhook::default()
        }]),
        ..ValidatingWebhookConfiguration::default()
    };
    configuration.metadata.name = Some(name.to_owned());
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let params = PatchParams::apply("sluice-bed").force();
    api.patch(name, &params, &Patch::Apply(&configuration)).await?;
    Ok(())
}

fn envoy(parts: &Parts, run: &Path) -> Result<Process> {
    let file = run.join("envoy.json");
    fs::write(&file, serde_json::to_string_pretty(&bootstrap())?)?;
    let mut command = Command::new(&parts.envoy);
    // One worker makes round-robin and splits as even as they can be.
    command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c"]);
    command.arg(file);
    Process::start("envoy", command, &run.join("logs"))
}

fn bootstrap() -> Value {
    let ads = json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" });
    let socket =
        |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    json!({
        "node": {
            "id": format!("router~{BRIDGE}~gateway-0.{NAMESPACE}~{NAMESPACE}.svc.cluster.local"),
            "cluster": "istio-ingressgateway",
            "metadata": {
                "NAMESPACE": NAMESPACE,
                "CLUSTER_ID": "Kubernetes",
                "ISTIO_VERSION": VERSION,
                "INSTANCE_IPS": BRIDGE.to_string(),
                "LABELS": { "istio": "ingressgateway" },
            },
        },
        "dynamic_resources": {
            "lds_config": ads,
            "cds_config": ads,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                // The defaults take up to 15 s to come back after a restart of istiod.
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc", "retry_policy": {
                    "retry_back_off": { "base_interval": "0.1s", "max_interval": "0.5s" } } } }],
            },
        },
        "static_resources": { "clusters": [{
            "name": "xds-grpc",
            "alt_stat_name": "xds-grpc;",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} },
                },
            },
            "load_assignment": { "cluster_name": "xds-grpc", "endpoints": [{ "lb_endpoints": [
                { "endpoint": { "address": socket(ports::ISTIOD_XDS) } }] }] },
        }] },
        "admin": { "address": socket(ports::ENVOY_ADMIN) },
        // istiod ends a cluster's name in statistics with `;`. The default rules would cut it at
        // its dots and leave half the host in the metric's name.
        "stats_config": { "use_all_default_tags": false, "stats_tags": [
            { "tag_name": "cluster_name", "regex": r"^cluster\.((.+?);\.)" },
            { "tag_name": "response_code", "regex": r"_rq(_(\d{3}))$" },
            { "tag_name": "response_code_class", "regex": r"_rq(_(\dxx))$" },
            { "tag_name": "http_conn_manager_prefix", "regex": r"^http\.((.+?)\.)downstream_" },
        ] },
    })
}

/// Connected, served with listeners and clusters once, and nothing refused.
async fn synced() -> Result<()> {
    let accepted = gauge("listener_manager.lds.update_success").await?
        * gauge("cluster_manager.cds.update_success").await?;
    ensure!(accepted > 0, "the gateway has no configuration yet");
    nothing_rejected().await
}

/// Whether Envoy has taken every configuration that istiod pushed so far.
///
/// # Errors
/// When it refused one (the reason is in istiod's log), or does not answer.
pub async fn nothing_rejected() -> Result<()> {
    for kind in ["listener_manager.lds", "cluster_manager.cds"] {
        let rejected = gauge(&format!("{kind}.update_rejected")).await?;
        ensure!(rejected == 0, "Envoy refused {rejected} updates of {kind}");
    }
    Ok(())
}

async fn gauge(name: &str) -> Result<u64> {
    let stats = admin(&format!("/stats?filter=^{}$", name.replace('.', r"\."))).await?;
    let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or("0").trim().parse().with_context(|| format!("statistic `{name}`: {stats}"))
}

async fn admin(path: &str) -> Result<String> {
    http::get_ok(&format!("127.0.0.1:{}", ports::ENVOY_ADMIN), path).await
}

/// The routes for `host` that Envoy works with now; none when it does not know the host.
///
/// # Errors
/// When Envoy does not answer.
pub async fn routes(host: &str) -> Result<Vec<Route>> {
    let dump: Value =
        serde_json::from_str(&admin("/config_dump?resource=dynamic_route_configs").await?)?;
    Ok(routes_of(&dump, host))
}

fn routes_of(dump: &Value, host: &str) -> Vec<Route> {
    let is_host = |vhost: &&Value| {
        vhost["domains"].as_array().is_some_and(|domains| domains.iter().any(|d| d == host))
    };
    let routes = items(&dump["configs"])
        .flat_map(|config| items(&config["route_config"]["virtual_hosts"]))
        .find(is_host)
        .map(|vhost| items(&vhost["routes"]).map(route).collect());
    routes.unwrap_or_default()
}

/// Waits until a route for `host` has exactly these weights, by `host` or `host/subset` of the
/// destination where `host` may be a Service's short name. Destinations of weight 0 are left out.
///
/// # Errors
/// When it has not within `deadline`; the message holds what Envoy has.
pub async fn weights(host: &str, wanted: &[(&str, u32)], deadline: Duration) -> Result<()> {
    let wanted: Vec<_> = wanted.iter().filter(|(_, weight)| *weight > 0).collect();
    let seen = std::sync::Mutex::new(Vec::new());
    let found = until("the weights arrive in Envoy", deadline, || async {
        let routes = routes(host).await?;
        let matches = |route: &Route| {
            route.destinations.len() == wanted.len()
                && wanted.iter().all(|(name, weight)| {
                    route.destinations.iter().any(|d| d.weight == *weight && d.is(name))
                })
        };
        let found = routes.iter().any(matches);
        *seen.lock().expect("no thread panics while it holds this") = routes;
        Ok(found.then_some(()))
    })
    .await;
    found.with_context(|| format!("wanted {wanted:?}, Envoy has {seen:?}"))
}

impl Destination {
    /// Whether `name` (`service`, `service/subset`, or with the full host) names it.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        let (host, subset) = name.split_once('/').unwrap_or((name, ""));
        let rest = self.host.strip_prefix(host);
        subset == self.subset && rest.is_some_and(|r| r.is_empty() || r.starts_with('.'))
    }
}

fn route(route: &Value) -> Route {
    let action = &route["route"];
    let name = route["name"].as_str().unwrap_or_default().to_owned();
    let destinations = match action["cluster"].as_str() {
        Some(cluster) => vec![destination(cluster, 100)],
        None => items(&action["weighted_clusters"]["clusters"])
            .map(|cluster| {
                let weight = cluster["weight"].as_u64().unwrap_or_default();
                destination(
                    cluster["name"].as_str().unwrap_or_default(),
                    u32::try_from(weight).unwrap_or(u32::MAX),
                )
            })
            .collect(),
    };
    Route { name, destinations }
}

/// `outbound|<port>|<subset>|<host>`.
fn destination(cluster: &str, weight: u32) -> Destination {
    let mut fields = cluster.split('|').skip(2).map(str::to_owned);
    let subset = fields.next().unwrap_or_default();
    Destination { subset, host: fields.next().unwrap_or_else(|| cluster.to_owned()), weight }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_from_both_forms_of_a_route() {
        let dump = json!({ "configs": [{ "route_config": { "virtual_hosts": [
            { "domains": ["other"], "routes": [{ "route": { "cluster": "x" } }] },
            { "domains": ["shop.test", "shop.test:*"], "routes": [
                { "name": "primary", "route": { "weighted_clusters": { "clusters": [
                    { "name": "outbound|80||stable.shop.svc.cluster.local", "weight": 80 },
                    { "name": "outbound|80||canary.shop.svc.cluster.local", "weight": 20 },
                ] } } },
                { "route": { "cluster": "outbound|80|v2|web.shop.svc.cluster.local" } },
            ] },
        ] } }] });
        let routes = routes_of(&dump, "shop.test");
        let [primary, plain] = routes.as_slice() else { panic!("two routes: {routes:?}") };
        let weights: Vec<_> = primary.destinations.iter().map(|d| d.weight).collect();
        assert_eq!((primary.name.as_str(), weights), ("primary", vec![80, 20]));
        assert!(primary.destinations[0].is("stable") && !primary.destinations[0].is("stab"));
        assert!(plain.destinations[0].is("web/v2") && !plain.destinations[0].is("web"));
        assert_eq!(plain.destinations[0].weight, 100);
        assert!(routes_of(&dump, "nobody.test").is_empty());
    }
}
