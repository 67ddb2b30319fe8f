//! Scenario files with an `interleaving`: courses of events that no single controller and no clock could give.
//!
//! The explorer prints one for each violation that it finds; here it is played again, on the same model with every rule on.
//!
//! ```yaml
//! manifests: […]          # a Rollout, its Services or DestinationRule, its VirtualService
//! interleaving:
//! - calm 57               # so many events as they come when nothing disturbs
//! - update                # the user writes a second template
//! - calm 12
//! - B leads
//! - A gives up
//! - late 0                # the write that A gave up on arrives
//! - user Abort
//! ```

use serde_json::Value;

use super::laws;
use super::moves::Move;
use super::state::State;
use super::{
    Answers, BlueGreen, Bounds, Broken, Explorer, Foreign, Protocol, Routing, Rules, Step, Toggle,
};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Each event, and where everything ended.
    pub lines: Vec<String>,
    /// The law that was broken by the last event, or by the rest at the end.
    pub broken: Option<Broken>,
}

/// Plays the events.
///
/// # Errors
/// An event that the file names is not possible where it stands.
pub fn run(manifests: &[Value], interleaving: &[String]) -> Result<Replay, String> {
    run_with(Rules::ALL, manifests, interleaving)
}

/// Plays the events with some rules off, or with a defect.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    rules: Rules,
    manifests: &[Value],
    interleaving: &[String],
) -> Result<Replay, String> {
    let mut explorer = Explorer::new(rules, bounds(manifests, interleaving));
    let mut state = explorer.initial(manifests);
    let mut lines = Vec::new();
    for (index, word) in interleaving.iter().enumerate() {
        let broken = if let Some(count) = word.strip_prefix("calm ") {
            let count = count.parse::<usize>().map_err(|error| format!("`{word}`: {error}"))?;
            lines.push(word.clone());
            explorer.calm_course(&mut state, count)
        } else if word == "update" {
            lines.push(word.clone());
            explorer.update(&mut state);
            None
        } else {
            let chosen = explorer.named(&state, word);
            let chosen = chosen.ok_or_else(|| {
                format!(
                    "event {index}: `{word}` is not possible here: {}",
                    explorer.summary(&state)
                )
            })?;
            lines.push(explorer.describe(&state, chosen));
            let broken = explorer.make(&mut state, chosen);
            broken.ok_or_else(|| format!("event {index}: `{word}` changes nothing"))?
        };
        state.settle(&mut Vec::new());
        if broken.is_some() {
            return Ok(Replay { lines, broken });
        }
    }
    lines.push(explorer.summary(&state));
    let at_rest = explorer.calm_step(&mut state.clone()).is_none();
    let broken =
        if at_rest { laws::rest(&explorer.catalog, &state, &explorer.limits) } else { None };
    Ok(Replay { lines, broken })
}

impl Explorer {
    /// Makes so many moves of the calm course, or fewer if it ends.
    fn calm_course(&mut self, state: &mut State, count: usize) -> Option<Broken> {
        (0..count).find_map(|_| self.calm_step(state)?.1)
    }

    /// Finds the move of that name among those of the state.
    fn named(&self, state: &State, word: &str) -> Option<Move> {
        let mut moves = Vec::new();
        self.calm_moves(state, &mut moves);
        self.faults(state, &mut moves);
        self.halts(state, &mut moves);
        moves.into_iter().find(|chosen| self.may(state, *chosen) && self.word(*chosen) == word)
    }
}

/// Reads off the manifests and events what the model must have room for; nothing is limited.
fn bounds(manifests: &[Value], interleaving: &[String]) -> Bounds {
    let of_kind = |kind: &str| manifests.iter().find(|manifest| manifest["kind"] == kind);
    let number = |value: &Value| value.as_u64().and_then(|n| u8::try_from(n).ok());
    let spec = of_kind("Rollout").map_or(&Value::Null, |rollout| &rollout["spec"]);
    let canary = &spec["strategy"]["canary"];
    let blue_green = &spec["strategy"]["blueGreen"];
    let routing = if !blue_green.is_null() {
        let judged = |key: &str| !blue_green[key].is_null();
        Routing::BlueGreen(BlueGreen {
            before: judged("prePromotionAnalysis"),
            after: judged("postPromotionAnalysis"),
            ..BlueGreen::default()
        })
    } else if canary["trafficRouting"].is_null() {
        let bound = |key: &str| number(&canary[key]).unwrap_or(0);
        Routing::Basic(bound("maxSurge"), bound("maxUnavailable"))
    } else if of_kind("DestinationRule").is_some() {
        Routing::Subsets
    } else {
        Routing::Hosts
    };
    let steps = canary["steps"].as_array().into_iter().flatten();
    let is_judged = |step: &&Value| !step["analysis"].is_null() || !step["experiment"].is_null();
    let judged = steps.filter(is_judged).map(|_| Step::Analysis);
    let used = |word: String| interleaving.contains(&word);
    let most = 15;
    Bounds {
        replicas: number(&spec["replicas"]).unwrap_or(1),
        steps: judged.collect(),
        routing,
        protocol: protocol(of_kind("VirtualService").unwrap_or(&Value::Null)),
        background: !canary["analysis"].is_null(),
        unknown: most,
        duplicates: most,
        crashes: most,
        pod_failures: most,
        one_by_one: true,
        takeovers: 1,
        stalls: true,
        toggles: toggles().filter(|toggle| used(format!("user {toggle:?}"))).collect(),
        answers: Answers { bad: most, unreachable: most, vanished: most },
        foreign: foreign().filter(|foreign| used(format!("others {foreign:?}"))).collect(),
        ..Bounds::default()
    }
}

fn protocol(route: &Value) -> Protocol {
    match (&route["spec"]["tcp"], &route["spec"]["tls"]) {
        (Value::Null, Value::Null) => Protocol::Http,
        (Value::Null, _) => Protocol::HttpAndTls,
        _ => Protocol::Tcp,
    }
}

fn toggles() -> impl Iterator<Item = Toggle> {
    let named = [
        Toggle::Abort,
        Toggle::Retry,
        Toggle::NewRevision,
        Toggle::BackToStable,
        Toggle::PromoteFull,
        Toggle::Resume,
        Toggle::Pause,
        Toggle::Unpause,
    ];
    named.into_iter().chain((0..=100).map(Toggle::Replicas))
}

fn foreign() -> impl Iterator<Item = Foreign> {
    let named = [Foreign::Stable, Foreign::Canary].into_iter();
    named.chain((0..=100).flat_map(|n| [Foreign::Weight(n), Foreign::Size(n)]))
}
