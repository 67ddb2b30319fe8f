//! The alert rules.

use std::{collections::BTreeSet, fs, sync::Arc};

use anyhow::{Result, ensure};
use serde_json::Value;
use sluice_e2e::bed::{Bed, apply::documents};
use tokio::process::Command;

use crate::helm::charts;

/// Where the controller names its metrics.
const NAMED: [&str; 2] = [
    include_str!("../../../controller/src/telemetry.rs"),
    include_str!("../../../controller/src/telemetry/objects.rs"),
];

pub(crate) async fn alerts_are_valid_and_ask_for_metrics_that_exist(bed: Arc<Bed>) -> Result<()> {
    let rules = charts("sluice/files/rules.yaml");
    let folder = bed.inside.run.join("alerts");
    fs::create_dir_all(&folder)?;
    let tests = folder.join("tests.yaml");
    let text = fs::read_to_string(charts("tests/rules.yaml"))?;
    fs::write(&tests, text.replace("RULES", &rules.to_string_lossy()))?;
    let promtool = bed.parts.prometheus.with_file_name("promtool");
    for (verb, file) in [("check", &rules), ("test", &tests)] {
        let out = Command::new(&promtool).args([verb, "rules"]).arg(file).output().await?;
        let said = [out.stdout, out.stderr].concat();
        ensure!(out.status.success(), "promtool {verb}: {}", String::from_utf8_lossy(&said));
    }
    let mut metrics = BTreeSet::new();
    for document in documents(&fs::read_to_string(&rules)?)? {
        let groups = document["groups"].as_array().into_iter().flatten();
        for rule in groups.flat_map(|group| group["rules"].as_array()).flatten() {
            metrics.extend(named(rule["expr"].as_str().unwrap_or_default()));
        }
        let all = document["groups"].as_array().into_iter().flatten();
        let silent = all.flat_map(|group| group["rules"].as_array()).flatten().find(|rule| {
            rule["annotations"]["summary"] == Value::Null
                || rule["labels"]["severity"] == Value::Null
        });
        ensure!(silent.is_none(), "an alert says nothing: {}", silent.unwrap_or(&Value::Null));
    }
    ensure!(metrics.len() >= 8, "the rules ask for {metrics:?}");
    let unknown =
        metrics.iter().find(|m| !NAMED.iter().any(|source| source.contains(&format!("\"{m}\""))));
    ensure!(unknown.is_none(), "the controller has no metric {unknown:?}");
    Ok(())
}

/// Words of an expression that can only be metrics of ours.
fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = |word: &&str| {
        ["sluice_", "rollout_", "analysis_run_"].iter().any(|prefix| word.starts_with(prefix))
    };
    words.filter(ours).map(str::to_owned).collect()
}
