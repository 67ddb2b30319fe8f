//! A played update as a table.

use std::fmt::Write as _;

use chrono::TimeDelta;
use sluice_crds::duration;
use sluice_sim::simulate::{Event, EventKind, Outcome, Sample, Size, Timeline, Wait};

use crate::style::{Style, Tone};
use crate::table::{Cell, Table};

/// Draws head, table and outcome.
pub(super) fn draw(timeline: &Timeline, style: Style, all: bool) -> String {
    let mut text = head(timeline, style);
    text.push('\n');
    text.push_str(&table(timeline, all).draw(style));
    text.push('\n');
    text.push_str(&outcome(timeline, style));
    text
}

/// Writes seconds as people do: `1m30s`.
pub(super) fn length(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of a simulation")]
    let milliseconds = (seconds * 1000.0).round() as i64;
    duration::print(TimeDelta::milliseconds(milliseconds))
}

/// Says what is played.
pub(super) fn summary(timeline: &Timeline) -> String {
    let count = |n: usize, word: &str| match n {
        1 => format!("1 {word}"),
        n => format!("{n} {word}s"),
    };
    let replicas = usize::try_from(timeline.replicas).unwrap_or(usize::MAX);
    let mut parts = vec![
        match timeline.strategy {
            "blueGreen" => "blue-green".to_owned(),
            other => other.to_owned(),
        },
        count(replicas, "replica"),
    ];
    if !timeline.steps.is_empty() {
        parts.push(count(timeline.steps.len(), "step"));
    }
    match &timeline.routed_by {
        Some(router) => parts.push(format!("routed by {router}")),
        None => parts.push("without a router".to_owned()),
    }
    parts.join(", ")
}

fn arrow(style: Style) -> &'static str {
    if style.ascii { "->" } else { "→" }
}

fn head(timeline: &Timeline, style: Style) -> String {
    let mut text = format!(
        "Rollout {}/{}: {}\nUpdate   {} {} {}\n",
        timeline.namespace,
        timeline.name,
        summary(timeline),
        timeline.before,
        arrow(style),
        timeline.after
    );
    for (index, line) in timeline.assumed.iter().enumerate() {
        let title = if index == 0 { "Assumed" } else { "" };
        let _ = writeln!(text, "{title:<7}  {line}");
    }
    text
}

fn table(timeline: &Timeline, all: bool) -> Table {
    let mut table = Table::new(vec!["TIME", "WEIGHT", "NEW", "OLD", "WHAT HAPPENS"]);
    let mut rows = Rows { table: &mut table, last_time: None, last_state: None };
    let mut step = None;
    for (index, sample) in timeline.samples.iter().enumerate() {
        let shown = |event: &&Event| event.sample == index && (all || is_shown(event));
        let events: Vec<&Event> = timeline.events.iter().filter(shown).collect();
        // A state holds until the next one; what happened with it stands before it, the rest after it.
        let split = events.partition_point(|event| event.at_seconds <= sample.at_seconds);
        let (with, after) = events.split_at(split);
        for event in with {
            rows.add(event.at_seconds, None, words(event, timeline));
        }
        let begins = sample.step.filter(|_| sample.step != step && sample.phase != "Degraded");
        step = sample.step;
        let total = timeline.steps.len();
        let begun = begins.and_then(|n| Some((n, timeline.steps.get(usize::try_from(n).ok()?)?)));
        match begun {
            Some((number, known)) => {
                let text = format!("step {} of {total}: {}", number + 1, known.text);
                rows.add(sample.at_seconds, Some(sample), text.into());
            }
            None if with.is_empty() => rows.add(sample.at_seconds, Some(sample), "".into()),
            None => rows.complete(sample),
        }
        for event in after {
            rows.add(event.at_seconds, None, words(event, timeline));
        }
    }
    table
}

struct Rows<'a> {
    table: &'a mut Table,
    last_time: Option<String>,
    last_state: Option<[String; 3]>,
}

impl Rows<'_> {
    fn add(&mut self, at: f64, sample: Option<&Sample>, what: Cell) {
        let time = length(at);
        let shown =
            if self.last_time.as_ref() == Some(&time) { String::new() } else { time.clone() };
        let state = sample.map(state);
        // A state without an event, and no other than before, says nothing.
        if what == Cell::from("")
            && state.is_none_or(|state| self.last_state.as_ref() == Some(&state))
        {
            return;
        }
        self.last_time = Some(time);
        self.table.row(vec![shown.into(), "".into(), "".into(), "".into(), what]);
        if let Some(sample) = sample {
            self.complete(sample);
        }
    }

    /// Puts the state into the last row, if it is another one than before.
    fn complete(&mut self, sample: &Sample) {
        let state = state(sample);
        if self.last_state.as_ref() != Some(&state) {
            let [weight, new, old] = state.clone();
            self.table.complete(&[(1, weight), (2, new), (3, old)]);
            self.last_state = Some(state);
        }
    }
}

fn state(sample: &Sample) -> [String; 3] {
    let size = |size: Size| format!("{}/{}", size.available, size.wanted);
    [format!("{} %", sample.weight), size(sample.new), size(sample.old)]
}

/// What only keeps books, and what the steps' own lines say, is left out.
fn is_shown(event: &Event) -> bool {
    match event.kind {
        EventKind::Upkeep => false,
        EventKind::Event => {
            let said = ["Rollout step ", "Rollout is paused ("];
            !said.iter().any(|beginning| event.text.starts_with(beginning))
        }
        EventKind::User
        | EventKind::Action
        | EventKind::Warning
        | EventKind::Measurement
        | EventKind::Violation => true,
    }
}

fn words(event: &Event, timeline: &Timeline) -> Cell {
    let text = match event.kind {
        EventKind::User if event.text.starts_with("a Pod ") => event.text.clone(),
        EventKind::User => format!("somebody {}", event.text),
        EventKind::Action
        | EventKind::Upkeep
        | EventKind::Event
        | EventKind::Warning
        | EventKind::Measurement
        | EventKind::Violation => event.text.clone(),
    };
    // Pods and routes of one Rollout need no more than their kind.
    let text = text.replace(&format!(" Rollout {}", timeline.name), " the Rollout");
    match event.kind {
        EventKind::Warning | EventKind::Violation => Cell::toned(text, Tone::Bad),
        EventKind::Measurement if text.ends_with(": Successful") => Cell::toned(text, Tone::Good),
        EventKind::Measurement => Cell::toned(text, Tone::Bad),
        EventKind::Upkeep => Cell::toned(text, Tone::Quiet),
        EventKind::User => Cell::toned(text, Tone::Waiting),
        EventKind::Action | EventKind::Event => text.into(),
    }
}

/// Leaves out of the reason for an abort what the line says already.
pub(super) fn bare(why: &str) -> &str {
    let why = why.strip_prefix("RolloutAborted: ").unwrap_or(why);
    let (said, cause) = why.split_once(": ").unwrap_or(("", why));
    if said.starts_with("Rollout aborted update to revision ") { cause } else { why }
}

fn outcome(timeline: &Timeline, style: Style) -> String {
    let glyph = |fancy: &'static str, plain: &'static str| if style.ascii { plain } else { fancy };
    let (good, bad, waits) = (glyph("✔", "+"), glyph("✖", "x"), glyph("॥", "="));
    let name = &timeline.name;
    let (tone, mark, words, list, hint): (_, _, _, &[Wait], _) = match &timeline.outcome {
        Outcome::Promoted { at_seconds } => {
            (Tone::Good, good, format!("promoted after {}", length(*at_seconds)), &[], None)
        }
        Outcome::Aborted { at_seconds, why } => (
            Tone::Bad,
            bad,
            format!("aborted after {}: {}", length(*at_seconds), bare(why)),
            &[],
            None,
        ),
        Outcome::Paused { at_seconds, why } => (
            Tone::Waiting,
            waits,
            format!("paused for ever since {}: {why}", length(*at_seconds)),
            &[],
            Some(format!("`kubectl sluice promote {name}` goes on; simulate it with --promote")),
        ),
        Outcome::Stuck { why, waits } => (Tone::Bad, bad, format!("stuck: {why}"), waits, None),
        Outcome::Invalid { problems } => {
            let words = "invalid: nothing of the Rollout is touched".to_owned();
            (Tone::Bad, bad, words, problems, None)
        }
        Outcome::NotInstalled { why, waits } => {
            let words = format!("the former version did not become healthy: {why}");
            (Tone::Bad, bad, words, waits, None)
        }
        Outcome::Unfinished { why, waits } => {
            let words = format!("not finished after {}: {why}", length(timeline.end_seconds));
            (Tone::Waiting, glyph("◌", "o"), words, waits, None)
        }
        Outcome::Violation { why } => {
            (Tone::Bad, bad, format!("a bug of Sluice: {why}"), &[], None)
        }
    };
    let mut text = format!("{}\n", style.paint(tone, format!("{mark} {words}")));
    for wait in list {
        let _ = writeln!(text, "  {}", wait.what);
        if let Some(hint) = &wait.hint {
            let _ = writeln!(text, "    hint: {hint}");
        }
    }
    if let Some(hint) = hint {
        let _ = writeln!(text, "  hint: {hint}");
    }
    if let (Outcome::Aborted { .. }, Some(last)) = (&timeline.outcome, timeline.samples.last()) {
        let _ = writeln!(text, "  the new version answers {} % of requests", last.weight);
    }
    text
}
