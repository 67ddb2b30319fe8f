//! Moves in words: for people, and for files that are replayed.

use super::catalog::{ROLLOUT, ROUTE};
use super::laws::Broken;
use super::moves::{ENDPOINTS, Move};
use super::state::{Flight, State};
use super::{Explorer, setup};

const WATCHES: [&str; 6] =
    ["Rollout", "ReplicaSets", "Services", "route", "AnalysisRuns", "endpoints"];
const SERVICES: [&str; 2] = ["stable", "canary"];

fn leader(l: u8) -> &'static str {
    ["A", "B"][usize::from(l)]
}

fn watch(kind: u8) -> &'static str {
    WATCHES[usize::from(kind.min(ENDPOINTS))]
}

impl Explorer {
    /// Returns the move as a scenario file names it. In one state each move that is possible has a name of its own.
    pub(super) fn word(&self, chosen: Move) -> String {
        match chosen {
            Move::Seed(index) => format!("calm {}", index + 1),
            Move::Decide(l) => format!("{} decides", leader(l)),
            Move::Land(l) => format!("{} writes", leader(l)),
            Move::Duplicate(l) => format!("{} writes twice", leader(l)),
            Move::Unknown(l) => format!("{} gives up", leader(l)),
            Move::Deliver(l, kind) => format!("{} sees {}", leader(l), watch(kind)),
            Move::Hold(l, kind) => format!("{} holds {}", leader(l), watch(kind)),
            Move::Stall(l) => format!("{} halts", leader(l)),
            Move::Crash(l) => format!("{} crashes", leader(l)),
            Move::TakeOver => "B leads".to_owned(),
            Move::Late(index) => format!("late {index}"),
            Move::Pods(slot) => format!("pods of {}", self.name(slot)),
            Move::Pod(slot) => format!("pod of {}", self.name(slot)),
            Move::PodFails(slot) => format!("failure in {}", self.name(slot)),
            Move::Endpoints(index) => format!("endpoints of {}", SERVICES[usize::from(index)]),
            Move::Tick => "time".to_owned(),
            Move::User(index) => format!("user {:?}", self.bounds.toggles[usize::from(index)]),
            Move::Foreign(index) => format!("others {:?}", self.bounds.foreign[usize::from(index)]),
            Move::Answer(slot, answer) => format!("answer {answer:?} to {}", self.name(slot)),
            Move::Vanish(slot) => format!("end of {}", self.name(slot)),
        }
    }

    fn name(&self, slot: u8) -> String {
        let object = self.catalog.object(usize::from(slot));
        object.map_or_else(|| format!("slot {slot}"), |object| object.name.clone())
    }

    /// Describes a move for people.
    pub(super) fn describe(&self, state: &State, chosen: Move) -> String {
        let text = |flight: Option<Flight>| {
            flight.map_or("", |flight| self.catalog.writes[flight.write as usize].text.as_str())
        };
        let first = |l: u8| text(state.leaders[usize::from(l)].plan.first());
        let name = |slot: u8| self.name(slot);
        match chosen {
            Move::Seed(index) => format!("step {index} of the undisturbed run"),
            Move::Decide(l) => format!("leader {} decides", leader(l)),
            Move::Land(l) => format!("write of leader {} arrives: {}", leader(l), first(l)),
            Move::Duplicate(l) => {
                format!("write of leader {} arrives, and will again: {}", leader(l), first(l))
            }
            Move::Unknown(l) => format!("leader {} gives up on its write", leader(l)),
            Move::Deliver(l, kind) => format!("leader {} sees the {}", leader(l), watch(kind)),
            Move::Hold(l, kind) => {
                let held = state.leaders[usize::from(l)].held & (1 << kind) != 0;
                let verb = if held { "goes on" } else { "stands still" };
                format!("leader {}'s watch of the {} {verb}", leader(l), watch(kind))
            }
            Move::Stall(l) => {
                let halts = state.leaders[usize::from(l)].stalled;
                let verb = if halts { "goes on" } else { "stands still" };
                format!("leader {} {verb}", leader(l))
            }
            Move::Crash(l) => format!("leader {} crashes and starts anew", leader(l)),
            Move::TakeOver => "leader B takes the lease".to_owned(),
            Move::Late(index) => {
                let late = state.late.as_slice().get(usize::from(index)).copied();
                format!("late write arrives: {}", text(late))
            }
            Move::Pods(slot) => format!("Pods of {} follow", name(slot)),
            Move::Pod(slot) => format!("one more Pod of {} is available", name(slot)),
            Move::PodFails(slot) => format!("a Pod of {} fails", name(slot)),
            Move::Endpoints(index) => {
                format!("endpoints of the {} Service follow", SERVICES[usize::from(index)])
            }
            Move::Tick => "time passes".to_owned(),
            Move::User(index) => {
                format!("the user asks: {:?}", self.bounds.toggles[usize::from(index)])
            }
            Move::Foreign(index) => {
                format!("somebody else writes: {:?}", self.bounds.foreign[usize::from(index)])
            }
            Move::Answer(slot, answer) => format!("the analysis {} gets: {answer:?}", name(slot)),
            Move::Vanish(slot) => format!("the AnalysisRun {} is deleted", name(slot)),
        }
    }

    /// Writes a course of events as a scenario file that replays it ([`super::replay`]). `prefix` is how many calm moves come
    /// before the second template, and how many after it.
    pub(super) fn scenario(
        &self,
        broken: &Broken,
        prefix: (usize, Option<usize>),
        steps: &[(State, Move)],
    ) -> String {
        let mut lines = vec![format!("# {}: {}", broken.law, broken.detail)];
        lines.push("manifests:".to_owned());
        let manifests = setup::manifests(&self.bounds);
        lines.extend(manifests.iter().map(|manifest| format!("- {manifest}")));
        lines.push("interleaving:".to_owned());
        lines.push(format!("- calm {}", prefix.0));
        if let Some(calm) = prefix.1 {
            lines.push("- update".to_owned());
            lines.push(format!("- calm {calm}"));
        }
        for (state, chosen) in steps {
            let words = self.describe(state, *chosen).replace('\n', " ");
            lines.push(format!("- {} # {words}", self.word(*chosen)));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// Returns where everything is, in a line.
    pub(super) fn summary(&self, state: &State) -> String {
        let of = |slot: usize| self.catalog.facts(state.truth.content[slot]);
        let hash = |revision| self.catalog.revisions.hash(revision);
        let rollout = of(ROLLOUT);
        let mut parts = vec![format!(
            "{:?}, step {}, current {}, stable {}",
            rollout.health,
            rollout.step,
            hash(rollout.hash),
            hash(rollout.stable)
        )];
        for set in super::catalog::REPLICA_SETS.map(of).filter(|set| set.hash != 0) {
            parts.push(format!("{} has {} of {}", hash(set.hash), set.available, set.desired));
        }
        if self.limits.is_routed {
            let facets = super::laws::Facets::truth(&self.catalog, state);
            let (canary, stable) = facets.roles();
            parts.push(format!(
                "{} % to {}, {} % to {}",
                stable.weight,
                hash(stable.revision),
                canary.weight,
                hash(canary.revision)
            ));
        }
        if of(ROUTE).rules > 0 {
            parts.push(format!("{} more routes", of(ROUTE).rules));
        }
        parts.join("; ")
    }
}
