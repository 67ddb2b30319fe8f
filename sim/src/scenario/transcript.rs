//! What happened: in words for people, and as values for the simulation's timeline.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_crds::object::{Kind, ObjectRef};
use sluice_engine::analysis_run::Measure;
use sluice_engine::plan::{Notice, Severity};
use sluice_engine::report::Report;
use sluice_engine::view::{MeasuredValue, MeasurementFailure};

use crate::world::World;

/// Something that happened, before it is put into words.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: DateTime<Utc>,
    pub(crate) what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A write of a plan, in the action's words; touches are left out.
    Did { text: String },
    /// An event of the object.
    Said { object: ObjectRef, notice: Notice },
    /// A measurement.
    Measured { task: Measure, outcome: Result<MeasuredValue, MeasurementFailure> },
    /// A write that the API server refused.
    Refused { text: String },
    /// A person did something.
    User { text: String },
    /// A broken invariant.
    Violated { text: String },
}

/// The lines of a run. Two transcripts are equal if their lines are.
#[derive(Clone, Debug)]
pub struct Transcript {
    start: DateTime<Utc>,
    lines: Vec<String>,
    violations: usize,
    seen: BTreeMap<String, String>,
    entries: Vec<Entry>,
    reports: BTreeMap<ObjectRef, Report>,
}

impl PartialEq for Transcript {
    fn eq(&self, other: &Self) -> bool {
        self.lines == other.lines
    }
}

impl Eq for Transcript {}

impl Transcript {
    pub(crate) fn new(start: DateTime<Utc>) -> Self {
        Self {
            start,
            lines: Vec::new(),
            violations: 0,
            seen: BTreeMap::new(),
            entries: Vec::new(),
            reports: BTreeMap::new(),
        }
    }

    /// Takes out what happened since the last call.
    pub(crate) fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    /// Returns what the object waits for, as its last decision said.
    pub(crate) fn report(&self, object: &ObjectRef) -> Option<&Report> {
        self.reports.get(object)
    }

    pub(super) fn reported(&mut self, object: &ObjectRef, report: &Report) {
        self.reports.insert(object.clone(), report.clone());
    }

    /// Returns the lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Returns how many decisions broke an invariant; each has a line of its own.
    pub fn violations(&self) -> usize {
        self.violations
    }

    pub(super) fn line(&mut self, now: DateTime<Utc>, text: &str) {
        let passed = (now - self.start).num_milliseconds();
        let line = format!("{:>4}.{:03}  {text}", passed / 1000, passed % 1000);
        self.lines.push(line.trim_end().to_owned());
    }

    fn entry(&mut self, at: DateTime<Utc>, what: What) {
        self.entries.push(Entry { at, what });
    }

    pub(super) fn action(
        &mut self,
        now: DateTime<Utc>,
        object: &ObjectRef,
        text: &str,
        is_touch: bool,
    ) {
        self.line(now, &format!("{object}: {text}"));
        if !is_touch {
            self.entry(now, What::Did { text: text.to_owned() });
        }
    }

    pub(super) fn refused(&mut self, now: DateTime<Utc>, text: String) {
        self.line(now, &text);
        self.entry(now, What::Refused { text });
    }

    pub(super) fn notice(&mut self, now: DateTime<Utc>, object: &ObjectRef, notice: &Notice) {
        let severity = match notice.severity {
            Severity::Normal => "event",
            Severity::Warning => "warning",
        };
        self.line(now, &format!("{severity} {}: {}", notice.reason, notice.message));
        self.entry(now, What::Said { object: object.clone(), notice: notice.clone() });
    }

    pub(super) fn measured(
        &mut self,
        now: DateTime<Utc>,
        task: &Measure,
        outcome: &Result<MeasuredValue, MeasurementFailure>,
    ) {
        let text = match outcome {
            Ok(value) => format!("{value:?}"),
            Err(failure) => failure.message.clone(),
        };
        self.line(
            now,
            &format!("{}: {} #{} measures {text}", task.run, task.metric, task.sequence),
        );
        self.entry(now, What::Measured { task: task.clone(), outcome: outcome.clone() });
    }

    pub(super) fn user(&mut self, now: DateTime<Utc>, text: &str) {
        self.line(now, &format!("user: {text}"));
        self.entry(now, What::User { text: text.to_owned() });
    }

    pub(crate) fn pushes(&mut self, now: DateTime<Utc>) {
        self.user(now, "pushes the new version");
    }

    pub(super) fn violation(&mut self, now: DateTime<Utc>, text: &str) {
        self.violations += 1;
        self.line(now, &format!("VIOLATION {text}"));
        self.entry(now, What::Violated { text: text.to_owned() });
    }

    /// Adds a line if the description of the object changed.
    pub(super) fn state(&mut self, now: DateTime<Utc>, object: &str, description: &str) {
        let before = self.seen.insert(object.to_owned(), description.to_owned());
        if before.as_deref() != Some(description) {
            self.line(now, &format!("{object} is {description}"));
        }
    }

    /// Describes where everything ended up.
    pub(super) fn end(&mut self, world: &World) {
        let now = world.now();
        let text = |object: &Value, path: &str| {
            object.pointer(path).and_then(Value::as_str).unwrap_or("-").to_owned()
        };
        for set in world.api.objects(&Kind::REPLICA_SET, None) {
            let number = |path: &str| set.pointer(path).and_then(Value::as_i64).unwrap_or(0);
            let line = format!(
                "at the end: ReplicaSet {} wants {}, {} available",
                text(&set, "/metadata/name"),
                number("/spec/replicas"),
                number("/status/availableReplicas")
            );
            self.line(now, &line);
        }
        for route in world.api.objects(&Kind::VIRTUAL_SERVICE, None) {
            let http = route.pointer("/spec/http").and_then(Value::as_array);
            for entry in http.into_iter().flatten() {
                let weights = entry["route"].as_array().into_iter().flatten().map(|to| {
                    let subset = to.pointer("/destination/subset").and_then(Value::as_str);
                    let host = text(to, "/destination/host");
                    format!("{}={}", subset.unwrap_or(&host), to["weight"])
                });
                let weights: Vec<String> = weights.collect();
                let name = text(&route, "/metadata/name");
                let line = format!("at the end: VirtualService {name} sends {}", weights.join(" "));
                self.line(now, &line);
            }
        }
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
