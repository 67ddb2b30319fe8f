//! A stage: a simulated cluster, a controller on it, and virtual time.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sluice_controller::client::Clients;
use sluice_controller::clock::RuntimeClock;
use sluice_controller::config::Config;
use sluice_controller::{Deps, RunError};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_sim::api_server::{ApiServer, Call, Recorded, Reply};
use sluice_sim::clock::Clock;
use sluice_sim::service::SimService;
use sluice_sim::workloads::WorkloadConfig;
use sluice_sim::world::World;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::fakes::Fakes;

/// A simulated cluster in virtual time.
pub(crate) struct Stage {
    pub(crate) service: SimService,
    pub(crate) fakes: Fakes,
    start: DateTime<Utc>,
}

/// A running controller.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    handle: JoinHandle<Result<(), RunError>>,
}

impl Running {
    /// Ends the process as `kill -9` does.
    pub(crate) async fn kill(self) {
        self.handle.abort();
        let _ = self.handle.await;
    }

    /// Ends the process as SIGTERM does.
    pub(crate) async fn terminate(self) -> Result<(), RunError> {
        let _ = self.stop.send(true);
        self.handle.await.expect("the controller does not panic")
    }

    /// Waits until the process ends by itself.
    pub(crate) async fn ended(self) -> Result<(), RunError> {
        let result = self.handle.await.expect("the controller does not panic");
        drop(self.stop);
        result
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::around(ApiServer::new)
    }

    /// A cluster without any custom resource.
    pub(crate) fn bare() -> Self {
        Self::around(ApiServer::bare)
    }

    fn around(server: fn(DateTime<Utc>) -> ApiServer) -> Self {
        let start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        let world = World::with_server(server(start), start, WorkloadConfig::default());
        let service = SimService::new(world, Clock::running(start));
        tokio::spawn(service.clone().drive());
        let stage = Self { service, fakes: Fakes::default(), start };
        stage.create("{ apiVersion: v1, kind: Namespace, metadata: { name: sluice-system } }");
        stage
    }

    /// Applies manifests as a user would.
    pub(crate) fn create(&self, manifests: &str) {
        let documents: Vec<Value> = serde_saphyr::from_multiple(manifests).unwrap();
        for body in documents {
            let kind = kind_of(&body);
            let namespace = body.pointer("/metadata/namespace").and_then(Value::as_str);
            let path = kind.collection_path(namespace);
            let call = Call::new("POST", &path).with_body("application/json", &body).by("user");
            self.call(&call, 201);
        }
    }

    /// Defines a kind, as installing its CustomResourceDefinition does.
    pub(crate) fn define(&self, kind: &Kind) {
        let any = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let subresources =
            if kind.status_subresource { json!({ "status": {} }) } else { json!({}) };
        let body = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{}.{}", kind.plural, kind.group) },
            "spec": {
                "group": kind.group,
                "scope": "Namespaced",
                "names": { "plural": kind.plural, "kind": kind.kind },
                "versions": [{
                    "name": kind.version,
                    "served": true,
                    "storage": true,
                    "schema": { "openAPIV3Schema": any },
                    "subresources": subresources,
                }],
            },
        });
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let call = Call::new("POST", path).with_body("application/json", &body).by("user");
        self.call(&call, 201);
    }

    /// Merges into an object as a user would.
    pub(crate) fn patch(&self, object: &ObjectRef, body: &Value) {
        self.patch_at(&object.path(), body);
    }

    pub(crate) fn patch_at(&self, path: &str, body: &Value) {
        let call = Call::new("PATCH", path).with_body("application/merge-patch+json", body);
        self.call(&call.by("user"), 200);
    }

    /// Deletes an object as a user would.
    pub(crate) fn delete(&self, object: &ObjectRef, propagation: &str) {
        let options = json!({ "propagationPolicy": propagation });
        let call = Call::new("DELETE", &object.path()).with_body("application/json", &options);
        self.call(&call.by("user"), 200);
    }

    fn call(&self, call: &Call, wanted: u16) {
        let reply = self.service.with_world(|world| world.handle(call));
        assert_eq!(reply.code(), wanted, "{} {}: {reply:?}", call.method, call.path);
    }

    /// Returns an object as it is; null if there is none.
    pub(crate) fn get(&self, object: &ObjectRef) -> Value {
        let call = Call::new("GET", &object.path()).by("user");
        match self.service.with_world(|world| world.handle(&call)) {
            Reply::Json { code: 200, body } => body,
            Reply::Json { .. } | Reply::Text(_) | Reply::Watch(_) => Value::Null,
        }
    }

    /// Starts a controller.
    pub(crate) fn controller(&self, identity: &str) -> Running {
        self.controller_with(Config::for_tests(identity))
    }

    /// Starts a controller with a configuration of its own.
    pub(crate) fn controller_with(&self, config: Config) -> Running {
        let client = |actor: &str| kube::Client::new(self.service.connect(actor), "default");
        let clients = Clients {
            reads: client("sluice-reads"),
            writes: client("sluice-writes"),
            lease: client("sluice-lease"),
            events: client("sluice-events"),
        };
        let (stop, asked) = watch::channel(false);
        let now = self.service.clock().now();
        let deps = Deps {
            clock: Arc::new(RuntimeClock::starting_at(now)),
            providers: Arc::new(self.fakes.providers()),
            repo: self.fakes.repo(),
            stop: asked,
        };
        let handle = tokio::spawn(sluice_controller::run(config, clients, deps));
        Running { stop, handle }
    }

    /// Lets virtual time pass until the condition holds, for at most so many seconds.
    pub(crate) async fn until(
        &self,
        seconds: u64,
        what: &str,
        mut condition: impl FnMut(&Self) -> bool,
    ) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
        while !condition(self) {
            let at = self.service.clock().now() - self.start;
            assert!(
                tokio::time::Instant::now() < deadline,
                "{what} did not happen within {seconds} s (now {at}): {:#}\n{}",
                self.get(&rollout()),
                self.requests_of("sluice-writes").join("\n"),
            );
            self.pass(Duration::from_millis(100)).await;
        }
    }

    /// Lets virtual time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        // With paused timers this takes no real time.
        tokio::time::sleep(time).await;
    }

    /// Waits until the Rollout is in the phase, for its present spec.
    pub(crate) async fn phase(&self, seconds: u64, phase: &str) {
        self.until(seconds, phase, |stage| {
            let object = stage.get(&rollout());
            let observed = object.pointer("/status/observedGeneration").and_then(Value::as_str);
            let generation = object.pointer("/metadata/generation").map(Value::to_string);
            object.pointer("/status/phase") == Some(&json!(phase))
                && observed == generation.as_deref()
        })
        .await;
    }

    /// Returns the statuses of all AnalysisRuns.
    pub(crate) fn runs(&self) -> Value {
        self.service.with_world(|world| {
            let runs = world.api.objects(&Kind::ANALYSIS_RUN, Some("shop"));
            runs.iter().map(|run| run["status"].clone()).collect()
        })
    }

    /// Waits until the Rollout is Healthy and no weight is on the canary any more.
    pub(crate) async fn promoted(&self, seconds: u64) {
        self.phase(seconds, "Healthy").await;
        let weight = |stage: &Self| canary_weight(&stage.get(&virtual_service()));
        self.until(30, "weight 0", |stage| weight(stage) == 0).await;
    }

    /// Returns the requests of an actor.
    pub(crate) fn recorded(&self, actor: &str) -> Vec<Recorded> {
        self.service.with_world(|world| {
            let all = world.api.requests().iter();
            all.filter(|request| request.actor == actor).cloned().collect()
        })
    }

    /// Returns the requests of an actor, as `verb path code`.
    pub(crate) fn requests_of(&self, actor: &str) -> Vec<String> {
        self.recorded(actor).iter().map(line).collect()
    }

    /// Returns the requests of an actor that are not watches, from the number on.
    pub(crate) fn since(&self, actor: &str, number: usize) -> Vec<String> {
        let all = self.recorded(actor).into_iter().skip(number);
        all.filter(|request| request.verb != "watch").map(|request| line(&request)).collect()
    }
}

/// Returns a request as people read it: the paths without their common parts.
pub(crate) fn line(request: &Recorded) -> String {
    let path = request.path.replace("/namespaces/shop", "");
    format!("{} {path} {}", request.verb, request.code)
}

fn kind_of(body: &Value) -> Kind {
    let all = [
        Kind::ROLLOUT,
        Kind::ANALYSIS_TEMPLATE,
        Kind::SERVICE,
        Kind::NAMESPACE,
        Kind::VIRTUAL_SERVICE,
        Kind::DESTINATION_RULE,
        Kind::APPLICATION,
        Kind::APP_PROJECT,
        Kind::CONFIG_MAP,
        Kind::REPLICA_SET,
        Kind::EXPERIMENT,
        Kind::DEPLOYMENT,
        Kind {
            group: "policy".into(),
            version: "v1".into(),
            kind: "PodDisruptionBudget".into(),
            plural: "poddisruptionbudgets".into(),
            status_subresource: true,
        },
    ];
    let found = all.into_iter().find(|kind| body["kind"] == json!(kind.kind));
    found.unwrap_or_else(|| panic!("unknown kind: {}", body["kind"]))
}

/// The Rollout of every test.
pub(crate) fn rollout() -> ObjectRef {
    ObjectRef::namespaced(Kind::ROLLOUT, "shop", "web")
}

/// The VirtualService of every test.
pub(crate) fn virtual_service() -> ObjectRef {
    ObjectRef::namespaced(Kind::VIRTUAL_SERVICE, "shop", "web")
}

/// Returns a patch of the Rollout's image.
pub(crate) fn image(version: &str) -> Value {
    let container = json!({ "name": "web", "image": format!("registry/web:{version}") });
    json!({ "spec": { "template": { "spec": { "containers": [container] } } } })
}

/// Weights of the canary over the history of the VirtualService, repeats left out.
pub(crate) fn canary_weight(object: &Value) -> i64 {
    let route = object.pointer("/spec/http/0/route").and_then(Value::as_array);
    let canary = route.into_iter().flatten().find(|r| r["destination"]["host"] == "web-canary");
    canary.and_then(|r| r["weight"].as_i64()).unwrap_or(0)
}

/// The reference workload W5 of `performance.md` 2.2.
pub(crate) const W5: &str = r"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: web-canary, namespace: shop }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web, namespace: shop }
spec:
  hosts: [web]
  http:
    - name: primary
      route:
        - destination: { host: web }
          weight: 100
        - destination: { host: web-canary }
          weight: 0
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: { name: web, namespace: shop }
spec:
  replicas: 5
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: 'registry/web:1' }] }
  strategy:
    canary:
      canaryService: web-canary
      stableService: web
      trafficRouting: { istio: { virtualService: { name: web, routes: [primary] } } }
      steps:
        - setWeight: 20
        - pause: { duration: 10 }
        - setWeight: 60
        - pause: { duration: 10 }
        - setWeight: 100
";
