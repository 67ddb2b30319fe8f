//! Runs the real `decide` through every order of events, breadth first.
//!
//! A world of one Rollout (one to three Pods, a few steps), two processes that both believe to lead, each with a cache that
//! lags for each kind apart, writes that are lost, come late or twice or whose fate is unknown, crashes, Pods that fail, a
//! user, others. After every event the invariants of `reliability.md` 3 are checked on the truth; from every state the calm
//! course, in which nothing disturbs any more, must end well. The search begins at every state of an undisturbed rollout, so
//! that few further events reach far.
//!
//! Time has two values: an instant is either this moment's or longer ago than any delay; [`Move::Tick`] makes the first the
//! second. The numbers on stamps count unknown outcomes, not decisions. What the model lacks: several routes, watches that go
//! back.
//!
//! [`configurations`] is the table of what is searched; `sluice-explore` runs it.

use serde_json::{Value, json};
use sluice_crds::object::{Change, Kind, ObjectRef, Preconditions, Write};
use sluice_engine::config::EngineConfig;
use sluice_engine::fence::FenceRules;

mod bounds;
mod catalog;
pub mod configurations;
mod decide;
mod facts;
mod laws;
pub mod lease;
mod moves;
pub mod replay;
mod runs;
mod search;
mod setup;
mod state;
mod table;
pub mod walk;
mod words;

pub use bounds::{
    Answers, BlueGreen, Bounds, Foreign, Order, Promotion, Protocol, Routing, Step, Toggle,
};
pub use laws::Broken;

use catalog::{Catalog, ROLLOUT, WriteId};
use decide::Decider;
use laws::Limits;
use moves::Move;
use state::State;
use table::Table;

/// Which rules of safety are on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Preconditions, epochs, refusal, renewal after an unknown outcome.
    pub fence: FenceRules,
    /// Whether a key is decided again only when its own writes are visible.
    pub read_your_writes: bool,
}

impl Rules {
    /// Everything on.
    pub const ALL: Self = Self { fence: FenceRules::ALL, read_your_writes: true };

    fn config(self) -> EngineConfig {
        EngineConfig { fence: self.fence, ..EngineConfig::default() }
    }
}

/// A broken law and how it came to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The law.
    pub broken: Broken,
    /// The events, in order, in words.
    pub trace: Vec<String>,
    /// The same as a scenario that replays it: see [`replay`].
    pub scenario: String,
}

/// The result of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Different states met.
    pub states: usize,
    /// Moves made.
    pub moves: u64,
    /// Events, or disturbances, after the undisturbed run, of the states met last.
    pub depth: usize,
    /// Different sights on which the engine decided.
    pub decisions: usize,
    /// States of the undisturbed run.
    pub seeds: usize,
    /// States in which nothing happens any more by itself; each was judged.
    pub rests: usize,
    /// Events of the longest calm course to a rest, over all states.
    pub longest_course: u32,
    /// Most memory that states took at any time: the table and those not searched yet.
    pub state_bytes: usize,
    /// Memory of contents, writes and decisions.
    pub other_bytes: usize,
    /// Whether every state within the bounds was met.
    pub complete: bool,
    /// The first violation.
    pub violation: Option<Violation>,
}

struct Explorer {
    catalog: Catalog,
    decider: Decider,
    rules: Rules,
    bounds: Bounds,
    limits: Limits,
    toggle_writes: Vec<WriteId>,
    foreign_writes: Vec<WriteId>,
    table: Table,
    moves_made: u64,
    rests: usize,
    state_bytes: usize,
    /// Moves of the undisturbed run before the second template.
    first_part: usize,
}

/// Searches until the bounds are reached or a law is broken.
///
/// # Panics
/// If the undisturbed run does not promote the second template.
pub fn explore(rules: Rules, bounds: Bounds) -> Outcome {
    let mut explorer = Explorer::new(rules, bounds);
    match explorer.undisturbed() {
        Ok(seeds) => match explorer.bounds.order {
            Order::Events => explorer.by_events(&seeds),
            Order::Disturbances(limit) => explorer.by_disturbances(&seeds, limit),
        },
        Err(violation) => explorer.outcome(0, 0, false, Some(violation)),
    }
}

fn rollout() -> ObjectRef {
    ObjectRef::namespaced(Kind::ROLLOUT, "default", "web")
}

fn users_write(change: Change) -> Write {
    Write {
        object: rollout(),
        preconditions: Preconditions::default(),
        manager: "user".into(),
        change,
    }
}

fn image(version: u8) -> Change {
    let containers = json!([{ "name": "web", "image": format!("demo:{version}") }]);
    Change::MergePatch {
        body: json!({ "spec": { "template": { "spec": { "containers": containers } } } }),
    }
}

/// Moves of the undisturbed run after which it counts as not settling.
const UNDISTURBED: usize = 5000;

impl Explorer {
    fn new(rules: Rules, bounds: Bounds) -> Self {
        let mut catalog = Catalog::new();
        let toggles = bounds.toggles.iter();
        let toggle_writes =
            toggles.map(|toggle| catalog.intern_write(&toggle.write(), false)).collect();
        let foreign = bounds.foreign.iter();
        let foreign_writes =
            foreign.map(|foreign| catalog.intern_write(&foreign.write(&bounds), false)).collect();
        Self {
            catalog,
            decider: Decider::new(rules.config()),
            rules,
            limits: bounds.limits(),
            bounds,
            toggle_writes,
            foreign_writes,
            table: Table::default(),
            moves_made: 0,
            rests: 0,
            state_bytes: 0,
            first_part: 0,
        }
    }

    fn initial(&mut self, manifests: &[Value]) -> State {
        let mut state = State { counted: self.bounds.replicas, ..State::default() };
        for object in manifests {
            let content = self.catalog.intern(object);
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let slot = match object["kind"].as_str() {
                Some("Rollout") => ROLLOUT,
                Some("VirtualService") => catalog::ROUTE,
                Some("DestinationRule") => catalog::STABLE_SERVICE,
                _ if name == "web-stable" => catalog::STABLE_SERVICE,
                _ => catalog::CANARY_SERVICE,
            };
            state.truth.put(slot, content);
        }
        moves::start(&mut state, 0);
        state
    }

    /// The user writes the second template.
    fn update(&mut self, state: &mut State) {
        let second = self.catalog.intern_write(&users_write(image(2)), false);
        let done = self.others_write(state, ROLLOUT, second);
        assert!(done.is_some(), "the user may change the template");
    }

    /// Makes the next move of the calm course, on the state itself. Returns it with the law that it broke; `None` at rest.
    fn calm_step(&mut self, state: &mut State) -> Option<(Move, Option<Broken>)> {
        let mut moves = Vec::with_capacity(32);
        self.calm_moves(state, &mut moves);
        for chosen in moves {
            if !self.may(state, chosen) {
                continue;
            }
            let mut next = *state;
            if let Some(broken) = self.make(&mut next, chosen) {
                next.settle(&mut Vec::with_capacity(256));
                *state = next;
                return Some((chosen, broken));
            }
        }
        None
    }

    /// Runs one leader without faults: the first template, then the second. Returns the states of the second part.
    fn undisturbed(&mut self) -> Result<Vec<State>, Violation> {
        let mut state = self.initial(&setup::manifests(&self.bounds));
        let mut updated = false;
        let mut seeds = Vec::new();
        let mut trace = Vec::new();
        for count in 0..UNDISTURBED {
            let before = state;
            if let Some((chosen, broken)) = self.calm_step(&mut state) {
                trace.push(self.describe(&before, chosen));
                if let Some(broken) = broken {
                    let prefix = if updated {
                        (self.first_part, Some(seeds.len() + 1))
                    } else {
                        (count + 1, None)
                    };
                    let scenario = self.scenario(&broken, prefix, &[]);
                    return Err(Violation { broken, trace, scenario });
                }
                if updated {
                    seeds.push(state);
                }
            } else if updated {
                let facts = self.catalog.facts(state.truth.content[ROLLOUT]);
                assert!(facts.stable != 0, "the first version is deployed: {:?}", self.bounds);
                if facts.stable == facts.hash {
                    return Ok(seeds);
                }
                // It waits for a person: the rest is the user's, who may end the pause.
                assert!(facts.waits_for_person, "the undisturbed run ends promoted: {trace:#?}");
                return Ok(seeds);
            } else {
                updated = true;
                self.first_part = count;
                self.update(&mut state);
            }
        }
        let last = trace.split_off(trace.len().saturating_sub(40));
        panic!("the undisturbed run does not settle; its last events: {last:#?}");
    }

    fn outcome(
        &self,
        depth: usize,
        seeds: usize,
        complete: bool,
        violation: Option<Violation>,
    ) -> Outcome {
        Outcome {
            states: self.table.len(),
            moves: self.moves_made,
            depth,
            decisions: self.decider.sights(),
            seeds,
            rests: self.rests,
            longest_course: self.table.longest_course().unwrap_or(0),
            state_bytes: self.state_bytes.max(self.table.bytes()),
            other_bytes: self.catalog.bytes() + self.decider.bytes(),
            complete,
            violation,
        }
    }
}
