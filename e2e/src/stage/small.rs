//! Rollouts of one Pod, of which hundreds fit on one machine.

use super::{Router, Web};

/// A Rollout behind a route of its own, as flow-style YAML labels and steps say.
#[must_use]
pub fn routed(name: &str, labels: &str, router: Router, steps: &str) -> String {
    let mut web = Web { name: name.to_owned(), replicas: 1, ..Web::new(router, steps) };
    labels.clone_into(&mut web.labels);
    web.canary = "      scaleDownDelaySeconds: 1".to_owned();
    let text = web.manifest("demo:v1") + &web.surroundings();
    format!("---{}", text.replace("$HOST", &format!("{name}.$NAMESPACE.test")))
}

/// A Rollout without a router, whose Pod only sleeps.
#[must_use]
pub fn plain(name: &str, labels: &str, steps: &str) -> String {
    let labels = if labels.is_empty() { "{}" } else { labels };
    format!(
        "
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: {name}, labels: {labels}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: app, image: 'demo:v1', command: [sleep, infinity]}}]
  strategy: {{canary: {{steps: {steps}}}}}
"
    )
}
