//! The table of what is searched. Each row is one rollout and a budget for each thing that may go wrong; every row is searched
//! to its end.

use super::{
    Answers, BlueGreen, Bounds, Foreign, Order, Promotion, Protocol, Routing, Step, Toggle,
};

use Step::{
    Analysis, Experiment, FollowWeight, Header, Mirror, NoHeader, Pause, Scale, ScaleShare, Wait,
    Weight,
};
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

/// Two Pods behind two Services that swap roles.
fn ping_pong(steps: &[Step], toggles: &[Toggle]) -> Bounds {
    Bounds { routing: Routing::PingPong, ..hosts(steps, toggles) }
}

/// Two Pods behind two Services; the stable set shrinks with its traffic.
fn dynamic(steps: &[Step], toggles: &[Toggle]) -> Bounds {
    Bounds { dynamic: true, ..hosts(steps, toggles) }
}

/// Two Pods behind one Service that is switched.
fn blue_green(strategy: BlueGreen, toggles: &[Toggle]) -> Bounds {
    Bounds { routing: Routing::BlueGreen(strategy), ..hosts(&[], toggles) }
}

impl Bounds {
    fn protocol(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

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
const TRIED: &[Step] = &[Weight(50), Experiment];
const LED: &[Step] = &[Weight(50), Header];
const LED_BEFORE: &[Step] = &[Scale(1), Header, FollowWeight, NoHeader, Weight(50)];
const MIRRORED: &[Step] = &[Scale(1), Mirror, Weight(50)];

/// Returns the rows, in the order of the strategies.
pub fn table() -> Vec<Configuration> {
    let row =
        |(name, bounds): (&'static str, Bounds)| Configuration { name, bounds, is_deep: false };
    let deep =
        |(name, bounds): (&'static str, Bounds)| Configuration { name, bounds, is_deep: true };
    let rows = [
        by_hosts(),
        by_subsets(),
        by_swaps(),
        by_share(),
        by_rules(),
        without_router(),
        by_switch(),
        judged(),
        beside_others(),
        disturbed(),
    ];
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

fn by_swaps() -> Rows {
    vec![
        ("ping-pong: abort, retry", ping_pong(HALF, &[Abort, Retry])),
        ("ping-pong: crash", ping_pong(HALF, &[Abort]).crash()),
        ("ping-pong: unknown outcome", ping_pong(HALF, &[]).unknown()),
        ("ping-pong: new revision", ping_pong(HALF, &[NewRevision, Abort])),
        ("ping-pong: new revision, unknown", ping_pong(HALF, &[NewRevision]).unknown()),
        ("ping-pong: back to stable", ping_pong(HALF, &[BackToStable]).crash()),
        ("ping-pong: a Pod fails", ping_pong(HALF, &[Abort]).pod_fails()),
    ]
}

fn by_share() -> Rows {
    vec![
        ("dynamic: abort, retry", dynamic(HALF, &[Abort, Retry])),
        ("dynamic: crash", dynamic(BACK_AND_FORTH, &[Abort]).crash()),
        ("dynamic: unknown outcome", dynamic(HALF, &[Abort]).unknown()),
        ("dynamic: new revision", dynamic(HALF, &[NewRevision, Abort])),
        ("dynamic: back to stable", dynamic(HALF, &[BackToStable]).unknown()),
        ("dynamic: full promotion", dynamic(HALF, &[PromoteFull, Abort])),
        ("dynamic: a Pod fails", dynamic(HALF, &[Abort]).pod_fails()),
        ("dynamic: replicas", dynamic(HALF, &[Replicas(3), Abort])),
        ("dynamic: Pods one by one", dynamic(HALF, &[Abort]).of(3).one_by_one()),
        ("dynamic: subsets", Bounds { dynamic: true, ..subsets(HALF, &[Abort]) }.crash()),
    ]
}

fn by_rules() -> Rows {
    vec![
        ("routes: header", hosts(LED, &[Abort, Retry])),
        ("routes: header, crash", hosts(LED, &[Abort]).crash()),
        ("routes: header, unknown", hosts(LED, &[NewRevision]).unknown()),
        ("routes: header, a Pod fails", hosts(LED, &[Abort]).pod_fails()),
        ("routes: header, back to stable", hosts(LED_BEFORE, &[BackToStable]).crash()),
        ("routes: mirror", hosts(MIRRORED, &[Abort, NewRevision])),
        ("routes: subsets", subsets(LED, &[Abort]).crash()),
        ("routes: ping-pong", ping_pong(LED, &[Abort])),
        ("routes: TCP, crash", hosts(HALF, &[Abort]).protocol(Protocol::Tcp).crash()),
        ("routes: HTTP and TLS", hosts(HALF, &[Abort]).protocol(Protocol::HttpAndTls).unknown()),
    ]
}

fn by_switch() -> Rows {
    let plain = BlueGreen::default();
    let preview = BlueGreen { preview: true, ..plain };
    let person = BlueGreen { pause: Promotion::Person, ..preview };
    let wait = BlueGreen { pause: Promotion::Wait, ..preview };
    let small = BlueGreen { preview_replicas: Some(1), ..person };
    let before = BlueGreen { before: true, ..preview };
    let after = BlueGreen { after: true, ..plain };
    let both = BlueGreen { before: true, after: true, ..preview };
    vec![
        ("blue-green: crash", blue_green(plain, &[Abort]).crash()),
        ("blue-green: unknown outcome", blue_green(preview, &[Abort]).unknown()),
        ("blue-green: abort, retry", blue_green(preview, &[Abort, Retry])),
        ("blue-green: pause", blue_green(person, &[Resume, Abort])),
        ("blue-green: pause, crash", blue_green(wait, &[Abort]).crash()),
        ("blue-green: pause, full", blue_green(person, &[PromoteFull, NewRevision])),
        ("blue-green: small preview", blue_green(small, &[Resume, Abort]).crash()),
        ("blue-green: new revision", blue_green(preview, &[NewRevision, Abort])),
        ("blue-green: new revision, unknown", blue_green(preview, &[NewRevision]).unknown()),
        ("blue-green: back to stable", blue_green(wait, &[BackToStable, Abort])),
        ("blue-green: in time", blue_green(plain, &[BackToStable]).crash()),
        ("blue-green: a Pod fails", blue_green(preview, &[Abort]).pod_fails()),
        ("blue-green: Pods one by one", blue_green(plain, &[Abort]).of(3).one_by_one()),
        ("blue-green: replicas", blue_green(preview, &[Replicas(3), Abort])),
        ("blue-green: no replicas", blue_green(plain, &[Replicas(0), Abort])),
        ("blue-green: a hurry", blue_green(BlueGreen { hurries: true, ..plain }, &[Abort]).crash()),
        ("blue-green: judged before", blue_green(before, &[Retry]).answers(1, 1, 0)),
        ("blue-green: judged after", blue_green(after, &[Retry]).answers(1, 1, 0)),
        ("blue-green: judged after, crash", blue_green(after, &[Abort]).answers(1, 0, 0).crash()),
        ("blue-green: judged twice", blue_green(both, &[Abort]).answers(1, 0, 0)),
        ("blue-green: others", blue_green(preview, &[Abort]).others(&[Foreign::Stable])),
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
        ("analysis: subsets, unknown", subsets(JUDGED, &[]).answers(1, 1, 0).unknown()),
        ("analysis: dynamic", dynamic(JUDGED, &[Retry]).answers(1, 0, 0)),
        ("experiment: ends in every way", hosts(TRIED, &[Retry]).answers(1, 1, 0)),
        ("experiment: abort, crash", hosts(TRIED, &[Abort]).answers(1, 0, 0).crash()),
        ("experiment: inconclusive", hosts(TRIED, &[Resume, Abort]).answers(0, 1, 0)),
        ("experiment: new revision", hosts(TRIED, &[NewRevision]).answers(0, 0, 1)),
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
        ("others: sizes", hosts(HALF, &[Abort]).others(&[Foreign::Size(1), Foreign::Size(3)])),
        ("others: dynamic", dynamic(HALF, &[Abort]).others(&[Foreign::Size(1)])),
        ("others: header route", hosts(LED, &[Abort]).others(&[Foreign::Weight(50)])),
        ("others: ping-pong", ping_pong(HALF, &[Abort]).others(&[Foreign::Canary])),
    ]
}

fn disturbed() -> Rows {
    let all = [Abort, Retry, NewRevision, BackToStable];
    let busy = |bounds: Bounds| bounds.crash().unknown().pod_fails().takeover();
    vec![
        ("disturbed: hosts", busy(hosts(HALF, &all)).disturbed(2)),
        ("disturbed: subsets", busy(subsets(HALF, &all)).disturbed(2)),
        (
            "disturbed: blue-green",
            busy(blue_green(BlueGreen { preview: true, ..BlueGreen::default() }, &all))
                .disturbed(2),
        ),
        ("disturbed: dynamic", busy(dynamic(HALF, &all)).disturbed(2)),
        ("disturbed: ping-pong", busy(ping_pong(HALF, &all)).disturbed(2)),
        ("disturbed: header route", busy(hosts(LED, &all)).disturbed(2)),
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
