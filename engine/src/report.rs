//! What an object waits for, and why: the answer to `kubectl sluice why`.

use chrono::{DateTime, Utc};

/// Answer to "why is it where it is?".
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// What it waits for; empty if it is done.
    pub waiting: Vec<Waiting>,
    /// What comes after that, in words.
    pub next: Option<String>,
    /// What this decision does, in words; empty for a decision that does nothing.
    pub decided: Vec<String>,
}

/// One thing that is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// What, with object, observed and wanted value.
    pub what: String,
    /// Until when at the latest, if that is known.
    pub until: Option<DateTime<Utc>>,
    /// Whether it ends by itself, or a person must act.
    pub kind: WaitingKind,
    /// What to do, for waits that do not end by themselves.
    pub hint: Option<String>,
}

/// Whether a wait ends by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitingKind {
    /// It ends by itself.
    Progress,
    /// A person decides when it ends, as planned.
    Person,
    /// Something is wrong; it does not end until that is repaired.
    Problem,
}

impl Report {
    /// Adds a wait that ends by itself.
    pub fn waits(&mut self, what: impl Into<String>, until: Option<DateTime<Utc>>) {
        self.waiting.push(Waiting {
            what: what.into(),
            until,
            kind: WaitingKind::Progress,
            hint: None,
        });
    }

    /// Adds a wait for a person.
    pub fn waits_for_person(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.waiting.push(Waiting {
            what: what.into(),
            until: None,
            kind: WaitingKind::Person,
            hint: Some(hint.into()),
        });
    }

    /// Adds a problem.
    pub fn problem(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.waiting.push(Waiting {
            what: what.into(),
            until: None,
            kind: WaitingKind::Problem,
            hint: Some(hint.into()),
        });
    }
}
