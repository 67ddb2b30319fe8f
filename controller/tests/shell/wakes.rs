//! Nobody is forgotten: whatever comes late, whoever waits for it hears of it. Git is asked again only after minutes here,
//! so that no poll covers a lost wake.

use std::time::Duration;

use sluice_crds::object::{Kind, ObjectRef};
use sluice_sim::faults::{Fault, Matches, WatchFault};

use super::stage::Stage;

const MANIFESTS: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { colour: blue }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
";

const APPLICATIONS: usize = 8;

fn name(number: usize) -> String {
    format!("shop-{number}")
}

/// Applications of the same content in namespaces of their own, and no AppProject.
fn create(stage: &Stage) {
    stage.create("{ apiVersion: v1, kind: Namespace, metadata: { name: argocd } }");
    stage.fakes.push(MANIFESTS);
    for name in (0..APPLICATIONS).map(name) {
        stage.create(&format!(
            "{{ apiVersion: v1, kind: Namespace, metadata: {{ name: {name} }} }}"
        ));
        stage.create(&format!(
            r"
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{ name: {name}, namespace: argocd }}
spec:
  project: default
  source: {{ repoURL: 'https://git.example/shop.git', path: ., targetRevision: HEAD }}
  destination: {{ server: 'https://kubernetes.default.svc', namespace: {name} }}
  syncPolicy: {{ automated: {{}} }}
"
        ));
    }
}

fn synced(stage: &Stage) -> usize {
    let is_synced = |name: &String| {
        let object = ObjectRef::namespaced(Kind::APPLICATION, "argocd", name);
        stage.get(&object)["status"]["sync"]["status"] == "Synced"
    };
    (0..APPLICATIONS).map(name).filter(is_synced).count()
}

/// All are synced well before Git is asked a second time, whatever is slow.
async fn check(slow: &[(&str, &str, u64)], late: &[(&str, u64)]) {
    let stage = Stage::new();
    stage.service.with_faults(|plan| {
        for (verb, plural, millis) in slow {
            let matches = Matches::plural(plural).verb(verb);
            plan.on(matches, 0, u32::MAX, Fault::Delay(Duration::from_millis(*millis)));
        }
        for (plural, millis) in late {
            let matches = Matches::plural(plural).verb("watch");
            plan.on_watch(matches, WatchFault::Delay(Duration::from_millis(*millis)));
        }
    });
    let controller = stage.controller("one");
    create(&stage);
    let what = format!("{APPLICATIONS} synced Applications with {slow:?} slow and {late:?} late");
    stage.until(40, &what, |stage| synced(stage) == APPLICATIONS).await;
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn applications_that_create_the_project_together_are_all_synced() {
    check(&[], &[]).await;
    check(&[], &[("appprojects", 700)]).await;
    check(&[("create", "appprojects", 300)], &[]).await;
    check(&[("create", "appprojects", 300)], &[("appprojects", 50)]).await;
    check(&[("get", "appprojects", 300)], &[("applications", 400)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_listed_late_wakes_those_who_look_for_something_absent() {
    check(&[("list", "configmaps", 3_000)], &[]).await;
    check(&[("list", "services", 3_000)], &[]).await;
    check(&[("list", "appprojects", 3_000)], &[("applications", 400)]).await;
}
