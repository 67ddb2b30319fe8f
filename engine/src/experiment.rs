//! What an Experiment does next: versions side by side for a while, and analyses of them (`spec-rollouts` 7).
//!
//! The passes in order: observe what there is of each version and analysis, build the one next status, collect actions by
//! kind. Versions get their ReplicaSets (empty), then their Services and Pods; analyses begin once all are available; at the
//! end analyses are ended, and Pods go after their delay. The end is recorded first and acted on in the next decision, as
//! everything is: so a crash between two writes changes nothing.
//!
//! Deliberate differences from Argo: an AnalysisTemplate that is missing is waited for before any Pod starts, instead of a
//! final error; a name that somebody else has is avoided with a number behind it; an experiment that is terminated before a
//! required analysis had a verdict is Inconclusive, not Successful (S12).

use std::collections::BTreeSet;

use sluice_crds::experiment::{ExperimentRecord, ExperimentStatus};
use sluice_crds::object::{Kind, ObjectRef};

use crate::analysis::arguments;
use crate::plan::{Decision, Plan, Reads, Reconciler, Violation, Wake};
use crate::report::Report;
use crate::rollout::Action;
use crate::view::{ExperimentView, Lookup};

mod analyses;
mod fencing;
mod names;
mod situation;
mod status;
mod traffic;
mod verdict;
mod versions;

use fencing::Fence;
use situation::Situation;

/// Reconciles Experiments.
#[derive(Clone, Copy, Debug)]
pub enum ExperimentReconciler {}

/// Slow work of an Experiment outside the cluster: none; measurements are tasks of AnalysisRuns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Task {}

type Decided = Decision<ExperimentReconciler>;

impl Reconciler for ExperimentReconciler {
    type Object = ExperimentRecord;
    type View = ExperimentView;
    type Status = ExperimentStatus;
    type Action = Action;
    type Task = Task;

    /// The Services that its versions want or had, and the AnalysisTemplates that it names itself. Templates that those name
    /// are the shell's to follow.
    fn reads(experiment: &ExperimentRecord) -> Reads {
        let namespace = &experiment.meta.namespace;
        let services = names::services(experiment);
        let services =
            services.into_iter().map(|name| ObjectRef::namespaced(Kind::SERVICE, namespace, name));
        let templates = experiment.spec.analyses.iter().map(|analysis| {
            let name = &analysis.template_name;
            if analysis.cluster_scope == Some(true) {
                ObjectRef::cluster(Kind::CLUSTER_ANALYSIS_TEMPLATE, name)
            } else {
                ObjectRef::namespaced(Kind::ANALYSIS_TEMPLATE, namespace, name)
            }
        });
        Reads { objects: services.chain(templates).collect() }
    }

    fn decide(view: &ExperimentView) -> Decided {
        decide(view)
    }

    fn audit(view: &ExperimentView, decision: &Decided) -> Vec<Violation> {
        crate::audit::audit_experiment(view, decision)
    }
}

fn decide(view: &ExperimentView) -> Decided {
    let mut report = Report::default();
    if let Some(stop) = fencing::stop(view) {
        report.problem(stop, "the Lease is being read; if it is lost, this process stops");
        return still(view, report);
    }
    if view.experiment.meta.deletion_timestamp.is_some() {
        return still(view, report);
    }
    let problems = sluice_crds::validate::experiment(&view.experiment.spec);
    if !problems.is_empty() {
        return invalid(view, &problems, report);
    }
    if let Some(unread) = unread(view) {
        report.waits(format!("the first reading of {unread}"), None);
        return still(view, report);
    }
    progress(view, report)
}

/// What has not been read yet.
fn unread(view: &ExperimentView) -> Option<String> {
    let service = |(name, lookup): (&String, &Lookup<_>)| {
        matches!(lookup, Lookup::Unknown).then(|| format!("Service `{name}`"))
    };
    let named: Vec<_> = view.experiment.spec.analyses.iter().map(arguments::template_of).collect();
    let template = || {
        let wanted = arguments::references(&named, &view.templates).into_iter();
        let mut unknown =
            wanted.filter(|name| matches!(view.templates.get(name), None | Some(Lookup::Unknown)));
        unknown.next().map(|name| format!("AnalysisTemplate `{}`", name.template_name))
    };
    view.services.iter().find_map(service).or_else(template)
}

/// The passes, in order.
fn progress(view: &ExperimentView, mut report: Report) -> Decided {
    let s = Situation::observe(view);
    let next = status::next(&s, &mut report);
    let sets = versions::changes(&s, &mut report);
    let runs = analyses::changes(&s);
    let mut plan = Plan::empty();
    plan.then(sets.actions);
    plan.then(runs);
    let mut wake = [next.wake, sets.wake].into_iter().fold(None, Wake::earliest);
    let status_write = status::write(view, &next.status, &mut wake);
    if (!plan.is_empty() || status_write.is_some())
        && let Fence::Touch(touches) = fencing::fence(view)
    {
        report.waits("objects to carry the stamp of this term of leadership", None);
        plan = Plan::empty();
        plan.then(touches);
        return Decision { plan, ..still(view, report) };
    }
    report.decided = plan.actions().map(ToString::to_string).collect();
    Decision {
        plan,
        tasks: BTreeSet::new(),
        notices: if status_write.is_some() { next.notices } else { Vec::new() },
        status_write,
        status: next.status,
        wake,
        report,
    }
}

/// What there is stays, and the condition `InvalidSpec` says what is wrong.
fn invalid(
    view: &ExperimentView,
    found: &[sluice_crds::validate::Problem],
    mut report: Report,
) -> Decided {
    for problem in found {
        let hint = problem.hint.clone().unwrap_or_default();
        report.problem(format!("{}: {}", problem.path.as_str(), problem.message), hint);
    }
    let (next, notices) = status::invalid(view, found);
    let mut wake = None;
    let status_write = status::write(view, &next, &mut wake);
    if status_write.is_some()
        && let Fence::Touch(touches) = fencing::fence(view)
    {
        let mut plan = Plan::empty();
        plan.then(touches);
        return Decision { plan, ..still(view, report) };
    }
    Decision {
        notices: if status_write.is_some() { notices } else { Vec::new() },
        status_write,
        status: next,
        wake,
        ..still(view, report)
    }
}

/// Nothing is written.
fn still(view: &ExperimentView, report: Report) -> Decided {
    Decision {
        plan: Plan::empty(),
        tasks: BTreeSet::new(),
        status_write: None,
        status: view.experiment.status.clone(),
        notices: Vec::new(),
        wake: None,
        report,
    }
}

#[cfg(test)]
mod tests;
