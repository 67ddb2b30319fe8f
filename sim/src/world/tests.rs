use serde_json::json;

use super::*;

#[test]
fn equal_histories_make_equal_worlds_and_a_clone_goes_its_own_way() {
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let run = || {
        let mut world = World::new(start, WorkloadConfig::default());
        let rs = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": "a" },
            "spec": { "replicas": 3, "selector": {}, "template": { "spec": { "containers": [{ "name": "c", "image": "i" }] } } },
        });
        world.api.load(start, "setup", rs).unwrap();
        world.settle();
        world
    };
    let (mut a, mut b) = (run(), run());
    let before = a.clone();
    while let (Some(x), Some(y)) = (a.step(), b.step()) {
        assert_eq!(x, y);
    }
    let pods = |world: &World| world.api.objects(&sluice_crds::object::Kind::POD, None);
    assert_eq!(pods(&a), pods(&b));
    assert_ne!(pods(&a), pods(&before));
    assert_eq!(a.now(), start + TimeDelta::seconds(1));
}
