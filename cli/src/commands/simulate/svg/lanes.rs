//! What lies above the axis: one lane for each thing that changes over time.

use std::collections::BTreeSet;

use sluice_sim::simulate::{Sample, Timeline};

use super::{
    BAD, GAP, GOOD, INK, LANE, LEFT, NEW, OLD, OLD_LINE, PODS, Picture, RIGHT, TRAFFIC, TRIAL,
    UNSURE, WAIT, WIDTH, escaped, f,
};

/// Width of a character, about.
const CHARACTER: f64 = 7.0;

impl Picture {
    pub(super) fn traffic(&mut self, timeline: &Timeline) {
        let (top, bottom) = (self.y, self.y + TRAFFIC);
        self.name(top + 12.0, "Traffic");
        let width = WIDTH - LEFT - RIGHT;
        self.line(format_args!(
            r#"<rect x="{}" y="{}" width="{}" height="{}" fill="{OLD}"/>"#,
            f(LEFT),
            f(top),
            f(width),
            f(TRAFFIC)
        ));
        if !timeline.samples.is_empty() {
            let y = |sample: &Sample| bottom - TRAFFIC * f64::from(sample.weight) / 100.0;
            let path = self.stairs(&timeline.samples, y);
            self.line(format_args!(
                r#"<path d="{path}V{}H{}Z" fill="{NEW}"/>"#,
                f(bottom),
                f(LEFT)
            ));
        }
        for percent in [0.0, 50.0, 100.0] {
            let y = bottom - TRAFFIC * percent / 100.0;
            self.label(y + 4.0, &format!("{percent} %"));
            self.rule(y);
        }
        self.y = bottom + GAP;
    }

    pub(super) fn steps(&mut self, timeline: &Timeline) {
        let total = timeline.steps.len();
        // After an abort the status begins with the first step again, but nobody is on the way.
        let step_of = |sample: &Sample| {
            let step = sample.step.filter(|_| sample.phase != "Degraded")?;
            usize::try_from(step).ok().filter(|step| *step < total)
        };
        // The first state is that of the former version, which had done all its steps.
        let spans = self.spans(timeline.samples.get(1..).unwrap_or_default(), step_of);
        let mut shown = BTreeSet::new();
        let top = self.lane("Steps");
        for (step, since, until) in spans {
            let known = &timeline.steps[step];
            let fill = if known.waits_for_person { "#fde68a" } else { "#dbeafe" };
            let number = (step + 1).to_string();
            if self.block(top, since, until, fill, &[format!("{number} {}", known.text), number]) {
                shown.insert(step);
            }
        }
        self.lacks_words = shown.len() < total;
    }

    /// Draws the phases of a Rollout without steps.
    pub(super) fn phases(&mut self, timeline: &Timeline) {
        let spans = self.spans(&timeline.samples, |sample| Some(sample.phase.as_str()));
        let top = self.lane("Phase");
        for (phase, since, until) in spans {
            let fill = match phase {
                "Healthy" => "#dcfce7",
                "Degraded" => "#fecaca",
                "Paused" => "#fde68a",
                _ => "#dbeafe",
            };
            self.block(top, since, until, fill, &[phase.to_owned()]);
        }
    }

    /// Begins a lane of blocks. Returns its upper edge.
    fn lane(&mut self, name: &str) -> f64 {
        let top = self.y - 10.0;
        self.name(top + 15.0, name);
        self.y = top + LANE + GAP - 8.0;
        top
    }

    /// Returns how long a value held, for each value that held for any time.
    fn spans<'a, T: PartialEq + Copy>(
        &self,
        samples: &'a [Sample],
        of: impl Fn(&'a Sample) -> Option<T>,
    ) -> Vec<(T, f64, f64)> {
        let mut begin: Option<(T, f64)> = None;
        let mut spans = Vec::new();
        let values = samples.iter().map(|sample| (of(sample), sample.at_seconds));
        for (value, at) in values.chain([(None, self.end)]) {
            if begin.map(|(known, _)| known) != value {
                spans.extend(begin.map(|(known, since)| (known, since, at)));
                begin = value.map(|value| (value, at));
            }
        }
        spans.retain(|(_, since, until)| until > since);
        spans
    }

    /// Draws a block with the first words that it has room for. Returns whether these were the first of all.
    fn block(&mut self, top: f64, since: f64, until: f64, fill: &str, words: &[String]) -> bool {
        let (x, width) = (self.x(since), self.x(until) - self.x(since));
        self.line(format_args!(
            r##"<rect x="{}" y="{}" width="{}" height="{LANE}" fill="{fill}" stroke="#ffffff"/>"##,
            f(x),
            f(top),
            f(width.max(1.0))
        ));
        let length =
            |text: &str| f64::from(u32::try_from(text.chars().count()).unwrap_or(u32::MAX));
        let fits = |text: &&String| CHARACTER * length(text) + 6.0 <= width;
        if let Some(shown) = words.iter().find(fits) {
            self.line(format_args!(
                r#"<text x="{}" y="{}" fill="{INK}">{}</text>"#,
                f(x + 4.0),
                f(top + 15.0),
                escaped(shown)
            ));
            return words.first() == Some(shown);
        }
        // A narrow block has its number in small.
        if let Some(last) = words.last().filter(|last| 6.0 * length(last) + 1.0 <= width) {
            self.line(format_args!(
                r#"<text x="{}" y="{}" font-size="9" text-anchor="middle" fill="{INK}">{}</text>"#,
                f(x + width / 2.0),
                f(top + 14.0),
                escaped(last)
            ));
        }
        false
    }

    /// What leads to the new version besides the weight.
    pub(super) fn routes(&mut self, timeline: &Timeline) {
        let names = timeline.samples.iter().flat_map(|sample| &sample.routes);
        let names: BTreeSet<&String> = names.collect();
        if names.is_empty() {
            return;
        }
        let is_blue_green = timeline.strategy == "blueGreen";
        self.name(self.y - 2.0, if is_blue_green { "Preview" } else { "Routes" });
        for name in names {
            let middle = self.y + LANE / 2.0;
            self.label(middle + 4.0, name);
            let is_there = |sample: &Sample| sample.routes.contains(name).then_some(());
            for ((), since, until) in self.spans(&timeline.samples, is_there) {
                let (from, to) = (self.x(since), self.x(until));
                self.line(format_args!(
                    r#"<rect x="{}" y="{}" width="{}" height="10" fill="{NEW}" fill-opacity="0.6"/>"#,
                    f(from),
                    f(middle - 5.0),
                    f((to - from).max(1.0))
                ));
            }
            self.y += LANE;
        }
        self.y += GAP - 12.0;
    }

    pub(super) fn pods(&mut self, timeline: &Timeline) {
        let (top, bottom) = (self.y, self.y + PODS);
        self.name(top + 12.0, "Pods");
        let samples = &timeline.samples;
        let sizes = samples.iter().flat_map(|sample| [sample.new, sample.old, sample.experiment]);
        let counts = sizes.flat_map(|size| [size.wanted, size.available]);
        let most = counts.chain([timeline.replicas, 1]).max().unwrap_or(1);
        let y_of = |count: u32| bottom - PODS * f64::from(count) / f64::from(most);
        for count in [0, most] {
            self.label(y_of(count) + 4.0, &count.to_string());
            self.rule(y_of(count));
        }
        if !samples.is_empty() {
            let mut lines = Vec::new();
            if has_experiment(timeline) {
                lines.push((self.stairs(samples, |s| y_of(s.experiment.wanted)), TRIAL, true));
                lines.push((self.stairs(samples, |s| y_of(s.experiment.available)), TRIAL, false));
            }
            lines.push((self.stairs(samples, |s| y_of(s.old.wanted)), OLD_LINE, true));
            lines.push((self.stairs(samples, |s| y_of(s.old.available)), OLD_LINE, false));
            lines.push((self.stairs(samples, |s| y_of(s.new.wanted)), NEW, true));
            lines.push((self.stairs(samples, |s| y_of(s.new.available)), NEW, false));
            for (path, color, is_wanted) in lines {
                let (width, dash) = if is_wanted { ("1", "4 3") } else { ("2.5", "none") };
                self.line(format_args!(
                    r#"<path d="{path}" fill="none" stroke="{color}" stroke-width="{width}" stroke-dasharray="{dash}"/>"#
                ));
            }
        }
        self.y = bottom + GAP;
    }

    pub(super) fn analysis(&mut self, timeline: &Timeline) {
        let mut names: Vec<&str> = Vec::new();
        for measurement in timeline.analysis.iter().flat_map(|run| &run.measurements) {
            if !names.contains(&measurement.metric.as_str()) {
                names.push(&measurement.metric);
            }
        }
        if names.is_empty() {
            return;
        }
        self.y -= 8.0;
        let first = self.y;
        for name in names {
            let middle = self.y + LANE / 2.0;
            self.label(middle + 4.0, name);
            let runs = timeline.analysis.iter();
            for run in runs.filter(|run| run.measurements.iter().any(|m| m.metric == name)) {
                let end = run.ended_seconds.unwrap_or(self.end);
                let (from, to) = (self.x(run.started_seconds), self.x(end));
                self.line(format_args!(
                    r##"<path d="M{} {}H{}" stroke="#94a3b8" stroke-width="2"/>"##,
                    f(from),
                    f(middle),
                    f(to)
                ));
                for measurement in run.measurements.iter().filter(|m| m.metric == name) {
                    let x = self.x(measurement.at_seconds);
                    let said = format!("{}: {}", measurement.value, measurement.phase);
                    self.dot(x, middle, &measurement.phase, &said);
                }
            }
            self.y += LANE;
        }
        self.name(first - 2.0, "Analysis");
        self.y += GAP - 12.0;
    }

    /// Phases differ in form as well as in colour.
    pub(super) fn dot(&mut self, x: f64, y: f64, phase: &str, said: &str) {
        let (x0, x1, y0, y1) = (x - 4.5, x + 4.5, y - 4.5, y + 4.5);
        let said = escaped(said);
        let form = match phase {
            "Successful" => {
                format!(r#"<circle cx="{}" cy="{}" r="4" fill="{GOOD}">"#, f(x), f(y))
            }
            "Failed" => format!(
                r#"<path d="M{} {}L{} {}M{} {}L{} {}" stroke="{BAD}" stroke-width="3">"#,
                f(x0),
                f(y0),
                f(x1),
                f(y1),
                f(x0),
                f(y1),
                f(x1),
                f(y0)
            ),
            "Inconclusive" => format!(
                r#"<rect x="{}" y="{}" width="8" height="8" fill="{UNSURE}">"#,
                f(x - 4.0),
                f(y - 4.0)
            ),
            _ => format!(
                r#"<path d="M{} {}L{} {}L{} {}Z" fill="{WAIT}">"#,
                f(x),
                f(y0),
                f(x1),
                f(y1),
                f(x0),
                f(y1)
            ),
        };
        let name = form[1..].split(' ').next().unwrap_or("path").to_owned();
        self.line(format_args!("{form}<title>{said}</title></{name}>"));
    }
}

/// Whether an Experiment of the Rollout ever had Pods.
pub(super) fn has_experiment(timeline: &Timeline) -> bool {
    timeline.samples.iter().any(|sample| !sample.experiment.is_empty())
}
