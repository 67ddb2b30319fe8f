//! The real process over real sockets, against the simulated cluster on a loopback port.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_sim::api_server::{Call, Reply};
use sluice_sim::clock::Clock;
use sluice_sim::service::SimService;
use sluice_sim::workloads::WorkloadConfig;
use sluice_sim::world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn object(service: &SimService, object: &ObjectRef) -> Value {
    match service.with_world(|world| world.handle(&Call::new("GET", &object.path()))) {
        Reply::Json { code: 200, body } => body,
        Reply::Json { .. } | Reply::Text(_) | Reply::Watch(_) => Value::Null,
    }
}

fn create(service: &SimService, kind: &Kind, namespace: Option<&str>, body: &Value) {
    let call = Call::new("POST", &kind.collection_path(namespace));
    let call = call.with_body("application/json", body);
    assert_eq!(service.with_world(|world| world.handle(&call)).code(), 201);
}

async fn cluster() -> (SimService, String) {
    let start = chrono::Utc::now();
    let service =
        SimService::new(World::new(start, WorkloadConfig::default()), Clock::running(start));
    tokio::spawn(service.clone().drive());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(sluice_sim::serve::serve(service.clone(), listener));
    (service, url)
}

/// Returns a port that was free a moment ago.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}

async fn fetch(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    Some(text)
}

/// Waits for a real process: there is no virtual time across processes.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what} did not happen within 30 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_process_rolls_out_serves_metrics_and_releases_the_lease_when_told_to_stop() {
    let (service, url) = cluster().await;
    for name in ["shop", "sluice-system"] {
        create(&service, &Kind::NAMESPACE, None, &json!({ "metadata": { "name": name } }));
    }
    let labels = json!({ "app": "web" });
    let container = json!({ "name": "web", "image": "registry/web:1" });
    let spec = json!({
        "replicas": 2,
        "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        "strategy": { "canary": {} },
    });
    let rollout = ObjectRef::namespaced(Kind::ROLLOUT, "shop", "web");
    let body = json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": spec });
    create(&service, &Kind::ROLLOUT, Some("shop"), &body);
    let (metrics, health) = (free_port().await, free_port().await);
    let child = Command::new(env!("CARGO_BIN_EXE_sluice-controller"))
        .arg(format!("--server={url}"))
        .arg(format!("--metricsport={metrics}"))
        .arg(format!("--healthzPort={health}"))
        .args(["--listen-address=127.0.0.1", "--namespace=sluice-system"])
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary is built");
    let mut process = Process(child);
    until("Healthy", async || object(&service, &rollout)["status"]["phase"] == "Healthy").await;
    let ready = fetch(health, "/readyz").await.expect("it listens");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let text = fetch(metrics, "/metrics").await.expect("it listens");
    for line in [
        "rollout_info{namespace=\"shop\",name=\"web\",strategy=\"canary\",traffic_router=\"\",phase=\"Completed\"} 1",
        "rollout_info_replicas_available{namespace=\"shop\",name=\"web\"} 2",
        "sluice_lease_held 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
    let id = process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill is there").success());
    until("its end", async || process.0.try_wait().expect("it is our child").is_some()).await;
    let status = process.0.wait().expect("it has ended");
    assert!(status.success(), "{status}");
    let lease =
        ObjectRef::namespaced(Kind::LEASE, "sluice-system", "argo-rollouts-controller-lock");
    assert_eq!(object(&service, &lease)["spec"]["holderIdentity"], "");
}
