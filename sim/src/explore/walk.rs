//! Random deep courses where the search by breadth is too wide: up to 100 Pods, 20 steps, an autoscaler, and every fault at
//! once. Each course is judged at every event, then left alone, and must come to a good rest. The same number gives the same
//! course on every machine.

use super::laws::{self, Broken};
use super::moves::Move;
use super::state::State;
use super::{
    Answers, BlueGreen, Bounds, Explorer, Foreign, Promotion, Protocol, Routing, Rules, Step,
    Toggle, Violation,
};

/// Events of a course before it is left alone.
const EVENTS: usize = 400;
/// Events of the calm course after which it counts as not settling.
const PATIENCE: usize = 4_000;

/// Numbers that look random (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(usize::MAX) % limit.max(1)
    }

    fn upto(&mut self, most: u8) -> u8 {
        u8::try_from(self.below(usize::from(most) + 1)).unwrap_or(0)
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// What a course was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The rollout and what could go wrong.
    pub bounds: Bounds,
    /// Events, the calm ones at the end included.
    pub events: usize,
    /// What went wrong.
    pub violation: Option<Violation>,
}

/// Takes the course of that number.
pub fn walk(rules: Rules, number: u64) -> Walk {
    let mut dice = Dice((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let bounds = bounds(&mut dice);
    let mut explorer = Explorer::new(rules, bounds.clone());
    let (events, violation) = match explorer.undisturbed() {
        Ok(seeds) => {
            let from = dice.below(seeds.len());
            let mut course = Course { steps: Vec::new(), seed: from, state: seeds[from] };
            let broken = explorer.stray(&mut course, &mut dice);
            let events = course.steps.len();
            (events, broken.map(|broken| explorer.told(broken, &course)))
        }
        Err(violation) => (0, Some(violation)),
    };
    Walk { bounds, events, violation }
}

struct Course {
    steps: Vec<(State, Move)>,
    seed: usize,
    state: State,
}

impl Explorer {
    /// Strays from the calm course, then follows it to its end.
    fn stray(&mut self, course: &mut Course, dice: &mut Dice) -> Option<Broken> {
        for _ in 0..EVENTS {
            let mut moves = Vec::new();
            self.calm_moves(&course.state, &mut moves);
            if dice.chance(3) {
                moves.clear();
                self.calm_moves(&course.state, &mut moves);
                self.faults(&course.state, &mut moves);
                if dice.chance(4) {
                    self.halts(&course.state, &mut moves);
                }
                for index in (1..moves.len()).rev() {
                    moves.swap(index, dice.below(index + 1));
                }
            }
            let Some(broken) = self.first_of(course, &moves) else { continue };
            if broken.is_some() {
                return broken;
            }
        }
        if let Some(broken) = self.go_on(course) {
            return Some(broken);
        }
        for _ in 0..PATIENCE {
            let mut moves = Vec::new();
            self.calm_moves(&course.state, &mut moves);
            match self.first_of(course, &moves) {
                Some(None) => {}
                Some(broken) => return broken,
                None => return laws::rest(&self.catalog, &course.state, &self.limits),
            }
        }
        let detail = format!("no rest after {PATIENCE} calm events");
        Some(Broken { law: "S21", detail })
    }

    /// Lets everybody go on who stands still.
    fn go_on(&mut self, course: &mut Course) -> Option<Broken> {
        for (l, leader) in [0_u8, 1].into_iter().zip(course.state.leaders) {
            let held = (0..8).filter(|kind| leader.held & (1 << kind) != 0);
            let mut moves: Vec<Move> = held.map(|kind| Move::Hold(l, kind)).collect();
            moves.extend(leader.stalled.then_some(Move::Stall(l)));
            for chosen in moves {
                if let Some(Some(broken)) = self.first_of(course, &[chosen]) {
                    return Some(broken);
                }
            }
        }
        None
    }

    /// Makes the first of the moves that is possible; `None` if none is.
    fn first_of(&mut self, course: &mut Course, moves: &[Move]) -> Option<Option<Broken>> {
        for chosen in moves {
            if !self.may(&course.state, *chosen) {
                continue;
            }
            let mut next = course.state;
            if let Some(broken) = self.make(&mut next, *chosen) {
                course.steps.push((course.state, *chosen));
                next.settle(&mut Vec::with_capacity(256));
                course.state = next;
                return Some(broken);
            }
        }
        None
    }

    fn told(&self, broken: Broken, course: &Course) -> Violation {
        let words = course.steps.iter().map(|(state, chosen)| self.describe(state, *chosen));
        let prefix = (self.first_part, Some(course.seed + 1));
        let scenario = self.scenario(&broken, prefix, &course.steps);
        Violation { trace: words.collect(), scenario, broken }
    }
}

fn routing(dice: &mut Dice, replicas: u8) -> Routing {
    match dice.below(8) {
        0 | 1 => Routing::Hosts,
        2 => Routing::PingPong,
        3 | 4 => Routing::Subsets,
        5 => Routing::Basic(1 + dice.upto(replicas / 2), dice.upto(replicas / 2)),
        _ => Routing::BlueGreen(BlueGreen {
            preview: dice.chance(2),
            pause: [Promotion::Auto, Promotion::Wait, Promotion::Person][dice.below(3)],
            before: dice.chance(3),
            after: dice.chance(3),
            preview_replicas: dice.chance(3).then(|| 1 + dice.upto(replicas - 1)),
            hurries: dice.chance(4),
        }),
    }
}

fn bounds(dice: &mut Dice) -> Bounds {
    let replicas = if dice.chance(2) { 1 + dice.upto(4) } else { 1 + dice.upto(99) };
    let routing = routing(dice, replicas);
    let by_steps = !matches!(routing, Routing::BlueGreen(_));
    let is_routed = routing.is_routed() && by_steps;
    let mut steps: Vec<Step> =
        (0..=dice.upto(19)).map(|_| step(dice, replicas, is_routed)).collect();
    // The model has room for a few runs: one analysis or experiment is enough.
    let mut judges = 0;
    steps.retain(|step| {
        let judged = matches!(step, Step::Analysis | Step::Experiment);
        judges += usize::from(judged);
        !judged || (judges == 1 && by_steps)
    });
    let mut toggles = vec![Toggle::Abort, Toggle::Retry, Toggle::Resume, Toggle::NewRevision];
    if dice.chance(2) {
        toggles[3] = Toggle::BackToStable;
    }
    if dice.chance(3) {
        toggles.push(Toggle::PromoteFull);
    }
    // The autoscaler.
    let scaled = if dice.chance(2) { 3 } else { 0 };
    toggles.extend((0..scaled).map(|_| Toggle::Replicas(dice.upto(100))));
    let mut foreign = Vec::new();
    if dice.chance(4) && routing.is_routed() {
        foreign = vec![Foreign::Stable, Foreign::Size(dice.upto(100))];
        if is_routed {
            foreign.extend([Foreign::Weight(dice.upto(100)), Foreign::Canary]);
        }
    }
    let protocols = [Protocol::Http, Protocol::Http, Protocol::Tcp, Protocol::HttpAndTls];
    // Routes of steps are HTTP routes.
    let leads = &|step: &Step| matches!(step, Step::Header | Step::NoHeader | Step::Mirror);
    let leads = steps.iter().any(leads);
    Bounds {
        replicas,
        steps,
        routing,
        protocol: if leads { Protocol::Http } else { protocols[dice.below(4)] },
        dynamic: is_routed && dice.chance(4),
        background: by_steps && judges == 0 && dice.chance(4),
        unknown: dice.upto(2),
        duplicates: dice.upto(1),
        crashes: dice.upto(2),
        pod_failures: if dice.chance(2) { 0 } else { dice.upto(8) },
        one_by_one: true,
        takeovers: dice.upto(1),
        stalls: true,
        toggles,
        answers: Answers { bad: dice.upto(1), unreachable: dice.upto(1), vanished: dice.upto(1) },
        foreign,
        ..Bounds::default()
    }
}

fn step(dice: &mut Dice, replicas: u8, is_routed: bool) -> Step {
    match dice.below(13) {
        2..=4 | 10..=12 if !is_routed => Step::Weight(dice.upto(100)),
        0 => Step::Wait,
        1 => Step::Pause,
        2 => Step::Scale(dice.upto(replicas)),
        3 => Step::ScaleShare(dice.upto(100)),
        4 => Step::FollowWeight,
        5 if dice.chance(2) => Step::Experiment,
        5 => Step::Analysis,
        10 => Step::Header,
        11 => Step::NoHeader,
        12 => Step::Mirror,
        _ => Step::Weight(dice.upto(100)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_law_holds_on_random_deep_courses() {
        let mut events = 0;
        for number in 0..60 {
            let walk = walk(Rules::ALL, number);
            events += walk.events;
            if let Some(violation) = walk.violation {
                let broken = violation.broken;
                panic!(
                    "course {number}: {}: {}\n{}",
                    broken.law, broken.detail, violation.scenario
                );
            }
        }
        assert!(events > 8_000, "{events} events");
    }
}
