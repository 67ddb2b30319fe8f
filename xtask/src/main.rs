//! The two commands of the README (`demo`, `test`), and what keeps the tree tidy.
//!
//! Everything that a shell script would do is here, in one language. The heavy work is in the crates: the bed and the demo
//! are binaries of `e2e`; this crate builds them and hands over.
#![expect(clippy::print_stdout, reason = "a command-line tool: its output is its purpose")]

mod bench;
mod chart;
mod command;
mod delegate;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, shows and checks Sluice")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Plays the main story: good and bad versions, from a git push to real traffic.
    Demo(delegate::Passed),
    /// Runs all tests; `.ci/run` calls exactly this.
    Test(test::Options),
    /// Says what this machine lacks, and how to get it.
    Doctor,
    /// Starts, ends and shows the bed: real control plane, istiod, Envoy, Prometheus, git.
    Bed(delegate::Passed),
    /// Measures decisions and reconciles against their limits.
    Bench,
    /// Searches every order of events of every configuration; `--full`, `--list`, `--only NAME`.
    Explore(delegate::Passed),
    /// Runs the suite once for each seeded defect, and says which check caught it.
    Seeds(delegate::Passed),
    /// Checks crate edges, purity, file sizes, documents, licences, sources and duplicate versions.
    Tidy,
    /// Writes what is generated: CRDs, docs/compatibility.md, and the chart's copies of CRDs and rights.
    Generate,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Demo(passed) => delegate::demo(&passed),
        Task::Test(options) => test::run(&options),
        Task::Doctor => delegate::bed(&["doctor".to_owned()]),
        Task::Bed(passed) => delegate::bed(&passed.arguments),
        Task::Bench => bench::run(),
        Task::Explore(passed) => delegate::explore(&[], &passed),
        Task::Seeds(passed) => delegate::explore(&["--seeds"], &passed),
        Task::Tidy => tidy::run(),
        Task::Generate => delegate::generate(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
