//! S12: no success without evidence, and no step forward past a verdict.

use chrono::{DateTime, Duration, Utc};
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunRecord, Metric, MetricResult};
use sluice_crds::intstr::IntOrString;
use sluice_crds::labels::{ATTEMPT, MANAGER_STATUS, POD_TEMPLATE_HASH, ROLLOUT_TYPE, STEP_INDEX};

use super::super::HistoryRevision;
use super::super::state::State;
use super::{History, Step, violation};

/// An AnalysisRun as it was last.
pub(super) struct Run {
    record: AnalysisRunRecord,
    /// When its phase was first seen.
    since: DateTime<Utc>,
    gone: bool,
}

/// Which run of an update.
#[derive(Clone, Copy)]
pub(super) enum Judge {
    Step(usize),
    Background,
    PrePromotion,
    PostPromotion,
}

impl Judge {
    fn label(self) -> &'static str {
        match self {
            Self::Step(_) => "Step",
            Self::Background => "Background",
            Self::PrePromotion => "PrePromotion",
            Self::PostPromotion => "PostPromotion",
        }
    }

    fn words(self) -> String {
        match self {
            Self::Step(index) => format!("step {index}"),
            Self::Background => "the analysis in the background".to_owned(),
            Self::PrePromotion => "the pre-promotion analysis".to_owned(),
            Self::PostPromotion => "the post-promotion analysis".to_owned(),
        }
    }
}

/// A step that was left, and the run whose verdict allowed it. The verdict is drawn from measurements that may reach the
/// run's status a moment later.
pub(super) struct Reliance {
    run: String,
    at: DateTime<Utc>,
    revision: HistoryRevision,
    judge: Judge,
}

/// How long a verdict may stand before a status that was decided without it lands.
const SEEN_LATE: Duration = Duration::seconds(2);
/// How long the status of a run may trail behind a verdict.
const TRAILS: Duration = Duration::seconds(30);
/// Errors in a row that are tolerated where the metric does not say (Argo).
const ERRORS_IN_A_ROW: i64 = 4;

impl History {
    /// Takes a revision of a run in, and judges it by itself.
    pub(super) fn measured(&mut self, step: &Step<'_>) {
        let parsed = serde_json::from_value::<AnalysisRunRecord>(step.revision.object.clone());
        let Ok(record) = parsed else { return };
        let uid = record.meta.uid.clone();
        let old = self.runs.remove(&uid);
        if step.writer() == MANAGER_STATUS && !step.revision.deleted {
            for detail in problems(old.as_ref().map(|old| &old.record), &record) {
                self.fail("S12", step, detail);
            }
        }
        let since = match &old {
            Some(old) if old.record.status.phase == record.status.phase => old.since,
            Some(_) | None => step.at(),
        };
        self.runs.insert(uid, Run { record, since, gone: step.revision.deleted });
    }

    /// A step with analysis is left: there must be a run of it, and its verdict must be, or become, Successful.
    pub(super) fn relies_on_run(&mut self, step: &Step<'_>, before: &State, judge: Judge) {
        let Some(run) = self.latest(before, judge) else {
            self.fail("S12", step, format!("{} is left without any run", judge.words()));
            return;
        };
        let run = run.record.meta.uid.clone();
        let revision = step.revision.clone();
        self.relied.push(Reliance { run, at: step.at(), revision, judge });
    }

    /// S9, S12: no way forward past a run that failed, or that ended without a verdict.
    pub(super) fn no_bad_verdict(&mut self, step: &Step<'_>, before: &State, id: &'static str) {
        let mut found = Vec::new();
        let judges = match before.is_blue_green() {
            true => [Judge::PrePromotion, Judge::PostPromotion],
            false => [Judge::Step(before.index()), Judge::Background],
        };
        for judge in judges {
            let Some(run) = self.latest(before, judge) else { continue };
            let Some(phase) = run.record.status.phase else { continue };
            let bad = match phase {
                AnalysisPhase::Failed | AnalysisPhase::Error | AnalysisPhase::Inconclusive => true,
                AnalysisPhase::Pending | AnalysisPhase::Running | AnalysisPhase::Successful => {
                    false
                }
            };
            if bad && step.at() - run.since > SEEN_LATE {
                let name = &run.record.meta.name;
                found.push(format!("the update goes on although run {name} is {}", phase.as_str()));
            }
        }
        for detail in found {
            self.fail(id, step, detail);
        }
    }

    /// The newest run of the present attempt.
    fn latest(&self, state: &State, judge: Judge) -> Option<&Run> {
        let hash = state.rollout.status.current_pod_hash.as_deref()?;
        let attempt = state.attempt().to_string();
        let index = match judge {
            Judge::Step(index) => Some(index.to_string()),
            Judge::Background | Judge::PrePromotion | Judge::PostPromotion => None,
        };
        let of = |run: &&Run| {
            let meta = &run.record.meta;
            let label = |key: &str| meta.labels.get(key).map(String::as_str);
            !run.gone
                && meta.is_owned_by(&state.rollout.meta.uid)
                && label(POD_TEMPLATE_HASH) == Some(hash)
                && label(ROLLOUT_TYPE) == Some(judge.label())
                && (index.is_none() || label(STEP_INDEX) == index.as_deref())
                && meta.annotations.get(ATTEMPT).is_none_or(|of| *of == attempt)
        };
        let number = |run: &Run| {
            let number = run.record.meta.name.rsplit_once('.').and_then(|(_, n)| n.parse().ok());
            number.unwrap_or(0_u32)
        };
        self.runs
            .values()
            .filter(of)
            .max_by_key(|run| (run.record.meta.creation_timestamp, number(run)))
    }

    /// Judges, at the end, the verdicts that were relied on before they were recorded.
    pub(super) fn evidence_came(&mut self, end: Option<DateTime<Utc>>) {
        for reliance in std::mem::take(&mut self.relied) {
            let Some(run) = self.runs.get(&reliance.run) else { continue };
            let (record, left) = (&run.record, reliance.judge.words());
            // A run that nobody needs any more is ended with the measurements that it recorded so far.
            if record.spec.terminate == Some(true) {
                continue;
            }
            let name = &record.meta.name;
            let waits = end.is_none_or(|end| end - reliance.at < TRAILS) || run.gone;
            let detail = match record.status.phase {
                Some(AnalysisPhase::Successful) => continue,
                None | Some(AnalysisPhase::Pending | AnalysisPhase::Running) if waits => continue,
                None | Some(AnalysisPhase::Pending | AnalysisPhase::Running) => {
                    format!("{left} was left, and its run {name} never ended")
                }
                Some(phase) => {
                    format!("{left} was left, and its run {name} is {}", phase.as_str())
                }
            };
            self.found.push(violation("S12", &reliance.revision, &detail));
        }
    }
}

/// What is wrong with a status that was written over another one.
fn problems(old: Option<&AnalysisRunRecord>, new: &AnalysisRunRecord) -> Vec<String> {
    let mut all = Vec::new();
    let name = &new.meta.name;
    if let Some(old) = old
        && old.status.phase.is_some_and(AnalysisPhase::is_completed)
        && old.status != new.status
    {
        all.push(format!("run {name} had ended and is changed"));
    }
    let results = || new.status.metric_results.iter().flatten().filter(|r| r.dry_run != Some(true));
    let metrics = || new.spec.metrics.iter();
    let goes_on = matches!(
        new.status.phase,
        Some(AnalysisPhase::Running | AnalysisPhase::Pending | AnalysisPhase::Successful) | None
    );
    for result in results().filter(|_| goes_on) {
        let Some(metric) = metrics().find(|metric| metric.name == result.name) else { continue };
        all.extend(beyond_limits(metric, result).map(|why| format!("run {name} goes on: {why}")));
    }
    if new.status.phase != Some(AnalysisPhase::Successful) {
        return all;
    }
    let is_dry = |metric: &&Metric| {
        let mut all = new.status.metric_results.iter().flatten();
        all.any(|r| r.name == metric.name && r.dry_run == Some(true))
    };
    for metric in metrics().filter(|metric| !is_dry(metric)) {
        let result = results().find(|result| result.name == metric.name);
        if result.and_then(|result| result.successful).unwrap_or(0) < 1 {
            all.push(format!("run {name} is Successful, `{}` never was", metric.name));
        }
    }
    for result in results() {
        let metric = metrics().find(|metric| metric.name == result.name);
        all.extend(worthless(metric, result).map(|value| {
            format!("run {name}: `{}` is Successful by the value `{value}`", result.name)
        }));
    }
    all
}

/// Which limit the counts of a metric are beyond. A limit that an argument fills in is not known here.
fn beyond_limits(metric: &Metric, result: &MetricResult) -> Option<String> {
    let limit = |value: &Option<IntOrString>, default: i64| match value {
        None => Some(default),
        Some(value) => value.as_int(),
    };
    let counts = [
        ("failed", result.failed, limit(&metric.failure_limit, 0)),
        ("inconclusive", result.inconclusive, limit(&metric.inconclusive_limit, 0)),
        (
            "errors in a row",
            result.consecutive_error,
            limit(&metric.consecutive_error_limit, ERRORS_IN_A_ROW),
        ),
    ];
    let beyond = counts.into_iter().find_map(|(what, count, limit)| {
        let (count, limit) = (i64::from(count.unwrap_or(0)), limit?);
        (limit >= 0 && count > limit).then(|| format!("{count} {what}, limit {limit}"))
    })?;
    Some(format!("`{}` has {beyond}", metric.name))
}

/// A value that counted as success and is none: nothing, not a number, infinite. A condition may ask for such values.
fn worthless<'a>(metric: Option<&Metric>, result: &'a MetricResult) -> Option<&'a str> {
    // A Job has no value: how it ends is what counts.
    if metric.is_some_and(|metric| metric.provider.job.is_some()) {
        return None;
    }
    let asks = metric.and_then(|metric| metric.success_condition.as_deref()).unwrap_or_default();
    if ["isNaN", "isInf", "isNil", "default(", "len("].iter().any(|word| asks.contains(word)) {
        return None;
    }
    let good = |phase: Option<AnalysisPhase>| phase == Some(AnalysisPhase::Successful);
    let taken = result.measurements.iter().flatten().filter(|m| good(m.phase));
    taken.map(|m| m.value.as_deref().unwrap_or_default()).find(|value| {
        let bare = value.trim_matches(['[', ']', ' ']).to_lowercase();
        let parts: Vec<&str> = bare.split(',').map(str::trim).collect();
        let void = ["", "nan", "inf", "+inf", "-inf", "infinity", "null", "nil", "<nil>"];
        parts.iter().any(|part| void.contains(part))
    })
}
