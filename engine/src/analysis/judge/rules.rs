//! Which metrics are dry runs, and how many measurements are kept.

use std::collections::{BTreeMap, BTreeSet};

use sluice_crds::analysis::{AnalysisRunSpec, Metric};
use sluice_lang::{Condition, Value};

/// Measurements that are kept of a metric without a rule (Argo).
const DEFAULT_RETENTION: usize = 10;

pub(super) struct Rules {
    dry_runs: BTreeSet<String>,
    retention: BTreeMap<String, usize>,
}

impl Rules {
    /// Applies the rules of the spec to the metrics. A rule that matches no metric is a mistake (Argo).
    pub(super) fn of(spec: &AnalysisRunSpec, metrics: &[Metric]) -> Result<Self, String> {
        let mut rules = Self { dry_runs: BTreeSet::new(), retention: BTreeMap::new() };
        for (index, rule) in spec.dry_run.iter().flatten().enumerate() {
            let path = format!("spec.dryRun[{index}].metricName");
            rules.dry_runs.extend(matching(&path, &rule.metric_name, metrics)?);
        }
        for (index, rule) in spec.measurement_retention.iter().flatten().enumerate() {
            let path = format!("spec.measurementRetention[{index}].metricName");
            let limit = usize::try_from(rule.limit).ok().filter(|limit| *limit > 0);
            for name in matching(&path, &rule.metric_name, metrics)? {
                rules.retention.insert(name, limit.unwrap_or(DEFAULT_RETENTION));
            }
        }
        Ok(rules)
    }

    pub(super) fn is_dry_run(&self, metric: &str) -> bool {
        self.dry_runs.contains(metric)
    }

    pub(super) fn has_dry_runs(&self) -> bool {
        !self.dry_runs.is_empty()
    }

    pub(super) fn retention(&self, metric: &str) -> usize {
        self.retention.get(metric).copied().unwrap_or(DEFAULT_RETENTION)
    }
}

/// Regular expressions are those of conditions, so that there is one dialect and one budget.
fn matching(path: &str, pattern: &str, metrics: &[Metric]) -> Result<Vec<String>, String> {
    let quoted = serde_json::Value::from(pattern).to_string();
    let condition = Condition::compile(&format!("result matches {quoted}"))
        .map_err(|error| format!("{path}: `{pattern}`: {error}"))?;
    let mut names = Vec::new();
    for metric in metrics {
        let name = Value::String(metric.name.clone());
        if condition.eval(&name).map_err(|error| format!("{path}: `{pattern}`: {error}"))? {
            names.push(metric.name.clone());
        }
    }
    if names.is_empty() {
        return Err(format!("{path}: `{pattern}` matches none of the metrics"));
    }
    Ok(names)
}
