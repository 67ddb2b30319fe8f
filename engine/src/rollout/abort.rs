//! When an update is taken back (`spec-rollouts` 3.7, 6.2).

use super::analysis::Verdicts;
use super::contention::Urgency;
use super::deadline;
use super::situation::Roles;

/// Whether the update is being taken back, and why.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Abort {
    on: bool,
    /// Cause, if the status does not record the abort yet.
    pub(crate) cause: Option<String>,
}

impl Abort {
    /// Whether an abort is in force: on record, or found in this view. Traffic goes back in the decision that finds it.
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// Returns how much taking weight away is worth fighting for.
    pub(crate) fn urgency(&self) -> Urgency {
        match (self.on, &self.cause) {
            (true, Some(_)) => Urgency::FirstRetreat,
            (true, None) => Urgency::Retreat,
            (false, _) => Urgency::Usual,
        }
    }
}

/// Finds out whether the update is to be taken back. An abort of what is already stable means nothing.
pub(crate) fn find(s: &Roles<'_>, verdicts: &Verdicts) -> Abort {
    if s.is_promoted() || s.is_first() || s.is_changed() {
        return Abort::default();
    }
    let status = s.status();
    if let Some(evidence) = s.view.quarantined.get(&s.hash)
        && status.abort != Some(true)
    {
        // Also after a retry: only a release lets this content go on.
        let cause = format!("revision {} is in quarantine: {evidence}", s.hash);
        return Abort { on: true, cause: Some(cause) };
    }
    if status.abort == Some(true) {
        let cause = status.aborted_at.is_none().then(String::new);
        return Abort { on: true, cause };
    }
    if status.aborted_at.is_some() {
        // The user cleared the abort. What took the former attempt back says nothing about the next one.
        return Abort::default();
    }
    if s.skips_steps() {
        // Full promotion and rollbacks wait for no analysis; the deadline below holds for them too.
        return by_deadline(s);
    }
    match &verdicts.failure {
        Some(_) if seeded!(FailureIgnored) => Abort::default(),
        Some(cause) => Abort { on: true, cause: Some(cause.clone()) },
        None => by_deadline(s),
    }
}

fn by_deadline(s: &Roles<'_>) -> Abort {
    let wanted = s.rollout.spec.progress_deadline_abort == Some(true);
    if !wanted || !deadline::state(s).is_passed() || seeded!(DeadlineIgnored) {
        return Abort::default();
    }
    let cause = deadline::message(s);
    Abort { on: true, cause: Some(cause) }
}

/// Returns the message of the `RolloutAborted` condition.
pub(crate) fn message(s: &Roles<'_>, cause: &str) -> String {
    let revision = s.revision();
    if cause.is_empty() {
        format!("Rollout aborted update to revision {revision}")
    } else {
        format!("Rollout aborted update to revision {revision}: {cause}")
    }
}
