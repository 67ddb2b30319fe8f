//! The tree of a Rollout: revisions, and inside each its ReplicaSets with Pods and its AnalysisRuns.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use sluice_crds::analysis::{AnalysisPhase, AnalysisRun};
use sluice_crds::labels;
use sluice_crds::rollout::Rollout;

use crate::arguments::Dialect;
use crate::phase;
use crate::style::{Style, Tone};

mod pod;

/// Everything that the tree shows.
pub(crate) struct Family {
    pub(crate) rollout: Rollout,
    pub(crate) replica_sets: Vec<ReplicaSet>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) runs: Vec<AnalysisRun>,
}

/// One line of the table.
struct Row {
    name: String,
    kind: &'static str,
    state: (String, Tone),
    age: String,
    info: String,
}

/// Draws header and table.
pub(crate) fn draw(family: &Family, dialect: Dialect, style: Style, now: DateTime<Utc>) -> String {
    let mut text = header(family, dialect, style);
    text.push('\n');
    text.push_str(&table(&rows(family, style, now), style));
    text
}

fn line(text: &mut String, key: &str, value: &str) {
    text.push_str(&format!("{key:<17}{value}\n"));
}

fn header(family: &Family, dialect: Dialect, style: Style) -> String {
    let rollout = &family.rollout;
    let shown = phase::of(rollout);
    let (state, tone) = style.state(&shown.phase);
    let mut text = String::new();
    line(&mut text, "Name:", &rollout.name_any());
    line(&mut text, "Namespace:", &rollout.namespace().unwrap_or_default());
    line(&mut text, "Status:", &style.paint(tone, state));
    if !shown.message.is_empty() {
        line(&mut text, "Message:", &shown.message);
    }
    let canary = rollout.spec.strategy.canary.as_deref();
    line(&mut text, "Strategy:", if canary.is_some() { "Canary" } else { "BlueGreen" });
    if let Some(canary) = canary {
        let weights = weights(family);
        if let Some(steps) = canary.steps.as_ref().filter(|s| !s.is_empty()) {
            let index = rollout.status.as_ref().and_then(|s| s.current_step_index).unwrap_or(0);
            line(&mut text, "  Step:", &format!("{index}/{}", steps.len()));
        }
        line(&mut text, "  SetWeight:", &weights.set.to_string());
        line(&mut text, "  ActualWeight:", &weights.actual.to_string());
    }
    for (i, image) in images(family).iter().enumerate() {
        line(&mut text, if i == 0 { "Images:" } else { "" }, image);
    }
    let status = rollout.status.clone().unwrap_or_default();
    text.push_str("Replicas:\n");
    for (key, value) in [
        ("  Desired:", rollout.spec.replicas.or(Some(1))),
        ("  Current:", status.replicas),
        ("  Updated:", status.updated_replicas),
        ("  Ready:", status.ready_replicas),
        ("  Available:", status.available_replicas),
    ] {
        line(&mut text, key, &value.unwrap_or(0).to_string());
    }
    if dialect == Dialect::Sluice {
        let waiting = status.sluice.and_then(|s| s.waiting).unwrap_or_default();
        for (i, wait) in waiting.iter().enumerate() {
            line(&mut text, if i == 0 { "Waits for:" } else { "" }, wait);
        }
    }
    text
}

/// Weight that the steps want, and weight that is in force.
pub(crate) struct Weights {
    pub(crate) set: i32,
    pub(crate) actual: i32,
}

/// Returns the weights as Argo's plugin computes them (`spec-rollouts` 10.1).
fn weights(family: &Family) -> Weights {
    let status = family.rollout.status.clone().unwrap_or_default();
    let set = set_weight(&family.rollout);
    let canary = family.rollout.spec.strategy.canary.as_deref();
    let routed = canary.is_some_and(|c| c.traffic_routing.is_some());
    let done = status.stable_rs.is_some() && status.stable_rs == status.current_pod_hash;
    let actual = if done {
        100
    } else if routed {
        status.canary.and_then(|c| c.weights).map_or(set, |w| w.canary.weight)
    } else {
        let current = status.current_pod_hash.as_deref();
        let available: i32 = family
            .replica_sets
            .iter()
            .filter(|rs| current.is_some() && hash(rs.labels()) == current)
            .filter_map(|rs| rs.status.as_ref().and_then(|s| s.available_replicas))
            .sum();
        available * 100 / status.available_replicas.unwrap_or(0).max(1)
    };
    Weights { set, actual }
}

/// Returns the nearest `setWeight` at or before the current step: 0 when aborted, 100 past the last step.
pub(crate) fn set_weight(rollout: &Rollout) -> i32 {
    let status = rollout.status.clone().unwrap_or_default();
    let steps = rollout.spec.strategy.canary.as_ref().and_then(|c| c.steps.clone());
    let steps = steps.unwrap_or_default();
    let index = usize::try_from(status.current_step_index.unwrap_or(0)).unwrap_or(0);
    if status.abort == Some(true) {
        return 0;
    }
    if steps.is_empty() || index >= steps.len() {
        return 100;
    }
    steps[..=index].iter().rev().find_map(|s| s.set_weight).unwrap_or(0)
}

fn hash(labels: &BTreeMap<String, String>) -> Option<&str> {
    labels.get(labels::POD_TEMPLATE_HASH).map(String::as_str)
}

/// Which role a hash plays.
fn role(rollout: &Rollout, hash: Option<&str>) -> Option<&'static str> {
    let status = rollout.status.as_ref()?;
    let hash = hash?;
    if status.stable_rs.as_deref() == Some(hash) {
        return Some("stable");
    }
    let is_current = status.current_pod_hash.as_deref() == Some(hash);
    (is_current && rollout.spec.strategy.canary.is_some()).then_some("canary")
}

fn images(family: &Family) -> BTreeSet<String> {
    let mut by_image: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for rs in &family.replica_sets {
        let spec = rs.spec.as_ref();
        if spec.and_then(|s| s.replicas).unwrap_or(0) == 0 {
            continue;
        }
        let pod = spec.and_then(|s| s.template.as_ref()).and_then(|t| t.spec.as_ref());
        for container in pod.into_iter().flat_map(|p| &p.containers) {
            let roles = by_image.entry(container.image.clone().unwrap_or_default()).or_default();
            roles.extend(role(&family.rollout, hash(rs.labels())));
        }
    }
    by_image
        .into_iter()
        .map(|(image, roles)| {
            if roles.is_empty() {
                return image;
            }
            let roles: Vec<_> = roles.into_iter().collect();
            format!("{image} ({})", roles.join(", "))
        })
        .collect()
}

fn revision(annotations: &BTreeMap<String, String>) -> i64 {
    annotations.get(labels::REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

fn rows(family: &Family, style: Style, now: DateTime<Utc>) -> Vec<Row> {
    let glyph = |drawn: &'static str, plain: &'static str| if style.ascii { plain } else { drawn };
    let age = |at: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
        at.map_or_else(String::new, |at| age(now, at))
    };
    let rollout = &family.rollout;
    let mut rows = vec![Row {
        name: format!("{} {}", glyph("⟳", "@"), rollout.name_any()),
        kind: "Rollout",
        state: style.state(&phase::of(rollout).phase),
        age: age(rollout.metadata.creation_timestamp.as_ref()),
        info: String::new(),
    }];
    let revisions: BTreeSet<i64> = family
        .replica_sets
        .iter()
        .map(|rs| revision(rs.annotations()))
        .chain(family.runs.iter().map(|run| revision(run.annotations())))
        .collect();
    let count = revisions.len();
    for (i, number) in revisions.into_iter().rev().enumerate() {
        let branch = Branch::root(style).child(i + 1 == count);
        rows.push(Row {
            name: format!("{}{} revision:{number}", branch.head, glyph("#", "#")),
            kind: "",
            state: (String::new(), Tone::Quiet),
            age: String::new(),
            info: String::new(),
        });
        rows.extend(members(family, number, &branch, style, now));
    }
    rows
}

fn members(
    family: &Family,
    number: i64,
    branch: &Branch,
    style: Style,
    now: DateTime<Utc>,
) -> Vec<Row> {
    let sets: Vec<_> =
        family.replica_sets.iter().filter(|rs| revision(rs.annotations()) == number).collect();
    let runs: Vec<_> =
        family.runs.iter().filter(|run| revision(run.annotations()) == number).collect();
    let count = sets.len() + runs.len();
    let mut rows = Vec::new();
    for (i, rs) in sets.iter().enumerate() {
        rows.extend(replica_set(family, rs, &branch.child(i + 1 == count), style, now));
    }
    for (i, run) in runs.iter().enumerate() {
        let inner = branch.child(sets.len() + i + 1 == count);
        rows.push(analysis_run(run, &inner, style, now));
    }
    rows
}

fn replica_set(
    family: &Family,
    rs: &ReplicaSet,
    branch: &Branch,
    style: Style,
    now: DateTime<Utc>,
) -> Vec<Row> {
    let wanted = rs.spec.as_ref().and_then(|s| s.replicas).unwrap_or(0);
    let status = rs.status.clone().unwrap_or_default();
    let failed = status
        .conditions
        .iter()
        .flatten()
        .any(|c| c.type_ == "ReplicaFailure" && c.status == "True");
    let state = match (wanted, failed) {
        (_, true) => "ReplicaFailure",
        (0, _) => "ScaledDown",
        (wanted, _) if status.available_replicas.unwrap_or(0) >= wanted => "Healthy",
        (_, _) => "Progressing",
    };
    let mut info: Vec<String> = Vec::new();
    info.extend(role(&family.rollout, hash(rs.labels())).map(str::to_owned));
    if let Some(deadline) = rs.annotations().get(labels::SCALE_DOWN_DEADLINE)
        && let Ok(deadline) = deadline.parse::<DateTime<Utc>>()
        && wanted > 0
    {
        let left = deadline - now;
        info.push(if left.num_seconds() > 0 {
            format!("delay:{}", span(left.num_seconds()))
        } else {
            "delay:passed".into()
        });
    }
    let mut rows = vec![Row {
        name: format!("{}{} {}", branch.head, if style.ascii { "*" } else { "⧉" }, rs.name_any()),
        kind: "ReplicaSet",
        state: style.state(state),
        age: rs.metadata.creation_timestamp.as_ref().map_or_else(String::new, |at| age(now, at)),
        info: info.join(","),
    }];
    let uid = rs.uid().unwrap_or_default();
    let pods: Vec<_> = family
        .pods
        .iter()
        .filter(|p| p.owner_references().iter().any(|owner| owner.uid == uid))
        .collect();
    for (i, pod) in pods.iter().enumerate() {
        let inner = branch.child(i + 1 == pods.len());
        let at = pod.metadata.creation_timestamp.as_ref();
        rows.push(Row {
            name: format!(
                "{}{} {}",
                inner.head,
                if style.ascii { "o" } else { "□" },
                pod.name_any()
            ),
            kind: "Pod",
            state: style.state(&pod::state(pod)),
            age: at.map_or_else(String::new, |at| age(now, at)),
            info: pod::info(pod),
        });
    }
    rows
}

fn analysis_run(run: &AnalysisRun, branch: &Branch, style: Style, now: DateTime<Utc>) -> Row {
    let status = run.status.clone().unwrap_or_default();
    let results = status.metric_results.unwrap_or_default();
    let sum = |count: fn(&sluice_crds::analysis::MetricResult) -> Option<i32>| -> i32 {
        results.iter().filter_map(count).sum()
    };
    let counts = [
        ("✔", "+", sum(|r| r.successful)),
        ("✖", "x", sum(|r| r.failed)),
        ("?", "?", sum(|r| r.inconclusive)),
        ("⚠", "!", sum(|r| r.error)),
    ];
    let info: Vec<String> = counts
        .iter()
        .filter(|(_, _, count)| *count > 0)
        .map(|(glyph, plain, count)| format!("{} {count}", if style.ascii { plain } else { glyph }))
        .collect();
    let phase = status.phase.unwrap_or(AnalysisPhase::Pending);
    Row {
        name: format!("{}{} {}", branch.head, if style.ascii { "a" } else { "α" }, run.name_any()),
        kind: "AnalysisRun",
        state: style.run_state(phase.as_str()),
        age: run.metadata.creation_timestamp.as_ref().map_or_else(String::new, |at| age(now, at)),
        info: info.join(","),
    }
}

/// Where in the tree a line stands.
struct Branch {
    head: String,
    tail: String,
    ascii: bool,
}

impl Branch {
    fn root(style: Style) -> Self {
        Self { head: String::new(), tail: String::new(), ascii: style.ascii }
    }

    fn child(&self, last: bool) -> Self {
        let (head, tail) = match (self.ascii, last) {
            (false, false) => ("├──", "│  "),
            (false, true) => ("└──", "   "),
            (true, false) => ("|--", "|  "),
            (true, true) => ("`--", "   "),
        };
        Self {
            head: format!("{}{head}", self.tail),
            tail: format!("{}{tail}", self.tail),
            ascii: self.ascii,
        }
    }
}

/// Lays the rows out in columns; widths count characters, not bytes or colour codes.
fn table(rows: &[Row], style: Style) -> String {
    let width = |text: &str| text.chars().count();
    let name = rows.iter().map(|r| width(&r.name)).max().unwrap_or(0).max(4);
    let kind = rows.iter().map(|r| width(r.kind)).max().unwrap_or(0).max(4);
    let state = rows.iter().map(|r| width(&r.state.0)).max().unwrap_or(0).max(6);
    let age = rows.iter().map(|r| width(&r.age)).max().unwrap_or(0).max(3);
    let mut text = format!(
        "{:<name$}  {:<kind$}  {:<state$}  {:<age$}  INFO\n",
        "NAME", "KIND", "STATUS", "AGE"
    );
    for row in rows {
        let padding = " ".repeat(state - width(&row.state.0));
        let painted = style.paint(row.state.1, &row.state.0);
        let line = format!(
            "{:<name$}  {:<kind$}  {painted}{padding}  {:<age$}  {}",
            row.name, row.kind, row.age, row.info
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns how long ago the instant was, in kubectl's short form.
pub(crate) fn age(
    now: DateTime<Utc>,
    at: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
) -> String {
    span(now.timestamp() - at.0.as_second())
}

/// Returns a span in kubectl's short form: `52s`, `4m10s`, `3h`, `3d`.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 && seconds % 60 > 0 {
        format!("{minutes}m{}s", seconds % 60)
    } else if hours < 3 {
        format!("{minutes}m")
    } else if hours < 48 {
        format!("{hours}h")
    } else {
        format!("{days}d")
    }
}

#[cfg(test)]
mod tests;
