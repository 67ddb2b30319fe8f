//! Shares of traffic for versions of an Experiment.

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::world::World;
use super::{HOSTS, NETWORK, SUBSET_NETWORK, SUBSETS, abort, fresh};

const STEPS: &str = "
      steps:
      - setWeight: 20
      - experiment:
          duration: 5m
          templates:
          - {name: baseline, specRef: stable, replicas: 2, weight: 10}
          - {name: candidate, specRef: canary, replicas: 4, weight: 20}
      - setWeight: 60
      - pause: {}
";

/// A canary whose Experiment is there; nobody has done anything about it yet.
fn begun(routing: &str, network: &str) -> World {
    let mut world = fresh(&[routing, STEPS], &[network]);
    world.edit_rollout(|rollout| {
        let container = &mut rollout["spec"]["template"]["spec"]["containers"][0];
        container["ports"] = json!([{ "containerPort": 8080 }]);
    });
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy", "{}", world.log.join("\n"));
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    assert_eq!((world.weight(), world.names(&Kind::EXPERIMENT).len()), (20, 1));
    world.log.clear();
    world
}

/// What the engine of Experiments makes of it: ReplicaSets, Services, and a status.
fn running(world: &mut World) {
    let name = world.names(&Kind::EXPERIMENT).pop().unwrap();
    let uid = world.get(Kind::EXPERIMENT, &name)["metadata"]["uid"].clone();
    let owner = json!([{
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment", "name": name, "uid": uid, "controller": true,
    }]);
    let mut statuses = Vec::new();
    for (version, replicas) in [("baseline", 2), ("candidate", 4)] {
        let labels = json!({ "app": "web", "rollouts-pod-template-hash": version });
        world.create(json!({
            "kind": "ReplicaSet",
            "apiVersion": "apps/v1",
            "metadata": { "name": format!("{name}-{version}"), "labels": labels, "ownerReferences": owner },
            "spec": { "replicas": replicas, "template": { "metadata": { "labels": labels } } },
        }));
        world.create(json!({
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": { "name": version, "ownerReferences": owner },
            "spec": { "selector": labels, "ports": [{ "port": 8080 }] },
        }));
        statuses.push(json!({
            "name": version, "status": "Running", "serviceName": version, "podTemplateHash": version,
        }));
    }
    world.settle_pods();
    world.edit(Kind::EXPERIMENT, &name, |experiment| {
        experiment["status"] = json!({ "phase": "Running", "templateStatuses": statuses });
    });
}

/// A canary of 20 % beside versions of 10 and 20 %.
fn shared() -> World {
    let mut world = begun(HOSTS, NETWORK);
    running(&mut world);
    world.run(Duration::minutes(1));
    assert_eq!(shares(&world), [20, 50, 10, 20], "{}", world.log.join("\n"));
    world.log.clear();
    world
}

/// Shares of the canary, the stable version, baseline and candidate.
fn shares(world: &World) -> [i64; 4] {
    let route = world.get(Kind::VIRTUAL_SERVICE, "web")["spec"]["http"][0]["route"].clone();
    let of = |host: &str| {
        let mut all = route.as_array().unwrap().iter();
        let found = all.find(|to| to["destination"]["host"] == *host);
        found.map_or(0, |to| to["weight"].as_i64().unwrap())
    };
    ["web-canary", "web-stable", "baseline", "candidate"].map(of)
}

fn end(world: &mut World, phase: &str) {
    let name = world.names(&Kind::EXPERIMENT).pop().unwrap();
    world.edit(Kind::EXPERIMENT, &name, |experiment| {
        experiment["status"]["phase"] = json!(phase);
    });
}

#[test]
fn a_version_gets_its_share_once_all_its_pods_are_listed() {
    let mut world = begun(HOSTS, NETWORK);
    world.listed.insert("candidate".to_owned(), 3);
    running(&mut world);
    world.run(Duration::minutes(1));
    assert_eq!(shares(&world), [20, 70, 10, 0], "{}", world.log.join("\n"));
    world.listed.remove("candidate");
    world.run(Duration::minutes(1));
    assert_eq!(shares(&world), [20, 50, 10, 20], "{}", world.log.join("\n"));
    let weights = world.rollout().status.canary.unwrap().weights.unwrap();
    assert_eq!((weights.canary.weight, weights.stable.weight), (20, 50));
    let additional: Vec<_> = weights
        .additional
        .unwrap()
        .into_iter()
        .map(|to| (to.service_name.unwrap(), to.pod_template_hash.unwrap(), to.weight))
        .collect();
    let wanted = [("baseline", 10), ("candidate", 20)];
    assert_eq!(additional, wanted.map(|(name, weight)| (name.into(), name.into(), weight)));
    let decision = world.settle();
    assert!(decision.plan.is_empty() && decision.status_write.is_none(), "nothing is left to do");
    world.check_history();
}

#[test]
fn nothing_is_sent_before_proxies_know_the_service() {
    let mut world = begun(HOSTS, NETWORK);
    running(&mut world);
    let decision = world.settle();
    assert_eq!(shares(&world), [20, 80, 0, 0]);
    assert!(decision.wake.is_some(), "{:?}", decision.report.waiting);
}

#[test]
fn of_lost_pods_the_others_keep_their_part() {
    for (left, share) in [(3, 15), (1, 5), (0, 0)] {
        let mut world = shared();
        world.healthy.insert("candidate".to_owned(), left);
        world.settle_pods();
        world.settle();
        assert_eq!(shares(&world)[3], share, "{left} left: {}", world.log.join("\n"));
        world.healthy.remove("candidate");
        world.run(Duration::minutes(1));
        assert_eq!(shares(&world), [20, 50, 10, 20], "{}", world.log.join("\n"));
        world.check_history();
    }
}

#[test]
fn an_abort_takes_all_shares_with_the_weight_in_one_write() {
    let mut world = shared();
    abort(&mut world);
    world.decide();
    assert_eq!(shares(&world), [0, 100, 0, 0], "{}", world.log.join("\n"));
    let routed: Vec<&String> =
        world.log.iter().filter(|line| line.contains("VirtualService")).collect();
    assert_eq!(routed.len(), 1, "{routed:?}");
    assert!(routed[0].contains("from 20 to 0, and take the shares"), "{routed:?}");
    world.check_history();
}

#[test]
fn every_end_of_the_experiment_takes_the_shares_back() {
    type Deed = fn(&mut World);
    let cases: [(&str, Deed, [i64; 4]); 5] = [
        ("success", |world| end(world, "Successful"), [60, 40, 0, 0]),
        ("failure", |world| end(world, "Failed"), [0, 100, 0, 0]),
        ("inconclusive", |world| end(world, "Inconclusive"), [20, 80, 0, 0]),
        ("a new version", |world| world.set_image("web:3"), [20, 80, 0, 0]),
        ("back to stable", |world| world.set_image("web:1"), [0, 100, 0, 0]),
    ];
    for (what, deed, wanted) in cases {
        let mut world = shared();
        deed(&mut world);
        world.run(Duration::minutes(2));
        assert_eq!(shares(&world), wanted, "{what}: {}", world.log.join("\n"));
        world.check_history();
    }
}

#[test]
fn full_promotion_takes_the_shares_back() {
    let mut world = shared();
    world.edit_rollout(|rollout| rollout["status"]["promoteFull"] = json!(true));
    world.run(Duration::minutes(2));
    assert_eq!(shares(&world), [0, 100, 0, 0], "{}", world.log.join("\n"));
    assert_eq!(world.phase(), "Healthy");
    world.check_history();
}

#[test]
fn a_stable_set_that_lacks_pods_gets_a_share_back_only_when_it_has_them() {
    let mut world = shared();
    let stable = world.rollout().status.stable_rs.unwrap();
    world.healthy.insert(stable.clone(), 3);
    world.settle_pods();
    end(&mut world, "Inconclusive");
    world.run(Duration::minutes(1));
    assert_eq!(shares(&world)[0], 20);
    assert!(shares(&world)[2] + shares(&world)[3] > 0, "{}", world.log.join("\n"));
    world.healthy.remove(&stable);
    world.run(Duration::minutes(1));
    assert_eq!(shares(&world), [20, 80, 0, 0], "{}", world.log.join("\n"));
    world.check_history();
}

#[test]
fn by_subsets_a_version_has_a_subset_while_it_has_a_share() {
    let mut world = begun(SUBSETS, SUBSET_NETWORK);
    let subsets = |world: &World| -> Vec<Value> {
        let rule = world.get(Kind::DESTINATION_RULE, "web");
        let subsets = rule["spec"]["subsets"].as_array().unwrap().clone();
        subsets.into_iter().map(|subset| subset["name"].clone()).collect()
    };
    let before = subsets(&world);
    running(&mut world);
    world.run(Duration::minutes(1));
    assert!(subsets(&world).contains(&json!("candidate")), "{}", world.log.join("\n"));
    end(&mut world, "Successful");
    world.run(Duration::minutes(1));
    assert_eq!(subsets(&world), before, "{}", world.log.join("\n"));
    assert_eq!(world.weight(), 60);
    world.check_history();
}

#[test]
fn a_template_without_exactly_one_port_is_refused() {
    for (ports, count) in [(json!([]), 0), (json!([{"containerPort": 1}, {"containerPort": 2}]), 2)]
    {
        let mut world = fresh(&[HOSTS, STEPS], &[NETWORK]);
        world.edit_rollout(|rollout| {
            rollout["spec"]["template"]["spec"]["containers"][0]["ports"] = ports.clone();
        });
        world.settle();
        let message = world.rollout().status.message.unwrap();
        let place = "steps[1].experiment.templates[0].weight: needs a Pod template with one port";
        assert!(message.contains(place) && message.contains(&count.to_string()), "{message}");
    }
}
