use chrono::TimeDelta;
use serde_json::Value;
use tower::Service;

use super::*;
use crate::faults::{Matches, WatchFault};
use crate::workloads::WorkloadConfig;

fn service() -> SimService {
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    SimService::new(World::new(start, WorkloadConfig::default()), Clock::running(start))
}

fn run<F: Future>(test: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(test)
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn send(
    service: &SimService,
    method: &str,
    path: &str,
    body: &str,
) -> Result<http::Response<Body>, BoxError> {
    let content =
        if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let mut service = service.clone();
    service.call(request).await
}

async fn json(response: http::Response<Body>) -> (u16, Value) {
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

async fn create(service: &SimService, name: &str) -> Result<u16, BoxError> {
    let body = format!(r#"{{"metadata":{{"name":"{name}"}}}}"#);
    Ok(send(service, "POST", MAPS, &body).await?.status().as_u16())
}

async fn exists(service: &SimService, name: &str) -> bool {
    send(service, "GET", &format!("{MAPS}/{name}"), "").await.unwrap().status() == 200
}

/// Returns the next event as `TYPE name`.
async fn event(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(&frame).unwrap();
    let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
    Some(format!("{} {name}", event["type"].as_str().unwrap()))
}

#[test]
fn each_fault_shows_the_client_one_thing_and_does_another() {
    let cases = [
        (Fault::LoseRequest, None, false, false),
        (Fault::LoseReply, None, true, true),
        (Fault::Conflict, Some(409), false, false),
        (Fault::ErrorBefore(503), Some(503), false, false),
        (Fault::ErrorAfter(500), Some(500), true, true),
        (Fault::Throttle { retry_after_seconds: 3 }, Some(429), false, false),
        (Fault::Delay(Duration::from_secs(5)), Some(201), true, true),
        (Fault::Zombie(Duration::from_secs(5)), None, false, true),
    ];
    for (fault, code, at_once, later) in cases {
        run(async {
            let service = service();
            let matches = Matches::plural("configmaps").verb("create");
            service.with_faults(|plan| plan.on(matches, 0, 1, fault.clone()));
            assert_eq!(create(&service, "a").await.ok(), code, "{fault:?}");
            assert_eq!(exists(&service, "a").await, at_once, "{fault:?} at once");
            tokio::time::sleep(Duration::from_secs(6)).await;
            assert_eq!(exists(&service, "a").await, later, "{fault:?} later");
            assert!(create(&service, "b").await.is_ok(), "one request only");
        });
    }
}

#[test]
fn a_throttled_client_is_told_when_to_come_again() {
    run(async {
        let service = service();
        let fault = Fault::Throttle { retry_after_seconds: 7 };
        service.with_faults(|plan| plan.on(Matches::default(), 0, 1, fault));
        let response = send(&service, "GET", MAPS, "").await.unwrap();
        assert_eq!(response.headers()["retry-after"], "7");
    });
}

#[test]
fn a_watch_streams_changes_and_ends_at_its_timeout() {
    run(async {
        let service = service();
        let path = format!("{MAPS}?watch=true&resourceVersion=0&timeoutSeconds=10");
        let mut body = send(&service, "GET", &path, "").await.unwrap().into_body();
        create(&service, "a").await.unwrap();
        assert_eq!(event(&mut body).await.unwrap(), "ADDED a");
        send(&service, "DELETE", &format!("{MAPS}/a"), "").await.unwrap();
        assert_eq!(event(&mut body).await.unwrap(), "DELETED a");
        assert_eq!(event(&mut body).await, None);
    });
}

#[test]
fn a_compacted_watch_ends_with_an_error_event() {
    run(async {
        let service = service();
        create(&service, "a").await.unwrap();
        service.with_world(|world| world.api.compact(world.api.version()));
        let path = format!("{MAPS}?watch=true&resourceVersion=1");
        let mut body = send(&service, "GET", &path, "").await.unwrap().into_body();
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let event: Value = serde_json::from_slice(&frame).unwrap();
        assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
        assert!(body.frame().await.is_none());
    });
}

#[test]
fn watch_faults_delay_hold_drop_and_duplicate_events() {
    for (fault, expected) in [
        (WatchFault::Duplicate, vec!["ADDED a", "ADDED a", "ADDED b"]),
        (WatchFault::Drop, vec!["ADDED b"]),
        (WatchFault::Hold, vec!["ADDED a", "ADDED b"]),
        (WatchFault::Delay(Duration::from_secs(2)), vec!["ADDED a", "ADDED b"]),
    ] {
        run(async {
            let service = service();
            let id =
                service.with_faults(|plan| plan.on_watch(Matches::plural("configmaps"), fault));
            let path = format!("{MAPS}?watch=true&resourceVersion=0&timeoutSeconds=30");
            let mut body = send(&service, "GET", &path, "").await.unwrap().into_body();
            create(&service, "a").await.unwrap();
            let early = tokio::time::timeout(Duration::from_secs(1), event(&mut body)).await;
            let mut seen: Vec<String> = early.ok().flatten().into_iter().collect();
            let comes_early = matches!(fault, WatchFault::Duplicate);
            assert_eq!(!seen.is_empty(), comes_early, "{fault:?}");
            service.with_faults(|plan| plan.withdraw(id));
            create(&service, "b").await.unwrap();
            while let Some(event) = event(&mut body).await {
                seen.push(event);
            }
            assert_eq!(seen, expected, "{fault:?}");
        });
    }
}

#[test]
fn pods_start_by_themselves_while_the_service_is_driven() {
    run(async {
        let service = service();
        tokio::spawn(service.clone().drive());
        let rs = r#"{"metadata":{"name":"web"},"spec":{"replicas":1,"selector":{},
            "template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#;
        let path = "/apis/apps/v1/namespaces/default/replicasets";
        send(&service, "POST", path, rs).await.unwrap();
        let watch = format!("{path}?watch=true&resourceVersion=0&timeoutSeconds=5");
        let response = send(&service, "GET", &watch, "").await.unwrap();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let last: Value =
            serde_json::from_slice(text.trim_ascii().split(|b| *b == b'\n').next_back().unwrap())
                .unwrap();
        assert_eq!(last["object"]["status"]["availableReplicas"], 1);
        assert!(
            service.clock().now() - DateTime::from_timestamp(1_700_000_000, 0).unwrap()
                >= TimeDelta::seconds(5)
        );
    });
}

#[test]
fn requests_of_a_connection_carry_its_name() {
    run(async {
        let service = service();
        let (code, _) =
            json(send(&service.connect("sluice-a"), "GET", MAPS, "").await.unwrap()).await;
        let last = service.with_world(|world| world.api.requests().last().cloned().unwrap());
        assert_eq!((last.actor.as_str(), last.verb, last.code), ("sluice-a", "list", code));
    });
}
