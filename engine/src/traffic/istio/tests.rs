use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_crds::object::Meta;

use super::*;
use crate::traffic::Destination;

const ISTIO: Istio = Istio;

static NONE: BTreeSet<String> = BTreeSet::new();

fn live(objects: &[(ObjectRef, Value)]) -> LiveRoutes {
    let record = |(object, spec): &(ObjectRef, Value)| {
        let spec = Arc::new(spec.clone());
        let record = RouteRecord { object: object.clone(), meta: Meta::default(), spec };
        (object.clone(), Lookup::Present(Arc::new(record)))
    };
    objects.iter().map(record).collect()
}

fn routing(istio: Value) -> TrafficRouting {
    serde_json::from_value(json!({ "istio": istio })).unwrap()
}

fn split(weight: u32) -> TrafficSplit {
    TrafficSplit {
        canary: Destination { hash: "new".into(), weight, ..Destination::default() },
        stable: Destination { hash: "old".into(), weight: 100 - weight, ..Destination::default() },
        ..TrafficSplit::default()
    }
}

#[test]
fn virtual_services_are_found_by_any_form_of_their_name() {
    for (name, expected) in [
        ("web", "VirtualService shop/web"),
        ("web.mesh", "VirtualService mesh/web"),
        ("web.mesh.svc.cluster.local", "VirtualService mesh/web"),
        ("web.v1.mesh", "VirtualService mesh/web.v1"),
    ] {
        assert_eq!(virtual_service(name, "shop").to_string(), expected);
    }
}

#[test]
fn a_destination_is_found_by_any_form_of_its_host() {
    for (host, expected) in [
        ("web", true),
        ("web.shop", true),
        ("web.shop.svc.cluster.local", true),
        ("web.other", false),
        ("web.other.svc.cluster.local", false),
        ("web.example.com", true),
        ("webs", false),
        ("", false),
    ] {
        assert_eq!(virtual_service::leads_to(host, "web", "shop"), expected, "{host}");
    }
}

#[test]
fn an_object_that_is_not_there_is_missing_and_nothing_is_edited() {
    let routing = routing(json!({"virtualService": {"name": "web"}}));
    let ports = BTreeMap::new();
    let scope = RouteScope {
        rollout: "web",
        own_routes: &NONE,
        namespace: "shop",
        routing: &routing,
        canary_service: Some("canary"),
        stable_service: Some("stable"),
        ports: &ports,
    };
    let object = virtual_service("web", "shop");
    for (lookup, message) in [
        (None, "VirtualService shop/web has not been read yet"),
        (Some(Lookup::Unknown), "VirtualService shop/web has not been read yet"),
        (Some(Lookup::Absent), "VirtualService shop/web does not exist"),
        (Some(Lookup::NoKind), "kind `VirtualService` of `networking.istio.io` is not installed"),
    ] {
        let live: LiveRoutes = lookup.map(|lookup| (object.clone(), lookup)).into_iter().collect();
        let routed = ISTIO.weigh(&scope, &split(20), &live);
        assert!(routed.edits.is_empty());
        assert_eq!(routed.problems, ISTIO.check(&scope, &live));
        assert!(routed.problems[0].missing);
        assert_eq!(routed.problems[0].message, message);
        assert_eq!(
            routed.problems[0].path,
            "spec.strategy.canary.trafficRouting.istio.virtualService"
        );
    }
}

#[test]
fn one_broken_virtual_service_does_not_keep_weight_on_another() {
    let routing = routing(json!({"virtualServices": [{"name": "gone"}, {"name": "web"}]}));
    let ports = BTreeMap::new();
    let scope = RouteScope {
        rollout: "web",
        own_routes: &NONE,
        namespace: "shop",
        routing: &routing,
        canary_service: Some("canary"),
        stable_service: Some("stable"),
        ports: &ports,
    };
    let spec = json!({"http": [{"route": [
        {"destination": {"host": "canary"}, "weight": 60},
        {"destination": {"host": "stable"}, "weight": 40},
    ]}]});
    let mut live = live(&[(virtual_service("web", "shop"), spec)]);
    live.insert(virtual_service("gone", "shop"), Lookup::Absent);
    let routed = ISTIO.weigh(&scope, &split(0), &live);
    assert_eq!(routed.edits.len(), 1);
    assert_eq!(routed.problems.len(), 1);
}

fn host() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => Just(json!("canary")),
        4 => Just(json!("stable.shop.svc.cluster.local")),
        1 => Just(json!("other")),
        1 => Just(json!("canary.elsewhere")),
        1 => Just(json!(null)),
        1 => Just(json!(7)),
    ]
}

fn weight() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (0..=100_u32).prop_map(|weight| json!(weight)),
        1 => Just(json!(null)),
        1 => Just(json!("50")),
        1 => Just(json!(-1)),
        1 => Just(json!(4_000_000_000_u64)),
    ]
}

fn http_route() -> impl Strategy<Value = Value> {
    let destination = (host(), weight())
        .prop_map(|(host, weight)| json!({"destination": {"host": host}, "weight": weight}));
    let list = prop_oneof![
        8 => proptest::collection::vec(destination, 0..4).prop_map(Value::Array),
        1 => Just(json!("nonsense")),
    ];
    (list, proptest::option::of("[ab]"))
        .prop_map(|(route, name)| json!({"name": name, "route": route, "retries": {"attempts": 3}}))
}

fn specs() -> impl Strategy<Value = Value> {
    prop_oneof![
        9 => proptest::collection::vec(http_route(), 0..4).prop_map(|http| json!({"http": http})),
        1 => Just(json!({"http": {"0": []}})),
        1 => Just(json!([])),
    ]
}

proptest! {
    #[test]
    fn any_virtual_service_is_weighed_rightly_or_not_at_all(spec in specs(), weight in 0..=100_u32) {
        let routing = routing(json!({"virtualService": {"name": "web"}}));
        let ports = BTreeMap::new();
        let scope = RouteScope {
            rollout: "web", own_routes: &NONE, namespace: "shop", routing: &routing, canary_service: Some("canary"),
            stable_service: Some("stable"), ports: &ports,
        };
        let object = virtual_service("web", "shop");
        let before = live(&[(object.clone(), spec.clone())]);
        let routed = ISTIO.weigh(&scope, &split(weight), &before);
        let mut after = json!({"spec": spec});
        for operation in routed.edits.iter().flat_map(|edit| &edit.operations) {
            let path = operation["path"].as_str().unwrap();
            if operation["op"] == "test" {
                prop_assert_eq!(after.pointer(path), Some(&operation["value"]));
            } else {
                prop_assert!(path.ends_with("/weight"));
                let parent = after.pointer_mut(path.strip_suffix("/weight").unwrap()).unwrap();
                parent["weight"] = operation["value"].clone();
            }
        }
        let after = live(&[(object, after["spec"].clone())]);
        prop_assert!(ISTIO.weigh(&scope, &split(weight), &after).edits.is_empty());
        if routed.problems.is_empty() {
            let observed = ISTIO.observed(&scope, &after);
            prop_assert!(!observed.is_empty());
            for route in observed {
                prop_assert_eq!(route.canary, weight);
                prop_assert!(route.canary + route.stable + route.other == 100 || weight == 0);
            }
        }
    }
}
