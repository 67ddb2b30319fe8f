use serde_json::{Value, json};
use sluice_crds::object::{Change, Kind, ObjectRef, Preconditions, Propagation, Write};
use sluice_engine::plan::{Decision, Reconciler};

use super::{Revision, audit, check_history};
use crate::ApplicationReconciler;
use crate::action::{Action, Verb};
use crate::tests::hold::{failed, manifests};
use crate::tests::world::{APPLICATION, V1, V2, V3, World, yaml};
use crate::view::ApplicationView;

/// Audits a decision that writes one thing more than it should; returns the laws that it breaks.
fn check(view: &ApplicationView, action: Action) -> Vec<&'static str> {
    let mut decision: Decision<ApplicationReconciler> = ApplicationReconciler::decide(view);
    decision.plan.then(vec![action]);
    let mut laws: Vec<_> =
        audit(view, &decision).into_iter().map(|violation| violation.id).collect();
    laws.dedup();
    laws
}

fn write(
    world: &World,
    kind: &str,
    name: &str,
    verb: Verb,
    commit: &str,
    change: Change,
) -> Action {
    let view = world.view();
    let key = world.key(kind, name);
    let live = view.live(&key).cloned();
    let object = live.as_ref().map_or_else(
        || ObjectRef::namespaced(Kind::CONFIG_MAP, "shop", name),
        |live| live.object.clone(),
    );
    let preconditions =
        live.map_or_else(Preconditions::default, |live| Preconditions::of(&live.meta));
    let manager = "sluice-sync".into();
    Action {
        verb,
        key,
        commit: commit.to_owned(),
        because: String::new(),
        write: Write { object, preconditions, manager, change },
    }
}

fn deletion() -> Change {
    Change::Delete { propagation: Propagation::Foreground }
}

fn synced() -> World {
    let mut world = World::new(APPLICATION);
    world.push(V1, &manifests("web:1", "a", "x"));
    world.settle();
    world.promote("web");
    world.settle();
    world
}

#[test]
fn deleting_what_git_wants_or_what_is_not_ours_breaks_g1() {
    let mut world = synced();
    world.put("{apiVersion: v1, kind: ConfigMap, metadata: {name: foreign, namespace: shop}}");
    let of = |name: &str| write(&world, "ConfigMap", name, Verb::Prune, V1, deletion());
    assert_eq!(check(&world.view(), of("note")), ["G1"]);
    assert_eq!(check(&world.view(), of("foreign")), ["G1"]);
}

#[test]
fn deleting_without_the_version_that_was_seen_breaks_g1() {
    let mut world = synced();
    world.push(V2, "\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n");
    world.step();
    world.step();
    let mut action = write(&world, "ConfigMap", "note", Verb::Prune, V2, deletion());
    assert_eq!(check(&world.view(), action.clone()), Vec::<&str>::new());
    action.write.preconditions = Preconditions::default();
    assert_eq!(check(&world.view(), action), ["G1"]);
}

#[test]
fn writing_without_a_complete_picture_breaks_g3() {
    let mut world = synced();
    world.unlisted = true;
    let body = json!({ "data": {} });
    let action =
        write(&world, "ConfigMap", "note", Verb::Apply, V1, Change::Apply { body: body.clone() });
    assert_eq!(check(&world.view(), action), ["G3"]);
    world.unlisted = false;
    let action = write(&world, "ConfigMap", "note", Verb::Apply, V3, Change::Apply { body });
    assert_eq!(check(&world.view(), action), ["G3"], "a commit that was not rendered");
}

#[test]
fn restoring_what_never_was_healthy_breaks_g4() {
    let world = failed(APPLICATION);
    let body = json!({ "data": { "mode": "b" } });
    let action = write(&world, "ConfigMap", "settings", Verb::Restore, V2, Change::Apply { body });
    assert_eq!(check(&world.view(), action), ["G4"]);
}

#[test]
fn writing_what_the_project_forbids_breaks_g5() {
    let mut world = synced();
    world.project["spec"]["namespaceResourceBlacklist"] =
        json!([{ "group": "", "kind": "ConfigMap" }]);
    let body = json!({ "data": {} });
    let action = write(&world, "ConfigMap", "note", Verb::Apply, V1, Change::Apply { body });
    assert_eq!(check(&world.view(), action), ["G5"]);
}

#[test]
fn applying_quarantined_content_breaks_r2() {
    let world = failed(APPLICATION);
    let mut body = world.object("Rollout", "web").unwrap().clone();
    body["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    let action = write(&world, "Rollout", "web", Verb::Apply, V2, Change::Apply { body });
    assert_eq!(check(&world.view(), action), ["R2"]);
}

const ROLLOUT: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web, namespace: shop}
spec:
  template: {metadata: {labels: {app: web}}}
  strategy:
    canary:
      stableService: web
      canaryService: web-canary
      trafficRouting: {istio: {virtualService: {name: web, routes: [main]}}}
";

fn route(weight: i64, manager: &str, at: &str) -> Value {
    yaml(&format!(
        "
metadata:
  name: web
  namespace: shop
  managedFields:
  - {{manager: kubectl, operation: Update, time: '2026-01-01T00:00:00Z'}}
  - {{manager: {manager}, operation: Apply, time: '{at}'}}
spec:
  http:
  - name: main
    route:
    - {{destination: {{host: web}}, weight: {}}}
    - {{destination: {{host: web-canary}}, weight: {weight}}}
",
        100 - weight
    ))
}

fn revision(kind: Kind, body: Value) -> Revision {
    let name = body["metadata"]["name"].as_str().unwrap().to_owned();
    let namespace = body["metadata"]["namespace"].as_str().unwrap().to_owned();
    let at = chrono::DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc();
    Revision { object: ObjectRef::namespaced(kind, namespace, name), body: Some(body), at }
}

#[test]
fn a_weight_that_sync_changed_is_found_in_the_history() {
    let laws = |manager: &str| -> Vec<&str> {
        let history = [
            revision(Kind::ROLLOUT, yaml(ROLLOUT)),
            revision(Kind::VIRTUAL_SERVICE, route(40, manager, "2026-01-01T00:00:01Z")),
            revision(Kind::VIRTUAL_SERVICE, route(0, manager, "2026-01-01T00:00:02Z")),
        ];
        check_history(&history).into_iter().map(|violation| violation.id).collect()
    };
    assert_eq!(laws("sluice-sync"), ["G6", "G6"], "both destinations");
    assert_eq!(laws("sluice-rollout"), Vec::<&str>::new());
}

#[test]
fn quarantined_content_that_came_back_is_found_in_the_history() {
    let good = yaml(ROLLOUT);
    let mut bad = good.clone();
    bad["spec"]["template"]["metadata"]["labels"]["version"] = json!("2");
    let key = crate::key::ResourceKey::of(&ObjectRef::namespaced(Kind::ROLLOUT, "shop", "web"));
    let hash = crate::hold::content_hash(&key, &bad, None);
    let entry = json!({ "group": "argoproj.io", "kind": "Rollout", "namespace": "shop", "name": "web", "templateHash": hash });
    let application = json!({
        "metadata": { "name": "shop", "namespace": "argocd" }, "spec": { "destination": {} },
        "status": { "sluice": { "quarantine": [entry] } },
    });
    let mut history = vec![
        revision(Kind::ROLLOUT, good.clone()),
        revision(Kind::ROLLOUT, bad.clone()),
        revision(Kind::APPLICATION, application),
        revision(Kind::ROLLOUT, good),
    ];
    assert!(check_history(&history).is_empty());
    history.push(revision(Kind::ROLLOUT, bad));
    let laws: Vec<_> = check_history(&history).into_iter().map(|violation| violation.id).collect();
    assert_eq!(laws, ["R2"]);
}

mod evidence;
