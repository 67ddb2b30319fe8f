//! The rollout engine: what a Rollout does next.
//!
//! [`decide`](crate::plan::Reconciler::decide) below is the table of contents. It observes roles and traffic, finds the one
//! transition of the status, and collects actions by kind; then it orders them: take weight away, add capacity, switch what
//! destinations resolve to, move weight, remove capacity. A later kind waits for the next view while an earlier one has work,
//! so that no action of a plan is judged on a state that another action of it changes.
//!
//! The two strategies differ in what moves traffic and what a step is: `progress` has the passes of a canary, `blue_green` its
//! own. All else is the same for both, and looks at the `Roles` only.

use std::collections::BTreeSet;

use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::steps::TemplateRef;
use sluice_crds::rollout::strategy::CanaryStrategy;
use sluice_crds::rollout::{RolloutRecord, RolloutStatus};

use crate::plan::{Decision, Notice, Plan, Reads, Reconciler, Violation, Wake};
use crate::report::Report;
use crate::view::{RolloutView, workload_of};

mod abort;
mod action;
mod affinity;
mod analysis;
#[cfg(debug_assertions)]
pub mod arithmetic;
mod blue_green;
mod canary;
mod capacity;
mod contention;
mod deadline;
mod destinations;
mod duration;
mod dynamic;
mod ephemeral;
mod events;
mod experiment;
mod fencing;
mod history;
mod metadata;
mod pause;
mod problems;
mod release;
mod replicas;
mod restart;
mod routes;
mod rules;
mod services;
mod situation;
mod spec_facts;
mod split;
mod status;
mod steps;
pub mod template_hash;
mod versions;
mod workload;

pub use action::{Action, Role, Target};
pub use duration::{Ended, ended};
pub use ephemeral::template_of;
pub use routes::hosts;

use blue_green::BlueGreen;
use capacity::Capacity;
use contention::Fight;
use problems::Check;
use routes::{Edits, Traffic};
use situation::{Chosen, Roles, Situation};
use steps::Transition;

/// Reconciles Rollouts.
#[derive(Clone, Copy, Debug)]
pub enum RolloutReconciler {}

/// Slow work of a Rollout outside the cluster: none in this version; measurements are tasks of AnalysisRuns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Task {}

impl Reconciler for RolloutReconciler {
    type Object = RolloutRecord;
    type View = RolloutView;
    type Status = RolloutStatus;
    type Action = Action;
    type Task = Task;

    fn reads(object: &RolloutRecord) -> Reads {
        reads(object)
    }

    fn decide(view: &RolloutView) -> Decision<Self> {
        decide(view)
    }

    fn audit(view: &RolloutView, decision: &Decision<Self>) -> Vec<Violation> {
        crate::audit::audit(view, decision)
    }
}

type Decided = Decision<RolloutReconciler>;

/// Services, router objects and AnalysisTemplates that the spec names. Templates that those name are the shell's to follow.
fn reads(rollout: &RolloutRecord) -> Reads {
    let namespace = &rollout.meta.namespace;
    let mut objects = routes::reads(rollout);
    objects.extend(workload_of(rollout));
    if let Some(chosen) = Chosen::of(&rollout.spec.strategy) {
        for (_, name) in problems::services(chosen) {
            objects.insert(ObjectRef::namespaced(Kind::SERVICE, namespace, name));
        }
        for template in problems::templates(chosen) {
            objects.insert(if template.cluster_scope == Some(true) {
                ObjectRef::cluster(Kind::CLUSTER_ANALYSIS_TEMPLATE, template.template_name)
            } else {
                let name = template.template_name;
                ObjectRef::namespaced(Kind::ANALYSIS_TEMPLATE, namespace, name)
            });
        }
    }
    Reads { objects }
}

/// Returns every AnalysisTemplate that an experiment among the steps names.
pub fn trial_templates(canary: &CanaryStrategy) -> Vec<TemplateRef> {
    experiment::templates(canary).collect()
}

fn decide(view: &RolloutView) -> Decided {
    let resolved = workload::resolved(view);
    let view = &*resolved;
    let mut report = Report::default();
    if let Some(stop) = fencing::stop(view) {
        stopped(&stop, &mut report);
        return still(view, report);
    }
    if view.rollout.meta.deletion_timestamp.is_some() {
        return still(view, report);
    }
    match problems::check(view) {
        Check::Unread(what) => {
            report.waits(format!("the first reading of {what}"), None);
            still(view, report)
        }
        Check::Problems(found) => invalid(view, &found, report),
        Check::Unjudged(chosen, found) => {
            let s = Roles::observe(view, chosen);
            // Who judges the update cannot be asked; to take it back, nobody has to be.
            if abort::find(&s, &analysis::verdicts(&s)).is_on() {
                by_strategy(view, chosen, report)
            } else {
                invalid(view, &found, report)
            }
        }
        Check::Ready(chosen) => by_strategy(view, chosen, report),
    }
}

fn by_strategy(view: &RolloutView, chosen: Chosen<'_>, report: Report) -> Decided {
    match chosen {
        Chosen::Canary(canary) => progress(view, &Situation::observe(view, canary), report),
        Chosen::BlueGreen(strategy) => {
            let roles = Roles::observe(view, chosen);
            blue_green::progress(view, &BlueGreen::of(&roles, strategy), report)
        }
    }
}

/// The passes of a canary, in order.
fn progress(view: &RolloutView, s: &Situation<'_>, mut report: Report) -> Decided {
    let mut wake: Option<Wake> = None;
    let traffic = Traffic::observe(view, s.canary);
    if s.is_routed() && traffic.is_none() {
        report.problem("routes that cannot be read", "see the conditions of the Rollout");
        return still(view, report);
    }
    let traffic = traffic.as_ref();
    let verdicts = analysis::verdicts(s);
    let abort = abort::find(s, &verdicts);
    let transition = steps::transition(s, traffic, &verdicts, &abort, &mut report, &mut wake);

    let births = births(view, s);
    let split = traffic.map(|traffic| split::decide(s, traffic, &abort)).unwrap_or_default();
    let blind = verdicts.outage().is_some() && !s.is_promoted() && !s.skips_steps();
    let wanted = traffic.and_then(|traffic| split.wanted(s, traffic));
    let weights = match (traffic, &wanted) {
        (Some(traffic), Some(wanted))
            if blind && wanted.rises(traffic) && !seeded!(OutageIgnored) =>
        {
            Edits::default()
        }
        (Some(traffic), Some(wanted)) => routes::edits(s, traffic, wanted, abort.urgency()),
        _ => Edits::default(),
    };
    let switches = match s.is_changed() {
        true => Edits::default(),
        false => services::switches(s, traffic, &abort, &split.extra),
    };
    let mut capacity = canary::capacity(s, traffic, &abort);
    departures(s, &mut capacity, &mut report, &mut wake);
    let mut rest = upkeep(s);
    rest.extend(analysis::changes(s, &verdicts, &abort));
    rest.extend(experiment::changes(s, &verdicts, &abort));
    rest.extend(capacity.deadlines.clone());
    rest.extend(history::deletions(s, &verdicts));

    let retreats = traffic.is_some_and(|traffic| split.retreats(traffic)) && !s.is_promoted();
    let fights = [&weights.fights, &switches.fights, &capacity.fights].map(Vec::as_slice).concat();
    let plan = order(births, weights, retreats, switches, &capacity, rest);
    let routed = plan.actions().any(|action| matches!(action, Action::Route { .. }));
    let contended = said(&fights, &mut report, &mut wake);
    report.waiting.extend(waits(&split, &capacity));
    for due in [&split.wake, &capacity.wake, &deadline::wake(s)] {
        wake = Wake::earliest(wake, due.clone());
    }

    let inputs = status::Inputs {
        part: status::Part::Canary(s),
        traffic,
        verdicts: &verdicts,
        transition: &transition,
        routed: wanted.as_ref().filter(|_| routed),
        contended: &contended,
    };
    let (next, notices) = status::next(s, &inputs);
    let weight = traffic.map_or(0, |traffic| {
        traffic.extra.values().copied().max().unwrap_or(0).max(traffic.canary.weight)
    });
    let outcome = Outcome { plan, transition: &transition, weight, status: next, notices };
    conclude(view, s, outcome, wake, report)
}

/// What comes before everything: defaults, adoption, the ReplicaSet of a new template.
fn births(view: &RolloutView, s: &Roles<'_>) -> Vec<Action> {
    let mut births: Vec<Action> = metadata::adoptions(view);
    if births.is_empty() {
        births.extend(metadata::creation(s));
    }
    let first = metadata::default_replicas(view);
    if first.is_some() { first.into_iter().collect() } else { births }
}

/// Adds what goes once sizes are right: Pods of a Deployment that gives way, Pods that are restarted.
fn departures(
    s: &Roles<'_>,
    capacity: &mut Capacity,
    report: &mut Report,
    wake: &mut Option<Wake>,
) {
    match workload::retirement(s) {
        Some(Ok(action)) => capacity.down.push(action),
        Some(Err(fight)) => capacity.fights.push(*fight),
        None => {}
    }
    if capacity.down.is_empty() {
        capacity.down.extend(restart::evictions(s, report, wake));
    }
}

/// What is kept as it should be besides traffic and sizes.
fn upkeep(s: &Roles<'_>) -> Vec<Action> {
    let mut actions = metadata::upkeep(s);
    actions.extend(release::releases(s.view));
    actions.extend(affinity::update(s));
    actions.extend(ephemeral::upkeep(s));
    actions
}

/// Says which fields are left alone, or wait, because somebody else keeps changing them.
fn said(fights: &[Fight], report: &mut Report, wake: &mut Option<Wake>) -> Vec<String> {
    let mut contended = Vec::new();
    for fight in fights {
        *wake = Wake::earliest(wake.take(), Some(fight.wake()));
        if fight.given_up {
            report.problem(fight.message(), "stop the other writer");
            contended.push(fight.message());
        } else {
            let (what, until) = fight.wait();
            report.waits(what, Some(until));
        }
    }
    contended
}

/// Puts actions in order. Weight that is taken away goes first and alone; then each kind waits for the kinds before it, also
/// while somebody else keeps one of them from being done.
fn order(
    births: Vec<Action>,
    weights: Edits,
    retreats: bool,
    switches: Edits,
    capacity: &Capacity,
    rest: Vec<Action>,
) -> Plan<Action> {
    let mut plan = Plan::empty();
    let mut rest = rest;
    let is_due = |edits: &Edits| !edits.actions.is_empty() || !edits.fights.is_empty();
    if seeded!(OrderUpkeepFirst) {
        plan.then(std::mem::take(&mut rest));
    }
    if seeded!(OrderAllTogether) {
        plan.then(births);
        plan.then(capacity.up.clone());
        plan.then(switches.actions);
        plan.then(weights.actions);
        plan.then(capacity.down.clone());
    } else if seeded!(OrderWeightBeforeSwitch) && !weights.actions.is_empty() {
        plan.then(weights.actions);
    } else if seeded!(OrderSwitchBeforeCapacity) && !switches.actions.is_empty() {
        plan.then(switches.actions);
    } else if seeded!(OrderDownBeforeWeight) && !capacity.down.is_empty() {
        plan.then(capacity.down.clone());
    } else if retreats && !weights.actions.is_empty() && !seeded!(OrderAbortLast) {
        plan.then(weights.actions);
    } else if !births.is_empty() {
        plan.then(births);
    } else if !capacity.up.is_empty() || capacity.lacks {
        plan.then(capacity.up.clone());
    } else if is_due(&switches) {
        plan.then(switches.actions);
    } else if is_due(&weights) {
        plan.then(weights.actions);
    } else {
        plan.then(capacity.down.clone());
    }
    let mut taken: BTreeSet<ObjectRef> =
        plan.actions().map(|action| action.target().object.clone()).collect();
    // An object is written once in a plan: its version is known only before the first write.
    rest.retain(|action| taken.insert(action.target().object.clone()) || seeded!(OrderTwice));
    plan.then(rest);
    plan
}

fn waits(split: &split::Split, capacity: &Capacity) -> Vec<crate::report::Waiting> {
    let mut report = Report::default();
    if let Some(what) = &split.waits {
        report.waits(what.clone(), split.wake.as_ref().map(|wake| wake.at));
    }
    for (what, until) in &capacity.waits {
        report.waits(what.clone(), Some(*until));
    }
    report.waiting
}

/// What the passes found, before the fence.
struct Outcome<'a> {
    plan: Plan<Action>,
    transition: &'a Transition,
    /// Share of the new version as observed, or of another one that is on trial.
    weight: u32,
    status: RolloutStatus,
    notices: Vec<Notice>,
}

/// Puts the fence before the plan, and the status behind it.
fn conclude(
    view: &RolloutView,
    s: &Roles<'_>,
    outcome: Outcome<'_>,
    mut wake: Option<Wake>,
    mut report: Report,
) -> Decided {
    let Outcome { plan, transition, weight, status: next, notices } = outcome;
    // While the new version has users, an abort may come at any time: it must not wait for touches.
    let exposed = !s.is_promoted() && weight > 0;
    let misdated = fencing::has_misdated(view);
    let decisive = status::is_decisive(transition) && !seeded!(StatusUnfenced);
    if !plan.is_empty() || exposed || misdated || decisive {
        let touches = fencing::touches(view, Some(&s.hash));
        if !touches.is_empty() {
            report.waits("objects to carry the stamp of this term of leadership", None);
            let mut first = fenced_first(view, touches, report);
            if seeded!(TouchWithPlan) {
                first.plan.stages.extend(plan.stages);
            }
            return first;
        }
    }
    report.decided = plan.actions().map(ToString::to_string).collect();
    // A plan that writes the Rollout itself changes its version: the status follows in the next decision.
    let writes_itself = plan.actions().any(|action| action.target().object == view.object());
    let status_write = if writes_itself { None } else { status::write(view, &next, &mut wake) };
    Decision {
        plan,
        tasks: BTreeSet::new(),
        notices: if status_write.is_some() { notices } else { Vec::new() },
        status_write,
        status: next,
        wake,
        report,
    }
}

fn fenced_first(view: &RolloutView, touches: Vec<Action>, report: Report) -> Decided {
    let mut plan = Plan::empty();
    plan.then(touches);
    Decision { plan, ..still(view, report) }
}

/// Nothing is written.
fn still(view: &RolloutView, report: Report) -> Decided {
    Decision {
        plan: Plan::empty(),
        tasks: BTreeSet::new(),
        status_write: None,
        status: view.rollout.status.clone(),
        notices: Vec::new(),
        wake: None,
        report,
    }
}

fn stopped(stop: &fencing::Stop, report: &mut Report) {
    match stop {
        fencing::Stop::Lost(object, stamp) => report.problem(
            format!("leadership: {object} carries the stamp {stamp} of a newer term"),
            "this process has lost the lease and must stop",
        ),
        fencing::Stop::Foreign(object, stamp) => report.problem(
            format!("leadership: {object} carries the stamp {stamp} of a Lease that is not ours"),
            "the Lease is being read; if it is ours, the stamp is replaced",
        ),
    }
}

/// Traffic stays, and the status says what is wrong.
fn invalid(view: &RolloutView, found: &[problems::Problem], mut report: Report) -> Decided {
    for problem in found {
        report.problem(format!("{}: {}", problem.at, problem.message), problem.hint.clone());
    }
    let (next, notices) = status::invalid(view, found);
    let mut wake = None;
    let status_write = status::write(view, &next, &mut wake);
    Decision {
        notices: if status_write.is_some() { notices } else { Vec::new() },
        status_write,
        status: next,
        wake,
        ..still(view, report)
    }
}

#[cfg(test)]
mod tests;
