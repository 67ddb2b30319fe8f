//! What is kept of the past: old ReplicaSets, finished AnalysisRuns and Experiments (`spec-rollouts` 2.4).

use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::object::Kind;

use super::action::{Action, Target};
use super::analysis::Verdicts;
use super::situation::{Roles, Set};
use crate::view::{AnalysisRunView, hash_of};

/// Returns the deletions of what is beyond its limit.
pub(crate) fn deletions(s: &Roles<'_>, verdicts: &Verdicts) -> Vec<Action> {
    let mut actions = replica_sets(s);
    actions.extend(analysis_runs(s, verdicts));
    actions.extend(super::experiment::history(s, verdicts));
    actions
}

fn replica_sets(s: &Roles<'_>) -> Vec<Action> {
    let limit = s.rollout.spec.revision_history_limit.unwrap_or(10);
    let limit = usize::try_from(limit).unwrap_or(0);
    let mut old: Vec<Set<'_>> =
        s.older.iter().copied().filter(|rs| rs.meta.deletion_timestamp.is_none()).collect();
    old.sort_by(|a, b| {
        (a.meta.creation_timestamp, &a.meta.name).cmp(&(b.meta.creation_timestamp, &b.meta.name))
    });
    let limit = limit.saturating_sub(usize::from(seeded!(HistoryOneFewer)));
    let excess = old.len().saturating_sub(limit);
    old.into_iter()
        .take(excess)
        .filter(|rs| {
            let still = rs.observed_generation >= rs.meta.generation;
            rs.replicas == 0 && rs.existing == 0 && still && !is_selected(s, rs)
        })
        .map(|rs| Action::Delete { target: Target::of(s.view, rs.object(), &rs.meta) })
        .collect()
}

fn is_selected(s: &Roles<'_>, set: Set<'_>) -> bool {
    s.view
        .services
        .values()
        .filter_map(|lookup| lookup.present())
        .any(|service| service.hash() == set.hash())
}

fn analysis_runs(s: &Roles<'_>, verdicts: &Verdicts) -> Vec<Action> {
    let spec = s.rollout.spec.analysis.clone().unwrap_or_default();
    let limit = |value: Option<i32>| usize::try_from(value.unwrap_or(5)).unwrap_or(0);
    let good_limit = limit(spec.successful_run_history_limit);
    let bad_limit = limit(spec.unsuccessful_run_history_limit);
    let mut finished: Vec<&AnalysisRunView> = s
        .view
        .analysis_runs
        .iter()
        .filter(|view| view.run.meta.deletion_timestamp.is_none())
        .filter(|view| view.run.status.phase.is_some_and(AnalysisPhase::is_completed))
        .filter(|view| !verdicts.is_current(&view.run.meta.name))
        .collect();
    finished.sort_by(|a, b| {
        (b.run.meta.creation_timestamp, &b.run.meta.name)
            .cmp(&(a.run.meta.creation_timestamp, &a.run.meta.name))
    });
    let (mut good, mut bad) = (0_usize, 0_usize);
    let mut actions = Vec::new();
    for view in finished {
        let orphaned =
            hash_of(&view.run.meta).is_none_or(|hash| !s.owned().any(|rs| rs.hash() == Some(hash)));
        let beyond = if view.run.status.phase == Some(AnalysisPhase::Successful) {
            good += 1;
            good > good_limit
        } else {
            bad += 1;
            bad > bad_limit
        };
        if orphaned || beyond {
            let object = view.run.meta.object(Kind::ANALYSIS_RUN);
            actions.push(Action::Delete { target: Target::of(s.view, object, &view.run.meta) });
        }
    }
    actions
}
