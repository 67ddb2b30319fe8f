//! What a simulation says: the stable form of `-o json`. Fields are added, never renamed; `version` grows with a change of
//! meaning.

use chrono::TimeDelta;
use serde::Serialize;

/// A played update. Times are seconds since the new version was pushed.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// Version of this form: 1.
    pub version: u32,
    /// Namespace of the Rollout.
    pub namespace: String,
    /// Name of the Rollout.
    pub name: String,
    /// `canary` or `blueGreen`.
    pub strategy: &'static str,
    /// Wanted Pods.
    pub replicas: u32,
    /// What moves traffic, in words, such as `VirtualService checkout`.
    pub routed_by: Option<String>,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// What runs before, in words: images.
    pub before: String,
    /// What is pushed.
    pub after: String,
    /// What the manifests do not say and the simulation assumes, in words.
    pub assumed: Vec<String>,
    /// Weight, sizes, step and phase, at each change.
    pub samples: Vec<Sample>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// AnalysisRuns, in the order in which they began.
    pub analysis: Vec<AnalysisRun>,
    /// How it ended.
    pub outcome: Outcome,
    /// When the last thing happened.
    pub end_seconds: f64,
}

/// One step of a canary.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The step in words, such as `setWeight 20`.
    pub text: String,
    /// Whether it waits for a person.
    pub waits_for_person: bool,
}

/// State at an instant; it holds until the next one.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Since when.
    pub at_seconds: f64,
    /// Share of the users' requests that the new version answers, in percent.
    pub weight: u32,
    /// Pods of the new version.
    pub new: Size,
    /// Pods of all other versions.
    pub old: Size,
    /// Index of the current step, from 0; equal to their number when all are done.
    pub step: Option<u32>,
    /// Phase of the Rollout.
    pub phase: String,
    /// What leads to the new version besides the weight: routes that steps set, and the preview Service once it selects the new
    /// version. Absent if there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// Pods of Experiments of the Rollout. Absent if there are none.
    #[serde(skip_serializing_if = "Size::is_empty")]
    pub experiment: Size,
}

/// Pods of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// Wanted.
    pub wanted: u32,
    /// Available.
    pub available: u32,
}

impl Size {
    /// Returns whether there are no Pods, and none wanted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Something that happened.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at_seconds: f64,
    /// What kind of thing.
    pub kind: EventKind,
    /// In words.
    pub text: String,
    /// Which state held after it: index into `samples`.
    pub sample: usize,
}

/// Kinds of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// The new version was pushed, or a person did something else.
    User,
    /// A write of the controller that people can see the effect of.
    Action,
    /// A write that keeps books: annotations, adoption, an empty ReplicaSet.
    Upkeep,
    /// An event of the Rollout, as planned.
    Event,
    /// An event of the Rollout or an AnalysisRun that somebody may have to act on.
    Warning,
    /// A measurement.
    Measurement,
    /// A broken invariant: a bug of Sluice.
    Violation,
}

/// An AnalysisRun.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRun {
    /// Name.
    pub name: String,
    /// `Step`, `Background`, `PrePromotion`, `PostPromotion`, `Experiment`, or empty.
    pub role: String,
    /// Start.
    pub started_seconds: f64,
    /// End; `null` if it runs on.
    pub ended_seconds: Option<f64>,
    /// Last phase.
    pub phase: String,
    /// Why.
    pub message: String,
    /// What was measured, in order.
    pub measurements: Vec<Measurement>,
}

/// A measurement.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// When.
    pub at_seconds: f64,
    /// Metric.
    pub metric: String,
    /// Value, as `measurement.value` has it, or why there is none.
    pub value: String,
    /// `Successful`, `Failed`, `Inconclusive` or `Error`.
    pub phase: String,
}

/// How it ended.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "result", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// The new version is stable.
    Promoted {
        /// When.
        at_seconds: f64,
    },
    /// The update was taken back.
    Aborted {
        /// When.
        at_seconds: f64,
        /// Why.
        why: String,
    },
    /// It waits for a person, for ever.
    Paused {
        /// Since when.
        at_seconds: f64,
        /// At which step, in words.
        why: String,
    },
    /// It does not go on, and is not taken back.
    Stuck {
        /// Why.
        why: String,
        /// What it waits for.
        waits: Vec<Wait>,
    },
    /// The Rollout is not acted on.
    Invalid {
        /// Everything that is wrong, with what to do.
        problems: Vec<Wait>,
    },
    /// The former version did not become healthy, so that there was nothing to update.
    NotInstalled {
        /// Why.
        why: String,
        /// What it waits for.
        waits: Vec<Wait>,
    },
    /// The longest time was over.
    Unfinished {
        /// Where it was.
        why: String,
        /// What it waits for.
        waits: Vec<Wait>,
    },
    /// A decision broke an invariant: a bug of Sluice.
    Violation {
        /// Which.
        why: String,
    },
}

impl Outcome {
    /// Returns the word of the result, as JSON has it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Promoted { .. } => "promoted",
            Self::Aborted { .. } => "aborted",
            Self::Paused { .. } => "paused",
            Self::Stuck { .. } => "stuck",
            Self::Invalid { .. } => "invalid",
            Self::NotInstalled { .. } => "notInstalled",
            Self::Unfinished { .. } => "unfinished",
            Self::Violation { .. } => "violation",
        }
    }
}

/// Something that is waited for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// What.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Returns seconds with three decimals at most.
pub(super) fn in_seconds(passed: TimeDelta) -> f64 {
    // Milliseconds of centuries are exact in a double.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a simulation")]
    let seconds = passed.num_milliseconds() as f64 / 1000.0;
    seconds
}
