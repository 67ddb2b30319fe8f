//! The words in which tests speak about the bed: a scene is a namespace of a test's own.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::{
    bed::{Bed, apply::Applier, http, mesh, ports, process::until},
    load::{Load, Plan},
};

/// How long anything may take that the bed's own parts do.
const SOON: Duration = Duration::from_secs(30);

/// A namespace of the test's own, and the objects in it.
#[derive(Clone)]
pub struct Scene {
    pub bed: Arc<Bed>,
    pub namespace: String,
    /// Host under which the scene's route is reached through the gateway.
    pub host: String,
    applier: Applier,
}

impl Scene {
    /// Makes the namespace.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn new(bed: Arc<Bed>, namespace: &str) -> Result<Self> {
        let applier = Applier::new(bed.admin.clone(), "test");
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        applier.objects(namespace, vec![object]).await?;
        let host = format!("{namespace}.test");
        Ok(Self { bed, namespace: namespace.to_owned(), host, applier })
    }

    /// Applies YAML to the scene's namespace; `$HOST`, `$NAMESPACE` and `$GATEWAY_PORT` are filled
    /// in.
    ///
    /// # Errors
    /// When the API server refuses an object.
    pub async fn given(&self, yaml: &str) -> Result<Vec<DynamicObject>> {
        let yaml = yaml
            .replace("$HOST", &self.host)
            .replace("$NAMESPACE", &self.namespace)
            .replace("$GATEWAY_PORT", &ports::GATEWAY.to_string());
        self.applier.yaml(&self.namespace, &yaml).await
    }

    /// A ReplicaSet `name` of `replicas` backends of `version`, with a Service of the same name.
    ///
    /// # Errors
    /// When the API server refuses an object.
    pub async fn given_backends(&self, name: &str, version: &str, replicas: u32) -> Result<()> {
        self.given(&format!(
            "
apiVersion: apps/v1
kind: ReplicaSet
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
        - name: app
          image: demo:{version}
          ports: [{{name: http, containerPort: 8080}}]
          readinessProbe: {{httpGet: {{path: /healthz, port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: http}}]
"
        ))
        .await?;
        Ok(())
    }

    /// A Gateway for the scene's host, and a VirtualService `route` that splits all requests
    /// between Services by weight.
    ///
    /// # Errors
    /// When the API server or Istio's validation refuses it.
    pub async fn given_route(&self, weights: &[(&str, u32)]) -> Result<()> {
        let destinations: Vec<_> = weights
            .iter()
            .map(|(host, weight)| {
                json!({ "destination": { "host": host, "port": { "number": 80 } }, "weight": weight })
            })
            .collect();
        self.given(
            "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gateway}
spec:
  selector: {istio: ingressgateway}
  servers:
    - port: {number: $GATEWAY_PORT, name: http, protocol: HTTP}
      hosts: [$HOST]
",
        )
        .await?;
        let route = json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": { "name": "route" },
            "spec": { "hosts": [self.host], "gateways": ["gateway"],
                "http": [{ "name": "primary", "route": destinations }] },
        });
        self.applier.objects(&self.namespace, vec![route]).await?;
        Ok(())
    }

    /// Sends requests to the scene's host through the gateway.
    #[must_use]
    pub fn load(&self, rate: f64) -> Plan {
        Plan::new(&self.host, rate)
    }

    /// Starts a plan.
    #[must_use]
    pub fn when_load_runs(&self, plan: Plan) -> Load {
        Load::start(plan)
    }

    /// Reads an object of the scene.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn get(&self, api_version: &str, kind: &str, name: &str) -> Result<Value> {
        let api = self.applier.api(api_version, kind, &self.namespace).await?;
        let object = api.get(name).await.with_context(|| format!("{kind} `{name}`"))?;
        Ok(serde_json::to_value(object)?)
    }

    /// Waits until an object satisfies `check`.
    ///
    /// # Errors
    /// When it does not within `deadline`.
    pub async fn then(
        &self,
        (api_version, kind, name): (&str, &str, &str),
        what: &str,
        deadline: Duration,
        check: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        until(&format!("{kind} `{name}` {what}"), deadline, || async {
            let object = self.get(api_version, kind, name).await?;
            Ok(check(&object).then_some(object))
        })
        .await
    }

    /// Waits until a ReplicaSet has all its replicas available.
    ///
    /// # Errors
    /// When it has not in 30 s.
    pub async fn then_available(&self, replica_set: &str) -> Result<()> {
        let all = |set: &Value| set["status"]["availableReplicas"] == set["spec"]["replicas"];
        self.then(("apps/v1", "ReplicaSet", replica_set), "is available", SOON, all).await?;
        Ok(())
    }

    /// Waits until Envoy splits the scene's host by these weights and answers for it.
    ///
    /// # Errors
    /// When it does not in 30 s.
    pub async fn then_routed(&self, weights: &[(&str, u32)]) -> Result<()> {
        let host = format!("{}:{}", self.host, ports::GATEWAY);
        let known = if mesh::routes(&host).await?.is_empty() { &self.host } else { &host };
        mesh::weights(known, weights, SOON).await?;
        let address = format!("127.0.0.1:{}", ports::GATEWAY);
        until("the gateway answers for the host", SOON, || async {
            let request = hyper::Request::get("/").header("host", &self.host);
            let request = request.body(http_body_util::Full::default())?;
            let (status, _) = http::send(&address, request).await?;
            Ok((status == 200).then_some(()))
        })
        .await
    }
}
