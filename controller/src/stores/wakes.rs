//! Who must hear of a change: the keys whose views contain the object, now or before.

use std::collections::BTreeSet;

use sluice_crds::analysis::{AnalysisRunRecord, AnalysisTemplateRecord};
use sluice_crds::app_project::AppProjectRecord;
use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::labels;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_crds::rollout::RolloutRecord;
use sluice_engine::experiment::ExperimentReconciler;
use sluice_engine::plan::Reconciler;
use sluice_engine::rollout::RolloutReconciler;
use sluice_engine::view::{JobRecord, ReplicaSetRecord, RouteRecord, ServiceRecord};

use super::Stores;
use super::records::{ApplicationKept, JobPodRecord, PodRecord, SliceRecord};
use super::store::Changed;
use crate::config::Role;
use crate::queue::Key;

impl Stores {
    pub(super) fn wake(&self, role: Role, namespace: &str, name: &str) {
        self.queue.wake(Key::new(role, namespace, name));
    }

    pub(super) fn wake_readers(&self, object: &ObjectRef) {
        self.references.readers(object).into_iter().for_each(|key| self.queue.wake(key));
    }

    pub(super) fn wake_owner(&self, meta: &Meta) {
        let Some(owner) = &meta.owner else { return };
        match owner.kind.as_str() {
            "Rollout" => self.wake(Role::Rollouts, &meta.namespace, &owner.name),
            "Experiment" => {
                self.wake(Role::Experiments, &meta.namespace, &owner.name);
                // What an Experiment owns is part of the view of the Rollout that owns the Experiment.
                let experiment = self.experiments.get(&meta.namespace, &owner.name);
                let rollout = experiment.and_then(|experiment| experiment.meta.owner.clone());
                if let Some(rollout) = rollout.filter(|owner| owner.kind == "Rollout") {
                    self.wake(Role::Rollouts, &meta.namespace, &rollout.name);
                }
            }
            "AnalysisRun" => {
                self.wake(Role::Analysis, &meta.namespace, &owner.name);
                // Whoever is judged by the run sees its Jobs as it does.
                if let Some(run) = self.runs.get(&meta.namespace, &owner.name)
                    && run.meta.owner.as_ref().is_some_and(|owner| owner.kind != "AnalysisRun")
                {
                    self.wake_owner(&run.meta);
                }
            }
            _ => {}
        }
    }

    pub(super) fn job_changed(&self, change: &Changed<JobRecord>) {
        for record in change.old.iter().chain(&change.new) {
            self.wake_owner(&record.meta);
        }
    }

    pub(super) fn job_pod_changed(&self, change: &Changed<JobPodRecord>) {
        for pod in change.old.iter().chain(&change.new) {
            let job = pod.meta.owner.as_ref().filter(|owner| owner.kind == "Job");
            let job = job.and_then(|job| self.jobs.get(&pod.meta.namespace, &job.name));
            if let Some(job) = job {
                self.wake_owner(&job.meta);
            }
        }
    }

    pub(super) fn experiment_changed(&self, change: &Changed<ExperimentRecord>) {
        for record in change.old.iter().chain(&change.new) {
            self.wake_owner(&record.meta);
        }
        let Some(record) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let key = Key::new(Role::Experiments, &*record.meta.namespace, &*record.meta.name);
        // As of Rollouts: nothing that it reads is forgotten before it is observed again.
        let objects = match &change.new {
            Some(record) => {
                &ExperimentReconciler::reads(record).objects | &self.references.of(&key)
            }
            None => BTreeSet::new(),
        };
        self.reads(&key, objects);
        self.queue.wake(key);
    }

    pub(super) fn rollout_changed(&self, change: &Changed<RolloutRecord>) {
        let Some(record) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let key = Key::new(Role::Rollouts, &*record.meta.namespace, &*record.meta.name);
        // Observing it sets all that it reads, templates and hosts of subsets too: until then nothing of it is forgotten, or each
        // change of the Rollout would read as a change of these.
        let objects = match &change.new {
            Some(record) => &RolloutReconciler::reads(record).objects | &self.references.of(&key),
            None => BTreeSet::new(),
        };
        self.reads(&key, objects);
        self.queue.wake(key);
    }

    pub(super) fn set_changed(&self, change: &Changed<ReplicaSetRecord>) {
        for record in change.old.iter().chain(&change.new) {
            if record.meta.owner.is_some() {
                self.wake_owner(&record.meta);
                continue;
            }
            // An orphan may be adopted by any Rollout of its namespace whose selector matches.
            let namespace = &record.meta.namespace;
            let rollouts = self.rollouts.all();
            for rollout in rollouts.iter().filter(|rollout| rollout.meta.namespace == *namespace) {
                self.wake(Role::Rollouts, namespace, &rollout.meta.name);
            }
        }
    }

    pub(super) fn run_changed(&self, change: &Changed<AnalysisRunRecord>) {
        for record in change.old.iter().chain(&change.new) {
            self.wake_owner(&record.meta);
        }
        if let Some(record) = change.new.as_ref().or(change.old.as_ref()) {
            self.wake(Role::Analysis, &record.meta.namespace, &record.meta.name);
        }
    }

    pub(super) fn service_changed(&self, change: &Changed<ServiceRecord>) {
        let Some(record) = change.new.as_ref().or(change.old.as_ref()) else { return };
        self.wake_readers(&record.object());
        // One that the Rollout names no longer is given back.
        if let Some(rollout) = record.meta.annotations.get(labels::MANAGED_BY)
            && self.rollouts.get(&record.meta.namespace, rollout).is_some()
        {
            self.wake(Role::Rollouts, &record.meta.namespace, rollout);
        }
    }

    pub(super) fn slice_changed(&self, change: &Changed<SliceRecord>) {
        for slice in change.old.iter().chain(&change.new) {
            let object = ObjectRef::namespaced(Kind::SERVICE, slice.namespace(), &*slice.service);
            self.wake_readers(&object);
        }
    }

    /// A slice may name a Pod before its own watch brings it: then the Pod's arrival changes the count.
    pub(super) fn pod_changed(&self, change: &Changed<PodRecord>) {
        let (None, Some(pod)) = (&change.old, &change.new) else { return };
        let Some(owner) = &pod.owner else { return };
        if let Some(set) = self.replica_sets.get(&pod.namespace, &owner.name) {
            self.wake_owner(&set.meta);
        }
    }

    pub(super) fn template_changed(&self, change: &Changed<AnalysisTemplateRecord>) {
        if let Some(record) = change.new.as_ref().or(change.old.as_ref()) {
            self.wake_readers(&record.meta.object(Kind::ANALYSIS_TEMPLATE));
        }
    }

    pub(super) fn cluster_template_changed(&self, change: &Changed<AnalysisTemplateRecord>) {
        if let Some(record) = change.new.as_ref().or(change.old.as_ref()) {
            self.wake_readers(&record.meta.object(Kind::CLUSTER_ANALYSIS_TEMPLATE));
        }
    }

    pub(super) fn route_changed(&self, change: &Changed<RouteRecord>) {
        if let Some(record) = change.new.as_ref().or(change.old.as_ref()) {
            self.wake_readers(&record.object);
        }
    }

    pub(super) fn application_changed(&self, change: &Changed<ApplicationKept>) {
        if let Some(ApplicationKept { record, .. }) =
            change.new.as_deref().or(change.old.as_deref())
        {
            self.wake(Role::Applications, &record.meta.namespace, &record.meta.name);
        }
        // What it holds in quarantine is part of the views of its Rollouts.
        for record in change.old.iter().chain(&change.new) {
            for resource in record.record.status.resources.iter().filter(|r| r.kind == "Rollout") {
                self.wake(Role::Rollouts, &resource.namespace, &resource.name);
            }
        }
    }

    pub(super) fn project_changed(&self, change: &Changed<AppProjectRecord>) {
        if let Some(record) = change.new.as_ref().or(change.old.as_ref()) {
            self.wake_readers(&record.meta.object(Kind::APP_PROJECT));
        }
    }
}
