//! The shop of the demo: the manifests of the demo on the bed, with shorter times and another address for Prometheus.

use serde_json::Value;

/// Namespace of the shop.
pub(crate) const NAMESPACE: &str = "shop";
/// Name of Rollout and VirtualService.
pub(crate) const NAME: &str = "checkout";
/// Seconds of each pause step.
pub(crate) const PAUSE_SECONDS: u64 = 1;

const ROLLOUT: &str = include_str!("../../../e2e/demo/shop/rollout.yaml");
const SERVICES: &str = include_str!("../../../e2e/demo/shop/services.yaml");
const TRAFFIC: &str = include_str!("../../../e2e/demo/shop/traffic.yaml");
const ANALYSIS: &str = include_str!("../../../e2e/demo/shop/analysis.yaml");
const CONFIG: &str = include_str!("../../../e2e/demo/shop/config.yaml");
const APPLICATION: &str = include_str!("../../../e2e/demo/application.yaml");

/// One version of the shop's service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version {
    /// Number; the image is `demo:v<number>`.
    pub(crate) number: u32,
    /// Share of answers that are errors, 0.0 to 1.0.
    pub(crate) error_rate: f64,
}

impl Version {
    /// Image of its Pods.
    pub(crate) fn image(self) -> String {
        format!("demo:v{}", self.number)
    }

    /// The Rollout's manifest of this version.
    pub(crate) fn manifest(self) -> String {
        ROLLOUT
            .replace("demo:v1", &self.image())
            .replace("value: \"0\"", &format!("value: \"{}\"", self.error_rate))
            .replace("duration: 5s", &format!("duration: {PAUSE_SECONDS}s"))
            .replace("DelaySeconds: 5", "DelaySeconds: 2")
    }
}

/// Returns the files of the first commit. `prometheus` is the URL of the simulated one.
pub(crate) fn first_files(version: Version, prometheus: &str) -> Vec<(&'static str, String)> {
    let analysis = ANALYSIS
        .replace("http://127.0.0.1:9099", prometheus)
        .replace("interval: 2s", "interval: 500ms");
    vec![
        ("shop/rollout.yaml", version.manifest()),
        ("shop/services.yaml", SERVICES.to_owned()),
        ("shop/traffic.yaml", TRAFFIC.to_owned()),
        ("shop/analysis.yaml", analysis),
        ("shop/config.yaml", CONFIG.to_owned()),
    ]
}

/// Returns the note that an unrelated commit changes.
pub(crate) fn note(text: &str) -> String {
    CONFIG.replace("first", text)
}

/// Returns the Application for the repository.
pub(crate) fn application(repository: &str) -> String {
    APPLICATION.replace("REPOSITORY", repository)
}

/// Weight of a Service in the VirtualService's first route.
pub(crate) fn weight(virtual_service: &Value, service: &str) -> Option<i64> {
    let destinations = virtual_service["spec"]["http"][0]["route"].as_array()?;
    let found = destinations.iter().find(|d| d["destination"]["host"] == service)?;
    Some(found["weight"].as_i64().unwrap_or(0))
}

/// Image of a Pod, or of a Pod template's owner.
pub(crate) fn image(spec: &Value) -> &str {
    spec["containers"][0]["image"].as_str().unwrap_or_default()
}

/// Whether the Rollout is Healthy with an image, at its present generation.
pub(crate) fn is_healthy(rollout: &Value, wanted: &str) -> bool {
    let generation = rollout["metadata"]["generation"].to_string();
    image(&rollout["spec"]["template"]["spec"]) == wanted
        && rollout["status"]["phase"] == "Healthy"
        && rollout["status"]["observedGeneration"] == generation.as_str()
}
