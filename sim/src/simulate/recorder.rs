//! Turns what happens into a timeline.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sluice_crds::analysis::AnalysisRunRecord;
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::{RolloutRecord, RolloutSpec};
use sluice_engine::plan::Severity;

use super::answers;
use super::shares::Versions;
use super::timeline::{AnalysisRun, Event, EventKind, Measurement, Sample, in_seconds};
use crate::scenario::transcript::{Entry, What};
use crate::world::World;

/// Label of an AnalysisRun: what it is for.
const ROLE: &str = "rollout-type";

/// Beginnings of actions that keep books.
const UPKEEP: [&str; 6] = ["adopt", "annotate", "create ReplicaSet", "delete", "fence", "set "];
/// Beginnings of those that begin likewise, and do not.
const NO_UPKEEP: [&str; 1] = ["set the routes of steps "];

/// What has been seen since the push.
pub(super) struct Recorder {
    pub(super) samples: Vec<Sample>,
    pub(super) events: Vec<Event>,
    pub(super) analysis: Vec<AnalysisRun>,
    pub(super) violation: Option<String>,
    /// When the update was promoted and aborted last.
    pub(super) promoted_at: Option<f64>,
    pub(super) aborted_at: Option<f64>,
    object: ObjectRef,
    spec: RolloutSpec,
    versions: Versions,
    pushed: DateTime<Utc>,
    runs: BTreeMap<String, usize>,
}

impl Recorder {
    pub(super) fn new(
        object: &ObjectRef,
        spec: &RolloutSpec,
        versions: Versions,
        pushed: DateTime<Utc>,
    ) -> Self {
        Self {
            samples: Vec::new(),
            events: Vec::new(),
            analysis: Vec::new(),
            violation: None,
            promoted_at: None,
            aborted_at: None,
            object: object.clone(),
            spec: spec.clone(),
            versions,
            pushed,
            runs: BTreeMap::new(),
        }
    }

    fn since_push(&self, at: DateTime<Utc>) -> f64 {
        in_seconds(at - self.pushed)
    }

    /// Returns the new version's ReplicaSets: name and hash.
    pub(super) fn new_sets(&self, world: &World) -> Vec<(String, String)> {
        self.versions.new_sets(world)
    }

    /// Notes what happened, and the state after it.
    pub(super) fn watch(&mut self, world: &World, entries: Vec<Entry>) {
        let first = self.events.len();
        for entry in entries {
            self.note(world, entry);
        }
        self.runs(world);
        self.sample(world);
        let sample = self.samples.len().saturating_sub(1);
        self.events[first..].iter_mut().for_each(|event| event.sample = sample);
    }

    fn sample(&mut self, world: &World) {
        let record = world.api.get(&self.object);
        let record =
            record.and_then(|o| serde_json::from_value::<RolloutRecord>((*o).clone()).ok());
        let status = record.map(|record| record.status).unwrap_or_default();
        let (new, old) = self.versions.sizes(world);
        let sample = Sample {
            at_seconds: self.since_push(world.now()),
            weight: self.versions.weight(world, &self.spec),
            new,
            old,
            step: status.current_step_index.and_then(|index| u32::try_from(index).ok()),
            phase: status.phase.unwrap_or_default(),
            routes: self.versions.routes(world, &self.spec),
            experiment: self.versions.experiment(world),
        };
        let is_same = self
            .samples
            .last()
            .is_some_and(|last| Sample { at_seconds: last.at_seconds, ..sample.clone() } == *last);
        if !is_same {
            self.samples.push(sample);
        }
    }

    fn note(&mut self, world: &World, entry: Entry) {
        let at = self.since_push(entry.at);
        let (kind, text) = match entry.what {
            What::Did { text } => {
                let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
                let is_upkeep = begins(&UPKEEP) && !begins(&NO_UPKEEP);
                (if is_upkeep { EventKind::Upkeep } else { EventKind::Action }, text)
            }
            What::Said { object, notice } => {
                if object == self.object {
                    match notice.reason {
                        "RolloutCompleted" => self.promoted_at = Some(at),
                        "RolloutAborted" => self.aborted_at = Some(at),
                        _ => {}
                    }
                }
                let kind = match notice.severity {
                    Severity::Normal => EventKind::Event,
                    Severity::Warning => EventKind::Warning,
                };
                (kind, notice.message)
            }
            What::Measured { task, outcome } => {
                let judged = answers::record(world, &task)
                    .and_then(|run| answers::judged(&run, &task.metric, &outcome, entry.at));
                let (phase, value) = match judged {
                    Some((phase, value)) => (phase.as_str().to_owned(), value),
                    None => ("Error".to_owned(), "cannot be judged".to_owned()),
                };
                let text = format!("{} measures {value}: {phase}", task.metric);
                let measurement =
                    Measurement { at_seconds: at, metric: task.metric.clone(), value, phase };
                self.run(world, &task.run.name).measurements.push(measurement);
                (EventKind::Measurement, text)
            }
            What::Refused { text } => (EventKind::Warning, text),
            What::User { text } => (EventKind::User, text),
            What::Violated { text } => {
                self.violation.get_or_insert(text.clone());
                (EventKind::Violation, text)
            }
        };
        let text = self.shortened(world, &text);
        self.events.push(Event { at_seconds: at, kind, text, sample: 0 });
    }

    /// Names versions as people do, and leaves out the namespace.
    fn shortened(&self, world: &World, text: &str) -> String {
        let mut text = text.to_owned();
        let namespace = &self.versions.namespace;
        let new = self.versions.new_sets(world);
        let old = self.versions.old.iter();
        let old = old.map(|hash| (format!("{}-{hash}", self.object.name), hash.clone()));
        let new = new.into_iter().map(|(name, hash)| (name, hash, "the new version"));
        let old = old.map(|(name, hash)| (name, hash, "the former version"));
        for (name, hash, words) in new.chain(old) {
            text = renamed(&text, &format!("ReplicaSet {namespace}/{name}"), words);
            let words = text.split(' ').map(|word| if word == hash { words } else { word });
            text = words.collect::<Vec<_>>().join(" ");
        }
        text.replace(&format!(" {namespace}/"), " ")
    }

    fn run(&mut self, world: &World, name: &str) -> &mut AnalysisRun {
        let index = match self.runs.get(name) {
            Some(index) => *index,
            None => {
                self.runs.insert(name.to_owned(), self.analysis.len());
                self.analysis.push(AnalysisRun {
                    name: name.to_owned(),
                    role: String::new(),
                    started_seconds: self.since_push(world.now()),
                    ended_seconds: None,
                    phase: "Pending".to_owned(),
                    message: String::new(),
                    measurements: Vec::new(),
                });
                self.analysis.len() - 1
            }
        };
        &mut self.analysis[index]
    }

    fn runs(&mut self, world: &World) {
        let now = self.since_push(world.now());
        for object in world.api.objects(&Kind::ANALYSIS_RUN, Some(&self.versions.namespace)) {
            let Ok(record) = serde_json::from_value::<AnalysisRunRecord>((*object).clone()) else {
                continue;
            };
            let run = self.run(world, &record.meta.name);
            run.role = record.meta.labels.get(ROLE).cloned().unwrap_or_default();
            let Some(phase) = record.status.phase else { continue };
            run.phase = phase.as_str().to_owned();
            run.message = record.status.message.unwrap_or_default();
            if phase.is_completed() && run.ended_seconds.is_none() {
                run.ended_seconds = Some(now);
            }
        }
    }
}

/// Puts words in the place of a name, where it is not the beginning of a longer one.
fn renamed(text: &str, name: &str, words: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(name) {
        let after = &rest[at + name.len()..];
        let goes_on = after.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '-');
        out.push_str(&rest[..at]);
        out.push_str(if goes_on { name } else { words });
        rest = after;
    }
    out + rest
}
