//! Runs the suite against each seeded defect, and tells which check caught it.
//!
//! The checks, cheapest first: the table of the arithmetic; every scenario file, whose transcript must be the golden one and
//! whose decisions must pass the audit; the lease explorer; the rollout explorer on small searches.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use sluice_engine::rollout::arithmetic;
use sluice_engine::seeds::{Area, Defect, with};

use crate::explore::lease::{self, LEASES};
use crate::explore::{
    Answers, BlueGreen, Bounds, Foreign, Order, Protocol, Routing, Rules, Step, Toggle, explore,
};
use crate::scenario::Scenario;

/// What became of all defects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Defects that a check caught.
    pub caught: usize,
    /// Defects that there are.
    pub all: usize,
}

/// A scenario file and its golden transcript.
struct Golden {
    name: String,
    scenario: Scenario,
    transcript: String,
}

/// Runs the suite for each defect whose name contains `only`; `tell` hears of each as it is done.
pub fn run(threads: usize, only: Option<&str>, tell: &(dyn Fn(&str) + Sync)) -> Report {
    let wanted = |defect: &&Defect| only.is_none_or(|only| format!("{defect:?}").contains(only));
    let defects: Vec<Defect> = Defect::ALL.iter().filter(wanted).copied().collect();
    let scenarios = scenarios();
    let table = arithmetic::table();
    let (next, caught) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // Defects make decisions panic, which is a way to be caught; nobody needs to read of it.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(defect) = defects.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let by = catch(*defect, &scenarios, &table);
                    caught.fetch_add(usize::from(!by.is_empty()), Ordering::Relaxed);
                    let by = if by.is_empty() { "NOT CAUGHT".to_owned() } else { by.join("; ") };
                    tell(&format!("{:<26} {} — {by}", format!("{defect:?}"), defect.what()));
                }
            });
        }
    });
    std::panic::set_hook(hook);
    Report { caught: caught.into_inner(), all: defects.len() }
}

/// Returns the checks that catch the defect: the first of each kind, and no dear one after a cheap one. What is wrong with the
/// fence or with an order shows under faults rather than in a scenario.
fn catch(defect: Defect, scenarios: &[Golden], table: &str) -> Vec<String> {
    let mut caught = Vec::new();
    if with(defect, || quietly(arithmetic::table)).as_deref() != Some(table) {
        caught.push("unit table: the arithmetic".to_owned());
    }
    if defect.area() == Area::Lease {
        caught.extend(with(defect, by_lease));
    }
    let by_faults = matches!(defect.area(), Area::Fence | Area::Order);
    let few = if by_faults { FEW } else { 0 };
    caught.extend(with(defect, || by_search(few)));
    if caught.is_empty() {
        caught.extend(with(defect, || by_scenarios(scenarios)));
    }
    if caught.is_empty() {
        caught.extend(with(defect, || by_search(usize::MAX)));
    }
    caught
}

/// Searches in which a defect of the fence is looked for first.
const FEW: usize = 4;

fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn scenarios() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let scenario = fs::read_to_string(&path).ok().and_then(|text| Scenario::parse(&text).ok());
        let transcript = fs::read_to_string(path.with_extension("txt")).ok();
        if let (Some(scenario), Some(transcript)) = (scenario, transcript) {
            all.push(Golden { name, scenario, transcript });
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The first scenario that goes another way, and whether a decision in it breaks a law.
fn by_scenarios(scenarios: &[Golden]) -> Option<String> {
    scenarios.iter().find_map(|Golden { name, scenario, transcript: golden }| {
        let Some(Ok(transcript)) = quietly(|| scenario.run()) else {
            return Some(format!("scenario {name}: it cannot be played"));
        };
        let mut lines = transcript.lines().iter();
        match lines.find_map(|line| line.split_once("VIOLATION ")) {
            Some((_, law)) => {
                let law = law.chars().take(70).collect::<String>();
                Some(format!("audit: {law} (scenario {name})"))
            }
            None => (transcript.to_string() != *golden).then(|| format!("scenario {name}")),
        }
    })
}

fn by_lease() -> Option<String> {
    let rows = LEASES.iter().filter(|row| !row.is_deep);
    rows.into_iter().find_map(|row| {
        let outcome = quietly(|| lease::explore(row));
        match outcome.map(|outcome| outcome.violation) {
            Some(None) => None,
            Some(Some(what)) => {
                let what = what.split(" after ").next().unwrap_or_default().to_owned();
                Some(format!("lease explorer: {what} ({})", row.name))
            }
            None => Some(format!("lease explorer: panic ({})", row.name)),
        }
    })
}

fn by_search(most: usize) -> Option<String> {
    searches().into_iter().take(most).find_map(|(name, bounds)| {
        let outcome = quietly(|| explore(Rules::ALL, bounds));
        let violation = match outcome {
            Some(outcome) => outcome.violation?,
            None => return Some(format!("explorer: panic ({name})")),
        };
        let (law, events) = (violation.broken.law, violation.trace.len());
        Some(format!("explorer: {law} after {events} events ({name})"))
    })
}

/// Small searches, in which something special about each is met soon.
fn searches() -> Vec<(&'static str, Bounds)> {
    let back_and_forth = || Bounds {
        steps: vec![Step::Weight(100), Step::Weight(50)],
        ..disturbed(Toggle::PromoteFull)
    };
    let mut all = vec![
        ("abort, unknown", Bounds { unknown: 1, ..disturbed(Toggle::Abort) }),
        ("full, crash", Bounds { crashes: 1, ..back_and_forth() }),
        ("full, unknown", Bounds { unknown: 1, ..back_and_forth() }),
        ("abort, takeover", Bounds { takeovers: 1, stalls: true, ..disturbed(Toggle::Abort) }),
        ("new revision, crash", Bounds { crashes: 1, ..disturbed(Toggle::NewRevision) }),
        ("back to stable", Bounds { stalls: true, ..disturbed(Toggle::BackToStable) }),
        ("a Pod fails", Bounds { pod_failures: 2, ..disturbed(Toggle::Abort) }),
        (
            "a Pod fails, back and forth",
            Bounds { pod_failures: 2, toggles: Vec::new(), ..back_and_forth() },
        ),
        ("subsets", Bounds { routing: Routing::Subsets, crashes: 1, ..disturbed(Toggle::Abort) }),
        (
            "basic",
            Bounds {
                replicas: 3,
                routing: Routing::Basic(1, 0),
                toggles: vec![Toggle::Abort, Toggle::NewRevision],
                ..near()
            },
        ),
        ("more replicas", Bounds { toggles: vec![Toggle::Replicas(3)], ..near() }),
        (
            "others",
            Bounds {
                foreign: vec![Foreign::Stable, Foreign::Weight(100)],
                ..disturbed(Toggle::Abort)
            },
        ),
        (
            "analysis",
            Bounds {
                steps: vec![Step::Weight(50), Step::Analysis],
                answers: Answers { bad: 1, unreachable: 1, vanished: 1 },
                ..disturbed(Toggle::Retry)
            },
        ),
    ];
    all.extend(searches_of_shapes());
    all
}

fn disturbed(toggle: Toggle) -> Bounds {
    Bounds {
        toggles: vec![toggle],
        order: Order::Disturbances(3),
        max_states: 60_000,
        ..Bounds::default()
    }
}

fn near() -> Bounds {
    Bounds { max_states: 30_000, ..Bounds::default() }
}

/// Searches of the other strategies, and of what canaries may have beside weights.
fn searches_of_shapes() -> Vec<(&'static str, Bounds)> {
    let preview = BlueGreen { preview: true, ..BlueGreen::default() };
    let judged = BlueGreen { before: true, after: true, ..preview };
    vec![
        (
            "blue-green",
            Bounds {
                routing: Routing::BlueGreen(preview),
                toggles: vec![Toggle::Abort, Toggle::BackToStable],
                crashes: 1,
                ..near()
            },
        ),
        (
            "blue-green, replicas",
            Bounds {
                routing: Routing::BlueGreen(preview),
                toggles: vec![Toggle::Replicas(3), Toggle::NewRevision],
                ..near()
            },
        ),
        (
            "blue-green, judged",
            Bounds {
                routing: Routing::BlueGreen(judged),
                answers: Answers { bad: 1, unreachable: 0, vanished: 0 },
                pod_failures: 1,
                toggles: vec![Toggle::Abort],
                ..near()
            },
        ),
        (
            "dynamic",
            Bounds { dynamic: true, toggles: vec![Toggle::Abort, Toggle::PromoteFull], ..near() },
        ),
        ("dynamic, new revision", Bounds { dynamic: true, ..disturbed(Toggle::NewRevision) }),
        (
            "ping-pong",
            Bounds { routing: Routing::PingPong, crashes: 1, ..disturbed(Toggle::NewRevision) },
        ),
        (
            "header route",
            Bounds {
                steps: vec![Step::Scale(1), Step::Header, Step::FollowWeight],
                toggles: vec![Toggle::Abort, Toggle::Retry],
                ..near()
            },
        ),
        ("header and weight", Bounds { steps: vec![Step::Weight(50), Step::Header], ..near() }),
        (
            "experiment",
            Bounds {
                steps: vec![Step::Weight(50), Step::Experiment],
                answers: Answers { bad: 1, unreachable: 0, vanished: 0 },
                toggles: vec![Toggle::Abort, Toggle::Retry],
                ..near()
            },
        ),
        ("HTTP and TLS", Bounds { protocol: Protocol::HttpAndTls, ..near() }),
        (
            "everything near",
            Bounds { crashes: 1, unknown: 1, toggles: vec![Toggle::Abort], ..near() },
        ),
    ]
}
