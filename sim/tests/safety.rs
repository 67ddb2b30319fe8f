//! The explorer over the real `decide` (`reliability.md` 4.2, 4.3).

use sluice_engine::fence::FenceRules;
use sluice_sim::explore::{
    Answers, Bounds, Foreign, Order, Outcome, Routing, Rules, Toggle, explore,
};

fn bounds(order: Order, max_states: usize) -> Bounds {
    Bounds {
        unknown: 1,
        crashes: 1,
        pod_failures: 1,
        takeovers: 1,
        toggles: vec![Toggle::Abort, Toggle::Retry, Toggle::NewRevision, Toggle::BackToStable],
        stalls: true,
        steps: vec![50],
        routing: Routing::Hosts,
        answers: None,
        foreign: Vec::new(),
        order,
        max_states,
    }
}

fn report(name: &str, outcome: &Outcome) {
    eprintln!(
        "{name}: {} states, {} moves, depth {}, {} decisions, {} seeds, complete: {}",
        outcome.states,
        outcome.moves,
        outcome.depth,
        outcome.decisions,
        outcome.seeds,
        outcome.complete
    );
}

/// Fails with the trace if a law is broken.
fn holds(name: &str, outcome: &Outcome) {
    report(name, outcome);
    if let Some(violation) = &outcome.violation {
        panic!(
            "{name}: {}: {}\n{}",
            violation.broken.law,
            violation.broken.detail,
            violation.trace.join("\n")
        );
    }
}

#[test]
fn every_law_holds_in_a_million_states_near_the_undisturbed_run() {
    let outcome = explore(Rules::ALL, bounds(Order::Events, 1_000_000));
    holds("events", &outcome);
    assert!(outcome.states >= 1_000_000, "{} states", outcome.states);
}

#[test]
fn every_law_holds_after_a_few_disturbances_and_all_comes_to_a_good_rest() {
    let outcome = explore(Rules::ALL, bounds(Order::Disturbances(3), 250_000));
    holds("disturbances", &outcome);
    assert!(outcome.depth >= 2, "two disturbances were searched whole: {}", outcome.depth);
}

/// A configuration beside the main one: calmer, so that what is special about it is met in many states.
fn special(max_states: usize) -> Bounds {
    let toggles = vec![Toggle::Abort, Toggle::Retry, Toggle::NewRevision];
    Bounds { stalls: false, toggles, ..bounds(Order::Disturbances(3), max_states) }
}

#[test]
fn every_law_holds_where_subsets_tell_the_versions_apart() {
    let bounds = Bounds { routing: Routing::Subsets, ..special(50_000) };
    let outcome = explore(Rules::ALL, bounds);
    holds("subsets", &outcome);
    assert!(outcome.depth >= 2, "two disturbances: {}", outcome.depth);
}

#[test]
fn every_law_holds_while_an_analysis_passes_fails_hangs_or_vanishes() {
    let answers = Some(Answers { bad: 1, unreachable: 1, vanished: 1 });
    let toggles = vec![Toggle::Abort, Toggle::Retry];
    let outcome = explore(Rules::ALL, Bounds { answers, toggles, ..special(80_000) });
    holds("analysis", &outcome);
    assert!(outcome.depth >= 2, "two disturbances: {}", outcome.depth);
}

#[test]
fn every_law_holds_while_somebody_else_writes_what_is_ours() {
    let foreign = vec![Foreign::Weight(0), Foreign::Weight(100), Foreign::Stable, Foreign::Canary];
    for routing in [Routing::Hosts, Routing::Subsets] {
        let outcome =
            explore(Rules::ALL, Bounds { foreign: foreign.clone(), routing, ..special(30_000) });
        holds("other writers", &outcome);
        assert!(outcome.depth >= 2, "two disturbances: {}", outcome.depth);
    }
}

#[test]
fn every_law_holds_where_a_canary_needs_more_than_one_pod() {
    let bounds = Bounds { pod_failures: 2, steps: vec![100, 50], ..special(50_000) };
    let outcome = explore(Rules::ALL, bounds);
    holds("lost Pods", &outcome);
    assert!(outcome.depth >= 2, "two disturbances: {}", outcome.depth);
}

/// Expects the search to break a law once a rule is off, and the same search to break none with all rules on.
fn breaks(name: &str, rules: Rules, bounds: Bounds) {
    let outcome = explore(rules, bounds.clone());
    report(name, &outcome);
    let violation = outcome.violation.expect("the rule is needed");
    eprintln!("{name}: {}: {}", violation.broken.law, violation.broken.detail);
    for line in &violation.trace {
        eprintln!("    {}", line.chars().take(160).collect::<String>());
    }
    let control = Bounds { max_states: outcome.states + 10_000, ..bounds };
    holds(name, &explore(Rules::ALL, control));
}

fn fence(change: impl FnOnce(&mut FenceRules)) -> Rules {
    let mut rules = Rules::ALL;
    change(&mut rules.fence);
    rules
}

/// One thing at a time, so that the search is short.
fn narrow(toggle: Toggle) -> Bounds {
    Bounds {
        unknown: 0,
        crashes: 0,
        pod_failures: 0,
        takeovers: 0,
        stalls: false,
        toggles: vec![toggle],
        ..bounds(Order::Disturbances(4), 400_000)
    }
}

/// The second step takes weight and then Pods away; who promotes fully meanwhile needs those Pods again and writes nothing to
/// their ReplicaSet: a late write that takes them away is refused only if somebody touched it.
fn back_and_forth() -> Bounds {
    Bounds { steps: vec![100, 50], ..narrow(Toggle::PromoteFull) }
}

#[test]
fn without_preconditions_a_late_write_breaks_a_law() {
    let rules = fence(|rules| rules.preconditions = false);
    breaks("preconditions", rules, Bounds { unknown: 1, ..narrow(Toggle::Abort) });
}

#[test]
fn without_epochs_a_former_leader_breaks_a_law() {
    let rules = fence(|rules| rules.epoch = false);
    breaks("epoch", rules, Bounds { crashes: 1, ..back_and_forth() });
}

#[test]
fn without_refusal_a_former_leader_breaks_a_law() {
    let rules = fence(|rules| rules.refuse_newer = false);
    breaks("refusal", rules, Bounds { takeovers: 1, stalls: true, ..narrow(Toggle::Abort) });
}

#[test]
fn without_renewal_after_an_unknown_outcome_a_law_breaks() {
    let rules = fence(|rules| rules.renew_after_unknown = false);
    breaks("renewal", rules, Bounds { unknown: 1, ..back_and_forth() });
}

#[test]
fn without_reading_its_own_writes_a_leader_breaks_a_law() {
    let rules = Rules { read_your_writes: false, ..Rules::ALL };
    breaks("read your writes", rules, Bounds { stalls: true, ..narrow(Toggle::BackToStable) });
}
