use std::collections::{BTreeMap, BTreeSet};

use super::{Lookup, present};
use crate::analysis::{AnalysisTemplateSpec, Argument};
use crate::object::{Kind, Meta, ObjectRef};
use crate::rollout::RolloutAnalysis;
use crate::rollout::steps::TemplateRef;
use crate::validate::{FieldPath, Findings};

/// Nesting of templates that is followed; deeper ones are a circle or a mistake.
const DEEPEST: usize = 16;

/// Reports templates that do not exist, that cannot be joined, or that lack an argument; and, where the run must come to an
/// end (`background` is false), metrics that would run for ever.
pub(super) fn check(
    path: &FieldPath,
    analysis: &RolloutAnalysis,
    meta: &Meta,
    background: bool,
    lookup: &dyn Lookup,
    findings: &mut Findings,
) {
    let templates = analysis.templates.as_deref().unwrap_or_default();
    let mut join = Join::default();
    for (index, template) in templates.iter().enumerate() {
        let path = path.field("templates").index(index).field("templateName");
        join.add(&path, template, meta, 0, lookup, findings);
    }
    if join.incomplete {
        return;
    }
    let given: BTreeSet<&str> =
        analysis.args.iter().flatten().map(|argument| argument.name.as_str()).collect();
    for (name, argument) in &join.arguments {
        if argument.value.is_none()
            && argument.value_from.is_none()
            && !given.contains(name.as_str())
        {
            findings.hint(
                path.field("args"),
                format!("argument `{name}` of the templates has no value"),
                format!("add `- name: {name}` with a value"),
            );
        }
    }
    for (metric, endless) in &join.metrics {
        if *endless && !background {
            findings.hint(
                path.field("templates"),
                format!("metric `{metric}` has an interval and no count: it would never end"),
                "give it a `count`, or run it in the background: spec.strategy.canary.analysis",
            );
        }
    }
}

/// What the templates of one analysis come to.
#[derive(Default)]
struct Join {
    seen: BTreeSet<ObjectRef>,
    /// Name, and whether it runs for ever.
    metrics: BTreeMap<String, bool>,
    arguments: BTreeMap<String, Argument>,
    /// Whether a template is missing or unknown, so that nothing can be said about the whole.
    incomplete: bool,
}

impl Join {
    fn add(
        &mut self,
        path: &FieldPath,
        template: &TemplateRef,
        meta: &Meta,
        depth: usize,
        lookup: &dyn Lookup,
        findings: &mut Findings,
    ) {
        let name = template.template_name.clone();
        let object = if template.cluster_scope == Some(true) {
            ObjectRef::cluster(Kind::CLUSTER_ANALYSIS_TEMPLATE, name)
        } else {
            ObjectRef::namespaced(Kind::ANALYSIS_TEMPLATE, meta.namespace.clone(), name)
        };
        if template.template_name.is_empty() || !self.seen.insert(object.clone()) {
            return;
        }
        if depth > DEEPEST {
            findings.add(path.clone(), format!("{object} is nested more than {DEEPEST} deep"));
            self.incomplete = true;
            return;
        }
        let Some(value) = present(path, &object, lookup, findings) else {
            self.incomplete = true;
            return;
        };
        match serde_json::from_value::<AnalysisTemplateSpec>(value["spec"].clone()) {
            Ok(spec) => self.join(path, &object, spec, meta, depth, lookup, findings),
            Err(error) => {
                findings.add(path.clone(), format!("{object} cannot be read: {error}"));
                self.incomplete = true;
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one recursion, split in two for its length")]
    fn join(
        &mut self,
        path: &FieldPath,
        object: &ObjectRef,
        spec: AnalysisTemplateSpec,
        meta: &Meta,
        depth: usize,
        lookup: &dyn Lookup,
        findings: &mut Findings,
    ) {
        for metric in spec.metrics.into_iter().flatten() {
            let no_count = metric.count.as_ref().is_none_or(|count| count.as_int() == Some(0));
            let endless = no_count && metric.interval.as_ref().is_some_and(|text| !text.is_empty());
            if self.metrics.insert(metric.name.clone(), endless).is_some() {
                findings.add(
                    path.clone(),
                    format!(
                        "{object} has metric `{}`, which another template has, too",
                        metric.name
                    ),
                );
            }
        }
        for argument in spec.args.into_iter().flatten() {
            self.argument(path, object, argument, findings);
        }
        for nested in spec.templates.iter().flatten() {
            self.add(path, nested, meta, depth + 1, lookup, findings);
        }
    }

    /// A value that is missing is filled by a later template's; two that differ contradict each other.
    fn argument(
        &mut self,
        path: &FieldPath,
        object: &ObjectRef,
        argument: Argument,
        findings: &mut Findings,
    ) {
        let Some(known) = self.arguments.get_mut(&argument.name) else {
            self.arguments.insert(argument.name.clone(), argument);
            return;
        };
        let differ = matches!((&known.value, &argument.value), (Some(a), Some(b)) if a != b)
            || matches!((&known.value_from, &argument.value_from), (Some(a), Some(b)) if a != b);
        if differ {
            findings.add(
                path.clone(),
                format!(
                    "{object} gives argument `{}` another value than another template",
                    argument.name
                ),
            );
        }
        known.value = known.value.take().or(argument.value);
        known.value_from = known.value_from.take().or(argument.value_from);
    }
}
