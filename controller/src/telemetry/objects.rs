//! Metrics that describe objects: written from the stores when they are scraped.

use std::fmt::Write as _;

use sluice_crds::analysis::{AnalysisRunRecord, Provider};
use sluice_crds::rollout::RolloutRecord;
use tokio::time::Instant;

use crate::leadership::Leadership;
use crate::stores::Stores;
use crate::stores::store::Availability;

/// Returns the metrics of all objects in Prometheus' text format.
pub(crate) fn text(stores: &Stores, leadership: &Leadership) -> String {
    let mut page = Page::default();
    let rollouts = stores.rollouts.all();
    page.gauge("rollout_info", "Information about a Rollout.");
    for record in &rollouts {
        let labels = [
            ("namespace", &*record.meta.namespace),
            ("name", &*record.meta.name),
            ("strategy", strategy(record)),
            ("traffic_router", router(record)),
            ("phase", phase(record)),
        ];
        page.sample("rollout_info", &labels, 1.0);
    }
    page.gauge("rollout_phase", "1 for the phase of a Rollout; deprecated, see rollout_info.");
    rollouts.iter().for_each(|record| phases(&mut page, record));
    replicas(&mut page, &rollouts);
    let runs = stores.runs.all();
    page.gauge("analysis_run_info", "Information about an AnalysisRun.");
    for record in &runs {
        let phase = record.status.phase.map_or("", |phase| phase.as_str());
        let labels = [
            ("namespace", &*record.meta.namespace),
            ("name", &*record.meta.name),
            ("phase", phase),
        ];
        page.sample("analysis_run_info", &labels, 1.0);
    }
    page.gauge(
        "analysis_run_phase",
        "1 for the phase of a run; deprecated, see analysis_run_info.",
    );
    runs.iter().for_each(|record| run_phases(&mut page, record));
    page.gauge("analysis_run_metric_type", "Provider of a metric of an AnalysisRun.");
    runs.iter().for_each(|record| metric_types(&mut page, record));
    page.gauge("analysis_run_metric_phase", "Phase of a metric of an AnalysisRun.");
    runs.iter().for_each(|record| metric_phases(&mut page, record));
    experiments(&mut page, stores);
    templates(&mut page, stores);
    stores_and_lease(&mut page, stores, leadership);
    page.text
}

fn experiments(page: &mut Page, stores: &Stores) {
    page.gauge("experiment_info", "Information about an Experiment.");
    for record in stores.experiments.all() {
        let phase = record.status.phase.map_or("", |phase| phase.as_str());
        let labels = [
            ("namespace", &*record.meta.namespace),
            ("name", &*record.meta.name),
            ("phase", phase),
        ];
        page.sample("experiment_info", &labels, 1.0);
    }
}

fn stores_and_lease(page: &mut Page, stores: &Stores, leadership: &Leadership) {
    let states = stores.states();
    let now = Instant::now();
    page.gauge("sluice_store_age_seconds", "Time since the watch of a kind was heard.");
    for state in &states {
        let age = now.saturating_duration_since(state.heard).as_secs_f64();
        page.sample("sluice_store_age_seconds", &[("kind", &state.kind.kind)], age);
    }
    page.gauge("sluice_store_synced", "1 if a kind is listed, 0 if it is missing or forbidden.");
    for state in &states {
        let synced = f64::from(u8::from(state.availability == Availability::Synced));
        page.sample("sluice_store_synced", &[("kind", &state.kind.kind)], synced);
    }
    page.counter("sluice_store_went_back_total", "Observations that were older than known ones.");
    for state in &states {
        #[expect(clippy::cast_precision_loss, reason = "a counter of alarms stays small")]
        let went_back = state.went_back as f64;
        page.sample("sluice_store_went_back_total", &[("kind", &state.kind.kind)], went_back);
    }
    page.gauge("sluice_lease_held", "1 if this process may write.");
    page.sample("sluice_lease_held", &[], f64::from(u8::from(leadership.leads())));
    page.gauge("argo_rollouts_controller_info", "Version of the controller.");
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.sample("argo_rollouts_controller_info", &version, 1.0);
    page.gauge("build_info", "Version of the build; Argo's label of the Go version is empty.");
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let [version] = version;
    let labels = [version, ("goversion", ""), ("goarch", architecture), ("commit", "")];
    page.sample("build_info", &labels, 1.0);
}

/// One series for each phase, 1 for the present one.
fn phases(page: &mut Page, record: &RolloutRecord) {
    let present = phase(record);
    // A Rollout that is invalid has none of these.
    for known in ["Completed", "Progressing", "Paused", "Timeout", "Error", "Abort"] {
        let labels = [
            ("namespace", &*record.meta.namespace),
            ("name", &*record.meta.name),
            ("strategy", strategy(record)),
            ("phase", known),
        ];
        page.sample("rollout_phase", &labels, f64::from(u8::from(known == present)));
    }
}

fn run_phases(page: &mut Page, record: &AnalysisRunRecord) {
    let present = record.status.phase.map_or("Pending", |phase| phase.as_str());
    for known in ["Pending", "Running", "Successful", "Failed", "Error", "Inconclusive"] {
        let labels = [
            ("namespace", &*record.meta.namespace),
            ("name", &*record.meta.name),
            ("phase", known),
        ];
        page.sample("analysis_run_phase", &labels, f64::from(u8::from(known == present)));
    }
}

/// Templates of the cluster have an empty namespace.
fn templates(page: &mut Page, stores: &Stores) {
    let mut records = stores.templates.all();
    records.extend(stores.cluster_templates.all());
    page.gauge("analysis_template_info", "Information about an AnalysisTemplate.");
    for record in &records {
        let labels = [("namespace", &*record.meta.namespace), ("name", &*record.meta.name)];
        page.sample("analysis_template_info", &labels, 1.0);
    }
    page.gauge("analysis_template_metric_info", "A metric of an AnalysisTemplate.");
    for record in &records {
        for metric in record.spec.metrics.iter().flatten() {
            let labels = [
                ("namespace", &*record.meta.namespace),
                ("name", &*record.meta.name),
                ("type", provider(&metric.provider)),
                ("metric", &*metric.name),
            ];
            page.sample("analysis_template_metric_info", &labels, 1.0);
        }
    }
}

fn replicas(page: &mut Page, rollouts: &[std::sync::Arc<RolloutRecord>]) {
    type Value = fn(&RolloutRecord) -> i32;
    let desired: Value = |record| record.spec.replicas.unwrap_or(1);
    let available: Value = |record| record.status.available_replicas.unwrap_or(0);
    let unavailable: Value = |record| {
        let existing = record.status.replicas.unwrap_or(0);
        (existing - record.status.available_replicas.unwrap_or(0)).max(0)
    };
    let updated: Value = |record| record.status.updated_replicas.unwrap_or(0);
    let table = [
        ("rollout_info_replicas_available", "Available Pods of a Rollout.", available),
        ("rollout_info_replicas_unavailable", "Pods that are not available.", unavailable),
        ("rollout_info_replicas_desired", "Wanted Pods of a Rollout.", desired),
        ("rollout_info_replicas_updated", "Pods of the newest revision.", updated),
    ];
    for (name, help, value) in table {
        page.gauge(name, help);
        for record in rollouts {
            let labels = [("namespace", &*record.meta.namespace), ("name", &*record.meta.name)];
            page.sample(name, &labels, f64::from(value(record)));
        }
    }
}

fn metric_types(page: &mut Page, record: &AnalysisRunRecord) {
    for metric in &record.spec.metrics {
        let labels = [
            ("namespace", &*record.meta.namespace),
            ("name", &*record.meta.name),
            ("metric", &*metric.name),
            ("type", provider(&metric.provider)),
        ];
        page.sample("analysis_run_metric_type", &labels, 1.0);
    }
}

fn metric_phases(page: &mut Page, record: &AnalysisRunRecord) {
    for result in record.status.metric_results.iter().flatten() {
        let metric = record.spec.metrics.iter().find(|metric| metric.name == result.name);
        let labels = [
            ("namespace", &*record.meta.namespace),
            ("name", &*record.meta.name),
            ("metric", &*result.name),
            ("type", metric.map_or("", |metric| provider(&metric.provider))),
            ("dry_run", if result.dry_run == Some(true) { "true" } else { "false" }),
            ("phase", result.phase.map_or("", |phase| phase.as_str())),
        ];
        page.sample("analysis_run_metric_phase", &labels, 1.0);
    }
}

fn strategy(record: &RolloutRecord) -> &'static str {
    if record.spec.strategy.canary.is_some() {
        "canary"
    } else if record.spec.strategy.blue_green.is_some() {
        "blueGreen"
    } else {
        "none"
    }
}

/// The last one in Argo's order wins, as there.
fn router(record: &RolloutRecord) -> &'static str {
    let canary = record.spec.strategy.canary.as_ref();
    let Some(routing) = canary.and_then(|canary| canary.traffic_routing.as_deref()) else {
        return "";
    };
    let table = [
        (routing.alb.is_some(), "ALB"),
        (routing.ambassador.is_some(), "Ambassador"),
        (routing.istio.is_some(), "Istio"),
        (routing.nginx.is_some(), "Nginx"),
        (routing.smi.is_some(), "SMI"),
        (routing.app_mesh.is_some(), "AppMesh"),
    ];
    table.into_iter().rev().find(|(used, _)| *used).map_or("", |(_, name)| name)
}

/// Derived from the condition `Progressing`, not from `status.phase` (`spec-rollouts.md` 9.1).
fn phase(record: &RolloutRecord) -> &'static str {
    let conditions = record.status.conditions.as_deref().unwrap_or_default();
    if conditions.iter().any(|c| c.kind == "InvalidSpec" && c.status == "True") {
        return "InvalidSpec";
    }
    let progressing = conditions.iter().find(|condition| condition.kind == "Progressing");
    match progressing.map_or("", |condition| condition.reason.as_str()) {
        "NewReplicaSetAvailable" => "Completed",
        "RolloutPaused" => "Paused",
        "ProgressDeadlineExceeded" => "Timeout",
        "ReplicaSetCreateError" => "Error",
        "RolloutAborted" => "Abort",
        _ => "Progressing",
    }
}

/// Returns Argo's name of a provider's type.
pub(crate) fn provider(provider: &Provider) -> &'static str {
    let table = [
        (provider.prometheus.is_some(), "Prometheus"),
        (provider.web.is_some(), "Web"),
        (provider.job.is_some(), "Job"),
        (provider.datadog.is_some(), "Datadog"),
        (provider.new_relic.is_some(), "NewRelic"),
        (provider.cloud_watch.is_some(), "CloudWatch"),
        (provider.wavefront.is_some(), "Wavefront"),
        (provider.graphite.is_some(), "Graphite"),
        (provider.influxdb.is_some(), "Influxdb"),
        (provider.skywalking.is_some(), "SkyWalking"),
        (provider.kayenta.is_some(), "Kayenta"),
        (provider.plugin.is_some(), "Plugin"),
    ];
    table.into_iter().find(|(used, _)| *used).map_or("Unknown", |(_, name)| name)
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str) {
        self.head(name, help, "gauge");
    }

    fn counter(&mut self, name: &str, help: &str) {
        self.head(name, help, "counter");
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a string takes any text");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let before = if index == 0 { '{' } else { ',' };
            self.push(format_args!("{before}{label}=\"{value}\""));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.push(format_args!("{end} {value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut page = Page::default();
        page.gauge("up", "Help.");
        page.sample("up", &[("a", "x\"y\\z\n"), ("b", "")], 1.0);
        assert_eq!(
            page.text,
            "# HELP up Help.\n# TYPE up gauge\nup{a=\"x\\\"y\\\\z\\n\",b=\"\"} 1\n"
        );
    }
}
