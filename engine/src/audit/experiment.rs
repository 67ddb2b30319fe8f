//! Laws over one decision about an Experiment: the view that it was made on, the plan and the next status.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::experiment::ExperimentTemplateStatus;
use sluice_crds::labels::EXPERIMENT_TEMPLATE;
use sluice_crds::object::{Change, Kind, Meta, ObjectRef};

use super::decision::violation;
use super::writes;
use crate::experiment::ExperimentReconciler;
use crate::fence::FenceState;
use crate::plan::{Decision, Lower, Violation};
use crate::rollout::Action;
use crate::view::{ExperimentView, ReplicaSetRecord};

type Decided = Decision<ExperimentReconciler>;

/// Checks one decision about an Experiment: S2 and S5 in the form of sizes, S12, S16, S18, S19, S21.
pub fn audit(view: &ExperimentView, decision: &Decided) -> Vec<Violation> {
    let audit = Audit { view, decision };
    let mut found = Vec::new();
    audit.writes(&mut found);
    audit.fence(&mut found);
    audit.ownership(&mut found);
    audit.sizes(&mut found);
    audit.verdict(&mut found);
    found
}

struct Audit<'a> {
    view: &'a ExperimentView,
    decision: &'a Decided,
}

impl Audit<'_> {
    fn actions(&self) -> impl Iterator<Item = &Action> {
        self.decision.plan.actions()
    }

    fn uid(&self) -> &str {
        &self.view.experiment.meta.uid
    }

    fn is_ending(&self) -> bool {
        let experiment = &self.view.experiment;
        experiment.spec.terminate == Some(true)
            || experiment.status.phase.is_some_and(AnalysisPhase::is_completed)
    }

    /// S18, S19 (preconditions and stamps), S21.
    fn writes(&self, found: &mut Vec<Violation>) {
        let rules = self.view.epoch.rules;
        let mut written = BTreeSet::new();
        for write in self.actions().map(Lower::lower).chain(self.decision.status_write.clone()) {
            let object = &write.object;
            if !written.insert(object.clone()) {
                found.push(violation("S21", format!("{object} is written twice in one decision")));
            }
            let foreign = writes::foreign_fields(&write);
            if !foreign.is_empty() {
                let fields = foreign.join(", ");
                found.push(violation("S18", format!("{object}: {fields} is not ours")));
            }
            let create = matches!(write.change, Change::Create { .. });
            let safe =
                write.preconditions.uid.is_some() && write.preconditions.resource_version.is_some();
            if rules.preconditions && !create && !safe {
                found.push(violation("S19", format!("the write to {object} has no preconditions")));
            }
            let stamp = self.view.epoch.stamp().to_string();
            let stamped = writes::stamp(&write, &self.view.epoch.key()) == Some(stamp.as_str());
            if rules.epoch && writes::needs_stamp(&write) && !stamped {
                found.push(violation("S19", format!("the write to {object} leaves no stamp")));
            }
            let status = matches!(write.change, Change::Status { .. });
            if status && self.decision.status == self.view.experiment.status {
                found.push(violation("S21", "the status is written without a change"));
            }
        }
        for action in self.actions() {
            if let Action::Scale { from, to, .. } = action
                && from == to
            {
                found.push(violation("S21", format!("`{action}` changes nothing")));
            }
        }
    }

    /// S19: a newer stamp anywhere forbids everything; touches are alone; what a plan relies on is fenced.
    fn fence(&self, found: &mut Vec<Violation>) {
        let (view, decision) = (self.view, self.decision);
        let touches = self.actions().filter(|action| action.is_touch()).count();
        let others = self.actions().count() - touches;
        let decides = decision.status_write.is_some();
        if touches > 0 && (others > 0 || decides) {
            found.push(violation("S19", "touches share a decision with other writes"));
        }
        let own = (view.object(), &view.experiment.meta);
        let sets = self.sets().map(|set| (set.object(), &set.meta));
        let relied: Vec<(ObjectRef, &Meta)> = std::iter::once(own).chain(sets).collect();
        for (object, meta) in relied {
            match view.epoch.state(&object, meta) {
                FenceState::Lost(_) if touches + others > 0 || decides => {
                    let detail = format!("{object} is of a newer term, and we write");
                    found.push(violation("S19", detail));
                }
                FenceState::NeedsTouch if others > 0 || decides => {
                    let detail = format!("the plan relies on {object}, which is not fenced");
                    found.push(violation("S19", detail));
                }
                FenceState::Lost(_)
                | FenceState::NeedsTouch
                | FenceState::Fenced
                | FenceState::ForeignLease(_) => {}
            }
        }
    }

    fn sets(&self) -> impl Iterator<Item = &Arc<ReplicaSetRecord>> {
        let uid = self.uid();
        self.view
            .replica_sets
            .iter()
            .filter(move |set| set.meta.is_owned_by(uid) && set.meta.deletion_timestamp.is_none())
    }

    /// S16: what is written is ours; what is created is born empty and ours.
    fn ownership(&self, found: &mut Vec<Violation>) {
        for action in self.actions() {
            let object = &action.target().object;
            if let Change::Create { body } = action.lower().change {
                let owner = body.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str);
                if owner != Some(self.uid()) {
                    found.push(violation("S16", format!("{object} is created and not ours")));
                }
                let size = body.pointer("/spec/replicas").and_then(Value::as_i64);
                if object.kind == Kind::REPLICA_SET && size != Some(0) {
                    found.push(violation("S16", format!("{object} is created with Pods")));
                }
                continue;
            }
            if *object != self.view.object() && !self.is_ours(object) {
                found.push(violation("S16", format!("{object} is not ours")));
            }
        }
    }

    fn is_ours(&self, object: &ObjectRef) -> bool {
        let view = self.view;
        let mut metas: Vec<&Meta> = Vec::new();
        if object.kind == Kind::REPLICA_SET {
            metas.extend(view.replica_sets.iter().map(|set| &set.meta));
        } else if object.kind == Kind::SERVICE {
            let services = view.services.values().filter_map(|lookup| lookup.present());
            metas.extend(services.map(|service| &service.meta));
        } else if object.kind == Kind::ANALYSIS_RUN {
            metas.extend(view.analysis_runs.iter().map(|run| &run.run.meta));
        }
        metas.iter().any(|meta| meta.name == object.name && meta.is_owned_by(self.uid()))
    }

    /// A version has the Pods that its template asks for, while it runs; Pods go at an end only, and after their delay.
    fn sizes(&self, found: &mut Vec<Violation>) {
        let experiment = &self.view.experiment;
        for action in self.actions() {
            let Action::Scale { target, from, to, .. } = action else { continue };
            let set = self.sets().find(|set| set.object() == target.object);
            let of = set.and_then(|set| set.meta.annotations.get(EXPERIMENT_TEMPLATE));
            let template =
                experiment.spec.templates.iter().find(|template| Some(&template.name) == of);
            let wanted = template.map_or(0, |template| template.replicas.unwrap_or(1).max(0));
            let wanted = u32::try_from(wanted).unwrap_or(0);
            let over = |version: &&ExperimentTemplateStatus| {
                Some(&version.name) == of
                    && ["Successful", "Failed", "Error"]
                        .contains(&version.status.as_deref().unwrap_or_default())
            };
            let over = self.is_ending()
                || template.is_none()
                || experiment.status.template_statuses.iter().any(|version| over(&version));
            let object = &target.object;
            if to > from && (over || *to > wanted) {
                found.push(violation("S2", format!("{object} would grow to {to}, not {wanted}")));
            }
            if *to == 0 && set.is_some_and(|set| self.is_sent_to(set)) {
                found.push(violation(
                    "S5",
                    format!("{object} gets traffic and would lose its Pods"),
                ));
            }
            if to < from && !over && *to < wanted {
                let detail = format!("{object} would shrink to {to} while it runs");
                found.push(violation("S5", detail));
            }
        }
    }

    /// Whether a route sends anything to the Service that selects the set, or to a subset that does.
    fn is_sent_to(&self, set: &ReplicaSetRecord) -> bool {
        let view = self.view;
        let hash = set.hash();
        let services = view.services.values().filter_map(|lookup| lookup.present());
        let names: BTreeSet<&str> = services
            .filter(|service| service.hash() == hash)
            .map(|service| service.meta.name.as_str())
            .collect();
        let routes = view.routes.values().filter_map(|lookup| lookup.present());
        let specs = routes.filter(|route| route.object.kind == Kind::VIRTUAL_SERVICE);
        let mut open: Vec<&Value> = specs.map(|route| &*route.spec).collect();
        while let Some(value) = open.pop() {
            match value {
                Value::Array(items) => open.extend(items),
                Value::Object(fields) => {
                    let to = &value["destination"];
                    let host = to["host"].as_str().and_then(|host| host.split('.').next());
                    let named = [host, to["subset"].as_str()].into_iter().flatten();
                    let weight = value["weight"].as_i64().unwrap_or(0);
                    if weight > 0 && named.into_iter().any(|name| names.contains(name)) {
                        return true;
                    }
                    open.extend(fields.values());
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        false
    }

    /// S12: an end is final, and Success has evidence; nothing is judged before all versions were available.
    fn verdict(&self, found: &mut Vec<Violation>) {
        let (before, after) = (&self.view.experiment.status, &self.decision.status);
        let ended = before.phase.is_some_and(AnalysisPhase::is_completed);
        if ended && before.phase != after.phase {
            found.push(violation("S12", "an experiment that had ended is judged again"));
        }
        let starts = self.actions().any(|action| matches!(action, Action::StartAnalysis { .. }));
        if starts && (before.available_at.is_none() || self.is_ending()) {
            found.push(violation("S12", "an analysis begins while its versions do not run"));
        }
        if ended || after.phase != Some(AnalysisPhase::Successful) {
            return;
        }
        let required = self.view.experiment.spec.analyses.iter();
        for analysis in required.filter(|a| a.required_for_completion == Some(true)) {
            let run = after.analysis_runs.iter().find(|run| run.name == analysis.name);
            if run.and_then(|run| run.phase) != Some(AnalysisPhase::Successful) {
                let detail = format!(
                    "the experiment is Successful, and its analysis `{}` is not",
                    analysis.name
                );
                found.push(violation("S12", detail));
            }
        }
        for version in &after.template_statuses {
            if ["Failed", "Error"].contains(&version.status.as_deref().unwrap_or_default()) {
                let detail =
                    format!("the experiment is Successful, and version `{}` is not", version.name);
                found.push(violation("S12", detail));
            }
        }
    }
}
