//! Whatever happens: no law is broken, and in the end all is well (S25, L1, L2).

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::{MANUAL, POST, PRE, PREVIEW_OF_ONE, fresh};
use crate::rollout::tests::world::World;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    Settle,
    Decide,
    Seconds(i64),
    Image(u8),
    Replicas(i64),
    Abort(bool),
    PromoteFull,
    Resume,
    Paused(bool),
    Healthy(u8, u32),
    Listed(u8, u32),
    Term,
    /// The newest run ends.
    Verdict(u8),
    /// Somebody else points a Service elsewhere, or at all Pods.
    Stray(bool, Option<u8>),
    /// The user changes his mind about the pause.
    Manual(bool),
    PreviewCount(Option<i64>),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Settle),
        5 => Just(Event::Decide),
        4 => (1..60_i64).prop_map(Event::Seconds),
        3 => (1..4_u8).prop_map(Event::Image),
        1 => (0..7_i64).prop_map(Event::Replicas),
        2 => any::<bool>().prop_map(Event::Abort),
        1 => Just(Event::PromoteFull),
        3 => Just(Event::Resume),
        1 => any::<bool>().prop_map(Event::Paused),
        3 => (1..4_u8, 0..6_u32).prop_map(|(image, pods)| Event::Healthy(image, pods)),
        1 => (1..4_u8, 0..6_u32).prop_map(|(image, pods)| Event::Listed(image, pods)),
        1 => Just(Event::Term),
        3 => (0..3_u8).prop_map(Event::Verdict),
        1 => (any::<bool>(), proptest::option::of(1..5_u8)).prop_map(|(a, to)| Event::Stray(a, to)),
        1 => any::<bool>().prop_map(Event::Manual),
        1 => proptest::option::of(0..3_i64).prop_map(Event::PreviewCount),
    ]
}

fn happen(world: &mut World, event: &Event) {
    let image = |image: u8| format!("web:{image}");
    let blue_green = |world: &mut World, field: &str, value: Value| {
        world.edit_rollout(|r| r["spec"]["strategy"]["blueGreen"][field] = value);
    };
    match event {
        Event::Settle => {
            world.settle();
        }
        Event::Decide => {
            world.decide();
        }
        Event::Seconds(seconds) => world.now += chrono::Duration::seconds(*seconds),
        Event::Image(n) => world.set_image(&image(*n)),
        Event::Replicas(n) => world.edit_rollout(|r| r["spec"]["replicas"] = json!(n)),
        Event::Abort(on) => world.edit_rollout(|r| r["status"]["abort"] = json!(on)),
        Event::PromoteFull => world.edit_rollout(|r| r["status"]["promoteFull"] = json!(true)),
        Event::Resume => world.edit_rollout(|r| r["status"]["pauseConditions"] = Value::Null),
        Event::Paused(on) => world.edit_rollout(|r| r["spec"]["paused"] = json!(on)),
        Event::Healthy(n, pods) => {
            let hash = world.hash_of(&image(*n));
            world.healthy.insert(hash, *pods);
        }
        Event::Listed(n, pods) => {
            let hash = world.hash_of(&image(*n));
            world.listed.insert(hash, *pods);
        }
        Event::Term => world.term += 1,
        Event::Verdict(n) => {
            let phase = ["Successful", "Failed", "Inconclusive"][usize::from(*n)];
            end_runs(world, phase);
        }
        Event::Stray(active, to) => {
            let name = if *active { "web-active" } else { "web-preview" };
            let hash = to.map(|n| world.hash_of(&image(n)));
            world.edit(Kind::SERVICE, name, |service| {
                service["spec"]["selector"] = match hash {
                    Some(hash) => json!({ "app": "web", "rollouts-pod-template-hash": hash }),
                    None => json!({ "app": "web" }),
                };
            });
        }
        Event::Manual(on) => blue_green(world, "autoPromotionEnabled", json!(!on)),
        Event::PreviewCount(count) => blue_green(world, "previewReplicaCount", json!(count)),
    }
}

/// Ends all runs that go on.
fn end_runs(world: &mut World, phase: &str) {
    for name in world.runs() {
        let run = world.get(Kind::ANALYSIS_RUN, &name);
        if run["status"]["phase"].is_null() {
            world.edit(Kind::ANALYSIS_RUN, &name, |run| {
                run["status"] = json!({ "phase": phase, "message": "" });
            });
        }
    }
}

proptest! {
    // The same cases in each run: a failure is a bug of the change that it comes with. `cases` and the seed are for hunting.
    #![proptest_config(ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(12),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// `World::decide` asserts that the audit of every decision is empty.
    #[test]
    fn the_laws_hold_whatever_happens(
        form in 0..5_usize,
        events in proptest::collection::vec(event(), 1..40),
    ) {
        let forms: [&[&str]; 5] =
            [&[], &[MANUAL], &[PRE, POST], &[MANUAL, PREVIEW_OF_ONE, PRE], &[POST, PREVIEW_OF_ONE]];
        let mut world = fresh(forms[form]);
        for event in &events {
            happen(&mut world, event);
        }
        world.check_history();
        // Whatever happened: with healthy Pods, a retry and good verdicts, all ends well.
        world.healthy.clear();
        world.listed.clear();
        world.settle_pods();
        world.edit_rollout(|r| {
            r["status"]["abort"] = json!(false);
            r["spec"]["paused"] = json!(false);
            r["spec"]["replicas"] = json!(3);
        });
        // Longer than a field is left alone that somebody else kept changing.
        for _ in 0..15 {
            end_runs(&mut world, "Successful");
            world.edit_rollout(|r| r["status"]["pauseConditions"] = Value::Null);
            world.run(chrono::Duration::minutes(1));
        }
        prop_assert_eq!(world.phase(), "Healthy", "{}", world.log.join("\n"));
        let stable = world.rollout().status.stable_rs;
        for service in ["web-active", "web-preview"] {
            let hash = &world.get(Kind::SERVICE, service)["spec"]["selector"]["rollouts-pod-template-hash"];
            prop_assert_eq!(hash, &json!(stable));
        }
        world.check_history();
    }
}
