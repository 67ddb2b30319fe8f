use super::*;

fn templates(list: &[(&str, bool, &str)]) -> Templates {
    list.iter()
        .map(|(name, cluster, spec)| {
            let text = format!("metadata: {{name: {name}}}\nspec: {spec}");
            let record: AnalysisTemplateRecord = serde_saphyr::from_str(&text).unwrap();
            (reference(name, *cluster), Lookup::Present(Arc::new(record)))
        })
        .collect()
}

fn reference(name: &str, cluster: bool) -> TemplateRef {
    TemplateRef { template_name: name.into(), cluster_scope: cluster.then_some(true) }
}

fn rollout() -> RolloutRecord {
    let text = "
metadata: {name: web, namespace: shop, labels: {app.io/tier: gold}, annotations: {b: '2', a: '1'}}
spec: {replicas: 3, template: {spec: {containers: [{image: 'web:1'}]}}}
";
    serde_saphyr::from_str(text).unwrap()
}

fn spec(analysis: &str, templates: &Templates) -> Result<AnalysisRunSpec, ArgumentError> {
    let analysis: RolloutAnalysis = serde_saphyr::from_str(analysis).unwrap();
    let rollout = rollout();
    let source = RolloutSource { rollout: &rollout, latest: Some("new"), stable: None };
    run_spec(&analysis, templates, &source)
}

fn values(spec: &AnalysisRunSpec) -> Vec<(&str, &str)> {
    let args = spec.args.iter().flatten();
    args.map(|a| (a.name.as_str(), a.value.as_deref().unwrap_or("?"))).collect()
}

#[test]
fn templates_are_joined_with_those_that_they_name_once() {
    let templates = templates(&[
        (
            "a",
            false,
            "{metrics: [{name: m1}], templates: [{templateName: b}, {templateName: c, clusterScope: true}]}",
        ),
        ("b", false, "{metrics: [{name: m2}], templates: [{templateName: a}]}"),
        ("c", true, "{metrics: [{name: m3}], dryRun: [{metricName: m3}]}"),
    ]);
    let refs = [reference("c", true), reference("a", false)];
    let joined = flatten(&refs, &templates).unwrap();
    let names: Vec<_> = joined.metrics.iter().flatten().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["m1", "m2", "m3"]);
    assert_eq!(references(&refs[1..], &templates).len(), 3);
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (spec_text, problem) in [
        ("{metrics: [{name: m}]}", "two metrics are named `m`"),
        (
            "{args: [{name: x, value: '2'}]}",
            "argument `x` has two values in the templates: `1` and `2`",
        ),
        ("{dryRun: [{metricName: m}]}", "two dryRun rules are named `m`"),
        (
            "{measurementRetention: [{metricName: m, limit: 1}]}",
            "two measurementRetention rules are named `m`",
        ),
    ] {
        let first = "{metrics: [{name: m}], args: [{name: x, value: '1'}], dryRun: [{metricName: m}], \
                     measurementRetention: [{metricName: m, limit: 2}]}";
        let templates = templates(&[("a", false, first), ("b", false, spec_text)]);
        let error = flatten(&[reference("a", false), reference("b", false)], &templates);
        assert_eq!(error.unwrap_err().to_string(), problem);
    }
}

#[test]
fn a_template_that_is_not_there_is_named() {
    let mut templates =
        templates(&[("a", false, "{templates: [{templateName: b, clusterScope: true}]}")]);
    let refs = [reference("a", false)];
    assert_eq!(
        flatten(&refs, &templates).unwrap_err(),
        ArgumentError::Unknown(reference("b", true))
    );
    templates.insert(reference("b", true), Lookup::Absent);
    let error = flatten(&refs, &templates).unwrap_err();
    assert_eq!(error.to_string(), "ClusterAnalysisTemplate `b` does not exist");
}

#[test]
fn cluster_scope_false_and_none_name_the_same_template() {
    let named = |cluster_scope| TemplateRef { template_name: "a".into(), cluster_scope };
    let known = templates(&[("a", false, "{metrics: [{name: m}]}")]);
    let lookup = known[&named(None)].clone();
    for key in [None, Some(false)] {
        let known = Templates::from([(named(key), lookup.clone())]);
        for asked in [None, Some(false)] {
            assert!(flatten(&[named(asked)], &known).is_ok());
        }
    }
}

#[test]
fn arguments_come_from_the_rollout() {
    let templates = templates(&[(
        "a",
        false,
        "{metrics: [{name: m}], args: [{name: literal, value: default}, {name: kept, value: default}, {name: hash}, {name: tier}, \
         {name: replicas}, {name: image}, {name: all}, {name: own, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, \
         {name: token, valueFrom: {secretKeyRef: {name: s, key: k}}}]}",
    )]);
    let analysis = "
templates: [{templateName: a}]
args:
- {name: literal, value: given}
- {name: unknown, value: ignored}
- {name: hash, valueFrom: {podTemplateHashValue: Latest}}
- {name: tier, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app.io/tier']\"}}}
- {name: replicas, valueFrom: {fieldRef: {fieldPath: spec.replicas}}}
- {name: image, valueFrom: {fieldRef: {fieldPath: 'spec.template.spec.containers[0].image'}}}
- {name: all, valueFrom: {fieldRef: {fieldPath: metadata.annotations}}}
";
    let spec = spec(analysis, &templates).unwrap();
    assert_eq!(
        values(&spec),
        [
            ("literal", "given"),
            ("kept", "default"),
            ("hash", "new"),
            ("tier", "gold"),
            ("replicas", "3"),
            ("image", "web:1"),
            ("all", "a=\"1\"\nb=\"2\""),
            ("own", "web"),
            ("token", "?"),
        ]
    );
}

#[test]
fn an_argument_without_a_value_is_refused() {
    let templates = templates(&[("a", false, "{metrics: [{name: m}], args: [{name: x}]}")]);
    for (args, problem) in [
        ("[]", "argument `x` has no value: pass it in `args`"),
        (
            "[{name: x, valueFrom: {podTemplateHashValue: Stable}}]",
            "argument `x`: there is no `Stable` revision yet",
        ),
        (
            "[{name: x, valueFrom: {podTemplateHashValue: Newest}}]",
            "argument `x`: `podTemplateHashValue` is `Newest`, and must be `Latest` or `Stable`",
        ),
        (
            "[{name: x, valueFrom: {fieldRef: {fieldPath: spec.nothing.here}}}]",
            "argument `x`: the Rollout has no field `spec.nothing.here` (nothing at `nothing`)",
        ),
        (
            "[{name: x, valueFrom: {fieldRef: {fieldPath: spec.template}}}]",
            "argument `x`: field `spec.template` of the Rollout is no plain value",
        ),
    ] {
        let analysis = format!("{{templates: [{{templateName: a}}], args: {args}}}");
        assert_eq!(spec(&analysis, &templates).unwrap_err().to_string(), problem);
    }
}
