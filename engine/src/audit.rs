//! The invariants S1–S25 of a Rollout and of an Experiment, checked by code that knows the laws and not the algorithm.
//!
//! [`audit`] looks at one decision and the view that it was made on: it runs before every plan, and a violating decision is
//! not executed. [`check_history`] looks at what an API server recorded: every revision of every object, whoever wrote it; and
//! [`check_requests`] at what it was asked.
//! Nothing here calls what `rollout` decides with; the arithmetic of need and share is written a second time on purpose.
//!
//! Source: `reliability` 3.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_crds::object::Kind;

mod blue_green;
mod decision;
mod experiment;
mod history;
mod law;
mod state;
mod status;
mod trial;
mod workload;
mod writes;

pub use decision::audit;
pub use experiment::audit as audit_experiment;
pub use history::{HistoryRequest, check_history, check_requests};

/// One revision of one object, as a recorder saw it.
#[derive(Clone, PartialEq, Debug)]
pub struct HistoryRevision {
    /// Kind of the object.
    pub kind: Kind,
    /// Whole object; the last state of one that was deleted.
    pub object: Value,
    /// Whether the object was deleted.
    pub deleted: bool,
    /// When the recorder saw it.
    pub at: DateTime<Utc>,
    /// Field manager of the writer, if the recorder knows.
    pub writer: Option<String>,
}

#[cfg(test)]
mod tests;
