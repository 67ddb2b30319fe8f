//! Laws about the status that a decision writes: steps, pauses, promotions, verdicts (S8, S9, S11, S12, S23).

use chrono::Duration;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::labels::{POD_TEMPLATE_HASH, ROLLOUT_TYPE, STEP_INDEX};
use sluice_crds::rollout::CanaryStep;
use sluice_crds::rollout::status::{RolloutStatus, SluiceStatus};

use super::decision::{Audit, Traffic, violation};
use super::law::{least_available, replicas, step_index};
use crate::plan::Violation;

impl Audit<'_> {
    /// S8, S9, S11, S12, S23: what the next status claims.
    pub(super) fn status(&self, found: &mut Vec<Violation>) {
        if self.decision.status_write.is_none() {
            return;
        }
        let (old, new) = (self.status_now(), &self.decision.status);
        let generation = new.observed_generation.as_deref().and_then(|g| g.parse::<i64>().ok());
        if generation.is_some_and(|generation| generation > self.rollout.meta.generation) {
            found.push(violation("S23", "observedGeneration is ahead of the generation"));
        }
        let started = old.current_pod_hash != new.current_pod_hash
            || old.current_step_hash != new.current_step_hash;
        let promoted = old.stable_rs != new.stable_rs;
        if promoted {
            self.promotion(old, new, found);
        }
        let aborts = new.abort == Some(true);
        let retries = old.aborted_at.is_some() && new.aborted_at.is_none();
        if !started && !promoted && !aborts && !retries {
            self.steps(old, new, found);
        }
    }

    fn promotion(&self, old: &RolloutStatus, new: &RolloutStatus, found: &mut Vec<Violation>) {
        let first = old.stable_rs.as_deref().unwrap_or_default().is_empty();
        let Some(to) = new.stable_rs.as_deref() else {
            found.push(violation("S9", "the stable revision would be forgotten"));
            return;
        };
        if new.current_pod_hash.as_deref() != Some(to)
            || old.current_pod_hash != new.current_pod_hash
        {
            found.push(violation(
                "S9",
                format!("{to} would become stable and is not the current revision"),
            ));
        }
        let seq = |status: &RolloutStatus| {
            status.sluice.as_ref().and_then(|own: &SluiceStatus| own.stable_seq).unwrap_or(0)
        };
        if seq(new) != seq(old).saturating_add(1) {
            found.push(violation("S9", "stableSeq does not count the promotion"));
        }
        if first {
            return;
        }
        if old.abort == Some(true) {
            found.push(violation("S8", format!("aborted {to} would become stable")));
        }
        let spec = &self.rollout.spec;
        let n = replicas(spec);
        if self.available(to) < least_available(spec, n) {
            let available = self.available(to);
            found.push(violation(
                "S9",
                format!("{to} would become stable with {available} available Pods"),
            ));
        }
        if n > 0 && Traffic::of(self.view).is_some_and(|traffic| traffic.weight(to) < 100) {
            found.push(violation(
                "S9",
                format!("{to} would become stable before it has all traffic"),
            ));
        }
        self.served_before_stable(to, found);
        let steps = self.steps_of();
        let index = step_index(old, steps);
        let skips = old.promote_full == Some(true) || spec.rollback_window.is_some();
        if !skips && index + 1 < steps.len() {
            found.push(violation("S9", format!("{to} would become stable at step {index}")));
        }
        if let Some(step) = steps.get(index).filter(|_| !skips) {
            self.leaving(step, index, found);
        }
    }

    fn steps_of(&self) -> &[CanaryStep] {
        let canary = self.rollout.spec.strategy.canary.as_deref();
        canary.and_then(|canary| canary.steps.as_deref()).unwrap_or_default()
    }

    fn steps(&self, old: &RolloutStatus, new: &RolloutStatus, found: &mut Vec<Violation>) {
        let steps = self.steps_of();
        let (from, to) = (step_index(old, steps), step_index(new, steps));
        if from == to {
            return;
        }
        if to != from + 1 {
            found.push(violation("S11", format!("the step would move from {from} to {to}")));
            return;
        }
        if let Some(step) = steps.get(from) {
            self.leaving(step, from, found);
        }
    }

    fn leaving(&self, step: &CanaryStep, index: usize, found: &mut Vec<Violation>) {
        let old = self.status_now();
        if let Some(pause) = &step.pause {
            let condition =
                old.pause_conditions.iter().flatten().find(|c| c.reason == "CanaryPauseStep");
            let length = pause.duration.as_ref().and_then(|duration| duration.as_int());
            match (condition, &pause.duration) {
                (Some(condition), Some(_)) => {
                    let waited = self.view.now - condition.start_time.at();
                    if length.and_then(Duration::try_seconds).is_some_and(|length| waited < length)
                    {
                        found.push(violation(
                            "S11",
                            format!("pause {index} would end after {waited}"),
                        ));
                    }
                }
                (Some(_), None) => {
                    found.push(violation("S11", format!("pause {index} would end without a word")));
                }
                (None, _) if old.controller_pause != Some(true) => {
                    found
                        .push(violation("S11", format!("pause {index} would end before it began")));
                }
                (None, _) => {}
            }
        }
        if step.analysis.is_some() && !self.has_evidence("Step", Some(index)) {
            found
                .push(violation("S12", format!("analysis {index} would succeed without evidence")));
        }
        if step.experiment.is_some() && !self.has_good_experiment() {
            found.push(violation(
                "S12",
                format!("the step {index} would be left, and its experiment is not Successful"),
            ));
        }
    }

    /// Whether a run of the type, of the step, has at least one finite measured value behind it, and none that failed it.
    pub(super) fn has_evidence(&self, kind: &str, index: Option<usize>) -> bool {
        let index = index.map(|index| index.to_string());
        self.view.analysis_runs.iter().any(|view| {
            let labels = &view.run.meta.labels;
            let of_step = labels.get(ROLLOUT_TYPE).map(String::as_str) == Some(kind)
                && (index.is_none() || labels.get(STEP_INDEX) == index.as_ref())
                && view.run.meta.is_owned_by(&self.rollout.meta.uid);
            let judged = view.run.status.phase == Some(AnalysisPhase::Successful);
            let good_job = || {
                let mut ends = view.jobs.iter().filter_map(|sight| sight.job.end.as_ref());
                ends.any(|end| end.good)
            };
            of_step && (judged || view.facts.iter().any(|fact| fact.outcome.is_ok()) || good_job())
        })
    }

    /// Whether an Experiment of the present revision is Successful.
    fn has_good_experiment(&self) -> bool {
        let hash = self.status_now().current_pod_hash.as_deref();
        self.view.experiments.present().into_iter().flatten().any(|sight| {
            let meta = &sight.experiment.meta;
            meta.is_owned_by(&self.rollout.meta.uid)
                && meta.labels.get(POD_TEMPLATE_HASH).map(String::as_str) == hash
                && sight.experiment.status.phase == Some(AnalysisPhase::Successful)
        })
    }
}
