//! The stories: what each user's Rollout is like, and what the user does again and again.

use sluice_e2e::stage::{Router, Web};

/// What the user of a lane does again and again, and how it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Pushes a version when the one before rests at the last step; promotes the last one.
    AtTheEnd,
    /// Pushes a version when the one before has reached the step; promotes the last one.
    InTheMiddle(i64),
    /// As [`Habit::AtTheEnd`], and ends the endless pause at the step.
    Promotes(i64),
    /// Pushes a version when the one before was taken back by its analysis.
    Fails,
    /// Goes back to the first version when the step is reached, and pushes the next when that is done.
    GoesBack(i64),
}

impl Habit {
    /// Whether the Rollout is in mid-canary from the first push to the end of the story.
    pub(crate) fn is_always_under_way(self) -> bool {
        !matches!(self, Self::Fails | Self::GoesBack(_))
    }
}

/// What an AnalysisTemplate of a lane is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Bad,
}

/// One Rollout and its user.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) name: &'static str,
    pub(crate) web: Web,
    pub(crate) habit: Habit,
    pub(crate) verdict: Verdict,
    /// Whether requests are sent and none may fail.
    pub(crate) loaded: bool,
    /// Whether the disturbed one comes from Git, through an Application that heals itself.
    pub(crate) delivered: bool,
}

const PAUSE: &str = "{pause: {duration: 500ms}}";
const JUDGE: &str = "{analysis: {templates: [{templateName: judge}]}}";

/// A `setWeight` and what follows it, for each weight, and an endless pause.
fn ramp(weights: &[u32], between: &[&str]) -> String {
    let step = |(number, weight): (usize, &u32)| {
        format!("{{setWeight: {weight}}}, {}", between[number % between.len()])
    };
    let steps: Vec<_> = weights.iter().enumerate().map(step).collect();
    format!("[{}, {{pause: {{}}}}]", steps.join(", "))
}

const FINE: [u32; 6] = [10, 25, 40, 55, 70, 85];
const COARSE: [u32; 4] = [20, 40, 60, 80];

fn lane(name: &'static str, router: Router, habit: Habit, steps: &str) -> Lane {
    let mut web = Web::new(router, steps);
    web.spec = "  revisionHistoryLimit: 3".to_owned();
    web.canary = match router {
        Router::None => "      maxSurge: 1\n      maxUnavailable: 0".to_owned(),
        _ => "      scaleDownDelaySeconds: 2\n      abortScaleDownDelaySeconds: 2".to_owned(),
    };
    Lane { name, web, habit, verdict: Verdict::Good, loaded: false, delivered: false }
}

impl Lane {
    fn replicas(mut self, replicas: u32) -> Self {
        self.web.replicas = replicas;
        self
    }

    fn loaded(mut self) -> Self {
        self.loaded = true;
        self
    }

    fn delivered(mut self) -> Self {
        self.delivered = true;
        self
    }

    fn judged(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    fn watched(mut self) -> Self {
        self.web.canary += "\n      analysis: {templates: [{templateName: watch}]}";
        self
    }
}

/// Thirteen, of which eleven are in mid-canary all the time.
pub(crate) fn of_kills() -> Vec<Lane> {
    use Habit::{AtTheEnd, Fails, GoesBack, InTheMiddle, Promotes};
    use Router::{Hosts, None, Subsets};
    let fine = ramp(&FINE, &[PAUSE]);
    let judged = ramp(&COARSE, &[JUDGE, PAUSE]);
    let sized = fine.replacen('[', "[{setCanaryScale: {replicas: 2}}, ", 1);
    let halted = ramp(&COARSE, &[PAUSE, "{pause: {}}", PAUSE, PAUSE]);
    vec![
        lane("hosts", Hosts, AtTheEnd, &fine).loaded(),
        lane("subsets", Subsets, AtTheEnd, &fine).loaded(),
        lane("sized", Hosts, AtTheEnd, &sized).replicas(3),
        lane("judged", Hosts, AtTheEnd, &judged),
        lane("watched", Subsets, AtTheEnd, &fine).watched(),
        lane("renewed", Hosts, InTheMiddle(4), &fine),
        lane("replaced", Subsets, InTheMiddle(3), &judged),
        lane("delivered", Hosts, AtTheEnd, &fine).delivered(),
        lane("promoted", Hosts, Promotes(3), &halted),
        lane("plain", None, AtTheEnd, &fine).replicas(4),
        lane("plain-renewed", None, InTheMiddle(4), &fine).replicas(3),
        lane("failing", Hosts, Fails, &judged).judged(Verdict::Bad),
        lane("back", Subsets, GoesBack(3), &fine),
    ]
}

/// Four that are in mid-canary all the time, and one that is not.
pub(crate) fn of_turns() -> Vec<Lane> {
    let fine = ramp(&FINE, &[PAUSE]);
    let judged = ramp(&COARSE, &[JUDGE, PAUSE]);
    vec![
        lane("hosts", Router::Hosts, Habit::AtTheEnd, &fine).loaded(),
        lane("subsets", Router::Subsets, Habit::InTheMiddle(5), &fine),
        lane("judged", Router::Hosts, Habit::AtTheEnd, &judged),
        lane("plain", Router::None, Habit::AtTheEnd, &fine).replicas(3),
        lane("failing", Router::Subsets, Habit::Fails, &judged).judged(Verdict::Bad),
    ]
}
