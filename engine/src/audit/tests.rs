//! Each law is broken once on purpose: an audit that finds nothing there would be worth nothing.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_crds::object::Kind;

mod blue_green;
mod story;

use story::{OURS, STATUS, Story};

/// What happened, the history, and the laws that it breaks, in the order in which they are found.
type Case = (&'static str, Story, &'static [&'static str]);

#[track_caller]
fn check(cases: Vec<Case>) {
    let wrong: Vec<_> = cases
        .into_iter()
        .filter(|(_, story, wanted)| story.ids() != *wanted)
        .map(|(what, story, wanted)| (what, wanted, story.found()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Two routes of one VirtualService, moved by one write to 20 % and to `second`.
fn two_routes(second: i64) -> Story {
    Story::new()
        .edit("user", ("VirtualService", "web"), |vs| {
            let route = vs["spec"]["http"][0].clone();
            vs["spec"]["http"].as_array_mut().unwrap().push(route);
        })
        .edit(OURS, ("VirtualService", "web"), move |vs| {
            for (route, canary) in [(0, 20), (1, second)] {
                vs["spec"]["http"][route]["route"][0]["weight"] = json!(100 - canary);
                vs["spec"]["http"][route]["route"][1]["weight"] = json!(canary);
            }
        })
}

/// The canary is made larger, some Pods of it become available, and then it gets more weight.
fn grown(available: i64) -> Story {
    Story::new()
        .edit(OURS, ("ReplicaSet", "web-new"), |rs| {
            rs["spec"]["replicas"] = json!(3);
            rs["metadata"]["generation"] = json!(2);
        })
        .edit("kube-controller-manager", ("ReplicaSet", "web-new"), move |rs| {
            rs["status"] = json!({
                "replicas": 3, "availableReplicas": available, "observedGeneration": 2,
            });
        })
        .weigh(OURS, 75, 25)
}

fn traffic() -> Vec<Case> {
    let select = |hash: &'static str| {
        move |service: &mut Value| {
            service["spec"]["selector"]["rollouts-pod-template-hash"] = json!(hash);
        }
    };
    vec![
        ("nothing", Story::new(), &[]),
        ("weight goes back", Story::new().weigh(OURS, 0, 100), &[]),
        ("an abort", Story::new().aborted().weigh(OURS, 0, 100), &[]),
        ("weights of somebody else", Story::new().weigh("kubectl", 90, 90), &[]),
        ("a size of somebody else", Story::new().size("kubectl", "new", 0), &[]),
        ("weights below 100", Story::new().weigh(OURS, 50, 40), &["S1"]),
        ("two routes in one write", two_routes(20), &[]),
        ("two routes that differ", two_routes(30), &["S1"]),
        ("weight without Pods", Story::new().weigh(OURS, 100, 0), &["S2", "S3"]),
        ("a set below its weight", Story::new().size(OURS, "new", 1), &["S2", "S5"]),
        ("Pods first, then weight", grown(3), &[]),
        ("weight before Pods are there", grown(2), &["S3"]),
        ("a smaller stable set", Story::new().size(OURS, "old", 3), &["S4"]),
        ("Pods go with the weight", Story::new().weigh(OURS, 0, 100).size(OURS, "new", 0), &["S5"]),
        (
            "Pods go a while after the weight",
            Story::new().weigh(OURS, 0, 100).after(40).size(OURS, "new", 0),
            &[],
        ),
        (
            "a switch to a smaller set",
            Story::new().edit(OURS, ("Service", "stable"), select("new")),
            &["S2"],
        ),
        (
            "a switch to nothing",
            Story::new().size("kubectl", "new", 0).edit(
                OURS,
                ("Service", "stable"),
                select("gone"),
            ),
            &["S2", "S6", "S10"],
        ),
        ("an abort that keeps weight", Story::new().aborted().weigh(OURS, 40, 60), &["S7"]),
        ("an abort and a touch", Story::new().aborted().stamped(21, 1), &[]),
        (
            "an abort that takes Pods first",
            Story::new().aborted().size(OURS, "new", 1),
            &["S2", "S5", "S7"],
        ),
    ]
}

fn promoted(seq: i64) -> impl Fn(&mut Value) + Clone {
    move |status| {
        status["stableRS"] = json!("new");
        status["sluice"]["stableSeq"] = json!(seq);
        status["currentStepIndex"] = json!(4);
    }
}

fn whole(story: Story) -> Story {
    story.edit("user", ("ReplicaSet", "web-new"), |rs| {
        rs["spec"]["replicas"] = json!(4);
        rs["status"]["availableReplicas"] = json!(4);
    })
}

fn promotions() -> Vec<Case> {
    let retried = |attempt: i64| {
        move |status: &mut Value| {
            status["abort"] = Value::Null;
            status["abortedAt"] = Value::Null;
            status["sluice"]["attempt"] = json!(attempt);
        }
    };
    let early = whole(Story::new()).status(STATUS, promoted(2));
    let full = |status: &mut Value| status["promoteFull"] = json!(true);
    let again = whole(Story::new().aborted()).status(STATUS, retried(1)).at_step(3);
    let anew = whole(Story::new().aborted()).status(STATUS, retried(2)).at_step(3);
    vec![
        ("the end", whole(Story::new()).at_step(3).status(STATUS, promoted(2)), &[]),
        ("a promotion without Pods", Story::new().at_step(3).status(STATUS, promoted(2)), &["S9"]),
        ("a promotion in mid-canary", early, &["S9"]),
        (
            "a full promotion",
            whole(Story::new()).status("user", full).status(STATUS, promoted(2)),
            &[],
        ),
        ("not counted", whole(Story::new()).at_step(3).status(STATUS, promoted(1)), &["S9"]),
        (
            "promoted in spite of its analysis",
            whole(Story::new().run("b", None, "Failed")).at_step(3).status(STATUS, promoted(2)),
            &["S9"],
        ),
        (
            "promoted while aborted",
            whole(Story::new().aborted()).status(STATUS, promoted(2)),
            &["S8", "S9"],
        ),
        ("promoted after an abort", again.status(STATUS, promoted(2)), &["S8"]),
        ("promoted after a retry", anew.status(STATUS, promoted(2)), &[]),
    ]
}

fn pauses() -> Vec<Case> {
    let step = |index: i64| move |status: &mut Value| status["currentStepIndex"] = json!(index);
    let paused = |seconds: i64| {
        Story::new()
            .at_step(3)
            .status(STATUS, |status| {
                let pause =
                    json!({ "reason": "CanaryPauseStep", "startTime": "2026-01-01T00:05:20Z" });
                status["pauseConditions"] = json!([pause]);
            })
            .after(seconds)
            .status(STATUS, |status| {
                status["pauseConditions"] = Value::Null;
                status["currentStepIndex"] = json!(4);
            })
    };
    let endless = || {
        Story::new().status(STATUS, |status| {
            let pause = json!({ "reason": "CanaryPauseStep", "startTime": "2026-01-01T00:05:00Z" });
            status["pauseConditions"] = json!([pause]);
            status["controllerPause"] = json!(true);
        })
    };
    let resumed = |status: &mut Value| status["pauseConditions"] = Value::Null;
    vec![
        ("two steps at once", Story::new().status(STATUS, step(3)), &["S11"]),
        ("a pause that never was", Story::new().status(STATUS, step(2)), &["S11"]),
        (
            "a pause that was ended",
            endless().status("kubectl", resumed).status(STATUS, step(2)),
            &[],
        ),
        ("a pause that ends by itself", endless().status(STATUS, step(2)), &["S11"]),
        ("a pause that is dropped", endless().status(STATUS, resumed), &["S11"]),
        ("a whole minute", paused(61), &[]),
        ("half a minute", paused(20), &["S11"]),
        (
            "a generation to come",
            Story::new().status(STATUS, |status| status["observedGeneration"] = json!("3")),
            &["S23"],
        ),
    ]
}

fn analysis() -> Vec<Case> {
    let on = |status: &mut Value| status["currentStepIndex"] = json!(3);
    let left = |story: Story| story.at_step(2).status(STATUS, on);
    let result = |name: &'static str, edit: fn(&mut Value)| {
        move |story: Story| {
            story.edit(STATUS, ("AnalysisRun", name), |run| {
                edit(&mut run["status"]["metricResults"][0]);
                run["status"]["phase"] = json!("Successful");
            })
        }
    };
    let running = || Story::new().run("a", Some(2), "Running");
    vec![
        ("a step left on success", left(Story::new().run("a", Some(2), "Successful")), &[]),
        ("a step left without a run", left(Story::new()), &["S12"]),
        (
            "a step left on another's run",
            left(Story::new().run("a", Some(1), "Successful")),
            &["S12"],
        ),
        ("success that comes a moment later", result("a", |_| {})(left(running())), &[]),
        (
            "success that never comes",
            left(running()).after(60).edit("user", ("Service", "stable"), |s| s["x"] = json!(1)),
            &["S12"],
        ),
        (
            "a run that is over and goes on",
            result("a", |r| r["count"] = json!(2))(Story::new().run("a", Some(2), "Successful")),
            &["S12"],
        ),
        (
            "success without a measurement",
            result("a", |r| r["successful"] = json!(0))(running()),
            &["S12"],
        ),
        (
            "success by no number",
            result("a", |r| r["measurements"][0]["value"] = json!("[NaN]"))(running()),
            &["S12"],
        ),
        (
            "success by nothing",
            result("a", |r| r["measurements"][0]["value"] = json!("[]"))(running()),
            &["S12"],
        ),
        ("a failure within the limit", result("a", |r| r["failed"] = json!(1))(running()), &[]),
        ("failures beyond the limit", result("a", |r| r["failed"] = json!(2))(running()), &["S12"]),
        (
            "forward past a failed background run",
            left(Story::new().run("a", Some(2), "Successful").run("b", None, "Failed")),
            &["S12"],
        ),
        (
            "a step left on an inconclusive run",
            left(Story::new().run("a", Some(2), "Inconclusive")),
            &["S12"],
        ),
    ]
}

fn owners() -> Vec<Case> {
    let set = ("ReplicaSet", "web-new");
    let owner = |uid: &'static str| {
        move |rs: &mut Value| {
            rs["metadata"]["ownerReferences"] =
                json!([{ "kind": "Rollout", "name": "web", "uid": uid, "controller": true }]);
        }
    };
    let free = |rs: &mut Value| {
        rs["metadata"]["ownerReferences"] = json!([]);
    };
    let unowned = |rs: &mut Value| {
        rs["metadata"]["ownerReferences"] = json!([]);
        rs["metadata"]["annotations"] = json!({ "sluice.dev/a": "b" });
    };
    let born = |name: &str, pods: i64| {
        let mut story = Story::new();
        let mut set = story.revisions[1].object.clone();
        set["metadata"]["name"] = json!(name);
        set["metadata"]["uid"] = json!(name);
        set["metadata"]["labels"]["rollouts-pod-template-hash"] = json!("third");
        set["spec"]["replicas"] = json!(pods);
        story.put(OURS, &set);
        story
    };
    let rival = |wait: i64| {
        let mut story = Story::new();
        let mut other = story.revisions[0].object.clone();
        other["metadata"]["name"] = json!("other");
        other["metadata"]["uid"] = json!("other");
        story.put("user", &other);
        story.weigh("kubectl", 0, 100).after(wait).edit(OURS, ("Service", "canary"), |service| {
            service["metadata"]["annotations"] = json!({ "sluice.dev/x": "y" });
        })
    };
    let set_kind = Kind::REPLICA_SET;
    vec![
        ("an adoption", Story::new().edit("user", set, free).edit(OURS, set, owner("ro")), &[]),
        (
            "an adoption by the dead",
            Story::new().edit("user", set, free).edit(OURS, set, owner("dead")),
            &["S16"],
        ),
        ("a write to a stray", Story::new().edit(OURS, set, unowned), &["S16", "S2"]),
        ("a birth", born("web-third", 0), &[]),
        ("a birth with Pods", born("web-third", 1), &["S16"]),
        ("a birth under another name", born("web-x", 0), &["S16"]),
        (
            "the end of an empty set",
            Story::new().at_rest().asked(&set_kind, "web-old", "delete", 200),
            &[],
        ),
        (
            "the end of a set with Pods",
            Story::new().asked(&set_kind, "web-old", "delete", 200),
            &["S16"],
        ),
        ("a Service of two Rollouts", rival(1), &["S17"]),
    ]
}

fn writes() -> Vec<Case> {
    let retries = |vs: &mut Value| vs["spec"]["http"][0]["retries"] = json!({ "attempts": 3 });
    let dropped = |vs: &mut Value| {
        vs["spec"]["http"][0].as_object_mut().unwrap().remove("retries");
        vs["spec"]["http"][0]["route"][0]["weight"] = json!(100);
        vs["spec"]["http"][0]["route"][1]["weight"] = json!(0);
    };
    let route = ("VirtualService", "web");
    vec![
        ("retries of somebody else", Story::new().edit("kubectl", route, retries), &[]),
        ("retries of ours", Story::new().edit(OURS, route, retries), &["S18"]),
        (
            "retries lost with a weight",
            Story::new().edit("kubectl", route, retries).edit(OURS, route, dropped),
            &["S18"],
        ),
        ("a spec by the status's writer", Story::new().size(STATUS, "old", 5), &["S18"]),
        ("no change", Story::new().weigh(OURS, 50, 50), &["S21"]),
        ("a weight by sync", Story::new().weigh("sluice-sync", 20, 80), &["G6"]),
        ("retries by sync", Story::new().edit("sluice-sync", route, retries), &[]),
    ]
}

fn silence() -> Vec<Case> {
    let retries = |vs: &mut Value| vs["spec"]["http"][0]["retries"] = json!({ "attempts": 3 });
    let route = ("VirtualService", "web");
    let notes = |n: u32| {
        move |rs: &mut Value| {
            rs["metadata"]["annotations"] = json!({ "note": n.to_string() });
        }
    };
    let circle = |times: u32, step: i64| {
        (0..times).fold(Story::new().after(60), |story, n| {
            let mut story = story.edit(OURS, ("ReplicaSet", "web-new"), notes(n));
            story.at += chrono::Duration::seconds(step - 10);
            story
        })
    };
    let refused = |times: u32| {
        (0..times)
            .fold(Story::new(), |story, _| story.asked(&Kind::SERVICE, "stable", "patch", 409))
    };
    let scale = |rs: &mut Value| rs["metadata"]["annotations"] = json!({ "a": "b" });
    vec![
        ("a few writes", circle(15, 2), &[]),
        ("writes in circles", circle(25, 2), &["S21"]),
        ("a few refusals", refused(15), &[]),
        ("refusals in circles", refused(25), &["S21"]),
        (
            "the last counts",
            Story::new().at_rest().edit(OURS, ("ReplicaSet", "web-new"), scale),
            &[],
        ),
        (
            "a write at rest",
            Story::new().at_rest().after(60).edit(OURS, ("ReplicaSet", "web-new"), scale),
            &["S21"],
        ),
        ("a new term at rest", Story::new().at_rest().after(60).stamped(21, 1), &[]),
        (
            "a write at rest after somebody's edit",
            Story::new().at_rest().after(60).edit("kubectl", route, retries).edit(
                OURS,
                ("ReplicaSet", "web-new"),
                scale,
            ),
            &[],
        ),
    ]
}

fn terms() -> Vec<Case> {
    vec![
        ("an older term", Story::new().stamped(9, 4), &["S19"]),
        ("two terms", Story::new().stamped(21, 1).by("a").stamped(22, 1).by("b"), &[]),
        (
            "two processes in one term",
            Story::new().stamped(21, 1).by("a").after(5).stamped(21, 2).by("b"),
            &["S19"],
        ),
        (
            "a former leader over a newer term",
            Story::new()
                .stamped(21, 1)
                .by("a")
                .after(5)
                .stamped(22, 1)
                .by("b")
                .after(5)
                .weigh(OURS, 0, 100)
                .by("a"),
            &["S19"],
        ),
        (
            "two processes that asked at the same time",
            Story::new().stamped(21, 1).by("a").by("b").after(5).stamped(21, 2).by("b"),
            &[],
        ),
        (
            "the leader after its stamp",
            Story::new()
                .stamped(21, 1)
                .by("a")
                .after(5)
                .stamped(22, 1)
                .by("b")
                .after(5)
                .weigh(OURS, 0, 100)
                .by("b"),
            &[],
        ),
    ]
}

fn subsets() -> Vec<Case> {
    let rule = json!({
        "kind": "DestinationRule",
        "metadata": { "name": "web", "uid": "rule" },
        "spec": { "subsets": [
            { "name": "canary", "labels": { "rollouts-pod-template-hash": "new" } },
            { "name": "stable", "labels": { "rollouts-pod-template-hash": "old" } },
        ] },
    });
    let given = || {
        let mut story = Story::new();
        story.put("user", &rule);
        story.edit("user", ("Rollout", "web"), |rollout| {
            rollout["spec"]["strategy"]["canary"]["trafficRouting"]["istio"]["destinationRule"] =
                json!({ "name": "web", "canarySubsetName": "canary", "stableSubsetName": "stable" });
        }).edit("user", ("VirtualService", "web"), |vs| {
            for (index, subset) in [(0, "stable"), (1, "canary")] {
                vs["spec"]["http"][0]["route"][index]["destination"] =
                    json!({ "host": "web", "subset": subset });
            }
        })
    };
    let switch = |rule: &mut Value| {
        rule["spec"]["subsets"][1]["labels"]["rollouts-pod-template-hash"] = json!("new");
    };
    vec![
        ("a route by subsets", given().weigh(OURS, 0, 100), &[]),
        (
            "a subset switched by sync",
            given().edit("sluice-sync", ("DestinationRule", "web"), switch),
            &["G6"],
        ),
        (
            "a subset switched to too few",
            given().edit(OURS, ("DestinationRule", "web"), switch),
            &["S2"],
        ),
    ]
}

fn all() -> Vec<Case> {
    let parts = [
        traffic(),
        subsets(),
        promotions(),
        pauses(),
        analysis(),
        owners(),
        writes(),
        silence(),
        terms(),
    ];
    parts.concat()
}

#[test]
fn every_law_bites_and_only_where_it_is_broken() {
    check(all());
}

#[test]
fn no_law_of_the_list_is_without_a_history_that_breaks_it() {
    let all = all();
    let broken: BTreeSet<&str> = all.iter().flat_map(|(_, _, ids)| ids.iter().copied()).collect();
    let laws = [
        "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S16", "S17",
        "S18", "S19", "S21", "S23", "G6",
    ];
    assert_eq!(broken, BTreeSet::from(laws));
}

#[test]
fn a_route_that_is_not_named_is_not_ours_to_judge() {
    let story = Story::new().edit("user", ("Rollout", "web"), |rollout| {
        rollout["spec"]["strategy"]["canary"]["trafficRouting"]["istio"]["virtualService"] =
            json!({ "name": "web", "routes": ["primary"] });
    });
    let named = story.clone().edit("user", ("VirtualService", "web"), |vs| {
        vs["spec"]["http"][0]["name"] = json!("primary");
    });
    check(vec![
        ("another route", story.weigh("sluice-sync", 20, 80), &[]),
        ("the named route", named.weigh("sluice-sync", 20, 80), &["G6"]),
    ]);
}
