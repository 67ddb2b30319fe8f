//! Metrics and logs. Metric names and labels are Argo's where Argo has the metric (`spec-rollouts.md` 9.1), else `sluice_*`.
//!
//! Counters are fed from decisions and answers. What describes objects (`rollout_info`, …) is read from the stores when it is
//! scraped, so that a series ends with its object.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Encoder, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};
use sluice_crds::object::{Kind, ObjectRef, Write};
use sluice_engine::plan::{Notice, Severity, Violation};
use sluice_engine::rollout::Ended;

use crate::config::{Config, LogFormat, Role};
use crate::execute::Outcome;
use crate::queue::Key;

pub(crate) mod objects;

/// Counters of a process.
pub(crate) struct Telemetry {
    registry: Registry,
    reconcile: HistogramVec,
    analysis_reconcile: HistogramVec,
    experiment_reconcile: HistogramVec,
    application_reconcile: HistogramVec,
    reconcile_error: IntCounterVec,
    analysis_error: IntCounterVec,
    experiment_error: IntCounterVec,
    application_error: IntCounterVec,
    events: IntCounterVec,
    requests: IntCounterVec,
    writes: IntCounterVec,
    violations: IntCounterVec,
    panics: IntCounterVec,
    measurements: CounterVec,
    dropped_events: IntCounterVec,
    durations: Durations,
}

/// How long updates took, by how they ended.
struct Durations {
    total: HistogramVec,
    progression: HistogramVec,
    paused: HistogramVec,
}

impl Durations {
    fn new(registry: &Registry) -> Self {
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let metric = HistogramVec::new(options, &["status"]).expect("name and label are valid");
            registered(registry, metric)
        };
        let hours = [30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0];
        let hour = [30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0];
        let pauses = [0.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0];
        Self {
            total: histogram("rollout_duration_seconds", "Time of updates that ended.", &hours),
            progression: histogram(
                "rollout_progression_duration_seconds",
                "Time of updates that ended, without manual pauses.",
                &hour,
            ),
            paused: histogram(
                "rollout_manual_pause_duration_seconds",
                "Time of manual pauses in updates that ended.",
                &pauses,
            ),
        }
    }
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let object = &["namespace", "name"];
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(vec![0.01, 0.15, 0.25, 0.5, 1.0]);
            let metric = HistogramVec::new(options, object).expect("name and labels are valid");
            registered(&registry, metric)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels).expect("name is valid");
            registered(&registry, metric)
        };
        let measurements = Opts::new("sluice_measurement_seconds_total", "Time in measurements.");
        let measurements =
            CounterVec::new(measurements, &["provider", "outcome"]).expect("name is valid");
        Self {
            reconcile: histogram("rollout_reconcile", "Time of a decision on a Rollout."),
            analysis_reconcile: histogram("analysis_run_reconcile", "Time of a decision on a run."),
            experiment_reconcile: histogram(
                "experiment_reconcile",
                "Time of a decision on an Experiment.",
            ),
            application_reconcile: histogram(
                "sluice_application_reconcile",
                "Time of a decision on an Application.",
            ),
            reconcile_error: counter("rollout_reconcile_error", "Rollouts held up.", object),
            analysis_error: counter("analysis_run_reconcile_error", "Runs held up.", object),
            experiment_error: counter("experiment_reconcile_error", "Experiments held up.", object),
            application_error: counter(
                "sluice_application_reconcile_error",
                "Applications held up.",
                object,
            ),
            events: counter(
                "rollout_events_total",
                "Events by type and reason.",
                &["namespace", "name", "type", "reason"],
            ),
            requests: counter(
                "controller_clientset_k8s_request_total",
                "Writes to the API server.",
                &["kind", "namespace", "name", "verb", "status_code"],
            ),
            writes: counter("sluice_writes_total", "Writes by outcome.", &["kind", "outcome"]),
            violations: counter(
                "sluice_invariant_violations_total",
                "Decisions that broke an invariant and were not executed.",
                &["id"],
            ),
            panics: counter("sluice_panics_total", "Panics caught, by role.", &["role"]),
            dropped_events: counter(
                "sluice_dropped_events_total",
                "Events that were dropped under pressure.",
                &["reason"],
            ),
            measurements: registered(&registry, measurements),
            durations: Durations::new(&registry),
            registry,
        }
    }

    /// Records an answer of the API server to a write.
    pub(crate) fn answered(&self, object: &ObjectRef, verb: &str, status: u16) {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        // Names of what a Rollout owns change with each revision: they would be series without end.
        let name = if object.kind == Kind::ROLLOUT { object.name.as_str() } else { "" };
        let labels = [&*object.kind.kind, namespace, name, verb, &status.to_string()];
        self.requests.with_label_values(&labels).inc();
    }

    pub(crate) fn wrote(&self, write: &Write, outcome: &Outcome) {
        self.writes.with_label_values(&[&*write.object.kind.kind, outcome.as_str()]).inc();
    }

    pub(crate) fn decided(&self, key: &Key, took: Duration) {
        let metric = match key.role {
            Role::Rollouts => &self.reconcile,
            Role::Analysis => &self.analysis_reconcile,
            Role::Experiments => &self.experiment_reconcile,
            Role::Applications => &self.application_reconcile,
        };
        metric.with_label_values(&[&key.namespace, &key.name]).observe(took.as_secs_f64());
    }

    pub(crate) fn held_up(&self, key: &Key) {
        let metric = match key.role {
            Role::Rollouts => &self.reconcile_error,
            Role::Analysis => &self.analysis_error,
            Role::Experiments => &self.experiment_error,
            Role::Applications => &self.application_error,
        };
        metric.with_label_values(&[&key.namespace, &key.name]).inc();
    }

    pub(crate) fn violated(&self, violation: &Violation) {
        self.violations.with_label_values(&[violation.id]).inc();
    }

    pub(crate) fn panicked(&self, role: Role) {
        self.panics.with_label_values(&[&format!("{role:?}").to_lowercase()]).inc();
    }

    pub(crate) fn noticed(&self, key: &Key, notice: &Notice) {
        let labels = [&*key.namespace, &key.name, severity(notice.severity), notice.reason];
        self.events.with_label_values(&labels).inc();
    }

    pub(crate) fn dropped(&self, reason: &str) {
        self.dropped_events.with_label_values(&[reason]).inc();
    }

    pub(crate) fn measured(&self, provider: &str, good: bool, took: Duration) {
        let outcome = if good { "value" } else { "error" };
        self.measurements.with_label_values(&[provider, outcome]).inc_by(took.as_secs_f64());
    }

    /// Records an update that ended; called once its status is written.
    pub(crate) fn ended(&self, ended: &Ended) {
        let status = [ended.status.as_str()];
        let seconds = |duration: chrono::Duration| {
            duration.to_std().map_or(0.0, |duration| duration.as_secs_f64())
        };
        let Durations { total, progression, paused } = &self.durations;
        total.with_label_values(&status).observe(seconds(ended.total));
        progression.with_label_values(&status).observe(seconds(ended.progression()));
        paused.with_label_values(&status).observe(seconds(ended.paused));
    }

    /// Drops the series of an object that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        let labels = [&*key.namespace, &key.name];
        let (time, errors) = match key.role {
            Role::Rollouts => (&self.reconcile, &self.reconcile_error),
            Role::Analysis => (&self.analysis_reconcile, &self.analysis_error),
            Role::Experiments => (&self.experiment_reconcile, &self.experiment_error),
            Role::Applications => (&self.application_reconcile, &self.application_error),
        };
        // An error says only that there is no such series.
        let _ = time.remove_label_values(&labels);
        let _ = errors.remove_label_values(&labels);
        if key.role == Role::Rollouts {
            remove_of(&self.events, key, &["namespace", "name", "type", "reason"], None);
            let names = ["kind", "namespace", "name", "verb", "status_code"];
            remove_of(&self.requests, key, &names, Some(&Kind::ROLLOUT));
        }
    }

    /// Returns the counters in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be encoded");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Removes every series of the object, and of the kind where series tell kinds apart. `names` are the labels in their order.
fn remove_of(metric: &IntCounterVec, key: &Key, names: &[&str], kind: Option<&Kind>) {
    for family in metric.collect() {
        for series in family.get_metric() {
            let value = |name: &str| {
                let mut pairs = series.get_label().iter();
                pairs.find(|pair| pair.name() == name).map_or("", |pair| pair.value())
            };
            let of_kind = kind.is_none_or(|kind| value("kind") == &*kind.kind);
            if value("namespace") == key.namespace && value("name") == key.name && of_kind {
                let values: Vec<&str> = names.iter().map(|name| value(name)).collect();
                let _ = metric.remove_label_values(&values);
            }
        }
    }
}

fn registered<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> C {
    registry.register(Box::new(metric.clone())).expect("each name is registered once");
    metric
}

/// Returns the type of a Kubernetes Event.
pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    }
}

/// Installs the log of this process.
pub fn log(config: &Config) {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    use tracing_subscriber::{Layer, fmt};

    let layer = match config.log_format {
        LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
        LogFormat::Text => fmt::layer().with_writer(std::io::stderr).boxed(),
    };
    let filter = tracing_subscriber::filter::Targets::new()
        .with_target("sluice", config.log_level)
        .with_default(tracing_subscriber::filter::LevelFilter::WARN);
    let installed = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    if installed.is_err() {
        tracing::debug!("a log is installed already");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_a_rollout_end_with_it() {
        let telemetry = Telemetry::new();
        let notice =
            Notice { severity: Severity::Normal, reason: "RolloutPaused", message: String::new() };
        for name in ["web", "api"] {
            let key = Key::new(Role::Rollouts, "shop", name);
            telemetry.decided(&key, Duration::from_millis(1));
            telemetry.held_up(&key);
            telemetry.noticed(&key, &notice);
            let object = ObjectRef::namespaced(Kind::ROLLOUT, "shop", name);
            telemetry.answered(&object, "PATCH", 200);
        }
        let of = |name: &str| {
            let wanted = format!("name=\"{name}\"");
            telemetry.text().lines().filter(|line| line.contains(&wanted)).count()
        };
        assert!(of("web") > 3 && of("web") == of("api"), "{}", telemetry.text());
        telemetry.forget(&Key::new(Role::Rollouts, "shop", "web"));
        assert_eq!(of("web"), 0, "{}", telemetry.text());
        assert!(of("api") > 3);
    }

    #[test]
    fn an_update_that_ended_is_measured_with_and_without_its_pauses() {
        let telemetry = Telemetry::new();
        let minutes = chrono::Duration::minutes;
        let ended = Ended { status: "Promoted".into(), total: minutes(10), paused: minutes(4) };
        telemetry.ended(&ended);
        let text = telemetry.text();
        for line in [
            "rollout_duration_seconds_sum{status=\"Promoted\"} 600",
            "rollout_progression_duration_seconds_sum{status=\"Promoted\"} 360",
            "rollout_manual_pause_duration_seconds_sum{status=\"Promoted\"} 240",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }
}
