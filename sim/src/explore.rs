//! Runs the real `decide` through every order of events, breadth first.
//!
//! A world of one Rollout (two Pods, a few steps, host-level routing), two processes that both believe to lead, each with a
//! cache that lags for each kind apart, writes that are lost, come late or whose fate is unknown, crashes, Pods that fail, a
//! user. After every event the invariants of `reliability.md` 3 are checked on the truth. The search begins at every state of
//! an undisturbed rollout, so that few further events reach far.
//!
//! Time has two values: an instant is either this moment's or longer ago than any delay; [`Move::Tick`] makes the first the
//! second. The numbers on stamps count unknown outcomes, not decisions. Routing by subsets, an analysis and other writers are
//! configurations of their own. What the model lacks: several routes, background analysis, watches that go back.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::{Value, json};
use sluice_crds::object::{Change, Kind, ObjectRef, Preconditions, Write};
use sluice_engine::fence::FenceRules;

mod catalog;
mod decide;
mod laws;
mod moves;
mod runs;
mod state;

pub use laws::Broken;

use catalog::{Catalog, ROLLOUT, WriteId};
use decide::Decider;
use moves::Move;
use state::State;

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
}

/// What a user may do, each once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Toggle {
    /// Asks for an abort.
    Abort,
    /// Retries an aborted update.
    Retry,
    /// Writes a third template.
    NewRevision,
    /// Writes the first template again.
    BackToStable,
    /// Asks for full promotion.
    PromoteFull,
}

/// What tells the two versions apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routing {
    /// Two Services.
    Hosts,
    /// Two subsets of a DestinationRule.
    Subsets,
}

/// What somebody else may write, each once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Foreign {
    /// The canary's weight; the stable destination gets the rest.
    Weight(u8),
    /// The stable Service, or both subsets, tell no revisions apart any more.
    Stable,
    /// Likewise the canary's Service.
    Canary,
}

/// What may become of an analysis, besides that it passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Answers {
    /// Answers that fail it.
    pub bad: u8,
    /// Times that the metrics server cannot be reached.
    pub unreachable: u8,
    /// Deletions of a run.
    pub vanished: u8,
}

/// How much may go wrong, and how far to search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Writes whose outcome is unknown.
    pub unknown: u8,
    /// Crashes.
    pub crashes: u8,
    /// Pods that fail.
    pub pod_failures: u8,
    /// Takeovers by the second process: 0 or 1.
    pub takeovers: u8,
    /// Whether watches and processes may stand still; only in the order of disturbances.
    pub stalls: bool,
    /// What the user may do.
    pub toggles: Vec<Toggle>,
    /// Weights of the steps.
    pub steps: Vec<u8>,
    /// What tells the versions apart.
    pub routing: Routing,
    /// With an analysis as the last step: what may become of it.
    pub answers: Option<Answers>,
    /// What somebody else may write.
    pub foreign: Vec<Foreign>,
    /// In which order to search.
    pub order: Order,
    /// States after which to stop.
    pub max_states: usize,
}

/// In which order to search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// By the number of events: everything near the undisturbed run.
    Events,
    /// By the number of disturbances: from each, things take their calm course to the end, where they must have come to a good
    /// rest. Reaches deep with few disturbances, at most this many.
    Disturbances(usize),
}

/// A broken law and how it came to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The law.
    pub broken: Broken,
    /// The events, in order.
    pub trace: Vec<String>,
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
    toggle_writes: Vec<WriteId>,
    foreign_writes: Vec<WriteId>,
    /// By fingerprint: the state before and the move that led here.
    met: HashMap<u64, (u64, Move)>,
    moves_made: u64,
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

fn write(change: Change) -> Write {
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

impl Toggle {
    fn write(self) -> Write {
        write(match self {
            Self::Abort => Change::Status { body: json!({ "abort": true }) },
            Self::Retry => Change::Status { body: json!({ "abort": false }) },
            Self::PromoteFull => Change::Status { body: json!({ "promoteFull": true }) },
            Self::NewRevision => image(3),
            Self::BackToStable => image(1),
        })
    }
}

impl Foreign {
    fn write(self, routing: Routing) -> Write {
        let hash = sluice_crds::labels::POD_TEMPLATE_HASH;
        let (kind, name, spec) = match (self, routing) {
            (Self::Weight(canary), _) => {
                let route = json!({ "name": "primary", "route": routes(routing, canary) });
                (Kind::VIRTUAL_SERVICE, "web", json!({ "http": [route] }))
            }
            (Self::Stable | Self::Canary, Routing::Subsets) => {
                (Kind::DESTINATION_RULE, "web", json!({ "subsets": subsets() }))
            }
            (Self::Stable, Routing::Hosts) => {
                (Kind::SERVICE, "web-stable", json!({ "selector": { hash: null } }))
            }
            (Self::Canary, Routing::Hosts) => {
                (Kind::SERVICE, "web-canary", json!({ "selector": { hash: null } }))
            }
        };
        Write {
            object: ObjectRef::namespaced(kind, "default", name),
            preconditions: Preconditions::default(),
            manager: "somebody".into(),
            change: Change::MergePatch { body: json!({ "spec": spec }) },
        }
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
        let foreign_writes = foreign
            .map(|foreign| catalog.intern_write(&foreign.write(bounds.routing), false))
            .collect();
        Self {
            catalog,
            decider: Decider::new(rules.fence),
            rules,
            bounds,
            toggle_writes,
            foreign_writes,
            met: HashMap::new(),
            moves_made: 0,
        }
    }

    fn initial(&mut self) -> State {
        let mut state = State::default();
        for object in manifests(&self.bounds) {
            let content = self.catalog.intern(&object);
            let slot = match object["kind"].as_str() {
                Some("Rollout") => ROLLOUT,
                Some("VirtualService") => catalog::ROUTE,
                Some("DestinationRule") => catalog::STABLE_SERVICE,
                _ if object["metadata"]["name"] == "web-stable" => catalog::STABLE_SERVICE,
                _ => catalog::CANARY_SERVICE,
            };
            state.truth[slot].content = content;
            state.truth[slot].version = 1;
        }
        moves::start(&mut state, 0);
        state
    }

    /// Runs one leader without faults: the first template, then the second. Returns the states of the second part.
    fn undisturbed(&mut self) -> Result<Vec<State>, Violation> {
        let mut state = self.initial();
        let mut updated = false;
        let mut seeds = Vec::new();
        let mut trace = Vec::new();
        for _ in 0..UNDISTURBED {
            let step = self.calm_step(&state);
            if let Some((chosen, mut next, broken)) = step {
                trace.push(self.describe(&state, chosen));
                if let Some(broken) = broken {
                    return Err(Violation { broken, trace });
                }
                self.settle(&mut next);
                if updated {
                    seeds.push(next.clone());
                }
                state = next;
            } else if updated {
                let facts = self.catalog.facts(state.truth[ROLLOUT].content);
                assert_eq!(
                    facts.stable, facts.hash,
                    "the undisturbed run ends promoted: {trace:#?}"
                );
                return Ok(seeds);
            } else {
                updated = true;
                let second = self.catalog.intern_write(&write(image(2)), false);
                let content = self.catalog.apply(state.truth[ROLLOUT].content, second);
                state.truth[ROLLOUT].content = content.expect("the user may change the template");
                state.truth[ROLLOUT].version += 1;
            }
        }
        let last = trace.split_off(trace.len().saturating_sub(40));
        panic!("the undisturbed run does not settle; its last events: {last:#?}");
    }

    fn settle(&self, state: &mut State) -> u64 {
        state.settle(|write| self.catalog.writes[write as usize].slot)
    }

    /// Makes the next move of the calm course.
    fn calm_step(&mut self, state: &State) -> Option<(Move, State, Option<Broken>)> {
        Self::calm_moves(state).into_iter().find_map(|chosen| {
            let (next, broken) = self.make(state, chosen)?;
            Some((chosen, next, broken))
        })
    }

    fn planted(&mut self, seeds: &[State]) -> Vec<(u64, State)> {
        let mut frontier = Vec::new();
        for (index, mut seed) in seeds.iter().cloned().enumerate() {
            let fingerprint = self.settle(&mut seed);
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            if self.met.insert(fingerprint, (0, Move::Seed(index))).is_none() {
                frontier.push((fingerprint, seed));
            }
        }
        frontier
    }

    /// Adds a state to the frontier if it is new; a broken law becomes a violation with its trace.
    fn meet(
        &mut self,
        from: (u64, &State),
        chosen: Move,
        (mut next, broken): (State, Option<Broken>),
        frontier: &mut Vec<(u64, State)>,
        seeds: &[State],
    ) -> Option<Violation> {
        self.moves_made += 1;
        if let Some(broken) = broken {
            let mut trace = self.trace(seeds, from.0);
            trace.push(self.describe(from.1, chosen));
            return Some(Violation { broken, trace });
        }
        let fingerprint = self.settle(&mut next);
        if let Entry::Vacant(vacant) = self.met.entry(fingerprint) {
            vacant.insert((from.0, chosen));
            frontier.push((fingerprint, next));
        }
        None
    }

    fn by_events(&mut self, seeds: &[State]) -> Outcome {
        let mut frontier = self.planted(seeds);
        let mut depth = 0;
        while !frontier.is_empty() {
            depth += 1;
            let mut next_frontier = Vec::new();
            for (from, state) in &frontier {
                for chosen in self.moves(state) {
                    let Some(step) = self.make(state, chosen) else { continue };
                    let found = self.meet((*from, state), chosen, step, &mut next_frontier, seeds);
                    if found.is_some() {
                        return self.outcome(depth, seeds.len(), false, found);
                    }
                }
                if self.met.len() >= self.bounds.max_states {
                    return self.outcome(depth, seeds.len(), false, None);
                }
            }
            frontier = next_frontier;
        }
        self.outcome(depth, seeds.len(), true, None)
    }

    fn by_disturbances(&mut self, seeds: &[State], limit: usize) -> Outcome {
        let mut level = self.planted(seeds);
        for count in 0..=limit {
            // First everything that follows by itself, so that a state is counted with its least number of disturbances.
            let mut index = 0;
            while let Some((from, state)) = level.get(index).cloned() {
                index += 1;
                if self.met.len() >= self.bounds.max_states {
                    return self.outcome(count, seeds.len(), false, None);
                }
                let found = match self.calm_step(&state) {
                    Some((chosen, next, broken)) => {
                        self.meet((from, &state), chosen, (next, broken), &mut level, seeds)
                    }
                    None => self.rested(from, &state, seeds),
                };
                if found.is_some() {
                    return self.outcome(count, seeds.len(), false, found);
                }
            }
            if count == limit {
                break;
            }
            let mut next_level = Vec::new();
            for (from, state) in &level {
                for chosen in self.disturbances(state) {
                    let Some(step) = self.make(state, chosen) else { continue };
                    let found = self.meet((*from, state), chosen, step, &mut next_level, seeds);
                    if found.is_some() {
                        return self.outcome(count + 1, seeds.len(), false, found);
                    }
                }
                if self.met.len() >= self.bounds.max_states {
                    return self.outcome(count + 1, seeds.len(), false, None);
                }
            }
            level = next_level;
        }
        self.outcome(limit, seeds.len(), true, None)
    }

    /// Judges the end of a calm course, unless somebody still stands still.
    fn rested(&mut self, at: u64, state: &State, seeds: &[State]) -> Option<Violation> {
        let halted = |leader: &state::Leader| leader.stalled || leader.held != 0;
        if state.leaders.iter().any(halted) {
            return None;
        }
        let broken = laws::rest(&self.catalog, state)?;
        Some(Violation { broken, trace: self.trace(seeds, at) })
    }

    fn outcome(
        &self,
        depth: usize,
        seeds: usize,
        complete: bool,
        violation: Option<Violation>,
    ) -> Outcome {
        Outcome {
            states: self.met.len(),
            moves: self.moves_made,
            depth,
            decisions: self.decider.sights(),
            seeds,
            complete,
            violation,
        }
    }

    /// Tells how the search came to a state, by making the moves again.
    fn trace(&mut self, seeds: &[State], end: u64) -> Vec<String> {
        let mut chosen = Vec::new();
        let mut at = end;
        while let Some((before, by)) = self.met.get(&at) {
            chosen.push(*by);
            at = *before;
        }
        let mut trace = Vec::new();
        let mut state = State::default();
        for chosen in chosen.into_iter().rev() {
            trace.push(self.describe(&state, chosen));
            match chosen {
                Move::Seed(index) => state = seeds[usize::from(index)].clone(),
                _ => {
                    let (next, _) = self.make(&state, chosen).expect("it was made before");
                    state = next;
                }
            }
            self.settle(&mut state);
        }
        trace
    }
}

fn routes(routing: Routing, canary: u8) -> Value {
    let destination = |role: &str, weight: u8| {
        let to = match routing {
            Routing::Hosts => json!({ "host": format!("web-{role}") }),
            Routing::Subsets => json!({ "host": "web", "subset": role }),
        };
        json!({ "destination": to, "weight": weight })
    };
    json!([destination("stable", 100 - canary), destination("canary", canary)])
}

fn subsets() -> Value {
    let subset = |role: &str| json!({ "name": role, "labels": { "app": "web" } });
    json!([subset("stable"), subset("canary")])
}

fn manifests(bounds: &Bounds) -> Vec<Value> {
    let weights = bounds.steps.iter().map(|weight| json!({ "setWeight": weight }));
    let steps: Vec<Value> = weights.chain(bounds.answers.map(|_| runs::step())).collect();
    let metadata = |name: &str| json!({ "name": name, "namespace": "default", "generation": 1 });
    let service = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata(name),
            "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
        })
    };
    let mut istio = json!({ "virtualService": { "name": "web", "routes": ["primary"] } });
    let mut canary = json!({ "steps": steps });
    let mut objects = match bounds.routing {
        Routing::Hosts => {
            canary["canaryService"] = json!("web-canary");
            canary["stableService"] = json!("web-stable");
            vec![service("web-stable"), service("web-canary")]
        }
        Routing::Subsets => {
            istio["destinationRule"] = json!({
                "name": "web", "canarySubsetName": "canary", "stableSubsetName": "stable",
            });
            vec![json!({
                "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
                "metadata": metadata("web"),
                "spec": { "host": "web", "subsets": subsets() },
            })]
        }
    };
    canary["trafficRouting"] = json!({ "istio": istio });
    let labels = json!({ "app": "web" });
    objects.push(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": metadata("web"),
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "web", "image": "demo:1" }] },
            },
            "strategy": { "canary": canary },
        },
    }));
    let route = json!({ "name": "primary", "route": routes(bounds.routing, 0) });
    objects.push(json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata("web"),
        "spec": { "hosts": ["web"], "http": [route] },
    }));
    objects
}
