//! What happened, for people.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_crds::object::Kind;

use crate::world::World;

/// The lines of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    start: DateTime<Utc>,
    lines: Vec<String>,
    violations: usize,
    seen: BTreeMap<String, String>,
}

impl Transcript {
    pub(super) fn new(start: DateTime<Utc>) -> Self {
        Self { start, lines: Vec::new(), violations: 0, seen: BTreeMap::new() }
    }

    /// Returns the lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Returns how many decisions broke an invariant; each has a line of its own.
    pub fn violations(&self) -> usize {
        self.violations
    }

    pub(super) fn line(&mut self, now: DateTime<Utc>, text: &str) {
        let passed = (now - self.start).num_milliseconds();
        let line = format!("{:>4}.{:03}  {text}", passed / 1000, passed % 1000);
        self.lines.push(line.trim_end().to_owned());
    }

    pub(super) fn user(&mut self, now: DateTime<Utc>, text: &str) {
        self.line(now, &format!("user: {text}"));
    }

    pub(super) fn violation(&mut self, now: DateTime<Utc>, text: &str) {
        self.violations += 1;
        self.line(now, &format!("VIOLATION {text}"));
    }

    /// Adds a line if the description of the object changed.
    pub(super) fn state(&mut self, now: DateTime<Utc>, object: &str, description: &str) {
        let before = self.seen.insert(object.to_owned(), description.to_owned());
        if before.as_deref() != Some(description) {
            self.line(now, &format!("{object} is {description}"));
        }
    }

    /// Describes where everything ended up.
    pub(super) fn end(&mut self, world: &World) {
        let now = world.now();
        let text = |object: &Value, path: &str| {
            object.pointer(path).and_then(Value::as_str).unwrap_or("-").to_owned()
        };
        for set in world.api.objects(&Kind::REPLICA_SET, None) {
            let number = |path: &str| set.pointer(path).and_then(Value::as_i64).unwrap_or(0);
            let line = format!(
                "at the end: ReplicaSet {} wants {}, {} available",
                text(&set, "/metadata/name"),
                number("/spec/replicas"),
                number("/status/availableReplicas")
            );
            self.line(now, &line);
        }
        for rollout in world.api.objects(&Kind::ROLLOUT, None) {
            for field in ["activeService", "previewService"] {
                let name = text(&rollout, &format!("/spec/strategy/blueGreen/{field}"));
                let Some(service) = world.api.find("Service", &name) else { continue };
                let hash = text(&service, "/spec/selector/rollouts-pod-template-hash");
                self.line(now, &format!("at the end: Service {name} selects {hash}"));
            }
        }
        for route in world.api.objects(&Kind::VIRTUAL_SERVICE, None) {
            let sections = ["/spec/http", "/spec/tls", "/spec/tcp"];
            let http = sections.iter().filter_map(|section| route.pointer(section)?.as_array());
            for entry in http.flatten() {
                let weights = entry["route"].as_array().into_iter().flatten().map(|to| {
                    let subset = to.pointer("/destination/subset").and_then(Value::as_str);
                    let host = text(to, "/destination/host");
                    format!("{}={}", subset.unwrap_or(&host), to["weight"])
                });
                let weights: Vec<String> = weights.collect();
                let name = text(&route, "/metadata/name");
                let line = format!("at the end: VirtualService {name} sends {}", weights.join(" "));
                self.line(now, &line);
            }
        }
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
