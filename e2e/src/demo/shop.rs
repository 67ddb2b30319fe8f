//! The shop of the demo: what is in Git, and what is seen of it in the cluster.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client};
use serde_json::Value;

use crate::bed::process::until;

/// Namespace of the shop.
pub const NAMESPACE: &str = "shop";
/// Host that requests are sent to.
pub const HOST: &str = "checkout.shop";
/// Name of Rollout and VirtualService.
pub const NAME: &str = "checkout";

const ROLLOUT: &str = include_str!("../../demo/shop/rollout.yaml");
const SERVICES: &str = include_str!("../../demo/shop/services.yaml");
const TRAFFIC: &str = include_str!("../../demo/shop/traffic.yaml");
const ANALYSIS: &str = include_str!("../../demo/shop/analysis.yaml");
const CONFIG: &str = include_str!("../../demo/shop/config.yaml");
const APPLICATION: &str = include_str!("../../demo/application.yaml");

/// One version of the shop's service.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    /// Number; the image is `demo:v<number>`.
    pub number: u32,
    /// Share of answers that are errors, 0.0 to 1.0.
    pub error_rate: f64,
}

impl Version {
    /// Name in the header `x-version`.
    #[must_use]
    pub fn name(self) -> String {
        format!("v{}", self.number)
    }

    /// The Rollout's manifest of this version; `pause` replaces the length of each pause.
    #[must_use]
    pub fn manifest(self, pause: Duration) -> String {
        ROLLOUT
            .replace("demo:v1", &format!("demo:{}", self.name()))
            .replace("value: \"0\"", &format!("value: \"{}\"", self.error_rate))
            .replace("duration: 5s", &format!("duration: {}s", pause.as_secs()))
    }
}

/// Returns the files of the first commit.
#[must_use]
pub fn first_files(version: Version, pause: Duration) -> Vec<(&'static str, String)> {
    vec![
        ("shop/rollout.yaml", version.manifest(pause)),
        ("shop/services.yaml", SERVICES.to_owned()),
        ("shop/traffic.yaml", TRAFFIC.to_owned()),
        ("shop/analysis.yaml", ANALYSIS.to_owned()),
        ("shop/config.yaml", CONFIG.to_owned()),
    ]
}

/// Returns the note that an unrelated commit changes.
#[must_use]
pub fn note(text: &str) -> String {
    CONFIG.replace("first", text)
}

/// Returns the Application for the repository.
#[must_use]
pub fn application(repository: &str) -> String {
    APPLICATION.replace("REPOSITORY", repository)
}

/// Reads objects of the shop.
#[derive(Clone)]
pub struct Eyes {
    client: Client,
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

impl Eyes {
    /// Reads with the client's identity.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// API of a kind of the shop's namespace.
    #[must_use]
    pub fn api(&self, kind: &str) -> Api<DynamicObject> {
        let (resource, namespace) = match kind {
            "Rollout" => (resource("argoproj.io", "v1alpha1", kind, "rollouts"), NAMESPACE),
            "AnalysisRun" => (resource("argoproj.io", "v1alpha1", kind, "analysisruns"), NAMESPACE),
            "VirtualService" => {
                (resource("networking.istio.io", "v1", kind, "virtualservices"), NAMESPACE)
            }
            "ReplicaSet" => (resource("apps", "v1", kind, "replicasets"), NAMESPACE),
            "ConfigMap" => (resource("", "v1", kind, "configmaps"), NAMESPACE),
            "Application" => (resource("argoproj.io", "v1alpha1", kind, "applications"), "argocd"),
            _ => (resource("", "v1", "Pod", "pods"), NAMESPACE),
        };
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    /// The object as JSON; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn see(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        match self.api(kind).get_opt(name).await? {
            Some(object) => Ok(Some(serde_json::to_value(object)?)),
            None => Ok(None),
        }
    }

    /// Waits until the object is as `test` wants it and returns it.
    ///
    /// # Errors
    /// When it is not within `deadline`; the message holds the object as it was last.
    pub async fn wait(
        &self,
        what: &str,
        kind: &str,
        name: &str,
        deadline: Duration,
        test: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let last = std::sync::Mutex::new(Value::Null);
        let found = until(what, deadline, || async {
            let seen = self.see(kind, name).await?.unwrap_or_default();
            let fits = test(&seen);
            if let Ok(mut last) = last.lock() {
                last.clone_from(&seen);
            }
            Ok(fits.then_some(seen))
        })
        .await;
        let last = last.into_inner().unwrap_or_default();
        found.with_context(|| format!("{kind} {name} was last: {:#}", last["status"]))
    }

    /// Creation time and name of Pods that run an image.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn pods(&self, image: &str) -> Result<Vec<(String, Option<DateTime<Utc>>)>> {
        let pods = self.api("Pod").list(&ListParams::default()).await?;
        let mut found = Vec::new();
        for pod in pods {
            let pod = serde_json::to_value(pod)?;
            if pod["spec"]["containers"][0]["image"] == image {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let at = pod["metadata"]["creationTimestamp"].as_str();
                found.push((name, at.and_then(|at| at.parse().ok())));
            }
        }
        Ok(found)
    }
}

/// Weight of a Service in the VirtualService's first route.
#[must_use]
pub fn weight(virtual_service: &Value, service: &str) -> Option<i64> {
    let destinations = virtual_service["spec"]["http"][0]["route"].as_array()?;
    let found = destinations.iter().find(|d| d["destination"]["host"] == service)?;
    Some(found["weight"].as_i64().unwrap_or(0))
}

/// Whether the Rollout is Healthy with an image, at its present generation.
#[must_use]
pub fn is_healthy(rollout: &Value, image: &str) -> bool {
    let generation = rollout["metadata"]["generation"].to_string();
    rollout["spec"]["template"]["spec"]["containers"][0]["image"] == image
        && rollout["status"]["phase"] == "Healthy"
        && rollout["status"]["observedGeneration"] == generation.as_str()
}
