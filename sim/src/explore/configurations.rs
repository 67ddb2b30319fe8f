//! The table of what is searched. Each row is one rollout and a budget for each thing that may go wrong; every row is searched
//! to its end.

use super::{Answers, Bounds, Foreign, Order, Routing, Step, Toggle};

use Step::{Analysis, FollowWeight, Pause, Scale, ScaleShare, Wait, Weight};
use Toggle::{Abort, BackToStable, NewRevision, PromoteFull, Replicas, Resume, Retry, Unpause};

/// A row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Configuration {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// What is searched.
    pub bounds: Bounds,
    /// Whether it is part of the deep run only.
    pub is_deep: bool,
}

/// Two Pods behind two Services.
fn hosts(steps: &[Step], toggles: &[Toggle]) -> Bounds {
    Bounds { steps: steps.to_vec(), toggles: toggles.to_vec(), ..Bounds::default() }
}

/// Two Pods behind two subsets.
fn subsets(steps: &[Step], toggles: &[Toggle]) -> Bounds {
    Bounds { routing: Routing::Subsets, ..hosts(steps, toggles) }
}

/// A canary without router.
fn basic(
    replicas: u8,
    (surge, unavailable): (u8, u8),
    steps: &[Step],
    toggles: &[Toggle],
) -> Bounds {
    Bounds { replicas, routing: Routing::Basic(surge, unavailable), ..hosts(steps, toggles) }
}

impl Bounds {
    fn of(self, replicas: u8) -> Self {
        Self { replicas, ..self }
    }

    fn crash(self) -> Self {
        Self { crashes: self.crashes + 1, ..self }
    }

    fn unknown(self) -> Self {
        Self { unknown: self.unknown + 1, ..self }
    }

    fn duplicate(self) -> Self {
        Self { duplicates: self.duplicates + 1, ..self }
    }

    fn pod_fails(self) -> Self {
        Self { pod_failures: self.pod_failures + 1, ..self }
    }

    fn takeover(self) -> Self {
        Self { takeovers: 1, ..self }
    }

    fn one_by_one(self) -> Self {
        Self { one_by_one: true, ..self }
    }

    fn background(self) -> Self {
        Self { background: true, ..self }
    }

    fn answers(self, bad: u8, unreachable: u8, vanished: u8) -> Self {
        Self { answers: Answers { bad, unreachable, vanished }, ..self }
    }

    fn others(self, foreign: &[Foreign]) -> Self {
        Self { foreign: foreign.to_vec(), ..self }
    }

    /// Everything may stand still; searched by the number of disturbances.
    fn disturbed(self, limit: usize) -> Self {
        Self { stalls: true, order: Order::Disturbances(limit), ..self }
    }
}

const HALF: &[Step] = &[Weight(50)];
const FULL: &[Step] = &[Weight(100)];
const BACK_AND_FORTH: &[Step] = &[Weight(100), Weight(50)];
const PAUSES: &[Step] = &[Weight(50), Wait, Weight(100), Pause];
const SCALES: &[Step] = &[Scale(2), Weight(50), FollowWeight];
const SHARES: &[Step] = &[ScaleShare(100), Weight(50), Weight(100)];
const JUDGED: &[Step] = &[Weight(50), Analysis];

/// Returns the rows, in the order of the strategies.
pub fn table() -> Vec<Configuration> {
    let row =
        |(name, bounds): (&'static str, Bounds)| Configuration { name, bounds, is_deep: false };
    let deep =
        |(name, bounds): (&'static str, Bounds)| Configuration { name, bounds, is_deep: true };
    let rows = [by_hosts(), by_subsets(), without_router(), judged(), beside_others(), disturbed()];
    let mut all: Vec<Configuration> = rows.into_iter().flatten().map(row).collect();
    all.extend(deep_rows().into_iter().map(deep));
    all
}

type Rows = Vec<(&'static str, Bounds)>;

fn by_hosts() -> Rows {
    vec![
        ("hosts: calm", hosts(HALF, &[])),
        ("hosts: crash", hosts(HALF, &[]).crash()),
        ("hosts: unknown outcome", hosts(HALF, &[]).unknown()),
        ("hosts: a write twice", hosts(HALF, &[Abort]).duplicate()),
        ("hosts: abort, retry", hosts(HALF, &[Abort, Retry])),
        ("hosts: abort, crash", hosts(HALF, &[Abort]).crash()),
        ("hosts: abort, unknown", hosts(HALF, &[Abort]).unknown()),
        ("hosts: new revision", hosts(HALF, &[NewRevision])),
        ("hosts: new revision, crash", hosts(HALF, &[NewRevision]).crash()),
        ("hosts: new revision, unknown", hosts(HALF, &[NewRevision]).unknown()),
        ("hosts: back to stable, abort", hosts(HALF, &[BackToStable, Abort])),
        ("hosts: back to stable, unknown", hosts(HALF, &[BackToStable]).unknown()),
        ("hosts: back and forth, full, unknown", hosts(BACK_AND_FORTH, &[PromoteFull]).unknown()),
        ("hosts: back and forth, full, crash", hosts(BACK_AND_FORTH, &[PromoteFull]).crash()),
        ("hosts: pauses", hosts(PAUSES, &[Resume, Abort])),
        ("hosts: pauses, crash", hosts(PAUSES, &[Resume]).crash()),
        ("hosts: paused by the user", hosts(HALF, &[Toggle::Pause, Unpause, Abort])),
        ("hosts: more replicas", hosts(HALF, &[Replicas(3), Abort])),
        ("hosts: fewer replicas", hosts(HALF, &[Replicas(1), Abort])),
        ("hosts: no replicas", hosts(HALF, &[Replicas(0)])),
        ("hosts: one replica", hosts(HALF, &[Abort, NewRevision]).of(1)),
        ("hosts: Pods one by one", hosts(HALF, &[Abort]).of(3).one_by_one()),
        ("hosts: a Pod fails", hosts(HALF, &[Abort]).pod_fails()),
        ("hosts: two Pods fail", hosts(BACK_AND_FORTH, &[]).pod_fails().pod_fails()),
        ("hosts: back to stable, crash", hosts(HALF, &[BackToStable]).crash()),
        ("hosts: full promotion, abort", hosts(HALF, &[PromoteFull, Abort])),
        ("hosts: one replica, crash", hosts(FULL, &[Abort]).of(1).crash()),
        ("hosts: setCanaryScale", hosts(SCALES, &[Abort])),
        ("hosts: setCanaryScale of a share", hosts(SHARES, &[NewRevision])),
    ]
}

fn by_subsets() -> Rows {
    vec![
        ("subsets: crash", subsets(HALF, &[]).crash()),
        ("subsets: unknown outcome", subsets(HALF, &[]).unknown()),
        ("subsets: abort, retry", subsets(HALF, &[Abort, Retry])),
        ("subsets: abort, crash", subsets(HALF, &[Abort]).crash()),
        ("subsets: new revision", subsets(HALF, &[NewRevision, Abort])),
        ("subsets: back to stable", subsets(HALF, &[BackToStable]).unknown()),
        ("subsets: a Pod fails", subsets(HALF, &[Abort]).pod_fails()),
        ("subsets: more replicas", subsets(HALF, &[Replicas(3)])),
    ]
}

fn without_router() -> Rows {
    vec![
        ("basic: surge", basic(3, (1, 0), HALF, &[Abort, Retry])),
        ("basic: unavailable", basic(3, (0, 1), HALF, &[Abort, NewRevision])),
        ("basic: crash", basic(2, (1, 0), HALF, &[Abort]).crash()),
        ("basic: unknown outcome", basic(2, (1, 1), HALF, &[NewRevision]).unknown()),
        ("basic: one by one", basic(3, (2, 1), PAUSES, &[Resume]).one_by_one()),
        ("basic: a Pod fails", basic(3, (1, 1), HALF, &[Abort]).pod_fails()),
        ("basic: replicas", basic(2, (1, 0), HALF, &[Replicas(3), Abort])),
    ]
}

fn judged() -> Rows {
    vec![
        ("analysis: fails, retry", hosts(JUDGED, &[Retry]).answers(1, 0, 0)),
        ("analysis: unreachable", hosts(JUDGED, &[Abort]).answers(0, 1, 0)),
        ("analysis: vanishes", hosts(JUDGED, &[]).answers(1, 0, 1)),
        ("analysis: crash", hosts(JUDGED, &[]).answers(1, 0, 0).crash()),
        ("analysis: new revision", hosts(JUDGED, &[NewRevision]).answers(1, 0, 0)),
        ("analysis: beside the steps", hosts(HALF, &[Retry]).background().answers(1, 0, 0)),
        ("analysis: subsets", subsets(JUDGED, &[Abort]).answers(1, 0, 0)),
    ]
}

fn beside_others() -> Rows {
    let weights = [Foreign::Weight(0), Foreign::Weight(100)];
    vec![
        ("others: weights", hosts(HALF, &[]).others(&weights)),
        ("others: weights, abort", hosts(HALF, &[Abort]).others(&[Foreign::Weight(100)])),
        ("others: the stable Service", hosts(HALF, &[Abort]).others(&[Foreign::Stable])),
        ("others: the canary's Service", hosts(HALF, &[Abort]).others(&[Foreign::Canary])),
        ("others: subsets", subsets(HALF, &[Abort]).others(&[Foreign::Stable])),
        ("others: subsets, weights", subsets(HALF, &[]).others(&weights)),
    ]
}

fn disturbed() -> Rows {
    let all = [Abort, Retry, NewRevision, BackToStable];
    let busy = |bounds: Bounds| bounds.crash().unknown().pod_fails().takeover();
    vec![
        ("disturbed: hosts", busy(hosts(HALF, &all)).disturbed(2)),
        ("disturbed: subsets", busy(subsets(HALF, &all)).disturbed(2)),
        ("disturbed: analysis", busy(hosts(JUDGED, &[Abort, Retry])).answers(1, 1, 1).disturbed(2)),
    ]
}

fn deep_rows() -> Rows {
    let all = [Abort, Retry, NewRevision, BackToStable];
    let busy = |bounds: Bounds| bounds.crash().unknown().pod_fails().takeover();
    vec![
        ("deep: hosts, abort, crash, unknown", hosts(HALF, &[Abort, Retry]).crash().unknown()),
        ("deep: hosts, new revision, abort, crash", hosts(HALF, &[NewRevision, Abort]).crash()),
        ("deep: hosts, takeover, abort", hosts(HALF, &[Abort]).takeover()),
        ("deep: hosts, takeover, new revision", hosts(FULL, &[NewRevision]).takeover()),
        ("deep: hosts, takeover, unknown", hosts(FULL, &[]).takeover().unknown()),
        ("deep: subsets, takeover, abort", subsets(HALF, &[Abort]).takeover()),
        ("deep: basic, takeover, unknown", basic(3, (1, 1), HALF, &[Abort]).takeover().unknown()),
        ("deep: hosts: takeover", hosts(HALF, &[]).takeover()),
        ("deep: hosts: abort, takeover", hosts(FULL, &[Abort]).takeover()),
        ("deep: subsets: takeover", subsets(HALF, &[]).takeover()),
        ("deep: basic: takeover", basic(2, (1, 0), HALF, &[Abort]).takeover()),
        ("deep: disturbed hosts", busy(hosts(HALF, &all)).disturbed(3)),
        ("deep: disturbed subsets", busy(subsets(HALF, &all)).disturbed(3)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let table = table();
        let names: std::collections::BTreeSet<&str> = table.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), table.len());
        assert!(table.iter().filter(|row| !row.is_deep).count() >= 40);
    }
}
