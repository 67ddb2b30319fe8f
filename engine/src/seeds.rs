//! Defects that can be switched on, one at a time, to see that the checks bite. Development builds only: `seeded!` is `false`
//! in a release, and this module is not there.
//!
//! A defect is on in one thread, for the duration of [`with`]; without it decisions are what their view says.

use std::cell::Cell;

thread_local! {
    static PRESENT: Cell<Option<Defect>> = const { Cell::new(None) };
}

/// Found in a binary, it tells that the binary can be made to misbehave; `cargo xtask tidy` looks for it in releases.
pub const MARK: &str = "sluice: defects can be seeded in this build";

/// Keeps the mark where the defects are.
#[used]
static HERE: &str = MARK;

/// Runs `work` with the defect.
pub fn with<T>(defect: Defect, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Defect>);
    impl Drop for Restore {
        fn drop(&mut self) {
            PRESENT.set(self.0);
        }
    }
    let _restore = Restore(PRESENT.replace(Some(defect)));
    work()
}

/// Whether the defect is on in this thread.
pub(crate) fn is_on(defect: Defect) -> bool {
    PRESENT.get() == Some(defect)
}

/// What a defect is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Area {
    /// The fence.
    Fence,
    /// The order of stages.
    Order,
    /// Weights, and what destinations resolve to.
    Traffic,
    /// Sizes and their arithmetic.
    Size,
    /// Steps, pauses, promotion, abort, status.
    Step,
    /// Analysis.
    Analysis,
    /// The Lease.
    Lease,
}

macro_rules! defects {
    ($($(#[doc = $what:literal])+ $name:ident $area:ident,)+) => {
        /// A defect.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Defect {
            $($(#[doc = $what])+ $name,)+
        }

        impl Defect {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns what is wrong with it, in a sentence.
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($what),+).trim_ascii(),)+
                }
            }

            /// Returns what it is about.
            pub fn area(self) -> Area {
                match self {
                    $(Self::$name => Area::$area,)+
                }
            }
        }
    };
}

defects! {
    /// Writes carry no uid and no resourceVersion.
    FenceWithoutPreconditions Fence,
    /// Nothing is touched at the start of a term.
    FenceWithoutTouch Fence,
    /// A stamp of a newer term stops nothing.
    FenceNewerTermIgnored Fence,
    /// After an unknown outcome any stamp of the term will do.
    FenceWithoutRenewal Fence,
    /// A stamp must show exactly the number of the decision, not at least the one that is needed.
    FenceEqualNumber Fence,
    /// Merge patches leave no stamp.
    StampNotLeft Fence,
    /// The Rollout itself is not touched.
    FenceWithoutRollout Fence,
    /// Routes, Services and DestinationRules are not touched.
    FenceWithoutRoutes Fence,
    /// ReplicaSets are not touched.
    FenceWithoutReplicaSets Fence,
    /// The stable ReplicaSet is not touched.
    FenceWithoutStable Fence,
    /// A touch leaves the instants of switches and routes as they are, though a late write may just have landed.
    TouchKeepsInstants Fence,
    /// A status that advances, promotes or aborts is written although its objects are not fenced.
    StatusUnfenced Fence,
    /// Touches share a plan with what relies on them.
    TouchWithPlan Fence,
    /// Users who go back wait for their turn behind capacity and switches.
    UsersBackLast Order,
    /// Weight that is taken away waits for its turn behind capacity and switches.
    OrderAbortLast Order,
    /// Weight moves before destinations are switched.
    OrderWeightBeforeSwitch Order,
    /// Destinations are switched before capacity is added.
    OrderSwitchBeforeCapacity Order,
    /// Capacity is removed before weight is gone.
    OrderDownBeforeWeight Order,
    /// Every kind of action goes into one plan, each stage behind the other.
    OrderAllTogether Order,
    /// Annotations and analyses come before traffic and capacity.
    OrderUpkeepFirst Order,
    /// An object may be written twice in a plan.
    OrderTwice Order,
    /// Weight rises although the metrics server cannot be reached.
    OutageIgnored Traffic,
    /// Weight stays on a canary that lost Pods.
    LostPodsIgnored Traffic,
    /// Weight stays on a canary without a Pod.
    DeadCanaryKept Traffic,
    /// Weight rises towards Pods that are not available (Argo's integer floor lets 5 % of 10 need none).
    RaiseUnready Traffic,
    /// Weight runs one step ahead.
    WeightOfNextStep Traffic,
    /// After a promotion weight never returns to the stable destination.
    WeightNeverGivenBack Traffic,
    /// Weight returns to the stable destination while that still reaches the former revision.
    GiveBackBlindly Traffic,
    /// Weight that was taken away comes back as soon as a Pod does.
    RegainAtOnce Traffic,
    /// Weight goes to the stable set whether or not it can carry it.
    LowerAtOnce Traffic,
    /// Weight goes to the stable destination while that reaches something else (bug ledger).
    AstrayIgnored Traffic,
    /// An abort leaves the weight where it is.
    RetreatNever Traffic,
    /// An abort moves all weight although the stable set cannot carry it.
    RetreatAll Traffic,
    /// Weight rises before EndpointSlices list the Pods.
    EndpointsIgnored Traffic,
    /// Weight rises before proxies can know what a destination was switched to.
    ConfirmationIgnored Traffic,
    /// The two weights do not add up to 100 (Argo Rollouts 3141).
    WeightsUnbalanced Traffic,
    /// What counts as still is the last change of weights, not of destinations.
    SwitchForgotten Traffic,
    /// The share that the stable destination sends to the canary's revision is forgotten.
    StableShareForgotten Traffic,
    /// A destination with weight is switched (Argo Rollouts 4564).
    SwitchUnderWeight Traffic,
    /// A destination is switched to Pods that are not there (Argo Rollouts 4195).
    SwitchOntoNothing Traffic,
    /// After an abort the canary destination stays on the dead revision (Argo Rollouts 1838).
    AbortKeepsTarget Traffic,
    /// Subsets are switched without regard for Pods and weight.
    SubsetsAtOnce Traffic,
    /// A field that somebody else keeps changing is written for ever.
    FightForever Traffic,
    /// Users are switched to a version that has not all its Pods.
    SwitchUnsaturated Traffic,
    /// Users are switched before the preview Service lists the Pods.
    SwitchUnlisted Traffic,
    /// Users and testers are switched in one plan.
    SwitchWithPreview Traffic,
    /// Testers are sent to a version without Pods.
    PreviewOfNothing Traffic,
    /// An abort leaves users where they are.
    UsersStay Traffic,
    /// Users go back only while the failed version is healthy (Argo Rollouts: a crash after the switch keeps them there).
    BackNeedsFailed Traffic,
    /// Users go back to a version without Pods.
    BackOntoNothing Traffic,
    /// A destination of TLS or TCP keeps its weight.
    OtherProtocolsForgotten Traffic,
    /// Full promotion gives the canary more than the stable set has given up.
    FullAtOnce Traffic,
    /// A stable set that grows gets weight before its Pods are listed.
    BackUnlisted Traffic,
    /// A route of a step stays after the abort.
    RuleAfterAbort Traffic,
    /// A route of a step stays after the promotion.
    RuleAfterPromotion Traffic,
    /// A route of a step leads to a canary that is not listed.
    RuleUnready Traffic,
    /// A route of a step comes one step late.
    RuleOneStepLate Traffic,
    /// The Services of a pair never swap roles.
    RolesNeverSwap Traffic,
    /// The Services of a pair are taken for what they were at first.
    RolesForgotten Traffic,
    /// The version that users reach is retired.
    ReachedVersionGoes Size,
    /// The failed version goes while users reach it.
    FailedVersionGoes Size,
    /// The former version goes without its delay.
    FormerGoesAtOnce Size,
    /// The former version goes before proxies follow the switch.
    FormerGoesUnsettled Size,
    /// The preview never gets its full size.
    PreviewStaysSmall Size,
    /// A stable set that follows its share forgets what it carries.
    StableForgetsPresent Size,
    /// A stable set that follows its share forgets what it is to carry.
    StableForgetsGoal Size,
    /// A stable set that follows its share has one Pod fewer.
    StableOneLess Size,
    /// A stable set that follows its share shrinks before proxies follow.
    StableShrinksAtOnce Size,
    /// An abort goes back in one step, not in those of the canary.
    WayBackInOne Size,
    /// An aborted canary keeps its Pods while the stable set grows.
    AbortedNeverDrains Size,
    /// A superseded set gives all its Pods back while it serves.
    FormerDrainsDry Size,
    /// A canary that only a route of a step leads to has no Pods.
    RuleWithoutPods Size,
    /// A share of Pods is rounded down.
    ShareRoundsDown Size,
    /// A share of Pods is one too many.
    ShareOneMore Size,
    /// The weight that Pods carry is rounded up.
    CarriedRoundsUp Size,
    /// A weight is in force one step late.
    WeightOneStepLate Size,
    /// A weight is in force one step early.
    WeightOneStepEarly Size,
    /// A setCanaryScale is in force one step late.
    ScaleOneStepLate Size,
    /// matchTrafficWeight does not end a setCanaryScale.
    MatchWeightIgnored Size,
    /// minPodsPerReplicaSet is not kept.
    LeastPodsIgnored Size,
    /// A threshold in percent may ask for no Pod at all.
    ThresholdMayBeZero Size,
    /// maxSurge in percent is rounded down.
    SurgeRoundsDown Size,
    /// maxUnavailable in percent is rounded up.
    UnavailableRoundsUp Size,
    /// With no surge and no unavailability nothing can move.
    NoRoomToMove Size,
    /// A division that nobody asked to be empty is empty.
    EmptyCanary Size,
    /// Of equally near divisions the last is taken.
    TieGoesLast Size,
    /// One Pod more than surge allows.
    SurgeOneMore Size,
    /// One Pod fewer than unavailability allows.
    UnavailableOneMore Size,
    /// Sets shrink on a status that does not describe their size.
    ShrinksUnobserved Size,
    /// The stable set shrinks while older ones still have Pods.
    OldSetsLast Size,
    /// The stable set shrinks as the canary grows (Argo Rollouts 3681).
    StableShrinksAlong Size,
    /// A set that a destination reaches is retired.
    ReachedSetRetired Size,
    /// Older sets go without their delay.
    OldSetsWithoutDelay Size,
    /// A canary shrinks below what its weight needs.
    SizeBelowWeight Size,
    /// A new template shrinks the set that it finds.
    ChangedTemplateShrinks Size,
    /// An aborted canary goes while it has weight.
    AbortedGoesWithWeight Size,
    /// An aborted canary goes before the stable set is whole.
    AbortedGoesBeforeStable Size,
    /// Older sets go even if fewer Pods than must be are left.
    SparesEverything Size,
    /// Capacity goes before proxies follow the last change of traffic.
    ScaleDownAtOnce Size,
    /// A scale-down deadline comes a second early.
    DeadlineEarly Size,
    /// A scale-down deadline stays on a set that is needed again.
    DeadlineStays Size,
    /// One revision fewer than the limit is kept.
    HistoryOneFewer Size,
    /// A paused Rollout hears no abort.
    PauseBeforeAbort Step,
    /// An abort is never recorded.
    AbortUnrecorded Step,
    /// An aborted update goes on.
    AbortedGoesOn Step,
    /// A retry is never recorded (Argo Rollouts 4694).
    RetryLost Step,
    /// A retry counts the runs of the attempt before it.
    RetryOldRuns Step,
    /// A setWeight step is over before all its Pods are there.
    StepWithoutPods Step,
    /// A setWeight step is over before the routes have its weight.
    StepWithoutWeight Step,
    /// A revision becomes stable before it has all traffic.
    PromoteWithoutWeight Step,
    /// A revision becomes stable before all its Pods are available.
    PromoteWithoutPods Step,
    /// A new revision begins at the step of the one before.
    ResetKeepsStep Step,
    /// A new revision is aborted from birth.
    ResetKeepsAbort Step,
    /// A template that is the stable one again begins at the first step.
    BackToStableWaits Step,
    /// A promotion is not counted.
    PromotionUncounted Step,
    /// A completed step takes the next one with it.
    StepTwice Step,
    /// observedGeneration runs ahead.
    ObservedAhead Step,
    /// Counts are written one by one.
    CountsAtOnce Step,
    /// Healthy before all traffic reaches the stable revision.
    HealthyEarly Step,
    /// A pause is cut short by the second that its start was rounded down.
    PauseShort Step,
    /// A pause that a person ended begins again (Argo Rollouts 720).
    PauseAgain Step,
    /// The pause before users are switched is passed over.
    SwitchInPause Step,
    /// A version becomes stable before its Service lists all Pods.
    PromoteUnlisted Step,
    /// The step of a route is over before the route is there.
    RuleStepAtOnce Step,
    /// The progress deadline aborts nothing.
    DeadlineIgnored Step,
    /// A failed analysis aborts nothing.
    FailureIgnored Analysis,
    /// The step of an analysis is over without it.
    AnalysisSkipped Analysis,
    /// An analysis in error counts as successful.
    ErrorIsSuccess Analysis,
    /// An inconclusive analysis counts as successful.
    InconclusiveGoesOn Analysis,
    /// A run that an abort ended counts after the retry (bug ledger).
    StoppedRunCounts Analysis,
    /// Runs of an update that was taken back go on.
    RunsGoOn Analysis,
    /// Users are switched without the analysis before.
    SwitchUnjudged Analysis,
    /// A version becomes stable without the analysis after the switch.
    PromoteUnjudged Analysis,
    /// The step of an experiment is over without it.
    TrialSkipped Analysis,
    /// A failed experiment aborts nothing.
    TrialFailureIgnored Analysis,
    /// An experiment that an abort ended counts after the retry.
    StoppedTrialCounts Analysis,
    /// Experiments of an update that was taken back go on.
    TrialGoesOn Analysis,
    /// NaN proves something (Flagger 1095).
    NanIsEvidence Analysis,
    /// One consecutive error more than the limit is let through.
    ErrorLimitLate Analysis,
    /// One failure more than the limit is let through.
    FailureLimitLate Analysis,
    /// One measurement more than the count is taken.
    CountLate Analysis,
    /// A server that cannot be reached counts as an error at once.
    OutageCountsAtOnce Analysis,
    /// A leader goes on after its renew deadline.
    LeaseOutlived Lease,
    /// A leader writes while it gives the Lease back.
    LeaseReleasedTooLate Lease,
    /// A renewal counts from its reply, not from when it was sent.
    LeaseFromReply Lease,
    /// A Lease is taken after half its duration.
    LeaseExpiresEarly Lease,
    /// The Lease is written without its version.
    LeaseWithoutVersion Lease,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_is_on_where_it_was_asked_for_and_nowhere_else() {
        assert!(!is_on(Defect::StepTwice));
        with(Defect::StepTwice, || {
            assert!(is_on(Defect::StepTwice) && !is_on(Defect::RetryLost));
            with(Defect::RetryLost, || assert!(is_on(Defect::RetryLost)));
            assert!(is_on(Defect::StepTwice));
            assert!(std::thread::spawn(|| !is_on(Defect::StepTwice)).join().unwrap());
        });
        assert!(!is_on(Defect::StepTwice));
        assert!(Defect::ALL.len() >= 60 && MARK.len() > 10);
        assert_eq!(Defect::StepTwice.what(), "A completed step takes the next one with it.");
    }
}
