//! Promises of the bed itself: what other tests stand on.

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, Service};
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::{Value, json};
use sluice_e2e::{
    bed::{
        Bed,
        controller::{self, Installation, Instance},
        identity, mesh, metrics,
        process::{Process, until},
        sibling,
    },
    given::Scene,
    harness, recorder,
};
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    harness::main(&sluice_e2e::tests![
        a_weighted_route_splits_real_requests,
        weight_changes_and_leaving_pods_fail_no_request,
        istio_refuses_a_negative_weight,
        a_pod_is_ready_only_when_its_gates_are_open,
        a_crashing_container_is_restarted_with_back_off,
        an_image_that_is_not_there_is_never_pulled,
        a_job_fails_with_the_exit_code_of_its_process,
        a_deleted_pod_is_not_ready_and_lives_until_its_hook_is_over,
        prometheus_sees_the_error_rate_of_a_backend,
        a_push_over_http_is_cloned_over_http,
        every_revision_is_recorded_and_every_write_is_audited,
        the_controllers_account_reads_no_secrets,
        a_killed_controller_comes_back_under_its_own_account,
        two_beds_stand_side_by_side_with_equal_addresses,
    ])
}

async fn a_weighted_route_splits_real_requests(bed: Arc<Bed>) -> Result<()> {
    let scene = Scene::new(bed, "split").await?;
    scene.given_backends("stable", "v1", 2).await?;
    scene.given_backends("canary", "v2", 1).await?;
    scene.given_route(&[("stable", 80), ("canary", 20)]).await?;
    scene.then_available("stable").await?;
    scene.then_available("canary").await?;
    scene.then_routed(&[("stable", 80), ("canary", 20)]).await?;

    let load = scene.when_load_runs(scene.load(1000.0).count(2000));
    let record = load.finished().await;

    ensure!(record.total() == 2000, "{} requests were sent", record.total());
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    // Three standard deviations of a binomial share of 20 % in 2,000 requests are 2.7 points.
    let share = record.share("v2");
    ensure!((0.173..=0.227).contains(&share), "the canary served {share} of the requests");
    mesh::nothing_rejected().await
}

async fn weight_changes_and_leaving_pods_fail_no_request(bed: Arc<Bed>) -> Result<()> {
    let scene = Scene::new(bed, "moving").await?;
    scene.given_backends("stable", "v1", 3).await?;
    scene.given_backends("canary", "v2", 3).await?;
    scene.given_route(&[("stable", 100), ("canary", 0)]).await?;
    scene.then_available("stable").await?;
    scene.then_available("canary").await?;
    scene.then_routed(&[("stable", 100)]).await?;

    let load = scene.when_load_runs(scene.load(300.0));
    for canary in [20, 50, 100] {
        let weights = [("stable", 100 - canary), ("canary", canary)];
        scene.given_route(&weights).await?;
        scene.then_routed(&weights).await?;
    }
    scene.given_backends("stable", "v1", 0).await?;
    scene.given_backends("canary", "v2", 1).await?;
    let gone = |set: &Value| set["status"]["replicas"] == 0;
    scene.then(("apps/v1", "ReplicaSet", "stable"), "has no Pods", SOON, gone).await?;
    let moved = Utc::now();
    until("requests after the move", SOON, || async {
        Ok((load.record().between(moved, Utc::now()).total() > 100).then_some(()))
    })
    .await?;
    let record = load.stop().await;

    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    let after = record.between(moved, Utc::now());
    ensure!(after.served_by("v2") == after.total(), "after the move: {:?}", after.by_version());
    Ok(())
}

async fn istio_refuses_a_negative_weight(bed: Arc<Bed>) -> Result<()> {
    let scene = Scene::new(bed, "refused").await?;
    let route = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: route}
spec:
  hosts: [$HOST]
  http:
    - route:
        - {destination: {host: a}, weight: -1}
        - {destination: {host: b}, weight: 101}
";
    let refused = scene.given(route).await.err().context("a negative weight was accepted")?;
    let text = format!("{refused:#}");
    ensure!(text.contains("weight"), "refused for another reason: {text}");
    Ok(())
}

/// A Pod `name` with one container; `spec` and `container` are further YAML fields in flow style.
fn pod(name: &str, spec: &str, container: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, \
         spec: {{{spec} containers: [{{name: app, {container}}}]}}}}"
    )
}

fn condition(pod: &Value, kind: &str) -> Value {
    let all = pod["status"]["conditions"].as_array();
    let found = all.and_then(|all| all.iter().find(|condition| condition["type"] == kind));
    found.map_or(Value::Null, |condition| condition["status"].clone())
}

async fn a_pod_is_ready_only_when_its_gates_are_open(bed: Arc<Bed>) -> Result<()> {
    let scene = Scene::new(bed, "gates").await?;
    let gates = "readinessGates: [{conditionType: example.org/open}],";
    scene.given(&pod("gated", gates, "image: demo:v1")).await?;
    let object = ("v1", "Pod", "gated");
    let running = |pod: &Value| condition(pod, "ContainersReady") == "True";
    let closed = scene.then(object, "has ready containers", SOON, running).await?;
    ensure!(condition(&closed, "Ready") == "False", "ready behind a closed gate");

    let pods: Api<Pod> = Api::namespaced(scene.bed.admin.clone(), &scene.namespace);
    let open = json!({ "status": { "conditions":
        [{ "type": "example.org/open", "status": "True" }] } });
    let patch = kube::api::Patch::Strategic(open);
    pods.patch_status("gated", &kube::api::PatchParams::default(), &patch).await?;

    let ready = |pod: &Value| condition(pod, "Ready") == "True";
    let open = scene.then(object, "is ready", SOON, ready).await?;
    ensure!(condition(&open, "example.org/open") == "True", "the kubelet took the gate away");
    Ok(())
}

async fn a_crashing_container_is_restarted_with_back_off(bed: Arc<Bed>) -> Result<()> {
    let scene = Scene::new(bed, "crash").await?;
    let crash = r#"image: any:1, command: [sh, -c, "exit 7"]"#;
    scene.given(&pod("crash", "", crash)).await?;
    let restarted = |pod: &Value| {
        let status = &pod["status"]["containerStatuses"][0];
        status["restartCount"] == 2 && status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    };
    let pod = scene.then(("v1", "Pod", "crash"), "is restarted twice", SOON, restarted).await?;
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    ensure!(last["exitCode"] == 7, "exit code: {last}");
    Ok(())
}

async fn an_image_that_is_not_there_is_never_pulled(bed: Arc<Bed>) -> Result<()> {
    let scene = Scene::new(bed, "pull").await?;
    scene.given(&pod("pull", "", "image: does-not-exist:1")).await?;
    let backs_off = |pod: &Value| {
        let state = &pod["status"]["containerStatuses"][0]["state"];
        state["waiting"]["reason"] == "ImagePullBackOff"
    };
    let pod = scene.then(("v1", "Pod", "pull"), "backs off", SOON, backs_off).await?;
    ensure!(pod["status"]["phase"] == "Pending", "phase: {}", pod["status"]["phase"]);
    Ok(())
}

async fn a_job_fails_with_the_exit_code_of_its_process(bed: Arc<Bed>) -> Result<()> {
    let scene = Scene::new(bed, "jobs").await?;
    let job = |name: &str, code: u8| {
        format!(
            "{{apiVersion: batch/v1, kind: Job, metadata: {{name: {name}}}, spec: {{\
             backoffLimit: 0, template: {{spec: {{restartPolicy: Never, containers: [{{\
             name: app, image: any:1, command: [sh, -c, \"test $(id -u) -gt 0 && exit {code}\"]\
             }}]}}}}}}}}"
        )
    };
    scene.given(&job("good", 0)).await?;
    scene.given(&job("bad", 3)).await?;
    let ended = |kind: &'static str| move |job: &Value| condition(job, kind) == "True";
    scene.then(("batch/v1", "Job", "good"), "succeeds", SOON, ended("Complete")).await?;
    scene.then(("batch/v1", "Job", "bad"), "fails", SOON, ended("Failed")).await?;
    let pods: Api<Pod> = Api::namespaced(scene.bed.admin.clone(), &scene.namespace);
    let of_bad = ListParams::default().labels("job-name=bad");
    let pod = pods.list(&of_bad).await?.items.pop().context("the Job has a Pod")?;
    let pod = serde_json::to_value(pod)?;
    let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    ensure!(state["exitCode"] == 3, "state: {state}");
    Ok(())
}

async fn a_deleted_pod_is_not_ready_and_lives_until_its_hook_is_over(bed: Arc<Bed>) -> Result<()> {
    let scene = Scene::new(bed, "hooks").await?;
    let hook = "image: demo:v1, lifecycle: {preStop: {sleep: {seconds: 2}}}";
    scene.given(&pod("hooked", "terminationGracePeriodSeconds: 10,", hook)).await?;
    let object = ("v1", "Pod", "hooked");
    let ready = |pod: &Value| condition(pod, "Ready") == "True";
    scene.then(object, "is ready", SOON, ready).await?;
    let pods: Api<Pod> = Api::namespaced(scene.bed.admin.clone(), &scene.namespace);

    let begun = std::time::Instant::now();
    pods.delete("hooked", &kube::api::DeleteParams::default()).await?;
    let leaving = |pod: &Value| condition(pod, "Ready") == "False";
    let pod = scene.then(object, "is not ready", Duration::from_secs(1), leaving).await?;
    let state = &pod["status"]["containerStatuses"][0]["state"];
    ensure!(state["running"].is_object(), "ended before its hook: {state}");
    until("the Pod is gone", SOON, || async {
        Ok(pods.get_opt("hooked").await?.is_none().then_some(()))
    })
    .await?;
    let lived = begun.elapsed();
    ensure!((2.0..6.0).contains(&lived.as_secs_f64()), "it lived {lived:?} with a hook of 2 s");
    Ok(())
}

async fn prometheus_sees_the_error_rate_of_a_backend(bed: Arc<Bed>) -> Result<()> {
    let scene = Scene::new(bed, "errors").await?;
    scene.given_backends("bad", "v3", 1).await?;
    let set = scene.get("apps/v1", "ReplicaSet", "bad").await?;
    let mut template = set["spec"]["template"].clone();
    template["spec"]["containers"][0]["env"] = json!([{ "name": "ERROR_RATE", "value": "0.2" }]);
    let yaml = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": { "name": "worse" }, "spec": { "replicas": 1, "template": template,
        "selector": set["spec"]["selector"] } });
    scene.given(&yaml.to_string()).await?;
    scene.given_backends("bad", "v3", 0).await?;
    scene.given_route(&[("bad", 100)]).await?;
    scene.then_available("worse").await?;
    scene.then_routed(&[("bad", 100)]).await?;
    let none_left = |set: &Value| set["status"]["replicas"] == 0;
    scene.then(("apps/v1", "ReplicaSet", "bad"), "has no Pods", SOON, none_left).await?;

    let load = scene.when_load_runs(scene.load(200.0));
    for (bad, all) in [
        (
            r#"http_requests_total{namespace="errors",version="v3",code="500"}"#,
            r#"http_requests_total{namespace="errors",version="v3"}"#,
        ),
        (
            r#"envoy_cluster_upstream_rq{cluster_name=~".*\\|bad.errors.svc.*",response_code="500"}"#,
            r#"envoy_cluster_upstream_rq{cluster_name=~".*\\|bad.errors.svc.*",response_code!=""}"#,
        ),
    ] {
        let ratio = format!("sum(rate({bad}[5s])) / sum(rate({all}[5s]))");
        until(&format!("an error rate of 0.2 in {bad}"), SOON, || async {
            let value = metrics::query(&ratio).await?.context("no such series")?;
            ensure!((0.15..=0.25).contains(&value), "the error rate is {value}");
            Ok(Some(()))
        })
        .await?;
    }
    let record = load.stop().await;
    ensure!(record.failed() > 0, "no request failed");
    Ok(())
}

async fn a_push_over_http_is_cloned_over_http(bed: Arc<Bed>) -> Result<()> {
    let repository = bed.git.create("promise").await?;
    let first = repository.push("first", &[("app/a.yaml", Some("a: 1\n"))]).await?;
    let files = [("app/a.yaml", Some("a: 2\n")), ("app/b.yaml", Some("b: 1\n"))];
    let second = repository.push("second", &files).await?;
    ensure!(first != second, "two commits have one id");

    let heads = repository.git(&["ls-remote", &repository.url, "refs/heads/main"]).await?;
    ensure!(heads.starts_with(&second), "the server's main is {heads}, not {second}");
    let clone = tempfile::tempdir()?;
    let folder = clone.path().join("clone");
    let path = folder.to_string_lossy();
    repository.git(&["clone", "-q", &repository.url, &path]).await?;
    let text = std::fs::read_to_string(folder.join("app/a.yaml"))?;
    ensure!(text == "a: 2\n", "the clone has {text:?}");
    Ok(())
}

async fn every_revision_is_recorded_and_every_write_is_audited(bed: Arc<Bed>) -> Result<()> {
    let scene = Scene::new(Arc::clone(&bed), "history").await?;
    let since = Utc::now();
    let services: Api<Service> = Api::namespaced(bed.admin.clone(), &scene.namespace);
    let service = |round: u32| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: counted, \
             annotations: {{round: \"{round}\"}}}}, spec: {{ports: [{{port: 80}}]}}}}"
        )
    };
    let mut written = Vec::new();
    for round in 0..20 {
        let applied = scene.given(&service(round)).await?;
        written.extend(applied.iter().filter_map(kube::ResourceExt::resource_version));
    }
    services.delete("counted", &kube::api::DeleteParams::default()).await?;

    let last = written.last().context("something was written")?;
    bed.recorder.caught_up("Service", "counted", last).await?;
    let versions: Vec<_> = bed
        .recorder
        .history(&scene.namespace)?
        .into_iter()
        .filter(|revision| revision.kind == "Service" && !revision.deleted)
        .map(|revision| revision.resource_version)
        .collect();
    ensure!(versions == written, "recorded {versions:?}, written {written:?}");

    let log = bed.control_plane.audit_log();
    let requests = recorder::audit(log, "admin", since)?;
    let writes = requests.iter().filter(|request| {
        let target = request.object_ref.clone().unwrap_or_default();
        request.is_write() && target.namespace == scene.namespace && target.name == "counted"
    });
    ensure!(writes.count() == 21, "20 patches and a deletion were sent");
    Ok(())
}

async fn the_controllers_account_reads_no_secrets(bed: Arc<Bed>) -> Result<()> {
    Installation::prepare(&bed).await?;
    let since = Utc::now();
    let client = bed.authority.client("sluice").await?;
    let services: Api<Service> = Api::all(client.clone());
    let found = services.list(&ListParams::default()).await?;
    ensure!(found.iter().any(|service| service.name_any() == "kubernetes"), "no Service is seen");
    let secrets: Api<Secret> = Api::all(client);
    let refused = secrets.list(&ListParams::default()).await;
    let forbidden = matches!(&refused, Err(kube::Error::Api(status)) if status.code == 403);
    ensure!(forbidden, "a list of all Secrets was answered {:?}", refused.map(|l| l.items.len()));
    let requests = recorder::audit(bed.control_plane.audit_log(), controller::USER, since)?;
    ensure!(requests.len() >= 2, "the audit log has {} requests of it", requests.len());
    Ok(())
}

async fn a_killed_controller_comes_back_under_its_own_account(bed: Arc<Bed>) -> Result<()> {
    let installation = Installation::prepare(&bed).await?;
    let instance = Instance::new(&sibling("sluice-controller")?);
    let mut controller = installation.start(instance).await?;
    let first = controller.process.id();

    let since = Utc::now();
    controller.kill_and_restart().await?;
    controller.healthy().await?;

    ensure!(controller.process.id() != first, "it was not killed");
    ensure!(!controller.metrics().await?.is_empty(), "no metrics");
    let log = bed.control_plane.audit_log();
    until("requests of its account after the restart", SOON, || async {
        let requests = recorder::audit(log, controller::USER, since)?;
        Ok((!requests.is_empty()).then_some(()))
    })
    .await
}

async fn two_beds_stand_side_by_side_with_equal_addresses(bed: Arc<Bed>) -> Result<()> {
    Scene::new(Arc::clone(&bed), "only-here").await?;
    let folder = tempfile::tempdir()?;
    let note = folder.path().join("note.json");
    let mut command = Command::new(sibling("sluice-bed")?);
    // It shall enter namespaces of its own, not think itself inside of ours.
    command.env_remove("SLUICE_BED_RUN").args(["run", "--note"]).arg(&note);
    let mut other = Process::start("other-bed", command, folder.path())?;
    let limit = Duration::from_secs(120);
    let state: Value = other
        .ready(limit, || async { Ok(serde_json::from_slice(&std::fs::read(&note)?)?) })
        .await?;

    let kubeconfig = state["kubeconfig"].as_str().context("the note names a kubeconfig")?;
    let there: Api<Namespace> = Api::all(identity::client(Path::new(kubeconfig)).await?);
    let here: Api<Namespace> = Api::all(bed.admin.clone());
    there.get("istio-system").await.context("the other bed's API server answers")?;
    ensure!(here.get_opt("only-here").await?.is_some(), "our namespace is gone");
    ensure!(there.get_opt("only-here").await?.is_none(), "the other bed sees our namespace");
    other.kill().await?;
    let gone = || async { Ok(there.get("istio-system").await.is_err().then_some(())) };
    until("the other bed is gone", SOON, gone).await?;
    here.get("only-here").await.context("our bed lives on")?;
    Ok(())
}
