//! Installed with Helm on a real API server, the controller under the account of the release, through a canary.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use serde_json::{Value, json};
use sluice_e2e::{
    bed::{Bed, apply::documents, git::Repository, ports, process::until},
    given::Scene,
    oracle::Oracle,
    stage::{Router, Stage, Web, api, image_of},
};

use crate::{
    helm::{Helm, charts, values},
    installed::Installed,
    rights::{Right, granted, refused, used, watches},
};

const SYSTEM: &str = "sluice-system";
const SOON: Duration = Duration::from_secs(30);

/// Rights that this story does not use, each with its reason.
const UNUSED: &[(&[&str], &[&str], &str)] = &[
    (
        &["get"],
        &[
            "analysistemplates",
            "configmaps",
            "deployments",
            "destinationrules",
            "gateways",
            "namespaces",
            "rollouts",
            "serviceaccounts",
            "services",
            "virtualservices",
        ],
        "what begins to be named, and was only counted until then, is read by its name",
    ),
    (
        &["get"],
        &["analysisruns", "appprojects", "experiments", "jobs", "replicasets"],
        "a create that meets its own name looks whose it is",
    ),
    (
        &["delete"],
        &["analysistemplates", "gateways", "rollouts", "services", "virtualservices"],
        "sync prunes what Git dropped; this story drops other kinds",
    ),
    (
        &["create", "patch", "delete"],
        &["experiments", "jobs"],
        "this canary has no experiment among its steps, and no Job among its metrics",
    ),
    (
        &["get", "list", "watch"],
        &["podtemplates"],
        "no Rollout of this story takes its template from a PodTemplate",
    ),
    (&["patch"], &["pods"], "roles with metadata of their own; this canary has none"),
    (&["create"], &["pods/eviction"], "restarts; nobody asks for one here"),
    (&["patch"], &["destinationrules"], "subsets; this canary is split by hosts"),
    (&["delete"], &["analysisruns", "replicasets"], "history beyond its limits"),
    (&["create", "patch"], &["namespaces"], "only with `CreateNamespace=true`"),
    (
        &["update"],
        &["analysisruns/finalizers", "experiments/finalizers", "rollouts/finalizers"],
        "asked by the admission plugin OwnerReferencesPermissionEnforcement, never by a request",
    ),
    (
        &["get"],
        &["applications", "clusteranalysistemplates"],
        "no request of this version needs it: a candidate for removal from controller/rbac",
    ),
    (
        &["patch"],
        &["events"],
        "no request of this version needs it: a candidate for removal from controller/rbac",
    ),
];

/// Objects of kinds that sync may apply besides those of a canary; Git drops them with the second commit.
const MORE: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: note}
data: {by: git}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: more}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: more}
spec:
  replicas: 0
  selector: {matchLabels: {app: more}}
  template:
    metadata: {labels: {app: more}}
    spec: {containers: [{name: app, image: 'demo:v1'}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: more}
spec: {host: more}
";

pub(crate) async fn a_canary_from_git_needs_no_right_that_the_chart_does_not_grant(
    bed: Arc<Bed>,
) -> Result<()> {
    let helm = Helm::new(&bed, "chart-cluster")?;
    let system = restricted(&bed, SYSTEM).await?;
    let chart = charts("sluice").display().to_string();
    // The bed has made the CRDs, as Argo Rollouts may have on another cluster.
    helm.run(&["install", "sluice", &chart, "-n", SYSTEM, "--take-ownership"]).await?;
    let deployment = admitted(&system, "sluice", 2).await?;
    let installed = Installed::start(Arc::clone(&bed), &deployment, ports::CONTROLLER).await?;
    let oracle = Oracle::start(Some(0.0)).await?;
    let steps = "[{setWeight: 20}, {analysis: {templates: [{templateName: judge}]}}]";
    let app = App {
        repository: bed.git.create("chart").await?,
        stage: Stage { scene: Scene::new(Arc::clone(&bed), "chart").await?, since: Utc::now() },
        web: Web::new(Router::Hosts, steps),
        judge: oracle.template(),
    };
    app.through_a_canary().await?;
    let weights = app.stage.weights("web", app.stage.since).await?;
    ensure!(weights == [20, 100, 0], "the weights were {weights:?}");
    let metrics = installed.metrics().await?;
    ensure!(metrics.contains("\nsluice_store_synced{kind=\"Rollout\"} 1\n"), "{metrics}");

    let granted = granted(&documents(&helm.template(&values("install")).await?)?);
    let requests = installed.stopped(&watches(&granted)).await?;
    let refused = refused(&requests);
    ensure!(refused.is_empty(), "rights are missing: {refused:#?}");
    let used = used(&requests);
    for (resource, verb) in [
        ("virtualservices", "patch"),
        ("replicasets", "create"),
        ("analysisruns", "create"),
        ("configmaps", "delete"),
        ("deployments", "delete"),
        ("leases", "create"),
    ] {
        let right = (resource.to_owned(), verb.to_owned());
        ensure!(used.contains(&right), "the account was not used to {verb} {resource}");
    }
    all_is_used_or_has_a_reason(&granted, &used)?;
    an_upgrade_and_an_end_leave_what_is_the_users(&helm, &system, &app).await
}

/// Prints what was granted and not used; what is not in [`UNUSED`] should not be granted.
fn all_is_used_or_has_a_reason(granted: &BTreeSet<Right>, used: &BTreeSet<Right>) -> Result<()> {
    let mut surprising = Vec::new();
    let mut known: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (resource, verb) in granted.difference(used) {
        let right = format!("{verb} {resource}");
        let found = UNUSED.iter().find(|(verbs, resources, _)| {
            verbs.contains(&&**verb) && resources.contains(&&**resource)
        });
        match found {
            Some((.., reason)) => known.entry(reason).or_default().push(right),
            None => surprising.push(right),
        }
    }
    for (reason, rights) in known {
        eprintln!("  granted, not used here: {} ({reason})", rights.join(", "));
    }
    ensure!(surprising.is_empty(), "granted without need, or a reason is missing: {surprising:#?}");
    Ok(())
}

async fn an_upgrade_and_an_end_leave_what_is_the_users(
    helm: &Helm,
    system: &Scene,
    app: &App,
) -> Result<()> {
    let chart = charts("sluice").display().to_string();
    let manifests = charts("install").join("install.yaml").display().to_string();
    let dry = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f"];
    helm.kubectl(&[&dry[..], &[&manifests]].concat()).await?;
    // As docs/install.md says it.
    let selector =
        ["-l", "app.kubernetes.io/component=controller", "--dry-run=server", "-o", "name"];
    let gone = helm.kubectl(&[&["delete", "-f", &manifests][..], &selector].concat()).await?;
    ensure!(gone.contains("deployment.apps/sluice"), "kubectl would delete {gone}");
    let kept = ["customresourcedefinition", "namespace/"];
    ensure!(!kept.iter().any(|kind| gone.contains(kind)), "kubectl would delete {gone}");
    helm.run(&["upgrade", "sluice", &chart, "-n", SYSTEM, "--set", "logLevel=debug"]).await?;
    let deployment = system.get("apps/v1", "Deployment", "sluice").await?;
    ensure!(deployment.to_string().contains("--loglevel=debug"), "{deployment}");
    let rollout = app.stage.see("Rollout", "web").await?;
    helm.run(&["uninstall", "sluice", "-n", SYSTEM]).await?;

    let kept = app.stage.see("Rollout", "web").await?;
    ensure!(kept["spec"] == rollout["spec"] && kept["metadata"]["deletionTimestamp"].is_null());
    let namespace = system.get("v1", "Namespace", "argocd").await?;
    ensure!(namespace["status"]["phase"] == "Active", "{namespace}");
    let application = api(&system.bed, "Application", "argocd").get("chart").await?;
    ensure!(application.metadata.deletion_timestamp.is_none(), "the Application is being deleted");
    for crd in sluice_e2e::bed::apply::folder(&system.bed.options.crds)? {
        let name = crd["metadata"]["name"].as_str().unwrap_or_default();
        let live = system.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name).await?;
        ensure!(live["metadata"]["deletionTimestamp"].is_null(), "`{name}` is being deleted");
    }
    let rbac = "rbac.authorization.k8s.io/v1";
    for (version, kind, name) in [
        ("apps/v1", "Deployment", "sluice"),
        ("v1", "ServiceAccount", "sluice"),
        (rbac, "ClusterRole", "sluice-rollouts"),
        (rbac, "ClusterRoleBinding", "sluice-sync"),
        (rbac, "Role", "sluice-lease"),
    ] {
        ensure!(system.get(version, kind, name).await.is_err(), "{kind} `{name}` is left behind");
    }
    Ok(())
}

pub(crate) async fn a_namespaced_install_looks_at_nothing_outside(bed: Arc<Bed>) -> Result<()> {
    const TEAM: &str = "chart-team";
    let helm = Helm::new(&bed, "chart-namespaced")?;
    let scene = Scene::new(Arc::clone(&bed), TEAM).await?;
    let manifests =
        charts("namespace-install").join("namespace-install.yaml").display().to_string();
    let dry = ["apply", "--server-side", "--dry-run=server", "-n", TEAM, "-f", &manifests];
    helm.kubectl(&dry).await?;
    let chart = charts("sluice").display().to_string();
    let flags = values("namespace-install");
    let mut words = vec!["install", "team", &chart, "-n", TEAM, "--set", "instanceId=team"];
    words.extend(flags.iter().map(String::as_str));
    helm.run(&words).await?;
    let deployment = admitted(&scene, "team-sluice", 2).await?;
    // The controller of the other test leaves objects of an instance alone.
    let installed =
        Installed::start(Arc::clone(&bed), &deployment, ports::CONTROLLER + 100).await?;
    let stage = Stage { scene, since: Utc::now() };
    let web = Web::new(Router::Hosts, "[{setWeight: 50}, {pause: {duration: 1s}}]");
    let labels = "labels: {argo-rollouts.argoproj.io/controller-instance-id: team}";
    let (name, labelled) = ("metadata: {name: web}", format!("metadata: {{name: web, {labels}}}"));

    let rollout = web.manifest("demo:v1").replace(name, &labelled);
    stage.scene.given(&(rollout + &web.surroundings())).await?;
    stage.then_healthy("web", "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_healthy("web", "demo:v2").await?;
    let weights = stage.weights("web", stage.since).await?;
    ensure!(weights == [50, 100, 0], "the weights were {weights:?}");

    let rendered = documents(&helm.template(&flags).await?)?;
    let requests = installed.stopped(&watches(&granted(&rendered))).await?;
    let refused = refused(&requests);
    ensure!(refused.is_empty(), "rights are missing: {refused:#?}");
    let inside = format!("/namespaces/{TEAM}/");
    let outside = requests.iter().find(|r| r.object_ref.is_some() && !r.uri.contains(&inside));
    ensure!(outside.is_none(), "asked outside of {TEAM}: {outside:?}");
    helm.run(&["uninstall", "team", "-n", TEAM]).await?;
    Ok(())
}

/// A namespace that admits Pods of the profile `restricted` only.
async fn restricted(bed: &Arc<Bed>, name: &str) -> Result<Scene> {
    let scene = Scene::new(Arc::clone(bed), name).await?;
    let label = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": name, "labels": label } });
    scene.given(&namespace.to_string()).await?;
    Ok(scene)
}

/// Waits until the API server has admitted the Deployment's Pods.
async fn admitted(scene: &Scene, name: &str, pods: u64) -> Result<Value> {
    let has = |deployment: &Value| deployment["status"]["replicas"] == pods;
    scene.then(("apps/v1", "Deployment", name), "has its Pods", SOON, has).await
}

/// An Application that follows a repository.
struct App {
    repository: Repository,
    stage: Stage,
    web: Web,
    judge: String,
}

impl App {
    async fn through_a_canary(&self) -> Result<()> {
        self.push("first", "demo:v1", true).await?;
        self.followed().await?;
        self.stage.then_healthy("web", "demo:v1").await?;
        self.push("second", "demo:v2", false).await?;
        self.stage.then_healthy("web", "demo:v2").await?;
        self.then_gone("note").await
    }

    async fn push(&self, message: &str, image: &str, with_more: bool) -> Result<()> {
        let text = |text: &str| {
            text.replace("$HOST", &self.stage.scene.host)
                .replace("$GATEWAY_PORT", &ports::GATEWAY.to_string())
        };
        let rest = text(&(self.web.surroundings() + "\n---\n" + &self.judge));
        let rollout = text(&self.web.manifest(image));
        let files = [
            ("app/rollout.yaml", Some(rollout.as_str())),
            ("app/rest.yaml", Some(rest.as_str())),
            ("app/more.yaml", with_more.then_some(MORE)),
        ];
        self.repository.push(message, &files).await?;
        Ok(())
    }

    async fn followed(&self) -> Result<()> {
        let automated = json!({ "prune": true, "selfHeal": true });
        self.stage.given_application(&self.repository, &automated).await?;
        let there = |rollout: &Value| image_of(rollout) == "demo:v1";
        self.stage.then("the Rollout is there", "Rollout", "web", there).await?;
        Ok(())
    }

    async fn then_gone(&self, config_map: &str) -> Result<()> {
        let maps = api(&self.stage.scene.bed, "ConfigMap", &self.stage.scene.namespace);
        until("what Git dropped is pruned", SOON, || async {
            let left = maps.get_opt(config_map).await.context("a ConfigMap")?;
            Ok(left.is_none().then_some(()))
        })
        .await
    }
}
