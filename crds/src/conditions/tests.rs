use chrono::DateTime;

use super::*;

fn at(second: i64) -> Time {
    Time::new(DateTime::from_timestamp(second, 0).unwrap())
}

#[test]
fn a_condition_that_says_the_same_is_not_rewritten() {
    let mut conditions = Vec::new();
    let available = |message: &str| condition(AVAILABLE, status::TRUE, reason::AVAILABLE, message);
    assert!(upsert(&mut conditions, available("3 of 3"), at(1)));
    assert!(!upsert(&mut conditions, available("4 of 4"), at(2)));
    assert_eq!(conditions[0].message, "3 of 3");
    assert_eq!(conditions[0].last_update_time, Some(at(1)));
}

#[test]
fn the_transition_time_follows_the_status_only() {
    let mut conditions = Vec::new();
    upsert(
        &mut conditions,
        condition(PROGRESSING, status::TRUE, reason::NEW_REPLICA_SET_CREATED, ""),
        at(1),
    );
    upsert(
        &mut conditions,
        condition(PROGRESSING, status::TRUE, reason::REPLICA_SET_UPDATED, ""),
        at(2),
    );
    assert_eq!(conditions[0].last_transition_time, Some(at(1)));
    assert_eq!(conditions[0].last_update_time, Some(at(2)));
    upsert(
        &mut conditions,
        condition(PROGRESSING, status::FALSE, reason::ROLLOUT_ABORTED, ""),
        at(3),
    );
    assert_eq!(conditions[0].last_transition_time, Some(at(3)));
}

#[test]
fn invalid_spec_follows_its_message() {
    let mut conditions = Vec::new();
    let invalid =
        |message: &str| condition(INVALID_SPEC, status::TRUE, reason::INVALID_SPEC, message);
    upsert(&mut conditions, invalid("a"), at(1));
    assert!(upsert(&mut conditions, invalid("b"), at(2)));
    assert_eq!(conditions[0].message, "b");
    assert_eq!(conditions[0].last_transition_time, Some(at(1)));
    assert!(remove(&mut conditions, INVALID_SPEC));
    assert!(!remove(&mut conditions, INVALID_SPEC));
}

#[test]
fn a_tick_refreshes_the_time_that_the_deadline_counts_from() {
    let mut conditions = Vec::new();
    tick(&mut conditions, "1 of 3", at(1));
    tick(&mut conditions, "2 of 3", at(5));
    let progressing = find(&conditions, PROGRESSING).unwrap();
    assert_eq!(progressing.last_update_time, Some(at(5)));
    assert_eq!(progressing.last_transition_time, Some(at(1)));
    assert_eq!(progressing.message, "2 of 3");
}

#[test]
fn evaluated_types_of_an_application_are_replaced_and_others_stay() {
    let condition = |kind: &str, message: &str| ApplicationCondition {
        condition_type: kind.into(),
        message: message.into(),
        last_transition_time: None,
    };
    let mut conditions = Vec::new();
    let both = [application::SYNC_ERROR, application::COMPARISON_ERROR];
    let found = vec![
        condition(application::SYNC_ERROR, "s"),
        condition(application::COMPARISON_ERROR, "c"),
    ];
    replace_application_conditions(&mut conditions, &both, found, at(1));
    let found = vec![
        condition(application::COMPARISON_ERROR, "c"),
        condition(application::COMPARISON_ERROR, "b"),
    ];
    replace_application_conditions(&mut conditions, &[application::COMPARISON_ERROR], found, at(2));
    let seen: Vec<_> = conditions
        .iter()
        .map(|c| (c.condition_type.as_str(), c.message.as_str(), c.last_transition_time.unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            (application::COMPARISON_ERROR, "b", at(2)),
            (application::COMPARISON_ERROR, "c", at(1)),
            (application::SYNC_ERROR, "s", at(1)),
        ]
    );
}

#[test]
fn what_users_wrote_does_not_make_a_condition_of_any_length() {
    assert_eq!(shortened("short"), "short");
    assert_eq!(shortened(&"ä".repeat(2_000)), format!("{}…", "ä".repeat(1_000)));
    let problem = |index: usize| format!("spec.steps[{index}]: required");
    assert_eq!(
        joined([problem(0), problem(1)]),
        "spec.steps[0]: required; spec.steps[1]: required"
    );
    let many = joined((0..500).map(problem));
    assert!(many.starts_with(&problem(0)) && many.len() < 1_000, "{many}");
    assert!(many.ends_with("; and 480 more (`kubectl sluice lint` lists all)"), "{many}");
}
