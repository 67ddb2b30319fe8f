//! Plays one update of a Rollout in virtual time: `kubectl sluice simulate`.
//!
//! A cluster in a value gets the manifests, and what they lack (Services, Istio's routes); the former version is installed and comes to
//! rest; then, at second 0, the new version is pushed. From there on the real decisions run on their own until nothing is
//! pending. What happened comes back as a [`Timeline`], which is the same on every machine: there is no clock, no environment
//! and no randomness in it.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::Value;
use sluice_crds::yaml::NotYaml;

use crate::scenario::ScenarioError;

mod answers;
mod cast;
mod made_up;
mod outcome;
mod play;
mod recorder;
mod shares;
mod steps;
mod timeline;
mod trace;
mod version;

pub use answers::{Answers, Assumption, Script, Since};
pub use timeline::{
    AnalysisRun, Event, EventKind, Measurement, Outcome, Sample, Size, Step, Timeline, Wait,
};
pub use trace::TraceError;
pub use version::Before;

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Input {
    /// The manifests, in any order; one of them is a Rollout.
    pub manifests: Vec<Value>,
    /// Which Rollout, if there are several.
    pub name: Option<String>,
    /// What runs before the update.
    pub before: Before,
    /// Image that is pushed (`image`, or `container=image`), instead of what the manifests have.
    pub image: Option<String>,
    /// How Pods behave.
    pub pods: PodsAs,
    /// What measurements give.
    pub answers: Answers,
    /// After so long a pause without end is ended, as `promote` does. `None`: by nobody.
    pub promote_after: Option<TimeDelta>,
    /// What people do, and when, counted from the push.
    pub deeds: Vec<(TimeDelta, Deed)>,
    /// The longest time that is played, counted from the push.
    pub until: TimeDelta,
}

impl Input {
    /// Returns the input that plays an update of these manifests: Pods ready after 1 s, measurements that pass, nobody there.
    pub fn new(manifests: Vec<Value>) -> Self {
        Self {
            manifests,
            name: None,
            before: Before::MadeUp,
            image: None,
            pods: PodsAs::default(),
            answers: Answers::default(),
            promote_after: None,
            deeds: Vec::new(),
            until: TimeDelta::hours(24),
        }
    }
}

/// What a person does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// Takes the update back.
    Abort,
    /// Tries it again.
    Retry,
    /// Ends the present pause.
    Promote,
    /// Skips all that is left.
    PromoteFull,
    /// Holds the Rollout.
    Pause,
    /// Lets it go on.
    Resume,
}

impl Deed {
    /// Every deed with its word.
    pub const ALL: [(&'static str, Self); 6] = [
        ("abort", Self::Abort),
        ("retry", Self::Retry),
        ("promote", Self::Promote),
        ("promote-full", Self::PromoteFull),
        ("pause", Self::Pause),
        ("resume", Self::Resume),
    ];

    fn of_scenario(self) -> crate::scenario::Deed {
        use crate::scenario::Deed as Scenario;
        match self {
            Self::Abort => Scenario::Abort(true),
            Self::Retry => Scenario::Retry(true),
            Self::Promote => Scenario::Promote(true),
            Self::PromoteFull => Scenario::PromoteFull(true),
            Self::Pause => Scenario::Pause(true),
            Self::Resume => Scenario::Pause(false),
        }
    }
}

/// How Pods behave.
#[derive(Clone, PartialEq, Debug)]
pub struct PodsAs {
    /// From creation to ready. Default 1 s.
    pub ready: TimeDelta,
    /// From ready to the EndpointSlice. Default 0.
    pub listed: TimeDelta,
    /// From deletion to the end. Default 1 s.
    pub terminated: TimeDelta,
    /// Pods of the new version that never become ready. Default 0.
    pub failing: usize,
    /// Pods of the new version that crash, and when, counted from the push.
    pub crashes: Vec<(TimeDelta, usize)>,
}

impl Default for PodsAs {
    fn default() -> Self {
        Self {
            ready: TimeDelta::seconds(1),
            listed: TimeDelta::zero(),
            terminated: TimeDelta::seconds(1),
            failing: 0,
            crashes: Vec::new(),
        }
    }
}

/// Why nothing was played.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The manifests have no Rollout.
    #[error("there is no Rollout among the manifests")]
    NoRollout,
    /// The manifests have several.
    #[error("there are several Rollouts: {0}")]
    Several(String),
    /// The Rollout's Pod template is in another object, which is not there.
    #[error("{0} has the Pod template, and is not among the manifests")]
    NoWorkload(String),
    /// Two versions are equal.
    #[error("the former and the new version have the same Pod template")]
    NothingNew,
    /// An image names a container that is not there.
    #[error("there is no container `{0}` in the Pod template")]
    NoContainer(String),
    /// The Rollout cannot be read.
    #[error("the Rollout cannot be read: {0}")]
    Unreadable(String),
    /// A trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The manifests are no YAML.
    #[error(transparent)]
    Yaml(#[from] NotYaml),
    /// The simulated API server refused something.
    #[error(transparent)]
    Refused(#[from] ScenarioError),
}

/// Plays the update.
///
/// # Errors
/// If the manifests do not make an update: no Rollout, nothing new in it, an object that an API server refuses.
pub fn simulate(input: &Input) -> Result<Timeline, SimulateError> {
    play::play(input)
}

/// Reads what measurements give from a file: rows `time,metric,value,error` with a head, or YAML. See [`Script`].
///
/// # Errors
/// If a row cannot be read; the error says which.
pub fn read_trace(text: &str) -> Result<BTreeMap<String, Vec<Script>>, TraceError> {
    trace::read(text)
}

#[cfg(test)]
mod tests;
