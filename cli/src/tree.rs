//! The tree of a Rollout: revisions, and inside each its ReplicaSets with Pods and its AnalysisRuns.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use sluice_crds::analysis::{AnalysisPhase, AnalysisRun, MetricResult};
use sluice_crds::labels;
use sluice_crds::rollout::Rollout;

use crate::arguments::Dialect;
use crate::git::Owner;
use crate::phase;
use crate::span::{age, span};
use crate::style::Style;
use crate::table::{Cell, Table};

mod header;
mod pod;

pub(crate) use header::set_weight;

/// Everything that the tree shows.
pub(crate) struct Family {
    pub(crate) rollout: Rollout,
    pub(crate) replica_sets: Vec<ReplicaSet>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) runs: Vec<AnalysisRun>,
    /// Who applies the Rollout from Git.
    pub(crate) owner: Option<Owner>,
}

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawing {
    pub(crate) dialect: Dialect,
    pub(crate) style: Style,
    /// With images and messages.
    pub(crate) is_wide: bool,
}

/// Draws header and table.
pub(crate) fn draw(family: &Family, drawing: Drawing, now: DateTime<Utc>) -> String {
    let mut text = header::draw(family, drawing, now);
    text.push('\n');
    let tree = Tree { family, drawing, now };
    let mut table = tree.table();
    let is_fixed = drawing.dialect == Dialect::Argo || drawing.is_wide;
    if !is_fixed && table.width() > NARROW {
        // The glyph before a name says the kind, too.
        table.remove("KIND");
    }
    text.push_str(&table.draw(drawing.style));
    text
}

/// Characters that a line may have without being asked for more.
const NARROW: usize = 80;

fn hash(labels: &BTreeMap<String, String>) -> Option<&str> {
    labels.get(labels::POD_TEMPLATE_HASH).map(String::as_str)
}

fn revision(annotations: &BTreeMap<String, String>) -> i64 {
    annotations.get(labels::REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// Which roles a hash plays, as Argo's plugin names them.
fn roles(rollout: &Rollout, hash: Option<&str>) -> Vec<&'static str> {
    let (Some(status), Some(hash)) = (&rollout.status, hash) else { return Vec::new() };
    let is = |named: Option<&str>| named == Some(hash);
    let mut roles = Vec::new();
    if is(status.stable_rs.as_deref()) {
        roles.push("stable");
    } else if is(status.current_pod_hash.as_deref()) && rollout.spec.strategy.canary.is_some() {
        roles.push("canary");
    }
    if let Some(own) =
        status.blue_green.as_ref().filter(|_| rollout.spec.strategy.blue_green.is_some())
    {
        if is(own.active_selector.as_deref()) {
            roles.push("active");
        } else if is(own.preview_selector.as_deref()) {
            roles.push("preview");
        }
    }
    roles
}

struct Tree<'a> {
    family: &'a Family,
    drawing: Drawing,
    now: DateTime<Utc>,
}

impl Tree<'_> {
    fn table(&self) -> Table {
        let mut table = Table::new(vec!["NAME", "KIND", "STATUS", "AGE", "INFO"]);
        let Family { rollout, replica_sets, runs, .. } = self.family;
        let style = self.drawing.style;
        let (state, tone) = style.state(&phase::of(rollout).phase);
        table.row(vec![
            format!("{} {}", self.glyph("⟳", "@"), rollout.name_any()).into(),
            "Rollout".into(),
            Cell::toned(state, tone),
            age(self.now, rollout.metadata.creation_timestamp.as_ref()).into(),
            "".into(),
        ]);
        let revisions: BTreeSet<i64> = replica_sets
            .iter()
            .map(|rs| revision(rs.annotations()))
            .chain(runs.iter().map(|run| revision(run.annotations())))
            .collect();
        let count = revisions.len();
        for (i, number) in revisions.into_iter().rev().enumerate() {
            let branch = Branch::root(style).child(i + 1 == count);
            let separator = match self.drawing.dialect {
                Dialect::Argo => ":",
                Dialect::Sluice => " ",
            };
            table.row(vec![format!("{}# revision{separator}{number}", branch.head).into()]);
            self.members(number, &branch, &mut table);
        }
        table
    }

    fn glyph(&self, drawn: &'static str, plain: &'static str) -> &'static str {
        if self.drawing.style.ascii { plain } else { drawn }
    }

    fn members(&self, number: i64, branch: &Branch, table: &mut Table) {
        let sets: Vec<_> = self
            .family
            .replica_sets
            .iter()
            .filter(|rs| revision(rs.annotations()) == number)
            .collect();
        let runs: Vec<_> =
            self.family.runs.iter().filter(|run| revision(run.annotations()) == number).collect();
        let count = sets.len() + runs.len();
        for (i, rs) in sets.iter().enumerate() {
            self.replica_set(rs, &branch.child(i + 1 == count), table);
        }
        for (i, run) in runs.iter().enumerate() {
            let inner = branch.child(sets.len() + i + 1 == count);
            table.row(self.analysis_run(run, &inner));
        }
    }

    fn replica_set(&self, rs: &ReplicaSet, branch: &Branch, table: &mut Table) {
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
        let (state, tone) = self.drawing.style.state(state);
        table.row(vec![
            format!("{}{} {}", branch.head, self.glyph("⧉", "*"), rs.name_any()).into(),
            "ReplicaSet".into(),
            Cell::toned(state, tone),
            age(self.now, rs.metadata.creation_timestamp.as_ref()).into(),
            self.set_info(rs, wanted).into(),
        ]);
        let uid = rs.uid().unwrap_or_default();
        let is_of = |pod: &&Pod| pod.owner_references().iter().any(|owner| owner.uid == uid);
        let pods: Vec<_> = self.family.pods.iter().filter(is_of).collect();
        for (i, pod) in pods.iter().enumerate() {
            let inner = branch.child(i + 1 == pods.len());
            let (state, tone) = self.drawing.style.state(&pod::state(pod));
            table.row(vec![
                format!("{}{} {}", inner.head, self.glyph("□", "o"), pod.name_any()).into(),
                "Pod".into(),
                Cell::toned(state, tone),
                age(self.now, pod.metadata.creation_timestamp.as_ref()).into(),
                pod::info(pod, self.drawing).into(),
            ]);
        }
    }

    /// Role, Pods, and when it will be scaled down.
    fn set_info(&self, rs: &ReplicaSet, wanted: i32) -> String {
        let roles = roles(&self.family.rollout, hash(rs.labels()));
        let left = rs
            .annotations()
            .get(labels::SCALE_DOWN_DEADLINE)
            .and_then(|deadline| deadline.parse::<DateTime<Utc>>().ok())
            .filter(|_| wanted > 0)
            .map(|deadline| (deadline - self.now).num_seconds());
        let mut info: Vec<String> = roles.into_iter().map(str::to_owned).collect();
        match self.drawing.dialect {
            Dialect::Argo => {
                info.extend(left.map(|left| match left {
                    1.. => format!("delay:{}", span(left)),
                    _ => "delay:passed".into(),
                }));
                info.join(",")
            }
            Dialect::Sluice => {
                let ready = rs.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0);
                info.extend((wanted > 0).then(|| format!("{ready}/{wanted}")));
                info.extend(left.map(|left| match left {
                    1.. => format!("goes in {}", span(left)),
                    _ => "goes".into(),
                }));
                let template = rs.spec.as_ref().and_then(|s| s.template.as_ref());
                let containers = template.and_then(|t| t.spec.as_ref()).map(|s| &s.containers);
                let images = containers.into_iter().flatten().filter_map(|c| c.image.clone());
                info.extend(images.filter(|_| self.drawing.is_wide));
                info.join(" ")
            }
        }
    }

    fn analysis_run(&self, run: &AnalysisRun, branch: &Branch) -> Vec<Cell> {
        let status = run.status.clone().unwrap_or_default();
        let results = status.metric_results.unwrap_or_default();
        let sum = |count: fn(&MetricResult) -> Option<i32>| -> i32 {
            results.iter().filter_map(count).sum()
        };
        let counts = [
            ("✔", "+", sum(|r| r.successful)),
            ("✖", "x", sum(|r| r.failed)),
            ("?", "?", sum(|r| r.inconclusive)),
            ("⚠", "!", sum(|r| r.error)),
        ];
        let mut info: Vec<String> = counts
            .iter()
            .filter(|(_, _, count)| *count > 0)
            .map(|(drawn, plain, count)| format!("{} {count}", self.glyph(drawn, plain)))
            .collect();
        if self.drawing.dialect == Dialect::Sluice {
            let values = results.iter().filter_map(last_value);
            info.extend(values);
            info.extend(
                status.message.filter(|message| self.drawing.is_wide && !message.is_empty()),
            );
        }
        let separator = match self.drawing.dialect {
            Dialect::Argo => ",",
            Dialect::Sluice => "  ",
        };
        let phase = status.phase.unwrap_or(AnalysisPhase::Pending);
        let (state, tone) = self.drawing.style.run_state(phase.as_str());
        vec![
            format!("{}{} {}", branch.head, self.glyph("α", "a"), run.name_any()).into(),
            "AnalysisRun".into(),
            Cell::toned(state, tone),
            age(self.now, run.metadata.creation_timestamp.as_ref()).into(),
            info.join(separator).into(),
        ]
    }
}

/// Returns a metric with its last value, such as `error-rate [0.002]`.
fn last_value(result: &MetricResult) -> Option<String> {
    let value = result.measurements.as_ref()?.last()?.value.as_ref().filter(|v| !v.is_empty())?;
    let short: String = value.chars().take(24).collect();
    let tail = if short.len() < value.len() { "…" } else { "" };
    Some(format!("{} {short}{tail}", result.name))
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

#[cfg(test)]
mod tests;
