use super::*;

fn epoch(acquired: u64, needed: &[(ObjectRef, u64)]) -> EpochView {
    EpochView {
        term: Term {
            lease: "sluice".into(),
            lease_uid: "lease-1".into(),
            acquired: ResourceVersion::from(acquired),
        },
        n: 40,
        needed: needed.iter().cloned().collect(),
        disowned: BTreeSet::new(),
        rules: FenceRules::ALL,
    }
}

fn service() -> ObjectRef {
    ObjectRef::namespaced(sluice_crds::object::Kind::SERVICE, "shop", "web")
}

fn stamped(text: &str) -> Meta {
    let mut meta = Meta::default();
    meta.annotations.insert("epoch.sluice.dev/sluice".into(), text.into());
    meta
}

#[test]
fn an_object_of_this_term_is_fenced() {
    assert_eq!(epoch(12, &[]).state(&service(), &stamped("lease-1:12:3")), FenceState::Fenced);
}

#[test]
fn an_object_of_an_older_term_or_none_needs_a_touch() {
    for meta in [Meta::default(), stamped("lease-1:9:3"), stamped("garbage"), stamped("a:b:c")] {
        assert_eq!(epoch(12, &[]).state(&service(), &meta), FenceState::NeedsTouch);
    }
}

#[test]
fn an_object_of_a_newer_term_means_that_the_lease_is_lost() {
    let state = epoch(12, &[]).state(&service(), &stamped("lease-1:100:3"));
    assert!(matches!(state, FenceState::Lost(stamp) if stamp.acquired.0 == "100"));
}

#[test]
fn after_an_unknown_write_a_stamp_drawn_later_is_needed() {
    let epoch = epoch(12, &[(service(), 7)]);
    assert_eq!(epoch.state(&service(), &stamped("lease-1:12:6")), FenceState::NeedsTouch);
    assert_eq!(epoch.state(&service(), &stamped("lease-1:12:7")), FenceState::Fenced);
    assert_eq!(epoch.state(&service(), &stamped("lease-1:12:9")), FenceState::Fenced);
}

#[test]
fn a_stamp_of_another_lease_is_overwritten_only_after_our_own_lease_was_read() {
    let mut epoch = epoch(12, &[]);
    let meta = stamped("lease-0:99:3");
    assert!(matches!(epoch.state(&service(), &meta), FenceState::ForeignLease(_)));
    epoch.disowned.insert("lease-0".into());
    assert_eq!(epoch.state(&service(), &meta), FenceState::NeedsTouch);
}

#[test]
fn each_stamp_changes_bytes() {
    let mut epoch = epoch(12, &[]);
    let first = epoch.stamp().to_string();
    epoch.n += 1;
    assert_ne!(first, epoch.stamp().to_string());
    assert_eq!(Stamp::parse(&first).unwrap().to_string(), first);
}
