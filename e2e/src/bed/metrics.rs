//! Prometheus, scraping every second: Envoy, the backends that the kubelet lists, the controller.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{http, parts::Parts, ports, process::Process};

/// Starts Prometheus without waiting for it: see [`ready`].
///
/// # Errors
/// When it cannot be started.
pub fn start(parts: &Parts, run: &Path, targets: &Path) -> Result<Process> {
    let of = |port: u16| json!([{ "targets": [format!("127.0.0.1:{port}")] }]);
    let config = json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
        "scrape_configs": [
            { "job_name": "envoy", "metrics_path": "/stats/prometheus",
              "params": { "usedonly": [""] }, "static_configs": of(ports::ENVOY_ADMIN) },
            // Backends say their own version; the labels of the target (namespace, pod, app,
            // hash) come from the kubelet.
            { "job_name": "backends", "honor_labels": true,
              "file_sd_configs": [{ "files": [targets], "refresh_interval": "1s" }] },
            { "job_name": "sluice", "static_configs": of(ports::CONTROLLER) },
        ],
    });
    let file = run.join("prometheus.yml");
    fs::write(&file, serde_json::to_string_pretty(&config)?)?;
    let mut command = Command::new(&parts.prometheus);
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", run.join("prometheus").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{}", ports::PROMETHEUS));
    command.args(["--storage.tsdb.retention.time=4h", "--log.level=warn"]);
    Process::start("prometheus", command, &run.join("logs"))
}

/// Waits until it answers queries and has scraped Envoy once: ready alone says less.
///
/// # Errors
/// When it does not in time.
pub async fn ready(prometheus: &mut Process) -> Result<()> {
    prometheus
        .ready(Duration::from_secs(30), || async {
            ensure!(query("up{job=\"envoy\"}").await? == Some(1.0), "Envoy is not scraped yet");
            Ok(())
        })
        .await
}

/// The value of the first series of an instant query; none when there is no series.
///
/// # Errors
/// When Prometheus does not answer or refuses the query.
pub async fn query(promql: &str) -> Result<Option<f64>> {
    let encoded: String = promql.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let address = format!("127.0.0.1:{}", ports::PROMETHEUS);
    let body = http::get_ok(&address, &format!("/api/v1/query?query={encoded}")).await?;
    let answer: Value = serde_json::from_str(&body)?;
    let value = &answer["data"]["result"][0]["value"][1];
    match value.as_str() {
        Some(number) => Ok(Some(number.parse().with_context(|| format!("`{number}`"))?)),
        None => Ok(None),
    }
}
