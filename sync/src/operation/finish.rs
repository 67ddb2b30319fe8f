use chrono::Duration;
use sluice_crds::application::{
    OperationPhase, OperationState, RetryStrategy, RevisionHistory, SyncOperation,
};
use sluice_crds::duration;
use sluice_crds::time::Time;
use sluice_engine::plan::{Severity, WakeReason};

use crate::draft::Draft;

/// Longer than anybody means to wait; keeps sums with instants in range.
const LONGEST_WAIT: Duration = Duration::days(36_500);

/// Ends an attempt that failed: with a retry if one is left, else for good.
pub(super) fn fail(
    draft: &mut Draft<'_>,
    mut state: OperationState,
    phase: OperationPhase,
    message: &str,
) {
    let retries = state.retry_count.unwrap_or(0);
    let limit = state.operation.retry.as_ref().and_then(|retry| retry.limit).unwrap_or(0);
    if limit >= 0 && retries >= limit {
        end(draft, state, phase, message);
        return;
    }
    let due = draft.view.now + retry_wait(state.operation.retry.as_ref(), retries);
    let attempt = retries + 1;
    state.phase = OperationPhase::Running;
    state.finished_at = Some(Time::new(draft.view.now));
    state.retry_count = Some(attempt);
    let at = due.format("%H:%M:%S");
    state.message = Some(format!("{message}. Retrying attempt #{attempt} at {at} UTC."));
    draft.wake_at(due, WakeReason::Retry);
    draft.report.waits(format!("retry #{attempt} of the sync: {message}"), Some(due));
    draft.status.operation_state = Some(state);
}

/// Returns how long the retry with this number, counted from 0, waits: `min(maxDuration, duration·factor^n)`. As documented by
/// Argo; its code waits one factor longer.
pub(super) fn retry_wait(retry: Option<&RetryStrategy>, n: i64) -> Duration {
    let backoff = retry.and_then(|retry| retry.backoff.as_ref());
    let read = |text: Option<&String>, default: i64| {
        text.filter(|text| !text.is_empty())
            .and_then(|text| duration::parse_or_seconds(text).ok())
            .filter(|wait| *wait >= Duration::zero())
            .unwrap_or(Duration::seconds(default))
    };
    let first = read(backoff.and_then(|b| b.duration.as_ref()), 5);
    let longest = read(backoff.and_then(|b| b.max_duration.as_ref()), 180);
    let factor = backoff.and_then(|b| b.factor).unwrap_or(2).max(1);
    let mut wait = first;
    for _ in 0..n.clamp(0, 64) {
        // Somebody may set no cap; the product must stay in range.
        if wait > Duration::days(365) || (!longest.is_zero() && wait >= longest) {
            break;
        }
        wait = Duration::milliseconds(wait.num_milliseconds().saturating_mul(factor));
    }
    let wait = if longest.is_zero() { wait } else { wait.min(longest) };
    wait.min(LONGEST_WAIT)
}

/// Ends the operation.
pub(super) fn end(
    draft: &mut Draft<'_>,
    mut state: OperationState,
    phase: OperationPhase,
    message: &str,
) {
    let retries = state.retry_count.unwrap_or(0);
    let tail = if retries > 0 && phase != OperationPhase::Succeeded {
        format!(" (retried {retries} times).")
    } else {
        String::new()
    };
    state.phase = phase;
    state.message = Some(format!("{message}{tail}"));
    state.finished_at = Some(Time::new(draft.view.now));
    if phase == OperationPhase::Succeeded {
        add_history(draft, &state);
    }
    let (severity, verb) = match phase {
        OperationPhase::Succeeded => (Severity::Normal, "succeeded"),
        OperationPhase::Failed
        | OperationPhase::Error
        | OperationPhase::Running
        | OperationPhase::Terminating
        | OperationPhase::Unknown => (Severity::Warning, "failed"),
    };
    let commit = state.sync_result.as_ref().map_or("", |result| &result.revision);
    let text = format!("Sync operation to {commit} {verb}: {message}{tail}");
    draft.notice(severity, "OperationCompleted", text);
    draft.ends_operation = draft.view.application.operation.is_some();
    draft.status.operation_state = Some(state);
}

/// Only whole syncs that wrote are history.
fn add_history(draft: &mut Draft<'_>, state: &OperationState) {
    let empty = SyncOperation::default();
    let sync = state.operation.sync.as_ref().unwrap_or(&empty);
    let Some(result) = &state.sync_result else { return };
    if sync.dry_run == Some(true) || !sync.resources.is_empty() {
        return;
    }
    let limit = draft.view.application.spec.revision_history_limit.unwrap_or(10).max(0);
    let history = &mut draft.status.history;
    let id = history.last().map_or(0, |entry| entry.id + 1);
    history.push(RevisionHistory {
        id,
        revision: Some(result.revision.clone()),
        deployed_at: state.finished_at,
        deploy_started_at: state.started_at,
        source: result.source.clone(),
        initiated_by: state.operation.initiated_by.clone(),
        ..RevisionHistory::default()
    });
    let surplus = history.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    history.drain(..surplus);
}

#[cfg(test)]
mod tests {
    use sluice_crds::application::RetryStrategy;

    use super::retry_wait;

    fn waits(yaml: &str) -> Vec<i64> {
        let retry: RetryStrategy = serde_saphyr::from_str(yaml).unwrap();
        (0..7).map(|n| retry_wait(Some(&retry), n).num_seconds()).collect()
    }

    #[test]
    fn retries_wait_as_documented() {
        assert_eq!(waits("{}"), [5, 10, 20, 40, 80, 160, 180]);
        let tripled = "backoff: {duration: 1s, factor: 3, maxDuration: 1m}";
        assert_eq!(waits(tripled), [1, 3, 9, 27, 60, 60, 60]);
        let endless = "backoff: {duration: 1m, factor: 2, maxDuration: '0'}";
        assert_eq!(waits(endless)[6], 64 * 60);
    }
}
