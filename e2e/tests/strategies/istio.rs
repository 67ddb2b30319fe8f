//! Routes of steps, protocols, `dynamicStableScale` and `pingPong`, seen through Envoy.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sluice_e2e::{
    bed::{Bed, mesh, metrics, process::until},
    load::{Load, Plan},
    recorder::Revision,
    stage::{LONG, Router, Stage, Web},
};

const HEADER: &str = "x-staff";

const STAFF: &str = "[{setCanaryScale: {replicas: 1}}, \
    {setHeaderRoute: {name: staff, match: [{headerName: x-staff, headerValue: {exact: \"1\"}}]}}, \
    {pause: {}}, {setCanaryScale: {matchTrafficWeight: true}}, {setWeight: 50}, {pause: {}}]";

/// A Rollout `web` whose routing is written out: `canary` are further lines of `spec.strategy.canary`.
fn web(canary: &str, steps: &str) -> Web {
    Web { canary: canary.to_owned(), ..Web::new(Router::None, steps) }
}

const SERVICES: &str = "      canaryService: web-canary\n      stableService: web-stable\n";

fn by_host(routing: &str) -> String {
    format!("{SERVICES}      trafficRouting: {{{routing}}}")
}

fn managed() -> String {
    let istio = "istio: {virtualService: {name: web, routes: [primary]}}";
    by_host(&format!(
        "managedRoutes: [{{name: first}}, {{name: staff}}, {{name: shadow}}], {istio}"
    ))
}

const GATEWAY: &str = "
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web}
spec:
  selector: {istio: ingressgateway}
  servers:
    - {hosts: [$HOST], port: {number: $GATEWAY_PORT, name: http, protocol: HTTP}}
";

/// A VirtualService with the sections, indented by two.
fn virtual_service(sections: &str) -> String {
    format!(
        "{GATEWAY}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web}}
spec:
  hosts: [$HOST]
  gateways: [web]
{sections}
"
    )
}

fn split(stable: &str, canary: &str) -> String {
    format!(
        "        - {{destination: {{host: {stable}, port: {{number: 80}}}}, weight: 100}}
        - {{destination: {{host: {canary}, port: {{number: 80}}}}, weight: 0}}
"
    )
}

fn primary(stable: &str, canary: &str) -> String {
    format!("  http:\n    - name: primary\n      route:\n{}", split(stable, canary))
}

/// The Rollout with `demo:v1`, healthy and answering, with Services of these names.
async fn given(
    bed: Arc<Bed>,
    namespace: &str,
    web: &Web,
    services: [&str; 2],
    route: &str,
) -> Result<Stage> {
    let stage = Stage::new(bed, namespace).await?;
    let services: String = services.iter().map(|name| web.service(name)).collect();
    stage.scene.given(&(web.manifest("demo:v1") + &services + route)).await.context("given")?;
    stage.then_healthy("web", "demo:v1").await?;
    answered(&stage).await?;
    Ok(stage)
}

async fn given_staff(bed: Arc<Bed>, namespace: &str) -> Result<Stage> {
    let route = virtual_service(&primary("web-stable", "web-canary"));
    given(bed, namespace, &web(&managed(), STAFF), ["web-stable", "web-canary"], &route).await
}

async fn answered(stage: &Stage) -> Result<()> {
    until("twenty answers in a row", LONG, || async {
        let record = stage.scene.when_load_runs(stage.scene.load(100.0).count(20)).finished().await;
        let good = record.samples.iter().filter(|s| s.status == 200).count();
        Ok((good == 20).then_some(()))
    })
    .await
}

fn staff(stage: &Stage) -> Plan {
    stage.scene.load(50.0).header(HEADER, "1")
}

/// Waits until all of twenty requests in a row are answered by the version.
async fn served(stage: &Stage, plan: Plan, version: &str) -> Result<()> {
    let what = format!("{version} answers");
    until(&what, LONG, || async {
        let record = stage.scene.when_load_runs(plan.clone().count(20)).finished().await;
        Ok((record.served_by(version) == 20).then_some(()))
    })
    .await
}

fn names(virtual_service: &Value) -> Vec<&str> {
    let http = virtual_service["spec"]["http"].as_array().into_iter().flatten();
    http.map(|route| route["name"].as_str().unwrap_or_default()).collect()
}

/// Weight of the canary on the route `primary`.
fn weight(virtual_service: &Value) -> i64 {
    let mut http = virtual_service["spec"]["http"].as_array().into_iter().flatten();
    let primary = http.find(|route| route["name"] == "primary").cloned().unwrap_or_default();
    primary["route"][1]["weight"].as_i64().unwrap_or(0)
}

async fn then_routes(stage: &Stage, wanted: &[&str]) -> Result<Value> {
    let what = format!("the routes are {wanted:?}");
    stage.then(&what, "VirtualService", "web", |v| names(v) == wanted).await
}

async fn then_weight(stage: &Stage, wanted: i64) -> Result<Value> {
    let what = format!("the canary has weight {wanted}");
    stage.then(&what, "VirtualService", "web", |v| weight(v) == wanted).await
}

/// Revisions of the VirtualService since an instant, in order.
async fn revisions(stage: &Stage, since: DateTime<Utc>) -> Result<Vec<Revision>> {
    stage.caught_up("VirtualService", "web").await?;
    let mut all = stage.scene.bed.recorder.history(&stage.scene.namespace)?;
    all.retain(|r| r.kind == "VirtualService" && r.seen >= since);
    Ok(all)
}

async fn after(load: &Load, requests: usize) -> Result<DateTime<Utc>> {
    let from = Utc::now();
    until("requests are answered", LONG, || async {
        Ok((load.record().between(from, Utc::now()).total() >= requests).then_some(()))
    })
    .await?;
    Ok(from)
}

pub(crate) async fn staff_reach_the_canary_by_header_and_nobody_else_does(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = given_staff(bed, "staff").await?;
    let users = stage.scene.when_load_runs(stage.scene.load(50.0));
    stage.when_image_is("web", "demo:v2").await?;
    then_routes(&stage, &["staff", "primary"]).await?;
    served(&stage, staff(&stage), "v2").await?;
    served(&stage, stage.scene.load(50.0).header(HEADER, "2"), "v1").await?;

    let from = after(&users, 100).await?;
    let record = users.stop().await;
    let part = record.between(from, Utc::now());
    ensure!(part.served_by("v1") == part.total(), "users met {:?}", part.by_version());
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.then_phase("web", "Paused").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_header_route_by_subset_reaches_the_canary(bed: Arc<Bed>) -> Result<()> {
    let rule = "destinationRule: {name: web, canarySubsetName: canary, stableSubsetName: stable}";
    let routing = format!(
        "      trafficRouting: {{managedRoutes: [{{name: staff}}], \
         istio: {{virtualService: {{name: web}}, {rule}}}}}"
    );
    let route = virtual_service(
        "  http:
    - name: primary
      route:
        - {destination: {host: web, subset: stable}, weight: 100}
        - {destination: {host: web, subset: canary}, weight: 0}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec:
  host: web
  subsets: [{name: stable, labels: {app: web}}, {name: canary, labels: {app: web}}]",
    );
    let stage =
        given(bed, "staff-subset", &web(&routing, STAFF), ["web", "web-spare"], &route).await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_routes(&stage, &["staff", "primary"]).await?;
    served(&stage, staff(&stage), "v2").await?;
    served(&stage, stage.scene.load(50.0), "v1").await?;

    stage.when_user_says(&["abort", "web"]).await?;
    then_routes(&stage, &["primary"]).await?;
    served(&stage, staff(&stage), "v1").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_header_route_comes_only_when_pods_behind_it_are_available(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = given_staff(bed, "staff-waits").await?;
    let load = stage.scene.when_load_runs(staff(&stage));
    let slow = json!([
        { "op": "add", "path": "/spec/template/spec/containers/0/env",
            "value": [{ "name": "READY_AFTER", "value": "4" }] },
        { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "demo:v2" },
    ]);
    stage.patch("Rollout", "web", &slow).await?;
    then_routes(&stage, &["staff", "primary"]).await?;
    served(&stage, staff(&stage), "v2").await?;
    let record = load.stop().await;

    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.caught_up("VirtualService", "web").await?;
    let rollout = stage.see("Rollout", "web").await?;
    let set = format!("web-{}", rollout["status"]["currentPodHash"].as_str().unwrap_or_default());
    let mut available = 0;
    for revision in stage.scene.bed.recorder.history(&stage.scene.namespace)? {
        if revision.kind == "ReplicaSet" && revision.name == set {
            available = revision.object["status"]["availableReplicas"].as_i64().unwrap_or(0);
        }
        if revision.kind == "VirtualService" && names(&revision.object).contains(&"staff") {
            ensure!(available > 0, "the route came before its Pods");
            break;
        }
    }
    stage.then_laws_held().await
}

pub(crate) async fn an_abort_removes_header_routes_with_the_weight_in_one_write(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = given_staff(bed, "staff-abort").await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_routes(&stage, &["staff", "primary"]).await?;
    stage.then_phase("web", "Paused").await?;
    stage.when_user_says(&["promote", "web"]).await?;
    then_weight(&stage, 50).await?;
    stage.then_phase("web", "Paused").await?;
    let load = stage.scene.when_load_runs(staff(&stage));

    let aborted = Utc::now();
    stage.when_user_says(&["abort", "web"]).await?;
    then_routes(&stage, &["primary"]).await?;
    served(&stage, staff(&stage), "v1").await?;
    served(&stage, stage.scene.load(50.0), "v1").await?;
    let record = load.stop().await;

    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    for revision in revisions(&stage, aborted).await? {
        let (weight, routes) = (weight(&revision.object), names(&revision.object).len());
        ensure!((weight > 0) == (routes > 1), "weight {weight} with {routes} routes");
    }
    stage.then_phase("web", "Degraded").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_promotion_removes_header_routes_and_fails_no_request(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = given_staff(bed, "staff-promoted").await?;
    let users = stage.scene.when_load_runs(stage.scene.load(50.0));
    let insiders = stage.scene.when_load_runs(staff(&stage));
    stage.when_image_is("web", "demo:v2").await?;
    then_routes(&stage, &["staff", "primary"]).await?;
    stage.then_phase("web", "Paused").await?;
    stage.when_user_says(&["promote", "web"]).await?;
    then_weight(&stage, 50).await?;
    stage.then_phase("web", "Paused").await?;
    let from = after(&insiders, 50).await?;
    let part = insiders.record().between(from, Utc::now());
    ensure!(part.served_by("v2") == part.total(), "staff met {:?}", part.by_version());
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    then_routes(&stage, &["primary"]).await?;
    served(&stage, stage.scene.load(50.0), "v2").await?;

    for record in [users.stop().await, insiders.stop().await] {
        ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    }
    let object = stage.see("VirtualService", "web").await?;
    let note = &object["metadata"]["annotations"]["sluice.dev/made"];
    ensure!(note.is_null(), "the note stayed: {note}");
    stage.then_laws_held().await
}

pub(crate) async fn full_promotion_removes_header_routes(bed: Arc<Bed>) -> Result<()> {
    let stage = given_staff(bed, "staff-full").await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_routes(&stage, &["staff", "primary"]).await?;
    let load = stage.scene.when_load_runs(staff(&stage));
    stage.when_user_says(&["promote", "web", "--full"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    then_routes(&stage, &["primary"]).await?;
    let record = load.stop().await;
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.then_laws_held().await
}

pub(crate) async fn a_header_route_whose_step_is_gone_is_removed(bed: Arc<Bed>) -> Result<()> {
    let stage = given_staff(bed, "staff-gone").await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_routes(&stage, &["staff", "primary"]).await?;
    let edit = json!([
        { "op": "replace", "path": "/spec/strategy/canary/steps",
            "value": [{ "setCanaryScale": { "replicas": 1 } }, { "pause": {} }] },
        { "op": "remove", "path": "/spec/strategy/canary/trafficRouting/managedRoutes" },
    ]);
    stage.patch("Rollout", "web", &edit).await?;
    then_routes(&stage, &["primary"]).await?;
    served(&stage, staff(&stage), "v1").await?;
    stage.then_laws_held().await
}

pub(crate) async fn routes_of_steps_keep_their_order_and_foreign_routes_their_bytes(
    bed: Arc<Bed>,
) -> Result<()> {
    let route = virtual_service(&format!(
        "  http:
    - match: [{{uri: {{prefix: /healthz}}}}]
      timeout: 3s
      route: [{{destination: {{host: web-stable, port: {{number: 80}}}}}}]
    - name: primary
      retries: {{attempts: 2}}
      route:
{}",
        split("web-stable", "web-canary")
    ));
    let both = "[{setCanaryScale: {replicas: 1}}, \
        {setHeaderRoute: {name: staff, match: [{headerName: x-staff, headerValue: {exact: \"1\"}}]}}, \
        {setHeaderRoute: {name: first, match: [{headerName: x-first, headerValue: {prefix: a}}]}}, \
        {pause: {}}, {setHeaderRoute: {name: staff}}, {pause: {}}]";
    let services = ["web-stable", "web-canary"];
    let stage = given(bed, "order", &web(&managed(), both), services, &route).await?;
    let foreign = |object: &Value| {
        let http = object["spec"]["http"].as_array().cloned().unwrap_or_default();
        let mut kept = http;
        kept.retain(|route| !["first", "staff"].iter().any(|name| route["name"] == *name));
        for route in &mut kept {
            for to in route["route"].as_array_mut().into_iter().flatten() {
                to.as_object_mut().map(|to| to.remove("weight"));
            }
        }
        kept
    };
    let before = foreign(&stage.see("VirtualService", "web").await?);
    let since = Utc::now();
    stage.when_image_is("web", "demo:v2").await?;
    then_routes(&stage, &["first", "staff", "", "primary"]).await?;
    stage.then_phase("web", "Paused").await?;
    stage.when_user_says(&["promote", "web"]).await?;
    then_routes(&stage, &["first", "", "primary"]).await?;
    served(&stage, stage.scene.load(50.0).header("x-first", "abc"), "v2").await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    then_routes(&stage, &["", "primary"]).await?;

    for revision in revisions(&stage, since).await? {
        ensure!(foreign(&revision.object) == before, "at {}", revision.resource_version);
    }
    mesh::nothing_rejected().await?;
    stage.then_laws_held().await
}

pub(crate) async fn mirrored_requests_reach_the_canary_and_are_answered_by_stable(
    bed: Arc<Bed>,
) -> Result<()> {
    let steps = "[{setCanaryScale: {replicas: 1}}, \
        {setMirrorRoute: {name: shadow, percentage: 100, match: [{method: {exact: GET}, path: {prefix: /}}]}}, \
        {pause: {}}, {setMirrorRoute: {name: shadow}}, {pause: {}}]";
    let route = virtual_service(&primary("web-stable", "web-canary"));
    let services = ["web-stable", "web-canary"];
    let stage = given(bed, "shadow", &web(&managed(), steps), services, &route).await?;
    stage.when_image_is("web", "demo:v2").await?;
    let object = then_routes(&stage, &["shadow", "primary"]).await?;
    ensure!(object["spec"]["http"][0]["mirrorPercentage"]["value"] == 100, "{object:#}");
    let load = stage.scene.when_load_runs(stage.scene.load(50.0));
    let count = "sum(http_requests_total{namespace=\"shadow\",version=\"v2\"})";
    until("the canary has answered 50 copies", LONG, || async {
        Ok(metrics::query(count).await?.filter(|copies| *copies >= 50.0).map(|_| ()))
    })
    .await?;
    stage.when_user_says(&["promote", "web"]).await?;
    then_routes(&stage, &["primary"]).await?;
    let record = load.stop().await;
    ensure!(record.served_by("v1") == record.total(), "users met {:?}", record.by_version());
    stage.then_laws_held().await
}

/// Answers of single connections through a port of the gateway, by version.
async fn by_connection(
    stage: &Stage,
    port: u16,
    connections: u32,
) -> Result<BTreeMap<String, u32>> {
    let mut counts = BTreeMap::new();
    for _ in 0..connections {
        let address = format!("127.0.0.1:{port}");
        let plan = Plan { address, connections: 1, ..stage.scene.load(1000.0).count(1) };
        let record = Load::start(plan).finished().await;
        let sample = record.samples.first().context("nothing was sent")?;
        let version = sample.version.as_deref().unwrap_or("-").to_owned();
        *counts.entry(version).or_default() += 1;
    }
    Ok(counts)
}

fn with_server(route: &str, server: &str) -> String {
    let http =
        "    - {hosts: [$HOST], port: {number: $GATEWAY_PORT, name: http, protocol: HTTP}}\n";
    route.replace(http, &format!("{http}{server}"))
}

pub(crate) async fn a_tcp_route_serves_its_share(bed: Arc<Bed>) -> Result<()> {
    const PORT: u16 = 9443;
    let stage = Stage::new(bed, "tcp").await?;
    let routing = by_host("istio: {virtualService: {name: web, tcpRoutes: [{port: 9443}]}}");
    let web = web(&routing, "[{setWeight: 50}, {pause: {}}]");
    let sections = format!(
        "  tcp:\n    - match: [{{port: {PORT}}}]\n      route:\n{}",
        split("web-stable", "web-canary")
    );
    let server =
        format!("    - {{hosts: [\"*\"], port: {{number: {PORT}, name: tcp, protocol: TCP}}}}\n");
    let route = with_server(&virtual_service(&sections), &server);
    let services = web.service("web-stable") + &web.service("web-canary");
    stage.scene.given(&(web.manifest("demo:v1") + &services + &route)).await?;
    stage.then_healthy("web", "demo:v1").await?;
    until("the port answers", LONG, || async {
        Ok((by_connection(&stage, PORT, 5).await?.get("v1") == Some(&5)).then_some(()))
    })
    .await?;

    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    until("both versions answer", LONG, || async {
        let counts = by_connection(&stage, PORT, 40).await?;
        // Half of 40, four standard deviations apart.
        let canary = counts.get("v2").copied().unwrap_or(0);
        ensure!(!counts.contains_key("-"), "failed connections: {counts:?}");
        Ok((7..=33).contains(&canary).then_some(()))
    })
    .await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    let counts = by_connection(&stage, PORT, 20).await?;
    ensure!(counts.get("v2") == Some(&20), "after the promotion: {counts:?}");
    mesh::nothing_rejected().await?;
    stage.then_laws_held().await
}

pub(crate) async fn three_protocols_of_one_virtual_service_move_in_one_write(
    bed: Arc<Bed>,
) -> Result<()> {
    let sections = format!(
        "{}  tls:
    - match: [{{port: 9545, sniHosts: [$HOST]}}]
      route:
{split}  tcp:
    - match: [{{port: 9544}}]
      route:
{split}",
        primary("web-stable", "web-canary"),
        split = split("web-stable", "web-canary"),
    );
    let servers = "    - {hosts: [\"*\"], port: {number: 9544, name: tcp, protocol: TCP}}
    - {hosts: [$HOST], port: {number: 9545, name: tls, protocol: TLS}, tls: {mode: PASSTHROUGH}}
";
    let route = with_server(&virtual_service(&sections), servers);
    let routing = by_host("istio: {virtualService: {name: web}}");
    let web =
        web(&routing, "[{setWeight: 30}, {pause: {}}, {setWeight: 60}, {pause: {duration: 1s}}]");
    let stage = given(bed, "protocols", &web, ["web-stable", "web-canary"], &route).await?;
    let since = Utc::now();
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    then_weight(&stage, 30).await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    then_weight(&stage, 0).await?;

    for revision in revisions(&stage, since).await? {
        let weights = ["http", "tls", "tcp"]
            .map(|section| revision.object["spec"][section][0]["route"][1]["weight"].clone());
        ensure!(weights.iter().all(|weight| *weight == weights[0]), "weights {weights:?}");
    }
    mesh::nothing_rejected().await?;
    stage.then_laws_held().await
}

pub(crate) async fn ambiguous_tcp_routes_are_refused_with_their_path(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "ambiguous").await?;
    let routing = by_host("istio: {virtualService: {name: web}}");
    let web = web(&routing, "[{setWeight: 50}]");
    let one = |port: u16| {
        format!(
            "    - match: [{{port: {port}}}]\n      route:\n{}",
            split("web-stable", "web-canary")
        )
    };
    let sections = format!("  tcp:\n{}{}", one(9643), one(9644));
    let services = web.service("web-stable") + &web.service("web-canary");
    let text = web.manifest("demo:v1") + &services + &virtual_service(&sections);
    stage.scene.given(&text).await?;
    let told = |r: &Value| {
        let conditions = r["status"]["conditions"].to_string();
        conditions.contains("spec.tcp: there are 2 TCP routes") && conditions.contains("tcpRoutes")
    };
    stage.then("the routes are refused", "Rollout", "web", told).await?;

    let chosen = json!([{ "op": "add",
        "path": "/spec/strategy/canary/trafficRouting/istio/virtualService/tcpRoutes",
        "value": [{ "port": 9643 }, { "port": 9644 }] }]);
    stage.patch("Rollout", "web", &chosen).await?;
    stage.then_healthy("web", "demo:v1").await?;
    stage.then_laws_held().await
}

const DYNAMIC: &str =
    "[{setWeight: 25}, {pause: {duration: 2s}}, {setWeight: 75}, {pause: {}}, {setWeight: 100}]";

async fn given_dynamic(bed: Arc<Bed>, namespace: &str) -> Result<Stage> {
    let routing = by_host("istio: {virtualService: {name: web, routes: [primary]}}");
    let mut web = web(&format!("{routing}\n      dynamicStableScale: true"), DYNAMIC);
    web.replicas = 4;
    let route = virtual_service(&primary("web-stable", "web-canary"));
    given(bed, namespace, &web, ["web-stable", "web-canary"], &route).await
}

async fn then_stable_wants(stage: &Stage, wanted: i64) -> Result<String> {
    let rollout = stage.see("Rollout", "web").await?;
    let set = format!("web-{}", rollout["status"]["stableRS"].as_str().unwrap_or_default());
    let what = format!("the stable set wants {wanted} Pods");
    stage.then(&what, "ReplicaSet", &set, |set| set["spec"]["replicas"] == wanted).await?;
    Ok(set)
}

pub(crate) async fn a_stable_set_that_follows_its_traffic_fails_no_request(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = given_dynamic(bed, "dynamic").await?;
    let load = stage.scene.when_load_runs(stage.scene.load(100.0));
    stage.when_image_is("web", "demo:v2").await?;
    then_weight(&stage, 75).await?;
    let old = then_stable_wants(&stage, 1).await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.then("the old set is gone", "ReplicaSet", &old, |s| s["spec"]["replicas"] == 0).await?;
    after(&load, 100).await?;
    let record = load.stop().await;
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.then_laws_held().await
}

pub(crate) async fn an_abort_lets_the_stable_set_grow_before_weight_returns(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = given_dynamic(bed, "dynamic-abort").await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_weight(&stage, 75).await?;
    let set = then_stable_wants(&stage, 1).await?;
    let load = stage.scene.when_load_runs(stage.scene.load(100.0));
    let since = Utc::now();
    stage.when_user_says(&["abort", "web"]).await?;
    then_weight(&stage, 0).await?;
    stage.then_phase("web", "Degraded").await?;
    served(&stage, stage.scene.load(50.0), "v1").await?;
    let record = load.stop().await;

    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.caught_up("VirtualService", "web").await?;
    let mut available = 1;
    for revision in stage.scene.bed.recorder.history(&stage.scene.namespace)? {
        if revision.kind == "ReplicaSet" && revision.name == set {
            available = revision.object["status"]["availableReplicas"].as_i64().unwrap_or(0);
        }
        if revision.kind == "VirtualService" && revision.seen >= since {
            let stable = 100 - weight(&revision.object);
            // By maxUnavailable, 25 %, one Pod of four may be missing.
            ensure!(stable <= (available + 1) * 25, "{stable} % on {available} of 4 Pods");
        }
    }
    stage.then_laws_held().await
}

pub(crate) async fn going_back_to_stable_lets_the_stable_set_grow_first(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = given_dynamic(bed, "dynamic-back").await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_weight(&stage, 75).await?;
    then_stable_wants(&stage, 1).await?;
    let load = stage.scene.when_load_runs(stage.scene.load(100.0));
    stage.when_image_is("web", "demo:v1").await?;
    stage.then_healthy("web", "demo:v1").await?;
    then_weight(&stage, 0).await?;
    then_stable_wants(&stage, 4).await?;
    served(&stage, stage.scene.load(50.0), "v1").await?;
    let record = load.stop().await;
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.then_laws_held().await
}

async fn given_pair(bed: Arc<Bed>, namespace: &str) -> Result<Stage> {
    let routing = "      pingPong: {pingService: web-ping, pongService: web-pong}
      trafficRouting: {istio: {virtualService: {name: web, routes: [primary]}}}";
    let web = web(routing, "[{setWeight: 50}, {pause: {}}]");
    let route = virtual_service(&primary("web-pong", "web-ping"));
    let stage = given(bed, namespace, &web, ["web-ping", "web-pong"], &route).await?;
    stage.then("all traffic is on ping", "VirtualService", "web", |v| weight(v) == 100).await?;
    Ok(stage)
}

fn side(rollout: &Value) -> &str {
    rollout["status"]["canary"]["stablePingPong"].as_str().unwrap_or_default()
}

pub(crate) async fn ping_and_pong_swap_over_two_releases_and_fail_no_request(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = given_pair(bed, "pair").await?;
    let load = stage.scene.when_load_runs(stage.scene.load(100.0));
    for (image, stable, ping) in [("demo:v2", "pong", 0), ("demo:v3", "ping", 100)] {
        stage.when_image_is("web", image).await?;
        stage.then_phase("web", "Paused").await?;
        then_weight(&stage, 50).await?;
        let since = Utc::now();
        stage.when_user_says(&["promote", "web"]).await?;
        let rollout = stage.then_healthy("web", image).await?;
        ensure!(side(&rollout) == stable, "{image}: the stable Service is {}", side(&rollout));
        then_weight(&stage, ping).await?;
        let mut weights: Vec<i64> =
            revisions(&stage, since).await?.iter().map(|r| weight(&r.object)).collect();
        weights.dedup();
        ensure!(weights.len() <= 2, "{image}: weight went to and fro: {weights:?}");
        let version = image.trim_start_matches("demo:");
        served(&stage, stage.scene.load(50.0), version).await?;
    }
    let record = load.stop().await;
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.then_laws_held().await
}

pub(crate) async fn an_aborted_release_swaps_no_services(bed: Arc<Bed>) -> Result<()> {
    let stage = given_pair(bed, "pair-abort").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    then_weight(&stage, 50).await?;
    let load = stage.scene.when_load_runs(stage.scene.load(50.0));
    stage.when_user_says(&["abort", "web"]).await?;
    then_weight(&stage, 100).await?;
    let rollout = stage.then_phase("web", "Degraded").await?;
    ensure!(side(&rollout) == "ping", "the stable Service is {}", side(&rollout));
    served(&stage, stage.scene.load(50.0), "v1").await?;
    let record = load.stop().await;
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    let selector = |service: &'static str| {
        let stage = &stage;
        async move {
            let object = stage.scene.get("v1", "Service", service).await?;
            anyhow::Ok(object["spec"]["selector"]["rollouts-pod-template-hash"].clone())
        }
    };
    until("both Services reach the stable version", Duration::from_secs(30), || async {
        Ok((selector("web-ping").await? == selector("web-pong").await?).then_some(()))
    })
    .await?;
    stage.then_laws_held().await
}
