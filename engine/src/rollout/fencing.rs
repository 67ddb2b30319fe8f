//! Which objects a plan relies on, and the touches that come first (S19, `design.md` 3).

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use sluice_crds::analysis::AnalysisRunRecord;
use sluice_crds::labels;
use sluice_crds::object::{Kind, Meta, ObjectRef};

use super::action::{Action, Target};
use super::{release, routes, versions, workload};
use crate::fence::{FenceState, Stamp};
use crate::view::RolloutView;

/// Annotations that say when what they are on was last changed by us.
const INSTANTS: [&str; 2] = [labels::SWITCHED_AT, labels::ROUTED_AT];

/// How far the clock of a former leader may be ahead of ours.
const CLOCKS_DIFFER: Duration = Duration::seconds(60);

/// Why nothing at all may be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// An object carries a stamp of a newer term: the lease is lost.
    Lost(ObjectRef, Stamp),
    /// An object carries a stamp of another Lease, not yet proved to be gone.
    Foreign(ObjectRef, Stamp),
}

/// Looks for an object that forbids every write.
pub(crate) fn stop(view: &RolloutView) -> Option<Stop> {
    for (object, meta) in everything(view) {
        match view.epoch.state(&object, meta) {
            FenceState::Lost(stamp) => return Some(Stop::Lost(object, stamp)),
            FenceState::ForeignLease(stamp) => return Some(Stop::Foreign(object, stamp)),
            FenceState::Fenced | FenceState::NeedsTouch => {}
        }
    }
    None
}

/// Returns the touches that must come before anything else; empty if all that a plan relies on is fenced.
///
/// Relied on are the Rollout, its route objects, what its destinations resolve through, every ReplicaSet that has Pods, is
/// stable or is current, and what an Experiment with a share of traffic consists of: a later abort then waits for nothing.
pub(crate) fn touches(view: &RolloutView, current: Option<&str>) -> Vec<Action> {
    needed(view, current)
        .into_iter()
        .filter(|(object, meta)| {
            view.epoch.state(object, meta) == FenceState::NeedsTouch || is_misdated(view, meta)
        })
        .map(|(object, meta)| {
            let refresh = INSTANTS
                .into_iter()
                .filter(|key| meta.annotations.contains_key(*key) && !seeded!(TouchKeepsInstants))
                .map(|key| (key.to_owned(), routes::instant(view.now)))
                .collect();
            Action::Touch { target: Target::of(view, object, meta), refresh }
        })
        .collect()
}

/// Whether an object says that it was changed at an instant that is still far ahead. Somebody else wrote that; it is set to now.
pub(crate) fn has_misdated(view: &RolloutView) -> bool {
    traffic_objects(view).into_iter().any(|(_, meta)| is_misdated(view, meta))
}

/// Whether an instant lies so far ahead that none of us wrote it: waiting for it could take for ever.
pub(crate) fn is_made_up(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    at - now > CLOCKS_DIFFER
}

fn is_misdated(view: &RolloutView, meta: &Meta) -> bool {
    let mut instants = INSTANTS.into_iter().filter_map(|key| routes::instant_of(meta, key));
    instants.any(|at| is_made_up(at, view.now))
}

fn needed<'a>(view: &'a RolloutView, current: Option<&str>) -> BTreeMap<ObjectRef, &'a Meta> {
    let mut needed = BTreeMap::new();
    if !seeded!(FenceWithoutRollout) {
        needed.insert(view.object(), &view.rollout.meta);
    }
    for (object, meta) in traffic_objects(view) {
        if seeded!(FenceWithoutRoutes) {
            break;
        }
        needed.insert(object, meta);
    }
    for service in release::due(view) {
        needed.insert(service.object(), &service.meta);
    }
    if let Some((object, meta)) = workload::retiring(view) {
        needed.insert(object.clone(), meta);
    }
    needed.extend(versions::relied_on(view));
    let stable = view.rollout.status.stable_rs.as_deref();
    let canary = view.rollout.spec.strategy.canary.as_deref();
    let is_basic = canary.is_some_and(|canary| canary.traffic_routing.is_none());
    for rs in &view.replica_sets {
        let ours = rs.meta.is_owned_by(&view.rollout.meta.uid);
        let stable = stable.filter(|_| !seeded!(FenceWithoutStable));
        let plays = rs.hash().is_some_and(|hash| Some(hash) == stable || Some(hash) == current);
        let plays = plays && !seeded!(FenceWithoutReplicaSets);
        // A write of ours that we know nothing of may still give it Pods; and without a router every set counts (S13), so
        // also what a former leader may still write to one.
        let counts = is_basic || view.epoch.needed.contains_key(&rs.object());
        if ours
            && rs.meta.deletion_timestamp.is_none()
            && (plays || ((rs.replicas > 0 || counts) && !unneeded()))
        {
            needed.insert(rs.object(), &rs.meta);
        }
    }
    needed
}

/// Whether ReplicaSets with Pods are left out: never, but for a seeded defect.
fn unneeded() -> bool {
    seeded!(FenceWithoutReplicaSets) || seeded!(FenceWithoutStable)
}

fn traffic_objects(view: &RolloutView) -> Vec<(ObjectRef, &Meta)> {
    let services = view
        .services
        .values()
        .filter_map(|lookup| lookup.present())
        .map(|service| (service.object(), &service.meta));
    let routes = view
        .routes
        .values()
        .filter_map(|lookup| lookup.present())
        .map(|route| (route.object.clone(), &route.meta));
    services.chain(routes).collect()
}

fn everything(view: &RolloutView) -> Vec<(ObjectRef, &Meta)> {
    let run = |run: &AnalysisRunRecord| run.meta.object(Kind::ANALYSIS_RUN);
    let mut all = vec![(view.object(), &view.rollout.meta)];
    all.extend(traffic_objects(view));
    all.extend(view.former_services.iter().map(|service| (service.object(), &service.meta)));
    all.extend(workload::retiring(view).map(|(object, meta)| (object.clone(), meta)));
    all.extend(view.replica_sets.iter().map(|rs| (rs.object(), &rs.meta)));
    for sight in view.experiments.present().into_iter().flatten() {
        all.push((sight.experiment.meta.object(Kind::EXPERIMENT), &sight.experiment.meta));
        all.extend(sight.replica_sets.iter().map(|rs| (rs.object(), &rs.meta)));
        let services = sight.services.values().filter_map(|lookup| lookup.present());
        all.extend(services.map(|service| (service.object(), &service.meta)));
    }
    all.extend(view.analysis_runs.iter().map(|r| (run(&r.run), &r.run.meta)));
    all
}
