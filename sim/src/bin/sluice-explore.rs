//! Searches every order of events of every configuration, and runs the suite against seeded defects.
//!
//! `cargo xtask explore` builds and runs this.
#![expect(clippy::print_stdout, reason = "a command-line tool: its output is its purpose")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluice_sim::explore::configurations::{Configuration, table};
use sluice_sim::explore::lease::{self, LEASES, LeaseBounds};
use sluice_sim::explore::walk::walk;
use sluice_sim::explore::{Outcome, Rules, explore};
use sluice_sim::scenario::Scenario;

const USAGE: &str =
    "usage: sluice-explore [--full] [--list] [--only NAME] [--threads N] [--most STATES] [--walks FROM] [--seeds]
       sluice-explore --play SCENARIO

  --full         the deep rows too
  --list         names the rows, and searches nothing
  --only NAME    rows whose name contains NAME, deep ones too
  --threads N    by default 2
  --most STATES  stops a row there: to measure, not to check
  --walks FROM   a thousand random courses from that number on, and nothing else
  --play FILE    plays a scenario, such as a violation prints, and prints its transcript
  --seeds        runs the suite once for each seeded defect instead";

/// Random courses of one job.
const WALKS: usize = 100;

/// What the command line asks for.
struct Options {
    full: bool,
    list: bool,
    only: Option<String>,
    threads: usize,
    most: Option<usize>,
    walks: Option<usize>,
    seeds: bool,
    play: Option<String>,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            full: false,
            list: false,
            only: None,
            threads: 2,
            most: None,
            walks: None,
            seeds: false,
            play: None,
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().ok_or_else(|| format!("`{argument}` needs a value\n{USAGE}"));
            let number = |text: String| {
                text.replace('_', "").parse::<usize>().map_err(|error| format!("`{text}`: {error}"))
            };
            match argument.as_str() {
                "--full" => options.full = true,
                "--list" => options.list = true,
                "--seeds" => options.seeds = true,
                "--only" => options.only = Some(value()?),
                "--threads" => options.threads = number(value()?)?.max(1),
                "--play" => options.play = Some(value()?),
                "--walks" => options.walks = Some(number(value()?)?),
                "--most" => options.most = Some(number(value()?)?),
                _ => return Err(format!("`{argument}` is not known\n{USAGE}")),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str, is_deep: bool) -> bool {
        match &self.only {
            Some(only) => name.contains(only.as_str()),
            None => self.full || !is_deep,
        }
    }
}

/// Time that passed, and time that this thread was at work: others use the machine too.
#[derive(Clone, Copy)]
struct Clock {
    start: std::time::Instant,
    busy: Duration,
}

impl Clock {
    fn start() -> Self {
        Self { start: std::time::Instant::now(), busy: thread_time().unwrap_or_default() }
    }

    fn passed(self) -> Duration {
        self.start.elapsed()
    }

    /// Time at work since the start; time that passed where the system does not tell.
    fn busy(self) -> Duration {
        thread_time().map_or_else(|| self.passed(), |now| now.saturating_sub(self.busy))
    }
}

fn thread_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// One search.
enum Job {
    Rollout(Configuration),
    Lease(&'static LeaseBounds),
    /// Random courses from this number on.
    Walks(usize),
}

impl Job {
    fn name(&self) -> String {
        match self {
            Self::Rollout(row) => row.name.to_owned(),
            Self::Lease(row) => format!("lease: {}", row.name),
            Self::Walks(from) => format!("random courses from {from} on"),
        }
    }
}

/// What all searches have found so far.
#[derive(Default)]
struct Sum {
    states: usize,
    searches: usize,
    busy: Duration,
    failed: bool,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(file) = &options.play {
        return play(file);
    }
    if options.seeds {
        return seeds(&options);
    }
    let rows = table().into_iter().filter(|row| options.wants(row.name, row.is_deep));
    let mut jobs: Vec<Job> = rows.map(Job::Rollout).collect();
    let leases = LEASES.iter().map(Job::Lease);
    jobs.extend(leases.filter(|job| {
        let is_deep = matches!(job, Job::Lease(row) if row.is_deep);
        options.wants(&job.name(), is_deep)
    }));
    if let Some(from) = options.walks {
        jobs = (0..1000).step_by(WALKS).map(|at| Job::Walks(from + at)).collect();
    }
    if options.list {
        jobs.iter().for_each(|job| println!("{}", job.name()));
        return ExitCode::SUCCESS;
    }
    if jobs.is_empty() {
        eprintln!("no row has such a name; --list names them all");
        return ExitCode::FAILURE;
    }
    run(&options, jobs)
}

/// Plays a scenario file and prints its transcript.
fn play(file: &str) -> ExitCode {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
    let scenario = text.and_then(|text| Scenario::parse(&text).map_err(|error| error.to_string()));
    match scenario.and_then(|scenario| scenario.run().map_err(|error| error.to_string())) {
        Ok(transcript) => {
            print!("{transcript}");
            if transcript.violations() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{file}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, jobs: Vec<Job>) -> ExitCode {
    let start = Clock::start();
    let waiting = Mutex::new(jobs.into_iter());
    let sum = Mutex::new(Sum::default());
    let stop = AtomicBool::new(false);
    println!(
        "{:<44} {:>11} {:>10} {:>7} {:>6}  {:>8} {:>9}  bytes",
        "configuration", "states", "decisions", "rests", "course", "seconds", "states/s"
    );
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let job = waiting.lock().ok().and_then(|mut waiting| waiting.next());
                    let Some(job) = job else { break };
                    let begin = Clock::start();
                    let (states, failed) = search(options, &job, begin);
                    if failed {
                        stop.store(true, Ordering::Relaxed);
                    }
                    if let Ok(mut sum) = sum.lock() {
                        sum.states += states;
                        sum.searches += 1;
                        sum.busy += begin.busy();
                        sum.failed |= failed;
                    }
                }
            });
        }
    });
    let Ok(sum) = sum.into_inner() else { return ExitCode::FAILURE };
    println!(
        "{} states in {} searches, {:.0} s on {} threads: {:.0} states/s on one core",
        sum.states,
        sum.searches,
        start.passed().as_secs_f64(),
        options.threads,
        rate(sum.states, sum.busy)
    );
    if sum.failed {
        return ExitCode::FAILURE;
    }
    println!("every search was complete, and no law is broken");
    ExitCode::SUCCESS
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(0.001)
}

/// Searches one row and prints its line. Returns its states and whether it failed.
fn search(options: &Options, job: &Job, begin: Clock) -> (usize, bool) {
    let outcome = match job {
        Job::Walks(from) => return walks(&job.name(), *from, begin),
        Job::Lease(row) => {
            let outcome = lease::explore(row);
            let seconds = begin.busy();
            println!(
                "{:<44} {:>11} {:>10} {:>7} {:>6}  {:>8.1} {:>9.0}",
                job.name(),
                outcome.states,
                "-",
                "-",
                "-",
                seconds.as_secs_f64(),
                rate(outcome.states, seconds)
            );
            if let Some(violation) = &outcome.violation {
                println!("{}: {violation}", job.name());
            }
            return (outcome.states, outcome.violation.is_some());
        }
        Job::Rollout(row) => {
            let mut bounds = row.bounds.clone();
            bounds.max_states = options.most.unwrap_or(bounds.max_states);
            explore(Rules::ALL, bounds)
        }
    };
    println!("{}", line(&job.name(), &outcome, begin.busy()));
    if let Some(violation) = &outcome.violation {
        let broken = &violation.broken;
        println!("{}: {}: {}", job.name(), broken.law, broken.detail);
        for event in &violation.trace {
            println!("    {}", event.chars().take(200).collect::<String>());
        }
        println!("the same as a scenario that replays:\n{}", violation.scenario);
        return (outcome.states, true);
    }
    if !outcome.complete && options.most.is_none() {
        println!("{}: not searched to its end", job.name());
        return (outcome.states, true);
    }
    (outcome.states, false)
}

/// Takes random courses and prints a line about them. Returns no states, and whether one failed.
fn walks(name: &str, from: usize, begin: Clock) -> (usize, bool) {
    let mut events = 0;
    for number in from..from + WALKS {
        let walk = walk(Rules::ALL, number as u64);
        events += walk.events;
        if let Some(violation) = walk.violation {
            let broken = violation.broken;
            println!("course {number}: {}: {}\n{}", broken.law, broken.detail, violation.scenario);
            return (0, true);
        }
    }
    let seconds = begin.busy();
    println!(
        "{name:<44} {events:>11} {:>10} {:>7} {:>6}  {:>8.1} {:>9.0}",
        "-",
        "-",
        "-",
        seconds.as_secs_f64(),
        rate(events, seconds)
    );
    // Courses meet states again and again: they do not count as states.
    (0, false)
}

fn line(name: &str, outcome: &Outcome, time: Duration) -> String {
    let states = outcome.states.max(1);
    format!(
        "{name:<44} {:>11} {:>10} {:>7} {:>6}  {:>8.1} {:>9.0}  {} + {}{}",
        outcome.states,
        outcome.decisions,
        outcome.rests,
        outcome.longest_course,
        time.as_secs_f64(),
        rate(outcome.states, time),
        outcome.state_bytes / states,
        outcome.other_bytes / states,
        if outcome.complete { "" } else { "  (incomplete)" }
    )
}

#[cfg(debug_assertions)]
fn seeds(options: &Options) -> ExitCode {
    let start = Clock::start();
    let tell = |line: &str| println!("{line}");
    let report = sluice_sim::seeds::run(options.threads, options.only.as_deref(), &tell);
    println!(
        "{} of {} seeded defects were caught, {:.0} s",
        report.caught,
        report.all,
        start.passed().as_secs_f64()
    );
    if report.caught == report.all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(debug_assertions))]
fn seeds(_: &Options) -> ExitCode {
    eprintln!("defects are seeded in development builds only");
    ExitCode::FAILURE
}
