use sluice_crds::object::Kind;

use super::*;

fn wall() -> DateTime<Utc> {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn elector(identity: &str, times: LeaseTimes) -> Elector {
    Elector::new(ObjectRef::namespaced(Kind::LEASE, "sluice", "leader"), identity, times)
}

fn record(version: u64, holder: &str) -> LeaseRecord {
    LeaseRecord {
        uid: "u".into(),
        resource_version: ResourceVersion::from(version),
        holder: holder.into(),
        duration: secs(15),
        transitions: 0,
    }
}

/// A candidate that leads since 0 s.
fn leader() -> Elector {
    let mut elector = elector("a", LeaseTimes::default());
    elector.step(secs(0), wall(), LeaseEvent::Tick);
    elector.step(secs(0), wall(), LeaseEvent::Read(None));
    let output = elector.step(secs(1), wall(), LeaseEvent::Written(record(7, "a")));
    let permission = output.permission.unwrap();
    assert_eq!(permission.term.acquired, ResourceVersion::from(7));
    assert_eq!(permission.until, secs(10), "counted from when the write was sent");
    elector
}

#[test]
fn a_lease_that_is_not_there_is_created() {
    let mut elector = elector("a", LeaseTimes::default());
    let request = elector.step(secs(0), wall(), LeaseEvent::Tick).request.unwrap();
    assert!(request.write.is_none());
    let request = elector.step(secs(0), wall(), LeaseEvent::Read(None)).request.unwrap();
    let wire = request.write.unwrap().request();
    assert_eq!(
        (wire.method, wire.path.as_str()),
        (
            "POST",
            "/apis/coordination.k8s.io/v1/namespaces/sluice/leases?fieldManager=sluice-leader-election"
        )
    );
    assert_eq!(wire.body["spec"]["acquireTime"], "2026-01-02T03:04:05.000000Z");
    assert_eq!(wire.body["spec"]["leaseDurationSeconds"], 15);
}

#[test]
fn a_held_lease_is_taken_only_after_it_was_seen_unchanged_for_its_duration() {
    let mut elector = elector("b", LeaseTimes::default());
    let mut now = 0;
    elector.step(secs(0), wall(), LeaseEvent::Tick);
    let mut seen = |now: u64, version: u64| {
        elector.step(secs(now), wall(), LeaseEvent::Tick);
        elector.step(secs(now), wall(), LeaseEvent::Read(Some(record(version, "a")))).request
    };
    assert!(seen(now, 1).is_none());
    // A renewal seen at 14 s starts the wait anew, whatever its renewTime says.
    for (at, version) in [(4, 1), (14, 2), (20, 2), (28, 2)] {
        now = at;
        assert!(seen(now, version).is_none(), "{at}");
    }
    let wire = seen(now + 1, 2).unwrap().write.unwrap().request();
    assert_eq!(wire.method, "PATCH");
    assert_eq!(wire.body["metadata"]["resourceVersion"], "2");
    assert_eq!(wire.body["spec"]["leaseTransitions"], 1);
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let mut elector = elector("b", LeaseTimes::default());
    elector.step(secs(0), wall(), LeaseEvent::Tick);
    let output = elector.step(secs(0), wall(), LeaseEvent::Read(Some(record(3, ""))));
    assert!(output.request.unwrap().write.is_some());
}

#[test]
fn permission_ends_a_renew_deadline_after_the_last_renewal_was_sent() {
    let mut elector = leader();
    let renewal = elector.step(secs(2), wall(), LeaseEvent::Tick).request.unwrap();
    assert_eq!(renewal.write.unwrap().request().body["metadata"]["resourceVersion"], "7");
    let output = elector.step(secs(5), wall(), LeaseEvent::Written(record(8, "a")));
    let permission = output.permission.unwrap();
    assert_eq!(permission.until, secs(12));
    assert_eq!(permission.term.acquired, ResourceVersion::from(7), "a renewal is no new term");
    for at in [5, 7, 9] {
        elector.step(secs(at), wall(), LeaseEvent::Tick);
        elector.step(secs(at), wall(), LeaseEvent::Failed);
    }
    assert!(elector.permission(secs(11)).is_some());
    let output = elector.step(secs(12), wall(), LeaseEvent::Tick);
    assert!(output.permission.is_none() && output.lost.is_some() && output.wake.is_none());
}

#[test]
fn after_a_conflict_the_lease_is_read_and_kept_only_if_it_is_ours() {
    for (found, keeps) in [
        (Some(record(9, "a")), true),
        (Some(record(9, "b")), false),
        (Some(record(9, "")), false),
        (Some(LeaseRecord { uid: "other".into(), ..record(9, "a") }), false),
        (None, false),
    ] {
        let mut elector = leader();
        elector.step(secs(2), wall(), LeaseEvent::Tick);
        let output = elector.step(secs(2), wall(), LeaseEvent::Conflict);
        assert!(output.request.unwrap().write.is_none());
        let output = elector.step(secs(3), wall(), LeaseEvent::Read(found));
        assert_eq!(output.permission.is_some(), keeps);
        assert_eq!(output.lost.is_some(), !keeps);
        if let Some(request) = output.request {
            let wire = request.write.unwrap().request();
            assert_eq!(wire.body["metadata"]["resourceVersion"], "9");
            assert_eq!(output.permission.unwrap().until, secs(10), "a read extends nothing");
        }
    }
}

#[test]
fn permission_is_gone_before_the_lease_is_given_back() {
    let mut elector = leader();
    let output = elector.step(secs(1), wall(), LeaseEvent::Release);
    assert!(output.permission.is_none());
    let wire = output.request.unwrap().write.unwrap().request();
    assert_eq!(wire.body["spec"]["holderIdentity"], "");
    assert_eq!(wire.body["metadata"]["resourceVersion"], "7");
    let output = elector.step(secs(1), wall(), LeaseEvent::Written(record(8, "")));
    assert!(output.wake.is_none() && output.lost.is_none());
}

#[test]
fn the_record_is_read_from_the_wire() {
    let text = br#"{"metadata": {"name": "leader", "uid": "u", "resourceVersion": "5"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.000000Z"}}"#;
    assert_eq!(LeaseRecord::parse(text).unwrap(), record(5, "a"));
    assert!(LeaseRecord::parse(b"{}").is_err());
}
