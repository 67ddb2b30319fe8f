//! Conditions of an Application: problems, each with its type, sorted; the instant stays while type and message stay.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sluice_crds::application::ApplicationCondition;
pub use sluice_crds::conditions::application::*;
use sluice_crds::conditions::{replace_application_conditions, shortened};
use sluice_crds::time::Time;

/// Conditions that hold.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Conditions {
    found: BTreeSet<(String, String)>,
}

impl Conditions {
    /// Adds one.
    pub fn add(&mut self, kind: &str, message: impl Into<String>) {
        self.found.insert((kind.to_owned(), shortened(&message.into())));
    }

    /// Returns whether one of the type holds.
    pub fn has(&self, kind: &str) -> bool {
        self.found.iter().any(|(found, _)| found == kind)
    }

    /// Returns the messages of a type, joined.
    pub fn text(&self, kind: &str) -> String {
        let messages = self.found.iter().filter(|(found, _)| found == kind);
        messages.map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// Returns the whole list: ours as they hold, with their instants where they held before, and those of other writers.
    pub fn list(
        &self,
        before: &[ApplicationCondition],
        now: DateTime<Utc>,
    ) -> Vec<ApplicationCondition> {
        let found = self.found.iter().map(|(kind, message)| ApplicationCondition {
            condition_type: kind.clone(),
            message: message.clone(),
            last_transition_time: None,
        });
        let mut list = before.to_vec();
        replace_application_conditions(&mut list, ALL, found.collect(), Time::new(now));
        list
    }
}
