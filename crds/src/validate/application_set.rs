use super::{FieldPath, Findings, Problem};
use crate::application_set::{ApplicationSetSpec, Generator, NestedGenerator};

/// Returns everything that is wrong with an ApplicationSet's spec by itself. What templates make is judged when it is made.
pub fn application_set(spec: &ApplicationSetSpec) -> Vec<Problem> {
    let path = FieldPath::spec();
    let mut findings = Findings::default();
    if spec.generators.is_empty() {
        findings.add(path.field("generators"), "required: at least one generator");
    }
    for (index, generator) in spec.generators.iter().enumerate() {
        check_generator(&path.field("generators").index(index), generator, &mut findings);
    }
    let name = spec.template.metadata.name.as_deref().unwrap_or_default();
    findings.required(path.field("template.metadata.name"), name);
    if let Some(policy) = &spec.sync_policy {
        let words = ["create-only", "create-update", "create-delete", "sync"];
        let path = path.field("syncPolicy.applicationsSync");
        findings.one_of(path, policy.applications_sync.as_deref(), &words);
    }
    if let Some(strategy) = &spec.strategy {
        let path = path.field("strategy");
        let kind = strategy.strategy_type.as_deref().filter(|kind| !kind.is_empty());
        findings.one_of(path.field("type"), kind, &["AllAtOnce", "RollingSync"]);
        let order = strategy.deletion_order.as_deref().filter(|order| !order.is_empty());
        findings.one_of(path.field("deletionOrder"), order, &["AllAtOnce", "Reverse"]);
        if order == Some("Reverse") && kind != Some("RollingSync") {
            findings.add(path.field("deletionOrder"), "`Reverse` needs the type `RollingSync`");
        }
        let steps = strategy.rolling_sync.iter().flat_map(|rolling| &rolling.steps);
        for (index, step) in steps.enumerate() {
            let path = path.field("rollingSync.steps").index(index).field("matchExpressions");
            for (index, expression) in step.match_expressions.iter().enumerate() {
                let path = path.index(index).field("operator");
                findings.one_of(path, Some(&expression.operator), &["In", "NotIn"]);
            }
        }
    }
    findings.problems
}

fn check_generator(path: &FieldPath, generator: &Generator, findings: &mut Findings) {
    let kinds = [
        generator.list.is_some(),
        generator.clusters.is_some(),
        generator.git.is_some(),
        generator.scm_provider.is_some(),
        generator.pull_request.is_some(),
        generator.cluster_decision_resource.is_some(),
        generator.plugin.is_some(),
        generator.matrix.is_some(),
        generator.merge.is_some(),
    ];
    one_kind(path, &kinds, findings);
    if let Some(matrix) = &generator.matrix {
        let path = path.field("matrix.generators");
        if matrix.generators.len() != 2 {
            let message =
                format!("has {} generators, a matrix has exactly 2", matrix.generators.len());
            findings.add(path.clone(), message);
        }
        nested(&path, &matrix.generators, findings);
    }
    if let Some(merge) = &generator.merge {
        let path = path.field("merge");
        if merge.generators.len() < 2 {
            findings.add(path.field("generators"), "needs at least 2 generators");
        }
        if merge.merge_keys.is_empty() {
            findings.add(path.field("mergeKeys"), "required: at least one parameter to match by");
        }
        nested(&path.field("generators"), &merge.generators, findings);
    }
    if let Some(git) = &generator.git {
        let path = path.field("git");
        findings.required(path.field("repoURL"), &git.repo_url);
        if git.directories.is_empty() == git.files.is_empty() {
            findings.add(path, "exactly one of `directories` and `files` must be set");
        }
    }
}

fn nested(path: &FieldPath, generators: &[NestedGenerator], findings: &mut Findings) {
    for (index, generator) in generators.iter().enumerate() {
        let kinds = [
            generator.list.is_some(),
            generator.clusters.is_some(),
            generator.git.is_some(),
            generator.scm_provider.is_some(),
            generator.pull_request.is_some(),
            generator.cluster_decision_resource.is_some(),
            generator.plugin.is_some(),
            generator.matrix.is_some(),
            generator.merge.is_some(),
        ];
        one_kind(&path.index(index), &kinds, findings);
    }
}

fn one_kind(path: &FieldPath, kinds: &[bool], findings: &mut Findings) {
    match kinds.iter().filter(|is_set| **is_set).count() {
        1 => {}
        0 => findings.hint(path.clone(), "names no generator", "name one, such as `list` or `git`"),
        several => findings
            .add(path.clone(), format!("names {several} generators: exactly one is allowed")),
    }
}
