//! Queries that the inline form of a canary's background analysis names (`spec-sync` 1.9-J, a superset of Argo).
//!
//! The names are here, because validation and the documentation need them; the engine knows what to ask for each.

/// A query that is known by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamedQuery {
    /// `error-rate`: the part of requests answered with a status of 500 and above, 0..=1.
    ErrorRate,
    /// `request-success-rate`: the others, in percent, 0..=100. Source: Flagger's metric of the name.
    RequestSuccessRate,
    /// `request-duration`: the 99th percentile of durations, in milliseconds. Source: Flagger's metric of the name.
    RequestDuration,
}

impl NamedQuery {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ErrorRate, Self::RequestSuccessRate, Self::RequestDuration];

    /// Returns the name that users write.
    pub fn name(self) -> &'static str {
        match self {
            Self::ErrorRate => "error-rate",
            Self::RequestSuccessRate => "request-success-rate",
            Self::RequestDuration => "request-duration",
        }
    }

    /// Returns the query of the name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|query| query.name() == name)
    }

    /// Returns all names, as a sentence lists them.
    pub fn listed() -> String {
        Self::ALL.map(|query| format!("`{}`", query.name())).join(", ")
    }
}
