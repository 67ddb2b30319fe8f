use super::{FieldPath, Findings, Problem};
use crate::experiment::ExperimentSpec;

/// Default of `progressDeadlineSeconds`.
const PROGRESS_DEADLINE_SECONDS: i32 = 600;

/// Returns everything that is wrong with an Experiment's spec by itself.
pub fn experiment(spec: &ExperimentSpec) -> Vec<Problem> {
    let path = FieldPath::spec();
    let mut findings = Findings::default();
    let templates = path.field("templates");
    if spec.templates.is_empty() {
        findings.add(templates.clone(), "required: at least one template");
    }
    let deadline = spec.progress_deadline_seconds.unwrap_or(PROGRESS_DEADLINE_SECONDS);
    for (index, template) in spec.templates.iter().enumerate() {
        let path = templates.index(index);
        findings.required(path.field("name"), &template.name);
        findings.at_least(path.field("replicas"), template.replicas, 0);
        let labels = template.selector.match_labels.as_ref().map_or(0, |labels| labels.len());
        let expressions = template.selector.match_expressions.as_ref().map_or(0, Vec::len);
        if labels + expressions == 0 {
            findings
                .add(path.field("selector"), "empty: it would select every Pod of the namespace");
        }
        if template.min_ready_seconds.unwrap_or(0) > deadline {
            findings.add(
                path.field("minReadySeconds"),
                format!("is above spec.progressDeadlineSeconds, which is {deadline}"),
            );
        }
    }
    let names = spec.templates.iter().enumerate();
    findings.unique(
        names.map(|(index, template)| {
            (templates.index(index).field("name"), template.name.as_str())
        }),
    );
    findings.duration(path.field("duration"), spec.duration.as_deref());
    for (index, analysis) in spec.analyses.iter().enumerate() {
        let path = path.field("analyses").index(index);
        findings.required(path.field("name"), &analysis.name);
        findings.required(path.field("templateName"), &analysis.template_name);
    }
    findings.problems
}
