//! What is searched: a strategy, and a budget for each thing that may go wrong.

use super::laws::Limits;

/// What a user may do, each once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Toggle {
    /// Asks for an abort.
    Abort,
    /// Retries an aborted update.
    Retry,
    /// Writes a third template.
    NewRevision,
    /// Writes the first template again.
    BackToStable,
    /// Asks for full promotion.
    PromoteFull,
    /// Ends the present pause.
    Resume,
    /// Sets `spec.paused`.
    Pause,
    /// Takes `spec.paused` back.
    Unpause,
    /// Sets `spec.replicas`.
    Replicas(u8),
}

/// A step of the strategy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// `setWeight`.
    Weight(u8),
    /// `pause` of 30 seconds.
    Wait,
    /// `pause` without end.
    Pause,
    /// `setCanaryScale` with `replicas`.
    Scale(u8),
    /// `setCanaryScale` with `weight`.
    ScaleShare(u8),
    /// `setCanaryScale` with `matchTrafficWeight`.
    FollowWeight,
    /// `analysis` with one measurement.
    Analysis,
    /// `experiment` with one version of one Pod.
    Experiment,
    /// `setHeaderRoute`.
    Header,
    /// `setHeaderRoute` that takes the route away.
    NoHeader,
    /// `setMirrorRoute`.
    Mirror,
}

/// What tells the two versions apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routing {
    /// Two Services.
    Hosts,
    /// Two Services that swap roles at each promotion: `pingPong`.
    PingPong,
    /// Two subsets of a DestinationRule.
    Subsets,
    /// Nothing but the number of Pods: `maxSurge`, `maxUnavailable`.
    Basic(u8, u8),
    /// One Service that is switched, of another strategy: `blueGreen`.
    BlueGreen(BlueGreen),
}

impl Routing {
    /// Whether users reach a version by what is written, not by the number of its Pods.
    pub(super) fn is_routed(self) -> bool {
        !matches!(self, Self::Basic(..))
    }
}

/// A blue-green strategy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlueGreen {
    /// Whether there is a preview Service.
    pub preview: bool,
    /// What comes before the switch.
    pub pause: Promotion,
    /// Whether an analysis judges before the switch.
    pub before: bool,
    /// Whether an analysis judges after the switch.
    pub after: bool,
    /// `previewReplicaCount`.
    pub preview_replicas: Option<u8>,
    /// Whether the former version goes at once: `scaleDownDelaySeconds` of 0.
    pub hurries: bool,
}

/// How users get to the new version of a blue-green strategy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Promotion {
    /// At once.
    #[default]
    Auto,
    /// After 30 seconds: `autoPromotionSeconds`.
    Wait,
    /// When a person says so: `autoPromotionEnabled` of false.
    Person,
}

/// Which routes of the VirtualService are managed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// One HTTP route.
    #[default]
    Http,
    /// One TCP route.
    Tcp,
    /// One HTTP route, one TLS route.
    HttpAndTls,
}

/// What somebody else may write, each once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Foreign {
    /// The canary's weight; the stable destination gets the rest.
    Weight(u8),
    /// The stable Service, or both subsets, tell no revisions apart any more.
    Stable,
    /// Likewise the canary's Service.
    Canary,
    /// `spec.replicas` of the ReplicaSet that was there first.
    Size(u8),
}

/// What may become of an analysis, besides that it passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Answers {
    /// Answers that fail it.
    pub bad: u8,
    /// Times that the metrics server cannot be reached.
    pub unreachable: u8,
    /// Deletions of a run.
    pub vanished: u8,
}

/// The rollout, how much may go wrong, and how far to search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// `spec.replicas`.
    pub replicas: u8,
    /// The strategy's steps.
    pub steps: Vec<Step>,
    /// What tells the versions apart.
    pub routing: Routing,
    /// Which routes are managed.
    pub protocol: Protocol,
    /// `dynamicStableScale`.
    pub dynamic: bool,
    /// Whether an analysis runs beside the steps.
    pub background: bool,
    /// Writes whose outcome is unknown.
    pub unknown: u8,
    /// Writes that arrive twice.
    pub duplicates: u8,
    /// Crashes.
    pub crashes: u8,
    /// Pods that fail.
    pub pod_failures: u8,
    /// Whether Pods become available one by one, too.
    pub one_by_one: bool,
    /// Takeovers by the second process: 0 or 1.
    pub takeovers: u8,
    /// Whether watches and processes may stand still; only in the order of disturbances.
    pub stalls: bool,
    /// What the user may do.
    pub toggles: Vec<Toggle>,
    /// What may become of analyses.
    pub answers: Answers,
    /// What somebody else may write.
    pub foreign: Vec<Foreign>,
    /// In which order to search.
    pub order: Order,
    /// States after which to stop.
    pub max_states: usize,
}

impl Default for Bounds {
    /// Two Pods, one step, two Services, and nothing goes wrong.
    fn default() -> Self {
        Self {
            replicas: 2,
            steps: vec![Step::Weight(50)],
            routing: Routing::Hosts,
            protocol: Protocol::Http,
            dynamic: false,
            background: false,
            unknown: 0,
            duplicates: 0,
            crashes: 0,
            pod_failures: 0,
            one_by_one: false,
            takeovers: 0,
            stalls: false,
            toggles: Vec::new(),
            answers: Answers::default(),
            foreign: Vec::new(),
            order: Order::Events,
            max_states: 100_000_000,
        }
    }
}

impl Bounds {
    pub(super) fn is_judged(&self) -> bool {
        let beside_a_switch = match self.routing {
            Routing::BlueGreen(of) => of.before || of.after,
            Routing::Hosts | Routing::PingPong | Routing::Subsets | Routing::Basic(..) => false,
        };
        let by_step = |step: &Step| matches!(step, Step::Analysis | Step::Experiment);
        self.background || beside_a_switch || self.steps.iter().any(by_step)
    }

    pub(super) fn limits(&self) -> Limits {
        let asked = self.toggles.iter().filter_map(|toggle| match toggle {
            Toggle::Replicas(replicas) => Some(u32::from(*replicas)),
            _ => None,
        });
        let n = u32::from(self.replicas);
        let (surge, unavailable) = match self.routing {
            Routing::Basic(surge, unavailable) => (u32::from(surge), u32::from(unavailable)),
            Routing::Hosts | Routing::PingPong | Routing::Subsets | Routing::BlueGreen(_) => (0, 0),
        };
        Limits {
            is_routed: self.routing.is_routed(),
            surge,
            unavailable,
            least: asked.clone().chain([n]).min().unwrap_or(n),
            most: asked.chain([n]).max().unwrap_or(n),
        }
    }
}

/// In which order to search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// By the number of events: everything near the undisturbed run.
    Events,
    /// By the number of disturbances: from each, things take their calm course to the end, where they must have come to a good
    /// rest. Reaches deep with few disturbances, at most this many.
    Disturbances(usize),
}
