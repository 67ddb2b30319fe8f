//! A blue-green update: two full sets, and one Service that is switched (`spec-rollouts` 5).
//!
//! [`progress`] has the passes in order. The active Service is the destination of all users, so what holds for weight holds for
//! it as a whole: it is switched only onto a set that has all its Pods; the set that it leaves keeps its size for a while; an
//! abort begins with switching it back. Unlike in Argo nothing of the failed version has to be healthy for that
//! (`spec-rollouts` 11.1, 1).

use std::ops::Deref;

use chrono::{DateTime, Duration, Utc};
use sluice_crds::labels;
use sluice_crds::rollout::strategy::BlueGreenStrategy;

use super::action::Role;
use super::analysis::{self, Purpose, Verdicts, Wanted};
use super::pause::{self, PauseState};
use super::routes::{Edits, instant_of};
use super::situation::{Roles, Set};
use super::{
    Decided, Outcome, abort, births, conclude, deadline, departures, history, order, said, upkeep,
};
use crate::plan::{Wake, WakeReason};
use crate::report::Report;
use crate::view::{EndpointCounts, RolloutView, ServiceRecord};

mod record;
mod sizes;
mod switches;
mod transition;

pub(crate) use record::{Switched, is_in_time, marks, pass_check_point, record, serves, waits_for};

/// A Service of the strategy, as observed.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub(crate) role: Role,
    pub(crate) service: &'a ServiceRecord,
    endpoints: Option<&'a EndpointCounts>,
}

impl<'a> Lane<'a> {
    fn of(view: &'a RolloutView, role: Role, name: Option<&str>) -> Option<Self> {
        let name = name.filter(|name| !name.is_empty())?;
        let service = view.services.get(name)?.present()?;
        Some(Self { role, service, endpoints: view.endpoints.get(name) })
    }

    /// The revision that it selects; `None` if it does not tell revisions apart (yet).
    fn hash(&self) -> Option<&'a str> {
        self.service.hash()
    }

    /// Ready Pods of the revision that its endpoints list.
    fn lists(&self, hash: &str) -> u32 {
        self.endpoints.map_or(0, |endpoints| endpoints.of(hash))
    }

    fn switched_at(&self) -> Option<DateTime<Utc>> {
        instant_of(&self.service.meta, labels::SWITCHED_AT)
    }
}

/// The roles of a blue-green update.
pub(crate) struct BlueGreen<'a> {
    roles: &'a Roles<'a>,
    pub(crate) strategy: &'a BlueGreenStrategy,
    /// Service of the users.
    pub(crate) active: Option<Lane<'a>>,
    /// Service of those who look at the new version first, if the strategy names one.
    pub(crate) preview: Option<Lane<'a>>,
}

impl<'a> Deref for BlueGreen<'a> {
    type Target = Roles<'a>;

    fn deref(&self) -> &Roles<'a> {
        self.roles
    }
}

impl<'a> BlueGreen<'a> {
    pub(crate) fn of(roles: &'a Roles<'a>, strategy: &'a BlueGreenStrategy) -> Self {
        let lane = |role, name: &Option<String>| Lane::of(roles.view, role, name.as_deref());
        Self {
            roles,
            strategy,
            active: lane(Role::Active, &strategy.active_service),
            preview: lane(Role::Preview, &strategy.preview_service),
        }
    }

    /// The revision that users reach; `None` if the active Service does not tell revisions apart (yet).
    fn reached(&self) -> Option<&'a str> {
        self.active.and_then(|lane| lane.hash())
    }

    /// Its ReplicaSet.
    fn reached_set(&self) -> Option<Set<'a>> {
        self.reached().and_then(|hash| self.view.owned(hash))
    }

    /// Whether users reach the revision of `spec.template`.
    fn is_switched(&self) -> bool {
        self.reached() == Some(self.hash.as_str())
    }

    /// Whether nothing is to move forward: the user's pause, or one for lack of a verdict.
    fn is_halted(&self) -> bool {
        self.is_paused_by_user() || self.has_pause(pause::INCONCLUSIVE)
    }

    /// Whether pre-promotion analysis and pause are on record as passed.
    fn has_passed(&self) -> bool {
        let status = self.status().blue_green.as_ref();
        status.and_then(|status| status.scale_up_preview_check_point) == Some(true)
    }

    /// Size that the current set should have now: all, or `previewReplicaCount` until the pause before the switch is over.
    fn wanted_size(&self) -> u32 {
        let Some(count) = self.strategy.preview_replica_count else { return self.n };
        let whole = self.is_promoted()
            || self.is_first()
            || self.skips_steps()
            || self.is_switched()
            || self.reached_set().is_none()
            || self.n == 0;
        if whole {
            return self.n;
        }
        let count = u32::try_from(count).unwrap_or(0);
        match (self.has_passed() && !seeded!(PreviewStaysSmall), self.is_paused_by_user()) {
            (false, _) => count,
            (true, false) => self.n,
            // What is there stays: a pause takes nothing away.
            (true, true) => count.max(self.current.map_or(0, |rs| rs.replicas.min(self.n))),
        }
    }

    /// Whether the current set has the size that it should have now, and all Pods of it are available.
    fn is_ready(&self) -> bool {
        let wanted = self.wanted_size();
        self.current.is_some_and(|rs| rs.replicas == wanted && rs.available() == wanted)
    }

    /// Whether the current set can take all users: full size, all available.
    fn is_saturated(&self) -> bool {
        let n = if seeded!(SwitchUnsaturated) { self.n.min(1) } else { self.n };
        self.current.is_some_and(|rs| rs.replicas >= n && rs.available() >= n)
    }

    /// Where the pause before the switch stands; `None` if the strategy asks for none.
    ///
    /// As in Argo, `autoPromotionSeconds` counts only while `autoPromotionEnabled` is not false.
    fn pause(&self) -> Option<PauseState> {
        let by_itself = self.strategy.auto_promotion_enabled.unwrap_or(true);
        let seconds = i64::from(self.strategy.auto_promotion_seconds.unwrap_or(0).max(0));
        let length = by_itself.then(|| Duration::seconds(seconds));
        let none = length == Some(Duration::zero());
        (!none).then(|| pause::state_of(self, pause::BLUE_GREEN, length))
    }

    /// Whether the pre-promotion analysis lets the update go on.
    fn is_judged_before(&self, verdicts: &Verdicts) -> bool {
        self.strategy.pre_promotion_analysis.is_none()
            || seeded!(SwitchUnjudged)
            || verdicts.succeeded(Purpose::PrePromotion)
            || self.has_passed()
            || self.skips_steps()
    }

    /// Whether the post-promotion analysis lets the update become the stable one.
    fn is_judged_after(&self, verdicts: &Verdicts) -> bool {
        self.strategy.post_promotion_analysis.is_none()
            || seeded!(PromoteUnjudged)
            || verdicts.succeeded(Purpose::PostPromotion)
            || self.skips_steps()
    }

    /// Whether nothing but Pods stands between the new version and the users.
    fn is_cleared(&self, verdicts: &Verdicts) -> bool {
        if self.skips_steps() || self.has_passed() {
            return true;
        }
        // With a preview of its own size the check point is recorded first, and the set grows.
        self.strategy.preview_replica_count.is_none()
            && self.is_judged_before(verdicts)
            && (self.pause().is_none_or(|state| state == PauseState::Over)
                || seeded!(SwitchInPause))
    }

    /// Whether the update waits for a verdict, a person, or a moment, not for Pods: no time without progress is counted then.
    pub(crate) fn awaits_judgement(&self) -> bool {
        let status = self.status().blue_green.as_ref();
        let run = status.and_then(|status| {
            if self.is_switched() {
                status.post_promotion_analysis_run_status.as_ref()
            } else {
                status.pre_promotion_analysis_run_status.as_ref()
            }
        });
        // A run that goes on judges the loss of Pods, too.
        let judging = run.is_some_and(record::goes_on);
        judging || self.is_ready()
    }

    /// Whether proxies know what the Service selects; else when they will.
    fn confirmed(&self, lane: Lane<'_>) -> Result<(), Wake> {
        match lane.switched_at().map(|at| at + self.view.config.switch_confirmation) {
            Some(at) if self.now() < at => Err(Wake { at, reason: WakeReason::RouteConfirmed }),
            Some(_) | None => Ok(()),
        }
    }
}

/// The passes, in order.
pub(super) fn progress(view: &RolloutView, s: &BlueGreen<'_>, mut report: Report) -> Decided {
    let mut wake: Option<Wake> = None;
    let verdicts = analysis::verdicts(s);
    let abort = abort::find(s, &verdicts);
    let transition = transition::transition(s, &verdicts, &abort, &mut report, &mut wake);

    let births = births(view, s);
    let switches = switches::decide(s, &verdicts, &abort);
    let mut capacity = sizes::capacity(s, &abort);
    departures(s, &mut capacity, &mut report, &mut wake);
    let wanted = wanted_runs(s, &mut wake);
    let mut rest = upkeep(s);
    rest.extend(analysis::starts_and_ends(s, &wanted, &verdicts, &abort));
    rest.extend(capacity.deadlines.clone());
    rest.extend(history::deletions(s, &verdicts));

    let Edits { actions: back, fights: of_back } = &switches.back;
    let fights = [of_back, &switches.on.fights, &capacity.fights].map(Vec::as_slice).concat();
    let retreats = !back.is_empty() && !seeded!(UsersBackLast);
    let plan = order(births, switches.back.clone(), retreats, switches.on, &capacity, rest);
    let switched = Switched::after(s, plan.actions());
    let contended = said(&fights, &mut report, &mut wake);
    if let Some(what) = switches.waits {
        report.waits(what, None);
    }
    for (what, until) in &capacity.waits {
        report.waits(what.clone(), Some(*until));
    }
    for due in [&capacity.wake, &deadline::wake(s)] {
        wake = Wake::earliest(wake, due.clone());
    }

    let inputs = super::status::Inputs {
        part: super::status::Part::BlueGreen(s, &switched),
        traffic: None,
        verdicts: &verdicts,
        transition: &transition,
        routed: None,
        contended: &contended,
    };
    let (next, notices) = super::status::next(s, &inputs);
    let weight = if s.is_switched() { 100 } else { 0 };
    let outcome = Outcome { plan, transition: &transition, weight, status: next, notices };
    conclude(view, s, outcome, wake, report)
}

/// The runs that should be there: before the switch once the preview can be looked at, after it once proxies know of it.
fn wanted_runs<'a>(s: &BlueGreen<'a>, wake: &mut Option<Wake>) -> Vec<Wanted<'a>> {
    let paused = s.status().pause_conditions.iter().flatten().next().is_some();
    let (purpose, analysis, lane, pods) = if s.is_switched() {
        let analysis = s.strategy.post_promotion_analysis.as_ref();
        (Purpose::PostPromotion, analysis, s.active, s.is_saturated())
    } else {
        let analysis = s.strategy.pre_promotion_analysis.as_ref();
        // Users whose Service tells no revisions apart are sent to the stable one first.
        let pods = s.is_ready() && s.reached().is_some() && !s.has_passed();
        (Purpose::PrePromotion, analysis, s.preview, pods)
    };
    let Some(analysis) = analysis else { return Vec::new() };
    let mut is_due = pods && !paused && !s.is_paused_by_user();
    if let (true, Some(lane)) = (is_due, lane) {
        let shown = lane.hash() == Some(s.hash.as_str());
        is_due = shown && lane.lists(&s.hash) >= s.wanted_size();
        if let (true, Err(later)) = (is_due, s.confirmed(lane)) {
            is_due = false;
            *wake = Wake::earliest(wake.take(), Some(later));
        }
    }
    vec![Wanted { purpose, analysis, is_due }]
}
