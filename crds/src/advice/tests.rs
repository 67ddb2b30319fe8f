use super::*;

fn texts(advice: &[Problem]) -> Vec<String> {
    advice.iter().map(ToString::to_string).collect()
}

fn check_rollout(yaml: &str, expected: &[&str]) {
    let spec = serde_json::from_value(crate::yaml::values(yaml).unwrap().remove(0)).unwrap();
    assert_eq!(texts(&rollout(&spec)), expected);
}

#[test]
fn a_judged_and_paused_canary_needs_no_advice() {
    check_rollout(
        "{progressDeadlineAbort: true, strategy: {canary: {steps: [{setWeight: 20}, {analysis: {}}, {setWeight: 50}]}}}",
        &[],
    );
}

#[test]
fn a_canary_that_nothing_judges_is_named() {
    check_rollout(
        "{strategy: {canary: {steps: [{setWeight: 20}, {setWeight: 10}], trafficRouting: {}}}}",
        &[
            "spec.strategy.canary.steps[1].setWeight: 10 is below 20, the weight before it",
            "spec.strategy.canary.analysis: nothing judges the canary",
            "spec.strategy.canary.steps: no step pauses: all weights are passed in seconds",
            "spec.progressDeadlineAbort: an update that makes no progress stays as it is",
        ],
    );
    check_rollout(
        "{progressDeadlineAbort: true, strategy: {canary: {analysis: {startingStep: 1}, steps: [{setWeight: 20}]}}}",
        &[
            "spec.strategy.canary.analysis.startingStep: 1 is behind the last step, so the analysis never starts: steps are counted from 0",
        ],
    );
    check_rollout(
        "{strategy: {canary: {trafficRouting: {}}}}",
        &["spec.strategy.canary.steps: without steps all traffic moves at once"],
    );
}

#[test]
fn words_of_an_application_that_do_nothing_are_named() {
    let yaml = "
source: {repoURL: a}
sources: [{repoURL: b}]
syncPolicy: {syncOptions: [SelfHeal=true], retry: {limit: -1}}
notifications: [{name: slack, on: OutOfSync}]
";
    let spec = serde_json::from_value(crate::yaml::values(yaml).unwrap().remove(0)).unwrap();
    assert_eq!(
        texts(&application(&spec)),
        [
            "spec.syncPolicy.syncOptions: `SelfHeal=true` does nothing without `automated`",
            "spec.syncPolicy.retry.limit: below 0: a sync that fails is retried without end",
            "spec.notifications[0].on: kubectl reads the unquoted key `on` as `true`",
            "spec.source: is ignored, because `sources` is there",
        ]
    );
}
