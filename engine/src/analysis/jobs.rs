//! The Job provider: a metric whose measurement is a Kubernetes Job, written by the run's plan and judged by how it ends
//! (`spec-rollouts` 6.8).
//!
//! A Job has a deterministic name, so that a repeated create meets itself; nothing is polled, because the Job is watched.
//! Deliberate differences from Argo: a measurement is recorded once it has ended, not while it runs; names that Kubernetes
//! would not take, or that were cut, carry a hash, so that two metrics never share a Job.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sluice_crds::analysis::provider::JobMetric;
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunRecord, Metric};
use sluice_crds::labels;
use sluice_crds::object::{Kind, ObjectRef, controller_reference};
use sluice_crds::time::Time;

use crate::view::{AnalysisRunView, JobSight, MeasuredValue, MeasurementFact};

/// The longest name of a Job: its Pods carry it as a label.
const LONGEST: usize = 63;

/// Returns the name of the Job that is the measurement with this number (from 0): `<uid of the run>.<metric>.<number + 1>`.
///
/// The metric is cut so that the name has at most 63 characters. `errors` of run `6f1c…`, first time: `6f1c….errors.1`.
pub fn job_name(run_uid: &str, metric: &str, sequence: u32) -> String {
    let number = u64::from(sequence) + 1;
    let room = LONGEST.saturating_sub(run_uid.len() + number.to_string().len() + 2);
    format!("{run_uid}.{}.{number}", short(metric, room))
}

/// The metric in characters that a name may have, and not longer than `room`; with a hash if it had to be changed.
fn short(metric: &str, room: usize) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let plain: String = metric
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if allowed(c) { c } else { '-' })
        .collect();
    let dashed = metric.chars().all(|c| allowed(c) || c == '-') && !metric.is_empty();
    let ends_well = !metric.starts_with('-') && !metric.ends_with('-');
    if dashed && ends_well && metric.len() <= room {
        return metric.to_owned();
    }
    let hash = metric
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let hash = format!("{hash:08x}");
    let kept: String = plain.chars().take(room.saturating_sub(hash.len() + 1)).collect();
    let kept = kept.trim_matches('-');
    if kept.is_empty() { hash } else { format!("{kept}-{hash}") }
}

/// Returns the Job that is the measurement, if it is there.
pub(crate) fn find<'a>(
    run: &'a AnalysisRunView,
    metric: &str,
    sequence: u32,
) -> Option<&'a JobSight> {
    let name = job_name(&run.run.meta.uid, metric, sequence);
    run.jobs.iter().find(|sight| sight.job.meta.name == name)
}

/// Returns the metric and number of the measurement that a Job of this name would be, if that is one of the next of a run: so the
/// shell knows what a refused create means.
pub fn measurement_of(run: &AnalysisRunRecord, name: &str) -> Option<(String, u32)> {
    let results = run.status.metric_results.as_deref().unwrap_or_default();
    run.spec.metrics.iter().filter(|metric| metric.provider.job.is_some()).find_map(|metric| {
        let result = results.iter().find(|result| result.name == metric.name);
        let sequence = result.map_or(0, super::judge::recorded);
        (job_name(&run.meta.uid, &metric.name, sequence) == name)
            .then(|| (metric.name.clone(), sequence))
    })
}

/// Returns what the Job of the measurement says, once it has ended or cannot start.
pub(super) fn fact(
    run: &AnalysisRunView,
    metric: &Metric,
    sequence: u32,
    now: DateTime<Utc>,
) -> Option<MeasurementFact> {
    metric.provider.job.as_ref()?;
    let JobSight { job, stuck } = find(run, &metric.name, sequence)?;
    let (phase, message, at) = match (&job.end, stuck) {
        (Some(end), _) if end.good => (AnalysisPhase::Successful, String::new(), end.at),
        (Some(end), _) => (AnalysisPhase::Failed, end.message.clone(), end.at),
        (None, Some(stuck)) => (AnalysisPhase::Inconclusive, stuck.clone(), None),
        (None, None) => return None,
    };
    let finished_at = at.map_or(now, Time::at);
    let metadata = [("job-name", &job.meta.name), ("job-namespace", &job.meta.namespace)];
    Some(MeasurementFact {
        metric: metric.name.clone(),
        sequence,
        started_at: job.meta.creation_timestamp.map_or(finished_at, Time::at),
        finished_at,
        outcome: Ok(MeasuredValue::Verdict { phase, message }),
        metadata: metadata.map(|(key, value)| (key.to_owned(), value.clone())).into(),
    })
}

/// Returns the Job that is to be created. Arguments are filled in: values of Secrets may be in it.
pub(crate) fn body(run: &AnalysisRunRecord, metric: &str, sequence: u32, job: &JobMetric) -> Value {
    let object = object(run, metric, sequence);
    let given = job.metadata.clone().unwrap_or_default();
    let mut own_labels = map(&given["labels"]);
    own_labels.insert(labels::RUN_UID.to_owned(), json!(run.meta.uid));
    let mut annotations = map(&given["annotations"]);
    annotations.insert(labels::RUN_NAME.to_owned(), json!(run.meta.name));
    annotations.insert(labels::RUN_NAMESPACE.to_owned(), json!(run.meta.namespace));
    annotations.insert(labels::RUN_METRIC.to_owned(), json!(metric));
    let mut spec = job.spec.clone();
    if spec.is_object() {
        spec["template"]["metadata"]["labels"][labels::RUN_UID] = json!(run.meta.uid);
    }
    json!({
        "apiVersion": Kind::JOB.api_version(),
        "kind": "Job",
        "metadata": {
            "name": object.name,
            "namespace": run.meta.namespace,
            "labels": own_labels,
            "annotations": annotations,
            "ownerReferences": [
                controller_reference(&run.meta.object(Kind::ANALYSIS_RUN), &run.meta.uid),
            ],
        },
        "spec": spec,
    })
}

/// Returns the address of the Job that is the measurement.
pub(crate) fn object(run: &AnalysisRunRecord, metric: &str, sequence: u32) -> ObjectRef {
    let name = job_name(&run.meta.uid, metric, sequence);
    ObjectRef::namespaced(Kind::JOB, &run.meta.namespace, name)
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Returns the finished Jobs of a metric that are beyond those to keep, the oldest first.
pub(crate) fn beyond<'a>(run: &'a AnalysisRunView, metric: &str, keep: usize) -> Vec<&'a JobSight> {
    let number = |sight: &JobSight| {
        let name = &sight.job.meta.name;
        name.rsplit_once('.').and_then(|(_, number)| number.parse::<u64>().ok()).unwrap_or(0)
    };
    let of = |sight: &&JobSight| {
        let meta = &sight.job.meta;
        meta.annotations.get(labels::RUN_METRIC).is_some_and(|of| of == metric)
            && meta.deletion_timestamp.is_none()
            && sight.job.end.is_some()
    };
    let mut finished: Vec<&JobSight> = run.jobs.iter().filter(of).collect();
    finished.sort_by_key(|sight| number(sight));
    let excess = finished.len().saturating_sub(keep);
    finished.truncate(excess);
    finished
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "6f1c2d3e-0000-4000-8000-123456789abc";

    #[test]
    fn a_job_is_named_after_run_metric_and_number() {
        assert_eq!(job_name(UID, "errors", 0), format!("{UID}.errors.1"));
        assert_eq!(job_name(UID, "errors", 9), format!("{UID}.errors.10"));
    }

    #[test]
    fn a_name_is_never_too_long_never_refused_and_never_shared() {
        let long = "the-share-of-requests-that-fail";
        let names = [
            job_name(UID, &format!("{long}-a"), 0),
            job_name(UID, &format!("{long}-b"), 0),
            job_name(UID, "Error_Rate", 0),
            job_name(UID, "error-rate", 0),
            job_name(UID, "error rate", 41),
            job_name(UID, "-", 0),
        ];
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        for name in &names {
            assert!(name.len() <= LONGEST, "{name}");
            assert!(!name.contains(".-") && !name.contains("-."), "{name}");
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            assert!(name.chars().all(fits), "{name}");
        }
        assert_eq!(names[3], format!("{UID}.error-rate.1"), "what fits is kept");
    }
}
