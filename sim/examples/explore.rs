//! A longer search than the tests make: `cargo run --release -p sluice-sim --example explore DISTURBANCES STATES STEP… [subsets]
//! [analysis] [foreign]`, with 0 disturbances for a search by events. Prints to standard error; ends with 1 if a law is broken.

use std::process::ExitCode;

use sluice_sim::explore::{Answers, Bounds, Foreign, Order, Routing, Rules, Toggle, explore};

fn main() -> ExitCode {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let [disturbances, max_states, steps @ ..] = &numbers[..] else {
        eprintln!("usage: explore DISTURBANCES STATES STEP… [subsets] [analysis] [foreign]");
        return ExitCode::from(2);
    };
    let has = |word: &str| std::env::args().any(|argument| argument == word);
    let all = [
        Toggle::Abort,
        Toggle::Retry,
        Toggle::PromoteFull,
        Toggle::NewRevision,
        Toggle::BackToStable,
    ];
    let foreign = [Foreign::Weight(0), Foreign::Weight(100), Foreign::Stable, Foreign::Canary];
    let order = if *disturbances == 0 { Order::Events } else { Order::Disturbances(*disturbances) };
    let outcome = explore(
        Rules::ALL,
        Bounds {
            unknown: 2,
            crashes: 1,
            pod_failures: 2,
            takeovers: 1,
            stalls: true,
            // With an analysis there is room for the runs of one revision.
            toggles: if has("analysis") { all[..3].to_vec() } else { all.to_vec() },
            routing: if has("subsets") { Routing::Subsets } else { Routing::Hosts },
            answers: has("analysis").then_some(Answers { bad: 1, unreachable: 1, vanished: 1 }),
            foreign: foreign.into_iter().filter(|_| has("foreign")).collect(),
            steps: steps.iter().filter_map(|step| u8::try_from(*step).ok()).collect(),
            order,
            max_states: *max_states,
        },
    );
    eprintln!(
        "{} states, {} moves, depth {}, {} decisions, complete: {}",
        outcome.states, outcome.moves, outcome.depth, outcome.decisions, outcome.complete
    );
    let Some(violation) = outcome.violation else { return ExitCode::SUCCESS };
    eprintln!("{}: {}", violation.broken.law, violation.broken.detail);
    violation.trace.iter().for_each(|line| eprintln!("    {line}"));
    ExitCode::FAILURE
}
