//! One controller for all tests of a binary, and the words in which they speak about one Rollout.

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, Utc};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{process::Command, sync::OnceCell, task::JoinHandle};

use crate::{
    bed::{
        Bed,
        controller::{self, Installation, Instance},
        git::Repository,
        process::until,
        sibling,
    },
    given::Scene,
    laws,
    recorder::{self, Request},
};

mod more;
pub mod small;

/// How long a Rollout of a few Pods may take for anything.
pub const LONG: Duration = Duration::from_secs(90);

static CONTROLLER: OnceCell<JoinHandle<Result<Infallible>>> = OnceCell::const_new();

/// Waits until the one controller of this bed runs. When it ends by itself, as it does when the machine was too busy to renew its
/// Lease, it is started anew, as a kubelet would.
///
/// # Errors
/// When the controller does not become healthy.
pub async fn controller(bed: &Bed) -> Result<()> {
    let start = || async {
        let installation = Installation::prepare(bed).await?;
        let mut one = installation.start(Instance::new(&sibling("sluice-controller")?)).await?;
        anyhow::Ok(tokio::spawn(async move { one.keep_alive().await }))
    };
    CONTROLLER.get_or_try_init(start).await?;
    Ok(())
}

/// How the canary of a Rollout gets its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Router {
    Hosts,
    Subsets,
    None,
}

/// A Rollout `web` as its user writes it.
#[derive(Debug, Clone)]
pub struct Web {
    pub name: String,
    /// Labels of the Rollout itself, flow-style YAML; none where it is empty.
    pub labels: String,
    pub replicas: u32,
    pub router: Router,
    /// Flow-style YAML.
    pub steps: String,
    /// Further lines of `spec`, indented by two.
    pub spec: String,
    /// Further lines of `spec.strategy.canary`, indented by six.
    pub canary: String,
}

impl Web {
    /// Two Pods named `web`, and steps as flow-style YAML.
    #[must_use]
    pub fn new(router: Router, steps: &str) -> Self {
        Self {
            name: "web".to_owned(),
            labels: String::new(),
            replicas: 2,
            router,
            steps: steps.to_owned(),
            spec: String::new(),
            canary: String::new(),
        }
    }

    /// The Rollout with the image.
    #[must_use]
    pub fn manifest(&self, image: &str) -> String {
        let (name, replicas) = (&self.name, self.replicas);
        let labels = match self.labels.as_str() {
            "" => String::new(),
            labels => format!(", labels: {labels}"),
        };
        let services = format!("canaryService: {name}-canary\n      stableService: {name}-stable");
        let istio = format!("istio: {{virtualService: {{name: {name}, routes: [primary]}}");
        let routing = match self.router {
            Router::Hosts => format!("{services}\n      trafficRouting: {{{istio}}}}}"),
            Router::Subsets => format!(
                "trafficRouting: {{{istio}, destinationRule: {{name: {name}, \
                 canarySubsetName: canary, stableSubsetName: stable}}}}}}"
            ),
            Router::None => String::new(),
        };
        format!(
            "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: {name}{labels}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
{spec}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
        - name: app
          image: {image}
          ports: [{{name: http, containerPort: 8080}}]
          readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
          lifecycle: {{preStop: {{sleep: {{seconds: 2}}}}}}
  strategy:
    canary:
      {routing}
{canary}
      steps: {steps}
",
            spec = self.spec,
            canary = self.canary,
            steps = self.steps,
        )
    }

    /// A Service that selects all Pods of the Rollout.
    #[must_use]
    pub fn service(&self, service: &str) -> String {
        let name = &self.name;
        format!(
            "
---
apiVersion: v1
kind: Service
metadata: {{name: {service}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
"
        )
    }

    /// Gateway, VirtualService and, for subsets, DestinationRule.
    #[must_use]
    pub fn route(&self) -> String {
        let name = &self.name;
        let destination = |role: &str| match self.router {
            Router::Subsets => format!("{{host: {name}, subset: {role}}}"),
            _ => format!("{{host: {name}-{role}, port: {{number: 80}}}}"),
        };
        let rule = format!(
            "
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}}}
spec:
  host: {name}
  subsets: [{{name: stable, labels: {{app: {name}}}}}, {{name: canary, labels: {{app: {name}}}}}]
"
        );
        format!(
            "
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
    - {{hosts: [$HOST], port: {{number: $GATEWAY_PORT, name: http, protocol: HTTP}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  hosts: [$HOST]
  gateways: [{name}]
  http:
    - name: primary
      route:
        - {{destination: {stable}, weight: 100}}
        - {{destination: {canary}, weight: 0}}
{rule}",
            stable = destination("stable"),
            canary = destination("canary"),
            rule = if self.router == Router::Subsets { rule } else { String::new() },
        )
    }

    /// Everything but the Rollout.
    #[must_use]
    pub fn surroundings(&self) -> String {
        let name = &self.name;
        let services = match self.router {
            Router::Hosts => {
                self.service(&format!("{name}-stable")) + &self.service(&format!("{name}-canary"))
            }
            _ => self.service(name),
        };
        if self.router == Router::None { services } else { services + &self.route() }
    }
}

/// A namespace with Rollouts, with the eyes and hands of their user.
#[derive(Clone)]
pub struct Stage {
    pub scene: Scene,
    pub since: DateTime<Utc>,
}

impl Stage {
    /// Makes the namespace, once the controller runs.
    ///
    /// # Errors
    /// When the controller does not start or the namespace is refused.
    pub async fn new(bed: Arc<Bed>, namespace: &str) -> Result<Self> {
        controller(&bed).await?;
        Ok(Self { scene: Scene::new(bed, namespace).await?, since: Utc::now() })
    }

    /// The Rollout with `image` as its first version, healthy.
    ///
    /// # Errors
    /// When an object is refused or the Rollout does not become healthy.
    pub async fn given_web(&self, web: &Web, image: &str) -> Result<()> {
        let text = web.manifest(image) + &web.surroundings();
        self.scene.given(&text).await.context("given")?;
        self.then_healthy(&web.name, image).await?;
        if web.router == Router::Hosts {
            self.scene.then_routed(&[(&format!("{}-stable", web.name), 100)]).await?;
        }
        Ok(())
    }

    /// An Application of the namespace's name follows the folder `app` of the repository into it, and asks every second.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn given_application(
        &self,
        repository: &Repository,
        automated: &Value,
    ) -> Result<()> {
        let name = &self.scene.namespace;
        let application = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": { "name": name, "namespace": "argocd" },
            "spec": {
                "project": "default",
                "source": { "repoURL": repository.url, "targetRevision": "main", "path": "app" },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": name },
                "refreshInterval": "1s",
                "syncPolicy": { "automated": automated },
            },
        });
        let params = PatchParams::apply("test").force();
        let applications = api(&self.scene.bed, "Application", "argocd");
        applications.patch(name, &params, &Patch::Apply(&application)).await?;
        Ok(())
    }

    /// Sets the image, as `kubectl edit` does.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn when_image_is(&self, name: &str, image: &str) -> Result<()> {
        let patch = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image",
            "value": image }]);
        self.patch("Rollout", name, &patch).await
    }

    /// A JSON patch, as `kubectl edit` sends one.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn patch(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        let patch: kube::core::params::Patch<()> =
            Patch::Json(serde_json::from_value(patch.clone())?);
        let params =
            PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..Default::default() };
        self.api(kind).patch(name, &params, &patch).await?;
        Ok(())
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        api(&self.scene.bed, kind, &self.scene.namespace)
    }

    /// Runs `kubectl sluice` in the namespace.
    ///
    /// # Errors
    /// With the words of the CLI.
    pub async fn when_user_says(&self, words: &[&str]) -> Result<()> {
        let kubeconfig = self.scene.bed.authority.kubeconfig("admin", Some("system:masters"))?;
        let out = Command::new(sibling("kubectl-sluice")?)
            .args(words)
            .args(["-n", &self.scene.namespace])
            .env("KUBECONFIG", kubeconfig)
            .output()
            .await?;
        let errors = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "kubectl sluice {}: {errors}", words.join(" "));
        Ok(())
    }

    /// Reads an object of the namespace.
    ///
    /// # Errors
    /// When there is no such object.
    pub async fn see(&self, kind: &str, name: &str) -> Result<Value> {
        let object = self.api(kind).get(name).await.with_context(|| format!("{kind} `{name}`"))?;
        Ok(serde_json::to_value(object)?)
    }

    /// Waits until an object is as `test` wants it; the error shows it as it was last.
    ///
    /// # Errors
    /// When it is not within [`LONG`].
    pub async fn then(
        &self,
        what: &str,
        kind: &str,
        name: &str,
        test: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let found = until(what, LONG, || async {
            let object = self.see(kind, name).await?;
            Ok(test(&object).then_some(object))
        })
        .await;
        let Err(error) = found else { return found };
        let last = self.see(kind, name).await.unwrap_or_default();
        let shown = if kind == "Rollout" { &last["status"] } else { &last["spec"] };
        bail!("{}: {error:#}; {kind} `{name}` is {shown:#}", self.scene.namespace)
    }

    /// Waits until the Rollout is healthy with the image.
    ///
    /// # Errors
    /// When it is not within [`LONG`].
    pub async fn then_healthy(&self, name: &str, image: &str) -> Result<Value> {
        let what = format!("the Rollout is healthy with {image}");
        self.then(&what, "Rollout", name, |r| is_phase(r, "Healthy") && image_of(r) == image).await
    }

    /// Waits until the Rollout has the phase.
    ///
    /// # Errors
    /// When it has not within [`LONG`].
    pub async fn then_phase(&self, name: &str, phase: &str) -> Result<Value> {
        let what = format!("the Rollout is {phase}");
        self.then(&what, "Rollout", name, |r| is_phase(r, phase)).await
    }

    /// Waits until `count` Rollouts are as `test` wants them, by what the recorder has seen: asking for hundreds of objects again
    /// and again would be a load of its own.
    ///
    /// # Errors
    /// When they are not within [`LONG`].
    pub async fn then_all(
        &self,
        count: usize,
        what: &str,
        test: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let namespace = &self.scene.namespace;
        until(&format!("{count} Rollouts of {namespace} are {what}"), LONG, || async {
            let are = self.scene.bed.recorder.now("Rollout", namespace, &test);
            Ok((are == count).then_some(()))
        })
        .await
    }

    /// Waits until the canary has the weight.
    ///
    /// # Errors
    /// When it has not within [`LONG`].
    pub async fn then_weight(&self, name: &str, weight: i64) -> Result<Value> {
        let what = format!("the canary has weight {weight}");
        self.then(&what, "VirtualService", name, |v| canary_weight(v) == weight).await
    }

    /// The weights that the canary had since an instant, each once in a row, once it is back at 0.
    ///
    /// # Errors
    /// When the weight does not return to 0, or revisions were lost.
    pub async fn weights(&self, name: &str, since: DateTime<Utc>) -> Result<Vec<i64>> {
        self.then_weight(name, 0).await?;
        self.caught_up("VirtualService", name).await?;
        let mut weights = Vec::new();
        for revision in self.scene.bed.recorder.history(&self.scene.namespace)? {
            if revision.kind == "VirtualService" && revision.name == name && revision.seen >= since
            {
                let weight = canary_weight(&revision.object);
                if weights.last().unwrap_or(&0) != &weight {
                    weights.push(weight);
                }
            }
        }
        Ok(weights)
    }

    /// Waits until the recorder has seen the object as it is now.
    ///
    /// # Errors
    /// When it has not within 10 s.
    pub async fn caught_up(&self, kind: &str, name: &str) -> Result<()> {
        let object = self.see(kind, name).await?;
        let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        self.scene.bed.recorder.caught_up(kind, name, version).await
    }

    /// The controller's writes to the namespace since an instant, accepted ones only.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn writes(&self, since: DateTime<Utc>) -> Result<Vec<Request>> {
        let log = self.scene.bed.control_plane.audit_log();
        let mut all = recorder::audit(log, controller::USER, since)?;
        all.retain(|r| {
            let target = r.object_ref.clone().unwrap_or_default();
            let accepted = r.response_status.as_ref().is_some_and(|a| a.code < 300);
            r.is_write() && accepted && target.namespace == self.scene.namespace
        });
        Ok(all)
    }

    /// Ends a test: no law was broken by any revision of anything in the namespace.
    ///
    /// # Errors
    /// When one was.
    pub async fn then_laws_held(&self) -> Result<()> {
        for rollout in self.api("Rollout").list(&kube::api::ListParams::default()).await? {
            self.caught_up("Rollout", &kube::ResourceExt::name_any(&rollout)).await?;
        }
        laws::check(&self.scene.bed.recorder, &self.scene.namespace)
    }
}

/// API of a kind that tests look at.
#[must_use]
pub fn api(bed: &Bed, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version, plural) = match kind {
        "Rollout" => ("argoproj.io", "v1alpha1", "rollouts"),
        "Application" => ("argoproj.io", "v1alpha1", "applications"),
        "Experiment" => ("argoproj.io", "v1alpha1", "experiments"),
        "AnalysisRun" => ("argoproj.io", "v1alpha1", "analysisruns"),
        "Job" => ("batch", "v1", "jobs"),
        "VirtualService" => ("networking.istio.io", "v1", "virtualservices"),
        "ReplicaSet" => ("apps", "v1", "replicasets"),
        "Deployment" => ("apps", "v1", "deployments"),
        "PodTemplate" => ("", "v1", "podtemplates"),
        "Service" => ("", "v1", "services"),
        "Pod" => ("", "v1", "pods"),
        "Event" => ("", "v1", "events"),
        _ => ("", "v1", "configmaps"),
    };
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: group_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    Api::namespaced_with(bed.admin.clone(), namespace, &resource)
}

/// Weight of the second destination of the first route.
#[must_use]
pub fn canary_weight(virtual_service: &Value) -> i64 {
    virtual_service["spec"]["http"][0]["route"][1]["weight"].as_i64().unwrap_or(0)
}

/// Image of the first container of the template.
#[must_use]
pub fn image_of(rollout: &Value) -> &str {
    rollout["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default()
}

/// Whether the Rollout has the phase, and has seen its present generation.
#[must_use]
pub fn is_phase(rollout: &Value, phase: &str) -> bool {
    let generation = rollout["metadata"]["generation"].to_string();
    rollout["status"]["phase"] == phase
        && rollout["status"]["observedGeneration"] == generation.as_str()
}
