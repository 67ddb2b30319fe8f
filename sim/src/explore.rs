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
    /// Ends the present pause.
    Resume,
    /// Sets `spec.paused`.
    Pause,
    /// Takes `spec.paused` back.
    Unpause,
    /// Sets `spec.replicas`.
    Replicas(u8),
}

/// A step of the strategy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// `setWeight`.
    Weight(u8),
    /// `pause` of 30 seconds.
    Wait,
    /// `pause` without end.
    Pause,
    /// `setCanaryScale` with `replicas`.
    Scale(u8),
    /// `setCanaryScale` with `weight`.
    ScaleShare(u8),
    /// `setCanaryScale` with `matchTrafficWeight`.
    FollowWeight,
    /// `analysis` with one measurement.
    Analysis,
    /// `experiment` with one version of one Pod.
    Experiment,
    /// `setHeaderRoute`.
    Header,
    /// `setHeaderRoute` that takes the route away.
    NoHeader,
    /// `setMirrorRoute`.
    Mirror,
}

/// What tells the two versions apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routing {
    /// Two Services.
    Hosts,
    /// Two Services that swap roles at each promotion: `pingPong`.
    PingPong,
    /// Two subsets of a DestinationRule.
    Subsets,
    /// Nothing but the number of Pods: `maxSurge`, `maxUnavailable`.
    Basic(u8, u8),
    /// One Service that is switched, of another strategy: `blueGreen`.
    BlueGreen(BlueGreen),
}

impl Routing {
    /// Whether users reach a version by what is written, not by the number of its Pods.
    fn is_routed(self) -> bool {
        !matches!(self, Self::Basic(..))
    }
}

/// A blue-green strategy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlueGreen {
    /// Whether there is a preview Service.
    pub preview: bool,
    /// What comes before the switch.
    pub pause: Promotion,
    /// Whether an analysis judges before the switch.
    pub before: bool,
    /// Whether an analysis judges after the switch.
    pub after: bool,
    /// `previewReplicaCount`.
    pub preview_replicas: Option<u8>,
    /// Whether the former version goes at once: `scaleDownDelaySeconds` of 0.
    pub hurries: bool,
}

/// How users get to the new version of a blue-green strategy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Promotion {
    /// At once.
    #[default]
    Auto,
    /// After 30 seconds: `autoPromotionSeconds`.
    Wait,
    /// When a person says so: `autoPromotionEnabled` of false.
    Person,
}

/// Which routes of the VirtualService are managed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// One HTTP route.
    #[default]
    Http,
    /// One TCP route.
    Tcp,
    /// One HTTP route, one TLS route.
    HttpAndTls,
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
    /// `spec.replicas` of the ReplicaSet that was there first.
    Size(u8),
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

/// The rollout, how much may go wrong, and how far to search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// `spec.replicas`.
    pub replicas: u8,
    /// The strategy's steps.
    pub steps: Vec<Step>,
    /// What tells the versions apart.
    pub routing: Routing,
    /// Which routes are managed.
    pub protocol: Protocol,
    /// `dynamicStableScale`.
    pub dynamic: bool,
    /// Whether an analysis runs beside the steps.
    pub background: bool,
    /// Writes whose outcome is unknown.
    pub unknown: u8,
    /// Writes that arrive twice.
    pub duplicates: u8,
    /// Crashes.
    pub crashes: u8,
    /// Pods that fail.
    pub pod_failures: u8,
    /// Whether Pods become available one by one, too.
    pub one_by_one: bool,
    /// Takeovers by the second process: 0 or 1.
    pub takeovers: u8,
    /// Whether watches and processes may stand still; only in the order of disturbances.
    pub stalls: bool,
    /// What the user may do.
    pub toggles: Vec<Toggle>,
    /// What may become of analyses.
    pub answers: Answers,
    /// What somebody else may write.
    pub foreign: Vec<Foreign>,
    /// In which order to search.
    pub order: Order,
    /// States after which to stop.
    pub max_states: usize,
}

impl Default for Bounds {
    /// Two Pods, one step, two Services, and nothing goes wrong.
    fn default() -> Self {
        Self {
            replicas: 2,
            steps: vec![Step::Weight(50)],
            routing: Routing::Hosts,
            protocol: Protocol::Http,
            dynamic: false,
            background: false,
            unknown: 0,
            duplicates: 0,
            crashes: 0,
            pod_failures: 0,
            one_by_one: false,
            takeovers: 0,
            stalls: false,
            toggles: Vec::new(),
            answers: Answers::default(),
            foreign: Vec::new(),
            order: Order::Events,
            max_states: 100_000_000,
        }
    }
}

impl Bounds {
    fn is_judged(&self) -> bool {
        let beside_a_switch = match self.routing {
            Routing::BlueGreen(of) => of.before || of.after,
            Routing::Hosts | Routing::PingPong | Routing::Subsets | Routing::Basic(..) => false,
        };
        let by_step = |step: &Step| matches!(step, Step::Analysis | Step::Experiment);
        self.background || beside_a_switch || self.steps.iter().any(by_step)
    }

    fn limits(&self) -> Limits {
        let asked = self.toggles.iter().filter_map(|toggle| match toggle {
            Toggle::Replicas(replicas) => Some(u32::from(*replicas)),
            _ => None,
        });
        let n = u32::from(self.replicas);
        let (surge, unavailable) = match self.routing {
            Routing::Basic(surge, unavailable) => (u32::from(surge), u32::from(unavailable)),
            Routing::Hosts | Routing::PingPong | Routing::Subsets | Routing::BlueGreen(_) => (0, 0),
        };
        Limits {
            is_routed: self.routing.is_routed(),
            surge,
            unavailable,
            least: asked.clone().chain([n]).min().unwrap_or(n),
            most: asked.chain([n]).max().unwrap_or(n),
        }
    }
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
        let foreign_writes = foreign
            .map(|foreign| catalog.intern_write(&foreign.write(&bounds), false))
            .collect();
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
