//! The laws of a blue-green Rollout, each broken once. The Service `stable` is its active one, `canary` its preview.

use serde_json::{Value, json};

use super::story::{OURS, STATUS, Story};
use super::{Case, check, promoted, whole};

const KUBE: &str = "kube-controller-manager";

/// Version `old` has all users, `new` is a preview of full size.
fn base(strategy: Value) -> Story {
    whole(half(strategy))
}

/// The preview has two of four Pods.
fn half(mut strategy: Value) -> Story {
    strategy["activeService"] = json!("stable");
    strategy["previewService"] = json!("canary");
    Story::new().edit("user", ("Rollout", "web"), |rollout| {
        rollout["spec"]["strategy"] = json!({ "blueGreen": strategy });
    })
}

fn users(story: Story, hash: &str) -> Story {
    let hash = json!(hash);
    story.edit(OURS, ("Service", "stable"), |service| {
        service["spec"]["selector"]["rollouts-pod-template-hash"] = hash;
    })
}

fn available(story: Story, hash: &str, pods: u32) -> Story {
    story.edit(KUBE, ("ReplicaSet", &format!("web-{hash}")), |set| {
        set["status"]["availableReplicas"] = json!(pods);
    })
}

fn judged(story: Story, kind: &str, phase: &str) -> Story {
    story.run("judge", None, phase).edit("user", ("AnalysisRun", "judge"), |run| {
        run["metadata"]["labels"]["rollout-type"] = json!(kind);
    })
}

fn plain() -> Story {
    base(json!({}))
}

#[test]
fn users_go_forward_to_what_is_whole_and_back_to_what_is_there() {
    let switched = || users(plain(), "new");
    let aborted = || switched().aborted();
    let cases: Vec<Case> = vec![
        ("forward", switched(), &[]),
        ("to half a set", users(half(json!({})), "new"), &["S2", "S3"]),
        ("to a set that lacks a Pod", users(available(plain(), "new", 3), "new"), &["S3"]),
        ("to a stranger", users(plain(), "stranger"), &["S2", "S3", "S10"]),
        ("to an aborted version", users(plain().aborted(), "new"), &["S7"]),
        ("back", users(aborted(), "old"), &[]),
        ("back to a set that lacks a Pod", users(available(aborted(), "old", 3), "old"), &[]),
        ("back to a set that lacks two", users(available(aborted(), "old", 2), "old"), &["S3"]),
        (
            "back to a set that lacks two, from one that lacks three",
            users(available(available(aborted(), "old", 2), "new", 1), "old"),
            &[],
        ),
        (
            "to all Pods at once",
            plain().edit(OURS, ("Service", "stable"), |service| {
                service["spec"]["selector"] = json!({});
            }),
            &["S6"],
        ),
        (
            "by somebody else",
            half(json!({})).edit("kubectl", ("Service", "stable"), |service| {
                service["spec"]["selector"]["rollouts-pod-template-hash"] = json!("new");
            }),
            &[],
        ),
    ];
    check(cases);
}

#[test]
fn users_go_forward_after_pause_and_verdict() {
    let manual = || base(json!({ "autoPromotionEnabled": false }));
    let pause = |start: &'static str| {
        move |status: &mut Value| {
            status["controllerPause"] = json!(true);
            status["pauseConditions"] = json!([{ "reason": "BlueGreenPause", "startTime": start }]);
        }
    };
    let at_five = "2026-01-01T00:05:00Z";
    let paused = || manual().status(STATUS, pause(at_five));
    let word = |status: &mut Value| status["pauseConditions"] = Value::Null;
    let timed = |seconds: i64| {
        let story = base(json!({ "autoPromotionSeconds": 60 })).status(STATUS, pause(at_five));
        users(story.after(seconds), "new")
    };
    let full = |status: &mut Value| status["promoteFull"] = json!(true);
    let pre = || base(json!({ "prePromotionAnalysis": { "templates": [] } }));
    let cases: Vec<Case> = vec![
        ("no pause where one is asked for", users(manual(), "new"), &["S11"]),
        ("in the pause", users(paused(), "new"), &["S11"]),
        ("after the word", users(paused().status("kubectl", word), "new"), &[]),
        ("full promotion", users(manual().status("kubectl", full), "new"), &[]),
        ("after a minute", timed(60), &[]),
        ("after half a minute", timed(0), &["S11"]),
        ("without a run", users(pre(), "new"), &["S12"]),
        ("on success", users(judged(pre(), "PrePromotion", "Successful"), "new"), &[]),
        ("on failure", users(judged(pre(), "PrePromotion", "Failed"), "new"), &["S12"]),
        ("on another run", users(judged(pre(), "PostPromotion", "Successful"), "new"), &["S12"]),
    ];
    check(cases);
}

#[test]
fn what_becomes_stable_has_all_users_and_a_good_verdict() {
    let post = || users(base(json!({ "postPromotionAnalysis": { "templates": [] } })), "new");
    let good = judged(post(), "PostPromotion", "Successful");
    let bad = judged(post(), "PostPromotion", "Failed");
    let cases: Vec<Case> = vec![
        ("before users", plain().status(STATUS, promoted(2)), &["S9"]),
        ("with users", users(plain(), "new").status(STATUS, promoted(2)), &[]),
        ("not judged", post().status(STATUS, promoted(2)), &["S12"]),
        ("judged well", good.status(STATUS, promoted(2)), &[]),
        ("judged ill", bad.status(STATUS, promoted(2)), &["S9", "S12"]),
    ];
    check(cases);
}

#[test]
fn what_has_or_had_users_keeps_its_size_for_a_while() {
    let done = || users(plain(), "new").status(STATUS, promoted(2));
    let cases: Vec<Case> = vec![
        ("the set of all users", plain().size(OURS, "old", 3), &["S2", "S4", "S5"]),
        ("the preview", plain().after(40).size(OURS, "new", 1), &[]),
        ("a moment after the switch", done().size(OURS, "old", 0), &["S5"]),
        ("after the delay", done().after(40).size(OURS, "old", 0), &[]),
        (
            "aborted, with users",
            users(plain(), "new").aborted().size(OURS, "new", 1),
            &["S2", "S5", "S7"],
        ),
    ];
    check(cases);
}
