//! The view in the words of an Experiment: what there is of each version and of each analysis. Values only, no choices.

use std::sync::Arc;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::duration;
use sluice_crds::experiment::{
    ExperimentAnalysis, ExperimentAnalysisRunStatus, ExperimentRecord, ExperimentSpec,
    ExperimentStatus, ExperimentTemplate, ExperimentTemplateStatus,
};
use sluice_crds::labels;
use sluice_crds::object::{Kind, ObjectRef};

use super::names;
use crate::analysis::arguments::Words;
use crate::view::{AnalysisRunView, ExperimentView, Refusal, ReplicaSetRecord, ServiceRecord};

/// Defaults of `spec-rollouts` 1.10.
const PROGRESS_DEADLINE_SECONDS: i32 = 600;
const SCALE_DOWN_DELAY_SECONDS: i32 = 30;

/// States of a version, as Argo writes them.
pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const RUNNING: &str = "Running";
pub(super) const SUCCESSFUL: &str = "Successful";
pub(super) const FAILED: &str = "Failed";
pub(super) const ERROR: &str = "Error";

/// Whether a version's state is an end.
pub(super) fn is_over(state: Option<&str>) -> bool {
    matches!(state, Some(SUCCESSFUL | FAILED | ERROR))
}

/// An Experiment and all that there is of it.
pub(super) struct Situation<'a> {
    pub(super) view: &'a ExperimentView,
    pub(super) experiment: &'a ExperimentRecord,
    pub(super) spec: &'a ExperimentSpec,
    /// In the order of the spec.
    pub(super) versions: Vec<Version<'a>>,
    /// In the order of the spec.
    pub(super) analyses: Vec<Analysis<'a>>,
    /// ReplicaSets of templates that the spec does not have any more.
    pub(super) strays: Vec<&'a Arc<ReplicaSetRecord>>,
}

/// One template and what there is of it.
pub(super) struct Version<'a> {
    pub(super) template: &'a ExperimentTemplate,
    pub(super) set: Option<&'a Arc<ReplicaSetRecord>>,
    pub(super) status: Option<&'a ExperimentTemplateStatus>,
    /// Name of its ReplicaSet, also while there is none.
    pub(super) set_name: String,
    /// Its Service, if one of the wanted name is there and ours.
    pub(super) service: Option<&'a Arc<ServiceRecord>>,
    /// Name of the wanted Service.
    pub(super) service_name: Option<String>,
}

/// One analysis and its run of the present attempt.
pub(super) struct Analysis<'a> {
    pub(super) analysis: &'a ExperimentAnalysis,
    pub(super) run: Option<&'a AnalysisRunView>,
    pub(super) status: Option<&'a ExperimentAnalysisRunStatus>,
}

impl Analysis<'_> {
    pub(super) fn is_required(&self) -> bool {
        self.analysis.required_for_completion == Some(true)
    }
}

impl<'a> Situation<'a> {
    pub(super) fn observe(view: &'a ExperimentView) -> Self {
        let experiment: &ExperimentRecord = &view.experiment;
        let owned = |set: &&Arc<ReplicaSetRecord>| {
            set.meta.is_owned_by(&experiment.meta.uid) && set.meta.deletion_timestamp.is_none()
        };
        let sets: Vec<&Arc<ReplicaSetRecord>> = view.replica_sets.iter().filter(owned).collect();
        let set_of = |name: &str| {
            sets.iter().copied().find(|set| template_of(set).is_some_and(|of| of == name))
        };
        let templates = &experiment.spec.templates;
        let versions = templates.iter().map(|template| {
            let set = set_of(&template.name);
            let set_name = set.map_or_else(
                || names::replica_set(experiment, template),
                |set| set.meta.name.clone(),
            );
            let service_name = names::service(template, &set_name);
            let service = service_name.as_ref().and_then(|name| view.services.get(name)?.present());
            Version {
                template,
                set,
                status: names::status_of(experiment, &template.name),
                service: service.filter(|service| service.meta.is_owned_by(&experiment.meta.uid)),
                set_name,
                service_name,
            }
        });
        let is_known = |name: &String| templates.iter().any(|template| template.name == *name);
        let strays = sets.iter().copied().filter(|set| !template_of(set).is_some_and(is_known));
        let analyses = experiment.spec.analyses.iter().map(|analysis| {
            let status =
                experiment.status.analysis_runs.iter().find(|run| run.name == analysis.name);
            Analysis { analysis, run: run_of(view, &analysis.name, status), status }
        });
        Self {
            view,
            experiment,
            spec: &experiment.spec,
            versions: versions.collect(),
            analyses: analyses.collect(),
            strays: strays.collect(),
        }
    }

    pub(super) fn status(&self) -> &'a ExperimentStatus {
        &self.experiment.status
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.view.now
    }

    /// Whether the end is on record.
    pub(super) fn is_finished(&self) -> bool {
        self.status().phase.is_some_and(AnalysisPhase::is_completed)
    }

    /// Whether versions and analyses are to go: the end is on record, or somebody asked for it.
    pub(super) fn is_ending(&self) -> bool {
        self.is_finished() || self.spec.terminate == Some(true)
    }

    /// Pods that a version should have now.
    pub(super) fn wanted(&self, version: &Version<'_>) -> u32 {
        let over = is_over(version.status.and_then(|status| status.status.as_deref()));
        if self.is_ending() || over {
            return 0;
        }
        u32::try_from(version.template.replicas.unwrap_or(1)).unwrap_or(0)
    }

    /// When all versions were available.
    pub(super) fn available_at(&self) -> Option<DateTime<Utc>> {
        self.status().available_at.map(|at| at.at())
    }

    fn length(&self) -> Option<Duration> {
        let text = self.spec.duration.as_deref().filter(|text| !text.is_empty())?;
        duration::parse(text).ok()
    }

    /// When the versions have run for long enough; `None` while they are not available, or without `duration`. Instants in
    /// the status are cut off to seconds; so it is a second later, never short.
    pub(super) fn ends_at(&self) -> Option<DateTime<Utc>> {
        let length = self.length()?.checked_add(&Duration::seconds(1))?;
        self.available_at()?.checked_add_signed(length)
    }

    pub(super) fn progress_deadline(&self) -> Duration {
        let seconds = self.spec.progress_deadline_seconds.unwrap_or(PROGRESS_DEADLINE_SECONDS);
        Duration::seconds(i64::from(seconds.max(0)))
    }

    pub(super) fn scale_down_delay(&self) -> Duration {
        let seconds = self.spec.scale_down_delay_seconds.unwrap_or(SCALE_DOWN_DELAY_SECONDS);
        Duration::seconds(i64::from(seconds.max(0)))
    }

    /// What the tags of arguments stand for, as far as it is known.
    pub(super) fn words(&self) -> Words {
        let mut words = Words::new();
        for version in &self.versions {
            let name = &version.template.name;
            if let Some(hash) = version.set.and_then(|set| set.hash()) {
                words.insert(format!("templates.{name}.podTemplateHash"), hash.to_owned());
                let set = version.set_name.clone();
                words.insert(format!("templates.{name}.replicaset.name"), set);
            }
        }
        let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let Some(available) = self.available_at() else { return words };
        words.insert("experiment.availableAt".into(), text(available));
        if let Some(at) = self.length().and_then(|length| available.checked_add_signed(length)) {
            words.insert("experiment.finishedAt".into(), text(at));
        }
        words
    }

    /// Whether a ReplicaSet has the name that is of no version: somebody else's, or one of ours of which an annotation says that it
    /// is of another version.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.refusal(Kind::REPLICA_SET, name) == Some(&Refusal::Taken)
            || self.strays.iter().any(|set| set.meta.name == name)
    }

    /// Returns what the create of the object met, if it was refused.
    pub(super) fn refusal(&self, kind: Kind, name: &str) -> Option<&'a Refusal> {
        let object = ObjectRef::namespaced(kind, &self.experiment.meta.namespace, name);
        self.view.refused.get(&object)
    }
}

/// Name of the version that a ReplicaSet is of.
fn template_of(set: &ReplicaSetRecord) -> Option<&String> {
    set.meta.annotations.get(labels::EXPERIMENT_TEMPLATE)
}

/// The run of an analysis: the one that the status names, or one that was begun since the versions became available and is not
/// in the status yet. One of an attempt that was reset (`retry`) is neither.
fn run_of<'a>(
    view: &'a ExperimentView,
    analysis: &str,
    status: Option<&ExperimentAnalysisRunStatus>,
) -> Option<&'a AnalysisRunView> {
    let experiment = &view.experiment;
    let attempt = experiment.status.available_at.map(|at| at.to_string());
    let owned = |run: &&AnalysisRunView| run.run.meta.is_owned_by(&experiment.meta.uid);
    let named = |run: &&AnalysisRunView| {
        status.is_some_and(|status| status.analysis_run == run.run.meta.name)
    };
    let begun = |run: &&AnalysisRunView| {
        let annotations = &run.run.meta.annotations;
        attempt.is_some()
            && annotations.get(labels::ANALYSIS).is_some_and(|of| of == analysis)
            && annotations.get(labels::ATTEMPT) == attempt.as_ref()
    };
    let mut runs = view.analysis_runs.iter().filter(owned);
    runs.clone().find(named).or_else(|| runs.find(begun))
}
