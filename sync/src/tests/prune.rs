use super::world::{APPLICATION, V1, V2, V3, World};

fn maps(names: &[&str]) -> String {
    let one = |name: &&str| {
        format!("\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: b}}\n")
    };
    names.iter().map(one).collect::<Vec<_>>().join("\n---\n")
}

fn live(world: &World) -> Vec<String> {
    let maps =
        world.objects.keys().filter(|key| key.kind == "ConfigMap" && key.namespace == "shop");
    maps.map(|key| key.name.clone()).collect()
}

const TWELVE: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

#[test]
fn what_left_git_is_pruned_and_what_is_not_ours_stays() {
    let mut world = World::new(APPLICATION);
    world.push(V1, &maps(&["a", "b", "c"]));
    world.settle();
    world.put("{apiVersion: v1, kind: ConfigMap, metadata: {name: foreign, namespace: shop}}");
    world.put(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: copy, namespace: shop, annotations: {argocd.argoproj.io/tracking-id: 'shop:/ConfigMap:shop/a'}}}",
    );
    world.push(V2, &maps(&["a", "b"]));
    world.settle();
    assert_eq!(live(&world), ["a", "b", "copy", "foreign"]);
}

#[test]
fn without_prune_it_is_only_shown() {
    let mut world = World::new(&APPLICATION.replace("prune: true, ", ""));
    world.push(V1, &maps(&["a", "b", "c"]));
    world.settle();
    world.push(V2, &maps(&["a", "b"]));
    world.settle();
    assert_eq!(live(&world), ["a", "b", "c"]);
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn an_object_that_says_prune_false_stays() {
    let mut world = World::new(APPLICATION);
    let keep = maps(&["a", "b"]).replace(
        "{name: b}",
        "{name: b, annotations: {argocd.argoproj.io/sync-options: 'Prune=false'}}",
    );
    world.push(V1, &keep);
    world.settle();
    world.push(V2, &maps(&["a"]));
    world.settle();
    assert_eq!(live(&world), ["a", "b"]);
}

#[test]
fn an_emptied_repository_deletes_nothing() {
    let mut world = World::new(APPLICATION);
    world.push(V1, &maps(&["a", "b"]));
    world.settle();
    world.commits.insert(V2.to_owned(), Ok(Vec::new()));
    world.head = Ok(V2.to_owned());
    world.poll();
    world.settle();
    assert_eq!(live(&world), ["a", "b"]);
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn a_mass_prune_waits_for_approval() {
    let mut world = World::new(APPLICATION);
    world.push(V1, &maps(&TWELVE));
    world.settle();
    world.push(V2, &maps(&TWELVE[..2]));
    world.settle();
    assert_eq!(live(&world).len(), 12);
    insta::assert_yaml_snapshot!(world.story());
    world.annotate("sluice.dev/prune-approved", V3);
    world.settle();
    assert_eq!(live(&world).len(), 12, "approved at another commit");
    world.annotate("sluice.dev/prune-approved", &V2[..10]);
    world.settle();
    assert_eq!(live(&world), ["a", "b"]);
}

#[test]
fn what_could_not_be_listed_is_not_empty() {
    let mut world = World::new(APPLICATION);
    world.push(V1, &maps(&["a", "b"]));
    world.settle();
    world.log.clear();
    world.unlisted = true;
    world.push(V2, &maps(&["a", "c"]));
    world.settle();
    assert_eq!(live(&world), ["a", "b"]);
}
