use super::*;

#[test]
fn a_rule_skips_then_hits_then_is_over() {
    let mut plan = FaultPlan::default();
    plan.on(Matches::plural("replicasets").verb("patch").actor("sluice"), 1, 2, Fault::Conflict);
    let subject = |verb, actor| Subject { verb, plural: "replicasets", name: "web-1", actor };
    let outcomes = [
        (subject("get", "sluice/1"), None),
        (subject("patch", "kubectl"), None),
        (subject("patch", "sluice/1"), None),
        (subject("patch", "sluice/1"), Some(Fault::Conflict)),
        (subject("patch", "sluice/1"), Some(Fault::Conflict)),
        (subject("patch", "sluice/1"), None),
    ];
    for (subject, expected) in outcomes {
        assert_eq!(plan.decide(&subject), expected, "{subject:?}");
    }
    assert_eq!(plan.hits(), 2);
}

#[test]
fn a_withdrawn_watch_rule_concerns_nothing() {
    let mut plan = FaultPlan::default();
    let id = plan.on_watch(Matches::plural("services"), WatchFault::Hold);
    let subject = Subject { verb: "watch", plural: "services", name: "", actor: "x" };
    assert_eq!(plan.decide_watch(&subject), Some(WatchFault::Hold));
    plan.withdraw(id);
    assert_eq!(plan.decide_watch(&subject), None);
}
