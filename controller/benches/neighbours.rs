//! Whether the reconcile of one Rollout gets slower with others in its namespace: run by `cargo xtask bench`. Ends with 1 if so.
#![expect(clippy::print_stdout, reason = "a benchmark: its output is its purpose")]

use std::process::ExitCode;
use std::time::Duration;

use sluice_controller::bench::Neighbourhood;

/// Other Rollouts in the namespace.
const OTHERS: usize = 2_000;
/// Greatest ratio of the times with and without them.
const RATIO: f64 = 1.2;
/// Runs in one sample, and samples.
const RUNS: u32 = 200;
const SAMPLES: usize = 41;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (alone, crowded) = (Neighbourhood::of(0), Neighbourhood::of(OTHERS));
    // Taken in turn, so that a slow moment of the machine meets both.
    let pairs = (0..SAMPLES).map(|_| (alone.reconciles(RUNS), crowded.reconciles(RUNS)));
    let (mut alone, mut crowded): (Vec<Duration>, Vec<Duration>) = pairs.unzip();
    let (alone, crowded) = (median(&mut alone), median(&mut crowded));
    let ratio = crowded.as_secs_f64() / alone.as_secs_f64();
    let is_kept = ratio <= RATIO;
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(RUNS);
    println!("{:<44} {:>9.1} µs", "observe, decide and audit, alone", micros(alone));
    println!("{:<44} {:>9.1} µs", format!("the same, with {OTHERS} others"), micros(crowded));
    println!(
        "{:<44} {ratio:>9.2}      at most {RATIO}  {}",
        "ratio",
        if is_kept { "kept" } else { "MISSED" }
    );
    if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
