//! The explorer over the real `decide` (`reliability.md` 4.2, 4.3): each part of the fence is needed, and what is found can be
//! played again. The table of configurations is run by `cargo xtask explore`.

use sluice_engine::fence::FenceRules;
use sluice_sim::explore::{Bounds, Order, Outcome, Routing, Rules, Step, Toggle, explore, replay};
use sluice_sim::scenario::Scenario;

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
            "{name}: {}: {}\n{}\n{}",
            violation.broken.law,
            violation.broken.detail,
            violation.trace.join("\n"),
            violation.scenario
        );
    }
}

#[test]
fn every_law_holds_near_the_undisturbed_run_and_all_of_it_is_searched() {
    let bounds = Bounds { crashes: 1, toggles: vec![Toggle::Abort], ..Bounds::default() };
    let outcome = explore(Rules::ALL, bounds);
    holds("events", &outcome);
    assert!(outcome.complete && outcome.rests > 0 && outcome.longest_course > 20, "{outcome:?}");
    assert!(outcome.state_bytes / outcome.states <= 200, "{outcome:?}");
}

#[test]
fn every_law_holds_after_a_few_disturbances_and_all_comes_to_a_good_rest() {
    let toggles = vec![Toggle::Abort, Toggle::Retry, Toggle::NewRevision, Toggle::BackToStable];
    let bounds = Bounds {
        unknown: 1,
        crashes: 1,
        pod_failures: 1,
        takeovers: 1,
        stalls: true,
        toggles,
        routing: Routing::Subsets,
        order: Order::Disturbances(3),
        max_states: 100_000,
        ..Bounds::default()
    };
    let outcome = explore(Rules::ALL, bounds);
    holds("disturbances", &outcome);
    assert!(outcome.depth >= 2, "two disturbances were searched whole: {}", outcome.depth);
}

/// Expects the search to break a law once a rule is off, and the same search to break none with all rules on. What is found is
/// a scenario that breaks the same law when it is played, and none with all rules on.
fn breaks(name: &str, rules: Rules, bounds: Bounds) {
    let outcome = explore(rules, bounds.clone());
    report(name, &outcome);
    let violation = outcome.violation.expect("the rule is needed");
    eprintln!("{name}: {}: {}", violation.broken.law, violation.broken.detail);
    for line in &violation.trace {
        eprintln!("    {}", line.chars().take(160).collect::<String>());
    }
    let scenario = Scenario::parse(&violation.scenario).expect("it is a scenario");
    let events = scenario.interleaving.as_deref().unwrap_or_default();
    let again = replay::run_with(rules, &scenario.manifests, events).expect("it can be played");
    assert_eq!(again.broken.map(|broken| broken.law), Some(violation.broken.law), "{name}");
    let control = Bounds { max_states: outcome.states + 5_000, ..bounds };
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
        toggles: vec![toggle],
        order: Order::Disturbances(4),
        max_states: 400_000,
        ..Bounds::default()
    }
}

/// The second step takes weight and then Pods away; who promotes fully meanwhile needs those Pods again and writes nothing to
/// their ReplicaSet: a late write that takes them away is refused only if somebody touched it.
fn back_and_forth() -> Bounds {
    Bounds { steps: vec![Step::Weight(100), Step::Weight(50)], ..narrow(Toggle::PromoteFull) }
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
