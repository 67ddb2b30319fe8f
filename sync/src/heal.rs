//! How often an object is put right before it is left alone (G9, F13): a wait that triples, at most five times in ten minutes.

use chrono::{DateTime, Duration, Utc};
use sluice_crds::application::{ApplicationStatus, SelfHealAttempts};
use sluice_crds::time::Time;

use crate::key::ResourceKey;
use crate::view::SyncConfig;

/// Whether an object may be put right now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gate {
    /// Yes.
    Open,
    /// Not before then.
    Wait(DateTime<Utc>),
    /// Somebody undoes it each time: it is left alone until then.
    Contended(DateTime<Utc>),
}

/// Returns whether an object may be put right now. Waits: none, then 2, 6, 18, 54 s (Argo's self-heal backoff).
pub(crate) fn gate(
    status: &ApplicationStatus,
    config: &SyncConfig,
    key: &ResourceKey,
    now: DateTime<Utc>,
) -> Gate {
    let path = key.path();
    let attempts = status.sluice.iter().flat_map(|sluice| &sluice.self_heal);
    let Some(seen) = attempts.into_iter().find(|attempt| attempt.resource == path) else {
        return Gate::Open;
    };
    let Some(at) = seen.at.map(Time::at) else { return Gate::Open };
    if at + config.heal_window <= now {
        return Gate::Open;
    }
    if seen.attempts >= config.heal_limit {
        return Gate::Contended(at + config.heal_window);
    }
    let factor = 3i32.saturating_pow(seen.attempts.saturating_sub(1).min(10));
    let wait = (config.heal_backoff * factor).min(Duration::seconds(300));
    if at + wait <= now { Gate::Open } else { Gate::Wait(at + wait) }
}

/// Counts an attempt.
pub(crate) fn count(
    status: &mut ApplicationStatus,
    config: &SyncConfig,
    key: &ResourceKey,
    now: DateTime<Utc>,
) {
    let sluice = status.sluice.get_or_insert_default();
    let is_recent =
        |a: &SelfHealAttempts| a.at.is_some_and(|at| at.at() + config.heal_window > now);
    sluice.self_heal.retain(is_recent);
    let path = key.path();
    match sluice.self_heal.iter_mut().find(|attempt| attempt.resource == path) {
        Some(attempt) => {
            attempt.attempts += 1;
            attempt.at = Some(Time::new(now));
        }
        None => sluice.self_heal.push(SelfHealAttempts {
            resource: path,
            attempts: 1,
            at: Some(Time::new(now)),
        }),
    }
}
