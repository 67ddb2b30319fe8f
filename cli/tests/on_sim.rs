//! The plugin's own binary against a simulated cluster on a loopback port.
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use sluice_crds::object::{Change, Kind, ObjectRef, Preconditions, Write};
use sluice_sim::clock::Clock;
use sluice_sim::service::SimService;
use sluice_sim::workloads::WorkloadConfig;
use sluice_sim::world::World;

const SLUICE: &str = env!("CARGO_BIN_EXE_kubectl-sluice");

/// A cluster with one paused Rollout `checkout` in namespace `shop`.
struct Cluster {
    service: SimService,
    address: String,
    runtime: tokio::runtime::Runtime,
}

impl Cluster {
    fn new() -> Self {
        let start = "2026-11-21T12:00:00Z".parse().unwrap();
        let world = World::new(start, WorkloadConfig::default());
        let service = SimService::new(world, Clock::manual(start));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = service.connect("kubectl-sluice");
        runtime.spawn(sluice_sim::serve::serve(served, listener));
        let cluster = Self { service, address, runtime };
        for name in ["shop", "argocd"] {
            let metadata = json!({ "name": name });
            cluster.put(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }));
        }
        cluster.load(&rollout());
        cluster
    }

    /// Loads an object without a status endpoint.
    fn put(&self, object: &Value) {
        self.service.with_world(|world| {
            let now = world.now();
            world.api.load(now, "test", object.clone()).unwrap();
        });
    }

    fn load(&self, object: &Value) {
        self.put(object);
        self.service.with_world(|world| {
            let now = world.now();
            // As on a real API server, a status is only taken at its own endpoint.
            let name = object["metadata"]["name"].as_str().unwrap();
            let status = Write {
                object: ObjectRef::namespaced(Kind::ROLLOUT, "shop", name),
                preconditions: Preconditions::default(),
                manager: "test".into(),
                change: Change::Status { body: object["status"].clone() },
            };
            world.api.write(now, "test", &status).unwrap();
        });
    }

    fn command(&self, program: &Path, words: &[&str]) -> Command {
        let _inside = self.runtime.enter();
        let mut command = Command::new(program);
        command.args(["--server", &self.address, "-n", "shop"]).args(words);
        command.env_clear().env("HOME", "/nonexistent");
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(Path::new(SLUICE), words).arg("--no-color").output().unwrap()
    }

    /// Runs the same program under the name of Argo's plugin.
    fn run_as_argo(&self, words: &[&str]) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("kubectl-argo-rollouts");
        std::os::unix::fs::symlink(SLUICE, &program).unwrap();
        self.command(&program, words).output().unwrap()
    }

    fn rollout(&self) -> Value {
        self.object(&ObjectRef::namespaced(Kind::ROLLOUT, "shop", "checkout"))
    }

    fn application(&self) -> Value {
        self.object(&ObjectRef::namespaced(Kind::APPLICATION, "argocd", "shop"))
    }

    fn object(&self, object: &ObjectRef) -> Value {
        self.service.with_world(|world| world.api.get(object).map(|o| (*o).clone()).unwrap())
    }
}

fn rollout() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": { "name": "checkout", "namespace": "shop" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "checkout" } },
            "template": {
                "metadata": { "labels": { "app": "checkout" } },
                "spec": { "containers": [{ "name": "app", "image": "demo:v1" }] },
            },
            "strategy": { "canary": { "steps": [{ "setWeight": 20 }, { "pause": {} }] } },
        },
        "status": {
            "observedGeneration": "1",
            "phase": "Paused",
            "message": "CanaryPauseStep",
            "currentStepIndex": 1,
            "controllerPause": true,
            "pauseConditions": [{ "reason": "CanaryPauseStep", "startTime": "2026-11-21T12:00:00Z" }],
            "currentPodHash": "b",
            "stableRS": "a",
        },
    })
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn promote_ends_the_pause() {
    let cluster = Cluster::new();
    let output = cluster.run(&["promote", "checkout"]);
    assert_eq!(out(&output), "rollout 'checkout' promoted\n", "{}", err(&output));
    assert!(cluster.rollout()["status"].get("pauseConditions").is_none());
}

#[test]
fn abort_retry_pause_and_restart_set_their_fields() {
    let cluster = Cluster::new();
    assert_eq!(out(&cluster.run(&["abort", "checkout"])), "rollout 'checkout' aborted\n");
    assert_eq!(cluster.rollout()["status"]["abort"], true);
    assert_eq!(
        out(&cluster.run(&["retry", "rollout", "checkout"])),
        "rollout 'checkout' retried\n"
    );
    assert_eq!(cluster.rollout()["status"]["abort"], false);
    assert_eq!(out(&cluster.run(&["pause", "checkout"])), "rollout 'checkout' paused\n");
    assert_eq!(cluster.rollout()["spec"]["paused"], true);
    let output = cluster.run(&["restart", "checkout", "--in", "10s"]);
    assert_eq!(out(&output), "rollout 'checkout' restarts in 10s\n");
    assert!(cluster.rollout()["spec"]["restartAt"].is_string());
}

#[test]
fn set_image_changes_the_template() {
    let cluster = Cluster::new();
    let output = cluster.run(&["set", "image", "checkout", "app=demo:v2"]);
    assert_eq!(out(&output), "rollout \"checkout\" image updated\n", "{}", err(&output));
    let image = &cluster.rollout()["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "demo:v2");
}

#[test]
fn a_wrong_name_is_answered_with_the_right_one() {
    let cluster = Cluster::new();
    let output = cluster.run(&["promote", "chekout"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        err(&output),
        "error: Rollout shop/chekout not found\nhint: there is `checkout` in namespace shop\n"
    );
}

#[test]
fn status_without_watch_prints_once() {
    let cluster = Cluster::new();
    let output = cluster.run(&["status", "checkout", "--watch=false"]);
    assert_eq!(out(&output), "Paused - CanaryPauseStep\n", "{}", err(&output));
    assert!(output.status.success());
}

#[test]
fn list_and_get_show_the_rollout() {
    let cluster = Cluster::new();
    let list = out(&cluster.run(&["list", "rollouts"]));
    assert!(list.starts_with("NAME      STATUS    STEP"), "{list}");
    assert!(list.contains("checkout  ॥ Paused  1/2   20"), "{list}");
    let get = cluster.run(&["get", "rollout", "checkout"]);
    let wanted = "Status:     ॥ Paused   step 2 of 2: paused until promoted";
    assert!(out(&get).contains(wanted), "{} {}", out(&get), err(&get));
    let name = cluster.run(&["get", "rollout", "checkout", "-o", "name"]);
    assert_eq!(out(&name), "rollout.argoproj.io/checkout\n");
}

/// The Application of `tests/fixtures/shop.yaml`, and the Rollout as it applied it.
fn from_git(cluster: &Cluster, change: impl FnOnce(&mut Value)) {
    let text = std::fs::read_to_string("tests/fixtures/shop.yaml").unwrap();
    let mut app: Value = serde_saphyr::from_str(&text).unwrap();
    change(&mut app);
    cluster.put(&app);
    let id = json!({ "argocd.argoproj.io/tracking-id": "shop:argoproj.io/Rollout:shop/checkout" });
    cluster.service.with_world(|world| {
        let object = ObjectRef::namespaced(Kind::ROLLOUT, "shop", "checkout");
        let write = Write {
            object,
            preconditions: Preconditions::default(),
            manager: "test".into(),
            change: Change::MergePatch { body: json!({ "metadata": { "annotations": id } }) },
        };
        let now = world.now();
        world.api.write(now, "test", &write).unwrap();
    });
}

#[test]
fn a_change_by_hand_that_git_would_put_back_is_refused() {
    let cluster = Cluster::new();
    from_git(&cluster, |_| {});
    for words in [&["undo", "checkout"][..], &["set", "image", "checkout", "app=demo:v2"]] {
        let output = cluster.run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let wanted =
            "error: rollout 'checkout' is applied from Git by Application shop, which heals itself";
        assert!(err(&output).starts_with(wanted), "{}", err(&output));
        assert!(err(&output).contains("kubectl sluice app rollback shop"), "{}", err(&output));
    }
}

#[test]
fn content_that_is_held_back_is_not_tried_again_by_hand() {
    let cluster = Cluster::new();
    let mut template = rollout()["spec"]["template"].clone();
    template["spec"]["containers"][0]["image"] = json!("demo:v3");
    let hash = sluice_engine::rollout::template_hash::template_hash(&template, None);
    from_git(&cluster, |app| {
        app["spec"]["syncPolicy"] = json!({});
        let entries = app["status"]["sluice"]["quarantine"].as_array_mut().unwrap();
        entries.push(json!({ "kind": "Rollout", "name": "checkout", "templateHash": hash, "reason": "AnalysisFailed" }));
        entries.push(json!({ "kind": "Rollout", "name": "checkout", "templateHash": "b", "reason": "AnalysisFailed" }));
    });
    for (words, hash) in [
        (&["set", "image", "checkout", "app=demo:v3"][..], hash.as_str()),
        (&["retry", "rollout", "checkout"], "b"),
    ] {
        let output = cluster.run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert_eq!(
            err(&output),
            format!(
                "error: template {hash} of rollout 'checkout' is held back: AnalysisFailed\n\
                 hint: kubectl sluice quarantine release shop checkout\n"
            )
        );
    }
    let other = cluster.run(&["set", "image", "checkout", "app=demo:v4"]);
    assert_eq!(err(&other), "note: Application shop is OutOfSync until Git says the same\n");
    assert!(other.status.success());
}

#[test]
fn applications_are_shown_and_driven() {
    let cluster = Cluster::new();
    let empty = cluster.run(&["app", "list"]);
    assert_eq!(err(&empty), "No Applications in namespace argocd.\n");
    from_git(&cluster, |_| {});
    let list: Value =
        serde_json::from_str(&out(&cluster.run(&["app", "list", "-o", "json"]))).unwrap();
    assert_eq!((&list["kind"], &list["items"][0]["kind"]), (&json!("List"), &json!("Application")));
    assert_eq!(out(&cluster.run(&["app", "list", "-o", "name"])), "application.argoproj.io/shop\n");
    let wide = out(&cluster.run(&["app", "list", "-o", "wide"]));
    assert!(wide.contains("http://git.example/shop.git  apps/shop  main"), "{wide}");
    let history = out(&cluster.run(&["app", "history", "shop"]));
    assert!(history.contains("1   2026-11-21T11:00:00Z  4f1c2ab   automated"), "{history}");
    let back = cluster.run(&["app", "rollback", "shop"]);
    assert_eq!(out(&back), "application 'shop' rollback to sync 1, commit 4f1c2ab requested\n");
    assert!(err(&back).contains("until Git wants another commit"), "{}", err(&back));
    let operation = &cluster.application()["operation"]["sync"];
    assert_eq!(operation["revision"], "4f1c2ab000000000000000000000000000000000");
    let busy = cluster.run(&["app", "sync", "shop"]);
    assert!(err(&busy).contains("another operation is already in progress"), "{}", err(&busy));
}

#[test]
fn what_is_held_back_is_listed_and_released() {
    let cluster = Cluster::new();
    from_git(&cluster, |_| {});
    let list = out(&cluster.run(&["quarantine", "list"]));
    assert!(list.starts_with("Held back    Rollout shop/checkout, template 7d9f8c6b5"), "{list}");
    let json: Value =
        serde_json::from_str(&out(&cluster.run(&["quarantine", "list", "-o", "json"]))).unwrap();
    assert_eq!(json["items"][0]["application"], "shop");
    assert_eq!(json["items"][0]["at"], "2026-11-21T12:00:00Z");
    let wrong = cluster.run(&["quarantine", "release", "shop", "cart"]);
    assert_eq!(
        err(&wrong),
        "error: application 'shop' holds nothing back of rollout 'cart'\n\
         hint: kubectl sluice quarantine list shop\n"
    );
    let released = cluster.run(&["quarantine", "release", "shop", "checkout"]);
    assert!(released.status.success(), "{}", err(&released));
    let annotations = &cluster.application()["metadata"]["annotations"];
    assert_eq!(annotations["sluice.dev/quarantine-release"], "7d9f8c6b5");
}

#[test]
fn promote_skips_steps_on_request() {
    let check = |words: &[&str], pointer: &str, wanted: Value| {
        let cluster = Cluster::new();
        let output = cluster.run(words);
        assert!(output.status.success(), "{}", err(&output));
        assert_eq!(cluster.rollout().pointer(pointer), Some(&wanted), "{words:?}");
    };
    check(&["promote", "checkout", "-c"], "/status/currentStepIndex", json!(2));
    check(&["promote", "checkout", "--skip-all-steps"], "/status/currentStepIndex", json!(2));
    check(&["promote", "checkout", "--full"], "/status/promoteFull", json!(true));
}

#[test]
fn status_ends_as_argos_does() {
    let check = |phase: &str, words: &[&str], code: i32, said: &str| {
        let cluster = Cluster::new();
        let mut other = rollout();
        other["metadata"]["name"] = json!("cart");
        other["status"]["pauseConditions"] = json!(null);
        other["status"]["controllerPause"] = json!(false);
        other["status"]["phase"] = json!(phase);
        other["status"]["message"] = json!(if phase == "Healthy" { "" } else { "because" });
        cluster.load(&other);
        let output = cluster.run_as_argo(&[&["status", "cart"], words].concat());
        assert_eq!(output.status.code(), Some(code), "{phase} {words:?}");
        assert_eq!(format!("{}{}", out(&output), err(&output)), said, "{phase} {words:?}");
    };
    check("Healthy", &[], 0, "Healthy\n");
    let degraded = "Error: The rollout is in a degraded state with message: because\n";
    check("Degraded", &[], 1, &format!("Degraded - because\n{degraded}"));
    check("Degraded", &["--watch=false"], 1, &format!("Degraded\n{degraded}"));
    check("Paused", &["--watch=false"], 0, "Paused - because\n");
    check("Progressing", &["-w=false"], 0, "Progressing - because\n");
    let late = "Paused - because\nError: Rollout status watch exceeded timeout\n";
    check("Paused", &["-w", "--timeout", "200ms"], 1, late);
}

#[test]
fn argos_name_gets_argos_output_and_exit_codes() {
    let cluster = Cluster::new();
    let get = out(&cluster.run_as_argo(&["get", "rollout", "checkout"]));
    assert!(get.contains("Status:          ॥ Paused\nMessage:         CanaryPauseStep\n"), "{get}");
    let list = out(&cluster.run_as_argo(&["list", "rollouts"]));
    assert!(list.contains("checkout  Canary    Paused  1/2   20"), "{list}");
    let missing = cluster.run_as_argo(&["abort", "cart"]);
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(err(&missing), "Error: Rollout shop/cart not found\n");
    let unknown = cluster.run_as_argo(&["abort", "--nonsense"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(err(&unknown).starts_with("Error: unexpected argument"), "{}", err(&unknown));
    assert!(err(&unknown).contains("Usage: kubectl argo rollouts abort"), "{}", err(&unknown));
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("kubectl-argo-rollouts");
    std::os::unix::fs::symlink(SLUICE, &program).unwrap();
    let nothing = Command::new(&program).output().unwrap();
    assert_eq!(nothing.status.code(), Some(1));
    assert!(nothing.stdout.is_empty() && err(&nothing).contains("Usage:"), "{}", err(&nothing));
    let version = Command::new(&program).arg("version").output().unwrap();
    assert!(out(&version).starts_with("kubectl-argo-rollouts: v"), "{}", out(&version));
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let cluster = Cluster::new();
    let check = |words: &[&str], environment: &[(&str, &str)], colored: bool| {
        let mut command = cluster.command(Path::new(SLUICE), words);
        let output = command.envs(environment.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", err(&output));
        assert_eq!(out(&output).contains("\x1b["), colored, "{words:?} {environment:?}");
    };
    for words in [&["list", "rollouts"][..], &["get", "rollout", "checkout"]] {
        check(words, &[], false);
        check(words, &[("CLICOLOR_FORCE", "1")], true);
        check(words, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false);
        check(&[words, &["--no-color"]].concat(), &[("CLICOLOR_FORCE", "1")], false);
    }
}

#[test]
fn objects_are_printed_as_they_are() {
    let cluster = Cluster::new();
    let list: Value =
        serde_json::from_str(&out(&cluster.run(&["list", "rollouts", "-o", "json"]))).unwrap();
    assert_eq!((&list["kind"], &list["items"][0]["kind"]), (&json!("List"), &json!("Rollout")));
    let yaml = out(&cluster.run(&["get", "rollout", "checkout", "-o", "yaml"]));
    let yaml: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(yaml["spec"], cluster.rollout()["spec"]);
    let wide = out(&cluster.run(&["list", "rollouts", "-o", "wide"]));
    assert!(wide.contains("demo:v1  CanaryPauseStep"), "{wide}");
    let dated = out(&cluster.run(&["list", "rollouts", "--timestamps", "--name", "checkout"]));
    assert!(dated.lines().next().unwrap().ends_with("  TIMESTAMP"), "{dated}");
    let other = cluster.run(&["list", "rollouts", "--name", "cart"]);
    assert_eq!(err(&other), "No resources found.\n");
    assert!(other.status.success());
    let why = out(&cluster.run(&["why", "rollout", "checkout", "-o", "json"]));
    let why: Value = serde_json::from_str(&why).unwrap();
    assert_eq!(why["phase"], "Paused");
}

#[test]
fn a_watch_draws_at_least_once_and_ends_in_time() {
    let cluster = Cluster::new();
    let output = cluster.run(&["get", "rollout", "checkout", "-w", "--timeout-seconds", "1"]);
    assert!(output.status.success(), "{}", err(&output));
    assert!(out(&output).contains("⟳ checkout"), "{}", out(&output));
    assert!(!out(&output).contains('\x1b'), "no terminal: {:?}", out(&output));
}

#[test]
fn the_kubeconfig_is_found_as_kubectl_finds_it() {
    let cluster = Cluster::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "sim",
        "clusters": [{ "name": "sim", "cluster": { "server": cluster.address } }],
        "contexts": [{ "name": "sim", "context": { "cluster": "sim", "user": "", "namespace": "shop" } }],
        "users": [],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let list = |kubeconfig: &str, home: &Path, words: &[&str]| {
        let _inside = cluster.runtime.enter();
        let mut command = Command::new(SLUICE);
        command.args(["list", "rollouts"]).args(words).env_clear();
        command.env("HOME", home).env("KUBECONFIG", kubeconfig).output().unwrap()
    };
    let several = format!("/nonexistent/config::{}", file.display());
    assert!(out(&list(&several, folder.path(), &[])).contains("checkout"), "a list of files");
    std::fs::create_dir(folder.path().join(".kube")).unwrap();
    std::fs::copy(&file, folder.path().join(".kube/config")).unwrap();
    assert!(out(&list("", folder.path(), &[])).contains("checkout"), "an empty text is none");
    let elsewhere = list("", folder.path(), &["-n", "argocd"]);
    assert_eq!(err(&elsewhere), "No resources found.\n");
    let wrong = list("", folder.path(), &["--context", "prod"]);
    assert_eq!(
        err(&wrong),
        "error: --context: `prod` is not in the kubeconfig\nhint: it has: sim\n"
    );
    let nowhere = list("", Path::new("/nonexistent"), &[]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(err(&nowhere).contains("no cluster configured"), "{}", err(&nowhere));
    let mistyped = list("", Path::new("/nonexistent"), &["--server", "http://no address"]);
    assert!(err(&mistyped).contains("cannot connect to `http://no address`"), "{}", err(&mistyped));
    let closed = list("", Path::new("/nonexistent"), &["--server", "127.0.0.1:1"]);
    assert!(
        err(&closed).contains("could not list") && err(&closed).contains("hint: "),
        "{}",
        err(&closed)
    );
}

#[test]
fn undo_brings_back_the_template_before() {
    let cluster = Cluster::new();
    let uid = cluster.rollout()["metadata"]["uid"].clone();
    for (revision, image) in [(1, "demo:v0"), (2, "demo:v1")] {
        let mut template = rollout()["spec"]["template"].clone();
        template["metadata"]["labels"]["rollouts-pod-template-hash"] = json!(image);
        template["spec"]["containers"][0]["image"] = json!(image);
        cluster.put(&json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("checkout-{revision}"), "namespace": "shop",
                "labels": { "app": "checkout" },
                "annotations": { "rollout.argoproj.io/revision": revision.to_string() },
                "ownerReferences": [{ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "checkout", "uid": uid }],
            },
            "spec": { "replicas": 0, "selector": {}, "template": template },
        }));
    }
    let same = cluster.run(&["undo", "checkout", "--to-revision", "2"]);
    let skipped = "skipped rollback (current template already matches revision 2)\n";
    assert_eq!(out(&same), skipped, "{}", err(&same));
    let missing = cluster.run(&["undo", "checkout", "--to-revision", "7"]);
    assert!(err(&missing).ends_with("hint: its revisions are: 2, 1\n"), "{}", err(&missing));
    assert_eq!(out(&cluster.run(&["undo", "checkout"])), "rollout 'checkout' undo\n");
    let template = &cluster.rollout()["spec"]["template"];
    assert_eq!(template["spec"]["containers"][0]["image"], "demo:v0");
    assert_eq!(template["metadata"]["labels"], json!({ "app": "checkout" }));
}
