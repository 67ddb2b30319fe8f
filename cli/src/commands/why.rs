//! `why rollout NAME`: what it waits for, and what comes then.
//!
//! It runs the controller's own decision on what the caller may read, so the answer is the controller's. Two things only the
//! controller knows are left out: measurements that are not in an AnalysisRun's status yet, and leadership.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use sluice_crds::analysis::AnalysisRunRecord;
use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::labels;
use sluice_crds::object::{Kind, Meta, ObjectRef, ResourceVersion};
use sluice_crds::rollout::steps::TemplateRef;
use sluice_crds::rollout::{Rollout, RolloutRecord};
use sluice_engine::config::EngineConfig;
use sluice_engine::experiment::ExperimentReconciler;
use sluice_engine::fence::{EpochView, FenceRules, Term};
use sluice_engine::plan::Reconciler as _;
use sluice_engine::report::{Report, WaitingKind};
use sluice_engine::rollout::RolloutReconciler;
use sluice_engine::view::{
    AnalysisRunView, EndpointCounts, ExperimentSight, Lookup, ReplicaSetRecord, RolloutView,
    RouteRecord, WorkloadView, workload_of,
};

use crate::arguments::WhyArguments;
use crate::commands::output;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::phase;
use crate::reader::{Reader, decode, lookup};
use crate::span::span;
use crate::style::{Style, Tone};

/// Runs the command.
pub(crate) async fn run(
    connection: &Connection,
    why: &WhyArguments,
    style: Style,
) -> Result<ExitCode, Failure> {
    let name = match why.words.as_slice() {
        [kind, name] if matches!(kind.as_str(), "rollout" | "rollouts" | "ro") => name,
        [name] => name,
        words => {
            return Err(Failure::new(format!("why: `{}` is no Rollout", words.join(" ")))
                .hint("kubectl sluice why rollout NAME"));
        }
    };
    let rollout = connection.get_rollout(name).await?;
    let observer = Observer { reader: Reader { connection }, namespace: &connection.namespace };
    let view = observer.view(&rollout).await?;
    let decision = RolloutReconciler::decide(&view);
    match why.output {
        Some(form) => output::plain(&document(&rollout, &decision.report), form)?,
        None => anstream::print!("{}", answer(&rollout, &decision.report, style, view.now)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The answer for programs.
fn document(rollout: &Rollout, report: &Report) -> Value {
    let shown = phase::of(rollout);
    let status = rollout.status.clone().unwrap_or_default();
    let waiting: Vec<Value> = report
        .waiting
        .iter()
        .map(|wait| {
            let kind = match wait.kind {
                WaitingKind::Progress => "progress",
                WaitingKind::Person => "person",
                WaitingKind::Problem => "problem",
            };
            let until = wait.until.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
            json!({ "what": wait.what, "kind": kind, "until": until, "hint": wait.hint })
        })
        .collect();
    json!({
        "namespace": rollout.metadata.namespace,
        "name": rollout.metadata.name,
        "phase": shown.phase,
        "message": shown.message,
        "weight": status.canary.and_then(|c| c.weights).map(|w| w.canary.weight),
        "waiting": waiting,
        "next": report.next,
        "lastDecision": status.sluice.and_then(|s| s.last_decision),
    })
}

/// Puts the report into sentences.
fn answer(rollout: &Rollout, report: &Report, style: Style, now: DateTime<Utc>) -> String {
    let name = rollout.metadata.name.clone().unwrap_or_default();
    let shown = phase::of(rollout);
    let status = rollout.status.clone().unwrap_or_default();
    let weights = status.canary.and_then(|c| c.weights);
    let weight = weights.as_ref().map(|w| w.canary.weight);
    let mut text = match (report.waiting.is_empty(), weight) {
        (true, _) if shown.phase == "Healthy" => {
            format!("{name} is Healthy; it waits for nothing.\n")
        }
        (true, _) => format!("{name} is {}: {}\n", shown.phase, shown.message),
        (false, Some(weight)) => format!("{name} holds weight {weight}. It waits for:\n"),
        (false, None) => format!("{name} is {}. It waits for:\n", shown.phase),
    };
    for wait in &report.waiting {
        let (state, tone) = match wait.kind {
            WaitingKind::Progress => (if style.ascii { "o" } else { "◌" }, Tone::Busy),
            WaitingKind::Person => (if style.ascii { "=" } else { "॥" }, Tone::Waiting),
            WaitingKind::Problem => (if style.ascii { "x" } else { "✖" }, Tone::Bad),
        };
        let until = wait.until.map(|at| match (at - now).num_seconds() {
            left if left > 0 => format!("; in {}", span(left)),
            _ => "; due".to_owned(),
        });
        text.push_str(&format!(
            "  {} {}{}\n",
            style.paint(tone, state),
            wait.what,
            until.unwrap_or_default()
        ));
        if let Some(hint) = &wait.hint {
            text.push_str(&format!("    hint: {hint}\n"));
        }
    }
    let is_stuck = report.waiting.iter().any(|wait| wait.kind == WaitingKind::Problem);
    if let (true, Some(weights)) = (is_stuck, weights) {
        let (stable, canary) = (weights.stable.weight, weights.canary.weight);
        text.push_str(&format!("Traffic stays as it is: {stable} % stable, {canary} % canary.\n"));
    }
    if let Some(next) = &report.next {
        text.push_str(&format!("Then: {next}\n"));
    }
    if let Some(last) = status.sluice.and_then(|s| s.last_decision) {
        text.push_str(&format!("Last decision: {last}\n"));
    }
    text
}

/// Reads what a decision looks at, with the caller's rights.
struct Observer<'a> {
    reader: Reader<'a>,
    namespace: &'a str,
}

impl Observer<'_> {
    async fn view(&self, rollout: &Rollout) -> Result<RolloutView, Failure> {
        let record: RolloutRecord = decode(&to_value(rollout)?)?;
        let reads = RolloutReconciler::reads(&record);
        let experiments = self.experiments(&record).await?;
        let workload = match workload_of(&record) {
            Some(object) => {
                let found = lookup(self.reader.get(&object).await?)?;
                WorkloadView::of(&record, |_| found)
            }
            None => None,
        };
        let of_trials: BTreeSet<String> =
            experiments.iter().flat_map(|sight| sight.services.keys().cloned()).collect();
        let mut view = RolloutView {
            now: Utc::now(),
            config: Arc::new(EngineConfig::default()),
            epoch: nobody(),
            rollout: Arc::new(record),
            replica_sets: self.replica_sets().await?,
            workload,
            pods: None,
            refused_evictions: BTreeMap::new(),
            former_services: Vec::new(),
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            routes: BTreeMap::new(),
            templates: BTreeMap::new(),
            analysis_runs: self.analysis_runs().await?,
            experiments: Lookup::Present(experiments),
            confirmations: BTreeMap::new(),
            claims: BTreeMap::new(),
            taken: BTreeSet::new(),
            quarantined: BTreeMap::new(),
        };
        for object in reads.objects {
            self.read(&mut view, &object).await?;
        }
        let mut hosts = sluice_engine::rollout::hosts(&view.routes, self.namespace);
        hosts.extend(of_trials);
        for host in hosts {
            let service = ObjectRef::namespaced(Kind::SERVICE, self.namespace, &host);
            if self.reader.get(&service).await?.is_some() {
                let counts = self.endpoints(&host).await?;
                view.endpoints.insert(host, counts);
            }
        }
        Ok(view)
    }

    /// Reads one object into its place in the view.
    async fn read(&self, view: &mut RolloutView, object: &ObjectRef) -> Result<(), Failure> {
        let found = self.reader.get(object).await?;
        match object.kind.kind.as_ref() {
            "Service" => {
                let record = lookup(found)?;
                view.services.insert(object.name.clone(), record);
                let counts = self.endpoints(&object.name).await?;
                view.endpoints.insert(object.name.clone(), counts);
            }
            "AnalysisTemplate" | "ClusterAnalysisTemplate" => {
                let cluster = object.namespace.is_none().then_some(true);
                let reference =
                    TemplateRef { template_name: object.name.clone(), cluster_scope: cluster };
                view.templates.insert(reference, lookup(found)?);
            }
            "Deployment" | "ReplicaSet" | "PodTemplate" => {}
            _ => {
                let route = match found {
                    Some(value) => Lookup::Present(Arc::new(RouteRecord {
                        object: object.clone(),
                        meta: decode(&value["metadata"])?,
                        spec: Arc::new(value["spec"].clone()),
                    })),
                    None => Lookup::Absent,
                };
                view.routes.insert(object.clone(), route);
            }
        }
        Ok(())
    }

    async fn replica_sets(&self) -> Result<Vec<Arc<ReplicaSetRecord>>, Failure> {
        let found =
            self.reader.list(Kind::REPLICA_SET, self.namespace, labels::POD_TEMPLATE_HASH).await?;
        let mut sets: Vec<ReplicaSetRecord> = found.iter().map(decode).collect::<Result<_, _>>()?;
        sets.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
        Ok(sets.into_iter().map(Arc::new).collect())
    }

    async fn analysis_runs(&self) -> Result<Vec<AnalysisRunView>, Failure> {
        let found = self.reader.list(Kind::ANALYSIS_RUN, self.namespace, "").await?;
        let mut runs: Vec<AnalysisRunRecord> =
            found.iter().map(decode).collect::<Result<_, _>>()?;
        runs.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
        Ok(runs
            .into_iter()
            .map(|run| AnalysisRunView {
                run: Arc::new(run),
                facts: Vec::new(),
                jobs: Vec::new(),
                secrets: BTreeMap::new(),
            })
            .collect())
    }

    /// The Rollout's Experiments, if any of its steps is one.
    async fn experiments(&self, rollout: &RolloutRecord) -> Result<Vec<ExperimentSight>, Failure> {
        let canary = rollout.spec.strategy.canary.as_deref();
        let mut steps = canary.and_then(|canary| canary.steps.as_deref()).into_iter().flatten();
        if !steps.any(|step| step.experiment.is_some()) {
            return Ok(Vec::new());
        }
        let found = self.reader.list(Kind::EXPERIMENT, self.namespace, "").await?;
        let mut all: Vec<ExperimentRecord> = found.iter().map(decode).collect::<Result<_, _>>()?;
        all.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
        let mut sights = Vec::new();
        for experiment in all.into_iter().filter(|e| e.meta.is_owned_by(&rollout.meta.uid)) {
            let mut services = BTreeMap::new();
            for object in ExperimentReconciler::reads(&experiment).objects {
                if object.kind == Kind::SERVICE {
                    services.insert(object.name.clone(), lookup(self.reader.get(&object).await?)?);
                }
            }
            let experiment = Arc::new(experiment);
            sights.push(ExperimentSight { experiment, replica_sets: Vec::new(), services });
        }
        Ok(sights)
    }

    /// Ready endpoints of a Service by revision: EndpointSlices name Pods, Pods carry the hash.
    async fn endpoints(&self, service: &str) -> Result<EndpointCounts, Failure> {
        let selector = format!("kubernetes.io%2Fservice-name%3D{service}");
        let slices = self.reader.list(Kind::ENDPOINT_SLICE, self.namespace, &selector).await?;
        let pods = self.reader.list(Kind::POD, self.namespace, labels::POD_TEMPLATE_HASH).await?;
        let mut hashes = BTreeMap::new();
        for pod in &pods {
            let meta: Meta = decode(&pod["metadata"])?;
            if let Some(hash) = meta.labels.get(labels::POD_TEMPLATE_HASH) {
                hashes.insert(meta.name.clone(), hash.clone());
            }
        }
        let mut counts = EndpointCounts::default();
        let endpoints =
            slices.iter().flat_map(|s| s["endpoints"].as_array().cloned().unwrap_or_default());
        for endpoint in endpoints.filter(|e| e["conditions"]["ready"] == true) {
            let pod = endpoint["targetRef"]["name"].as_str().unwrap_or_default();
            if let Some(hash) = hashes.get(pod) {
                *counts.ready.entry(hash.clone()).or_default() += 1;
            }
        }
        Ok(counts)
    }
}

/// A reader leads nobody, so no fence stands between the view and the report.
fn nobody() -> EpochView {
    EpochView {
        term: Term {
            lease: "none".into(),
            lease_uid: "none".into(),
            acquired: ResourceVersion::default(),
        },
        n: 0,
        needed: BTreeMap::new(),
        disowned: BTreeSet::new(),
        rules: FenceRules { epoch: false, refuse_newer: false, ..FenceRules::ALL },
    }
}

fn to_value(rollout: &Rollout) -> Result<Value, Failure> {
    serde_json::to_value(rollout).map_err(|e| Failure::new(format!("Rollout: {e}")))
}
