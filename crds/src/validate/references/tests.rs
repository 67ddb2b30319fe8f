use super::*;

/// The objects of a YAML text; others are absent.
struct Objects(BTreeMap<(String, String), Value>);

impl Objects {
    fn from_yaml(text: &str) -> Self {
        let objects = crate::yaml::values(text).unwrap().into_iter().map(|object| {
            let part = |value: &Value| value.as_str().unwrap_or_default().to_string();
            ((part(&object["kind"]), part(&object["metadata"]["name"])), object)
        });
        Self(objects.collect())
    }
}

impl Lookup for Objects {
    fn find(&self, object: &ObjectRef) -> Found<'_> {
        match self.0.get(&(object.kind.kind.to_string(), object.name.clone())) {
            Some(value) => Found::Present(Cow::Borrowed(value)),
            None => Found::Absent,
        }
    }
}

struct Nothing;

impl Lookup for Nothing {
    fn find(&self, _: &ObjectRef) -> Found<'_> {
        Found::Unknown
    }
}

const ROLLOUT: &str = "
template: {metadata: {labels: {app: web}}}
strategy:
  canary:
    canaryService: web-canary
    stableService: web-stable
    trafficRouting: {istio: {virtualService: {name: web, routes: [primary]}}}
    analysis: {templates: [{templateName: background}]}
    steps:
    - analysis: {templates: [{templateName: errors}], args: [{name: service, value: web}]}
";

const OBJECTS: &str = "
kind: Service
metadata: {name: web-canary}
spec: {selector: {app: web, rollouts-pod-template-hash: abc}}
---
kind: Service
metadata: {name: web-stable, annotations: {argo-rollouts.argoproj.io/managed-by-rollouts: web}}
spec: {selector: {app: web}}
---
kind: VirtualService
metadata: {name: web}
spec:
  http:
  - name: primary
    route: [{destination: {host: web-stable.shop.svc.cluster.local}}, {destination: {host: web-canary}}]
---
kind: AnalysisTemplate
metadata: {name: errors}
spec: {args: [{name: service}], metrics: [{name: errors, provider: {}}]}
---
kind: AnalysisTemplate
metadata: {name: background}
spec: {metrics: [{name: latency, interval: 30s, provider: {}}], templates: [{templateName: errors2}]}
---
kind: AnalysisTemplate
metadata: {name: errors2}
spec: {metrics: [{name: errors, provider: {}}]}
";

fn problems(rollout_yaml: &str, lookup: &dyn Lookup) -> Vec<String> {
    let spec =
        serde_json::from_value(crate::yaml::values(rollout_yaml).unwrap().remove(0)).unwrap();
    let meta = Meta { name: "web".into(), namespace: "shop".into(), ..Meta::default() };
    rollout(&meta, &spec, lookup).iter().map(ToString::to_string).collect()
}

/// Replaces text in the objects and tells what is then wrong.
fn check(replacements: &[(&str, &str)], expected: &[&str]) {
    let (mut spec, mut objects) = (ROLLOUT.to_string(), OBJECTS.to_string());
    for (from, to) in replacements {
        assert!(spec.contains(from) || objects.contains(from), "{from} is not there");
        spec = spec.replace(from, to);
        objects = objects.replace(from, to);
    }
    assert_eq!(problems(&spec, &Objects::from_yaml(&objects)), expected);
}

#[test]
fn objects_that_fit_have_no_problem() {
    check(&[], &[]);
}

#[test]
fn of_what_nobody_knows_nothing_is_said() {
    assert_eq!(problems(ROLLOUT, &Nothing), Vec::<String>::new());
}

#[test]
fn what_is_missing_is_named_with_its_namespace() {
    assert_eq!(
        problems(ROLLOUT, &Objects::from_yaml("")),
        [
            "spec.strategy.canary.canaryService: Service shop/web-canary does not exist",
            "spec.strategy.canary.stableService: Service shop/web-stable does not exist",
            "spec.strategy.canary.analysis.templates[0].templateName: AnalysisTemplate shop/background does not exist",
            "spec.strategy.canary.steps[0].analysis.templates[0].templateName: AnalysisTemplate shop/errors does not exist",
            "spec.strategy.canary.trafficRouting.istio.virtualService.name: VirtualService shop/web does not exist",
        ]
    );
}

#[test]
fn a_service_selects_our_pods_and_is_ours() {
    check(
        &[
            ("{app: web, rollouts", "{app: api, rollouts"),
            ("managed-by-rollouts: web", "managed-by-rollouts: other"),
        ],
        &[
            "spec.strategy.canary.canaryService: Service shop/web-canary selects app=api, but spec.template.metadata.labels has `web`",
            "spec.strategy.canary.stableService: Service shop/web-stable is managed by Rollout `other`",
        ],
    );
}

#[test]
fn a_route_reaches_both_versions() {
    check(
        &[("{host: web-canary}", "{host: elsewhere}")],
        &[
            "spec.strategy.canary.trafficRouting.istio.virtualService: VirtualService shop/web: route `primary` has no destination for the canary version",
        ],
    );
    check(
        &[("routes: [primary]", "routes: [main]")],
        &[
            "spec.strategy.canary.trafficRouting.istio.virtualService.routes[0]: VirtualService shop/web has no http route `main`",
        ],
    );
    check(
        &[(", routes: [primary]", ""), ("  - name: primary", "  - route: []\n  - name: primary")],
        &[
            "spec.strategy.canary.trafficRouting.istio.virtualService.routes: VirtualService shop/web has 2 http routes, and none is chosen",
        ],
    );
}

#[test]
fn a_destination_rule_has_both_subsets() {
    check(
        &[
            (
                "routes: [primary]}}}",
                "routes: [primary]}, destinationRule: {name: web, canarySubsetName: next}}}",
            ),
            (
                "{destination: {host: web-canary}}",
                "{destination: {host: web, subset: next}}, {destination: {host: web, subset: stable}}",
            ),
            (
                "kind: VirtualService",
                "kind: DestinationRule\nmetadata: {name: web}\nspec: {subsets: [{name: stable}]}\n---\nkind: VirtualService",
            ),
        ],
        &[
            "spec.strategy.canary.trafficRouting.istio.destinationRule.canarySubsetName: DestinationRule shop/web has no subset `next`",
        ],
    );
}

#[test]
fn joined_templates_agree_and_lack_nothing() {
    check(
        &[(", args: [{name: service, value: web}]", "")],
        &[
            "spec.strategy.canary.steps[0].analysis.args: argument `service` of the templates has no value",
        ],
    );
    check(
        &[("[{templateName: errors}]", "[{templateName: errors}, {templateName: background}]")],
        &[
            "spec.strategy.canary.steps[0].analysis.templates[1].templateName: AnalysisTemplate shop/errors2 has metric `errors`, which another template has, too",
            "spec.strategy.canary.steps[0].analysis.templates: metric `latency` has an interval and no count: it would never end",
        ],
    );
}

#[test]
fn templates_in_a_circle_are_read_once() {
    check(
        &[(
            "spec: {metrics: [{name: errors, provider: {}}]}",
            "spec: {templates: [{templateName: background}]}",
        )],
        &[],
    );
}
