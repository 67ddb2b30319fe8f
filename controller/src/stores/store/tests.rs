use super::*;

#[derive(Clone, Debug, PartialEq)]
struct Thing {
    name: String,
    uid: String,
    version: ResourceVersion,
    owner: Option<String>,
}

impl Kept for Thing {
    fn identity(&self) -> Identity<'_> {
        Identity { namespace: "shop", name: &self.name, uid: &self.uid, version: &self.version }
    }
    fn index(&self) -> Option<String> {
        self.owner.clone()
    }
}

fn thing(name: &str, uid: &str, version: u64) -> Observed<Thing> {
    let owner = Some("o".to_owned());
    Observed::Whole(Thing { name: name.into(), uid: uid.into(), version: version.into(), owner })
}

fn filled(items: Vec<Observed<Thing>>, version: u64) -> Store<Thing> {
    let store = Store::new(Kind::SERVICE);
    store.replace(items, &version.into());
    store
}

#[test]
fn before_the_first_list_nothing_is_known() {
    let store: Store<Thing> = Store::new(Kind::SERVICE);
    assert!(matches!(store.lookup("shop", "a"), Lookup::Unknown));
    store.replace(Vec::new(), &1.into());
    assert!(matches!(store.lookup("shop", "a"), Lookup::Absent));
}

#[test]
fn an_older_version_of_the_same_incarnation_is_dropped_and_counted() {
    let store = filled(vec![thing("a", "u1", 5)], 5);
    assert!(store.upsert(thing("a", "u1", 4)).is_none());
    assert_eq!(store.went_back(), 1);
    assert_eq!(store.get("shop", "a").unwrap().version, 5.into());
}

#[test]
fn another_incarnation_replaces_the_object_whatever_its_version() {
    let store = filled(vec![thing("a", "u1", 5)], 5);
    let changed = store.upsert(thing("a", "u2", 6)).unwrap();
    assert_eq!(changed.old.unwrap().uid, "u1");
    assert_eq!(changed.new.unwrap().uid, "u2");
}

#[test]
fn the_end_of_a_former_incarnation_leaves_the_present_one() {
    let store = filled(vec![thing("a", "u2", 6)], 6);
    let former = ResourceVersion::from(5);
    let identity = Identity { namespace: "shop", name: "a", uid: "u1", version: &former };
    assert!(store.remove(identity).is_none());
    assert!(store.get("shop", "a").is_some());
}

#[test]
fn a_list_removes_what_it_lacks_and_the_index_follows() {
    let store = filled(vec![thing("a", "u1", 1), thing("b", "u2", 2)], 2);
    assert_eq!(store.indexed("o").len(), 2);
    let changes = store.replace(vec![thing("b", "u2", 2)], &9.into());
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].old.as_ref().unwrap().name, "a");
    assert_eq!(store.indexed("o").len(), 1);
    assert_eq!(store.reached(), 9.into());
}

#[test]
fn a_kind_that_is_not_installed_has_no_objects() {
    let store = filled(vec![thing("a", "u1", 1)], 1);
    assert_eq!(store.unavailable(Availability::NoKind).len(), 1);
    assert!(matches!(store.lookup("shop", "a"), Lookup::NoKind));
}

#[test]
fn a_kind_that_may_not_be_listed_is_unknown_not_absent() {
    let store = filled(vec![thing("a", "u1", 1)], 1);
    assert!(store.unavailable(Availability::Forbidden("no".into())).is_empty());
    assert!(matches!(store.lookup("shop", "a"), Lookup::Unknown));
}

#[test]
fn a_stub_exists_and_is_not_known() {
    let stub = Observed::Stub {
        namespace: "shop".into(),
        name: "a".into(),
        uid: "u1".into(),
        version: 3.into(),
    };
    let store: Store<Thing> = Store::new(Kind::SERVICE);
    store.replace(vec![stub], &3.into());
    assert!(store.is_stub("shop", "a"));
    assert!(matches!(store.lookup("shop", "a"), Lookup::Unknown));
    assert!(store.upsert(thing("a", "u1", 3)).is_some());
    assert!(matches!(store.lookup("shop", "a"), Lookup::Present(_)));
}
