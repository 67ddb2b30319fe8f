//! A test harness for promises on the bed: one bed for each test binary, all its tests side by side.
//!
//! libtest offers no place to enter namespaces before threads exist, and none to end the bed; so
//! these binaries have `harness = false` and their `main` is [`main`]. Of libtest's arguments it
//! knows name filters, `--exact`, `--skip NAME`, `--list` and `--test-threads N`; the rest is
//! accepted and has no effect.

use std::{
    collections::BTreeSet,
    pin::Pin,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use futures::FutureExt as _;
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use crate::{
    bed::{
        Bed, Options,
        parts::{Cache, Parts},
    },
    inside::{Entered, enter},
};

/// A test under way.
pub type Run = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A promise: its name and what shows it.
#[derive(Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    pub run: fn(Arc<Bed>) -> Run,
}

/// The list of tests of a binary: `sluice_e2e::tests![a_promise, another]` for
/// `async fn a_promise(bed: Arc<Bed>) -> Result<()>`.
#[macro_export]
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        [$($crate::harness::Test {
            name: stringify!($name),
            run: |bed| Box::pin($name(bed)),
        }),+]
    };
}

/// Tests run at most so long; a promise that takes more is broken.
const LIMIT: Duration = Duration::from_secs(300);

struct Arguments {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    threads: usize,
}

/// Runs the tests chosen on the command line side by side; the exit code is 0 when all of them pass.
#[must_use]
pub fn main(tests: &[Test]) -> ExitCode {
    start(tests, Arguments::parse(std::env::args().skip(1)))
}

/// Likewise, but one after the other, in the order of the list: for tests that want the bed to themselves.
#[must_use]
pub fn in_order(tests: &[Test]) -> ExitCode {
    let arguments = Arguments::parse(std::env::args().skip(1));
    start(tests, Arguments { threads: 1, ..arguments })
}

fn start(tests: &[Test], arguments: Arguments) -> ExitCode {
    let chosen: Vec<_> = tests.iter().filter(|test| arguments.choose(test.name)).copied().collect();
    if arguments.list {
        chosen.iter().for_each(|test| say(&format!("{}: test", test.name)));
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        say(&format!("no test of {} is chosen", tests.len()));
        return ExitCode::SUCCESS;
    }
    match run(&chosen, arguments.threads) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "a test harness speaks to the terminal")]
fn say(line: &str) {
    println!("{line}");
}

fn run(chosen: &[Test], threads: usize) -> Result<ExitCode> {
    let cache = Cache::open()?;
    let inside = match enter(&cache)? {
        Entered::Inside(inside) => inside,
        Entered::Outside(code) => return Ok(code),
    };
    let parts = Parts::resolve(&cache, &say)?;
    start_logging();
    tokio::runtime::Runtime::new()?.block_on(async {
        let run = inside.run.clone();
        let bed = Bed::start(parts, inside, Options::standard()?, &say).await?;
        say(&format!("bed ready after {:.1} s", bed.took.as_secs_f64()));
        let failed = run_all(chosen, threads, Arc::new(bed)).await;
        let passed = chosen.len() - failed.len();
        say(&format!("\ntest result: {passed} passed; {} failed", failed.len()));
        if failed.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        for (name, error) in failed {
            say(&format!("\n---- {name} ----\n{error:#}"));
        }
        say(&format!("\nlogs of the bed: {}", run.display()));
        Ok(ExitCode::FAILURE)
    })
}

/// Logs of the bed's own parts go to standard error at `warn`, or as `RUST_LOG` says.
pub fn start_logging() {
    // The client's own error lines are about servers that are not ready yet.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,kube_client=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

async fn run_all(
    chosen: &[Test],
    threads: usize,
    bed: Arc<Bed>,
) -> Vec<(&'static str, anyhow::Error)> {
    let slots = Arc::new(Semaphore::new(threads));
    let mut running = JoinSet::new();
    let mut failed = Vec::new();
    for test in chosen.iter().copied() {
        let (slots, bed) = (Arc::clone(&slots), Arc::clone(&bed));
        running.spawn(async move {
            let _slot = slots.acquire().await;
            let started = Instant::now();
            // A test may assert: its panic fails that test alone.
            let guarded = std::panic::AssertUnwindSafe((test.run)(bed)).catch_unwind();
            let result = match timeout(LIMIT, guarded).await {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => Err(anyhow!("panic: {}", panic_text(panic.as_ref()))),
                Err(_) => Err(anyhow!("not done within {LIMIT:?}")),
            };
            (test.name, result, started.elapsed())
        });
        if threads == 1 {
            failed.extend(ended(&mut running).await);
        }
    }
    while !running.is_empty() {
        failed.extend(ended(&mut running).await);
    }
    failed
}

type Ended = (&'static str, Result<()>, Duration);

/// Waits for the end of a test, tells it, and returns it if it failed.
async fn ended(running: &mut JoinSet<Ended>) -> Option<(&'static str, anyhow::Error)> {
    match running.join_next().await?.context("a test's task") {
        Ok((name, Ok(()), took)) => {
            say(&format!("test {name} ... ok ({:.1} s)", took.as_secs_f64()));
            None
        }
        Ok((name, Err(error), took)) => {
            say(&format!("test {name} ... FAILED ({:.1} s)", took.as_secs_f64()));
            Some((name, error))
        }
        Err(error) => Some(("(harness)", error)),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of no text")
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut all =
            Self { filters: Vec::new(), skip: Vec::new(), exact: false, list: false, threads: 8 };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--exact" => all.exact = true,
                "--list" => all.list = true,
                "--skip" => all.skip.extend(words.next()),
                "--test-threads" => {
                    let number = words.next().and_then(|word| word.parse().ok());
                    all.threads = number.unwrap_or(all.threads).max(1);
                }
                "--color" | "--format" | "-Z" => drop(words.next()),
                _ if word.starts_with('-') => {}
                _ => all.filters.push(word),
            }
        }
        all
    }

    fn choose(&self, name: &str) -> bool {
        let hit = |pattern: &String| {
            if self.exact { name == pattern } else { name.contains(pattern.as_str()) }
        };
        let wanted: BTreeSet<_> = self.filters.iter().filter(|filter| hit(filter)).collect();
        (self.filters.is_empty() || !wanted.is_empty()) && !self.skip.iter().any(hit)
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    fn check(words: &str, chosen: &[&str]) {
        let arguments = Arguments::parse(words.split_whitespace().map(str::to_owned));
        let all = ["a_pause_holds", "a_pause_ends", "an_abort_ends"];
        let found: Vec<_> = all.into_iter().filter(|name| arguments.choose(name)).collect();
        assert_eq!(found, chosen, "with `{words}`");
    }

    #[test]
    fn filters_choose_tests_as_libtest_does() {
        check("", &["a_pause_holds", "a_pause_ends", "an_abort_ends"]);
        check("pause", &["a_pause_holds", "a_pause_ends"]);
        check("holds abort", &["a_pause_holds", "an_abort_ends"]);
        check("ends --skip pause", &["an_abort_ends"]);
        check("--exact a_pause", &[]);
        check("--nocapture --test-threads 2 --exact a_pause_ends", &["a_pause_ends"]);
    }
}
