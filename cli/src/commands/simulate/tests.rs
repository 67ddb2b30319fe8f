use std::ffi::OsString;

use crate::arguments::{Arguments, Command, Dialect, SimulateArguments};
use crate::style::Style;

const CHECKOUT: &str = include_str!("../../../../docs/examples/checkout.yaml");
const SEED: &str = include_str!("../../../tests/fixtures/seed-api.yaml");
const PLAIN: Style = Style { color: false, ascii: false };

fn words(line: &str) -> SimulateArguments {
    let line = ["kubectl-sluice", "simulate"].into_iter().chain(line.split_whitespace());
    let line: Vec<OsString> = line.map(OsString::from).collect();
    match Arguments::read(&line, Dialect::Sluice).unwrap().command {
        Command::Simulate(words) => words,
        other => panic!("{other:?}"),
    }
}

fn played(text: &str, line: &str) -> super::Timeline {
    let files = [("rollout.yaml".to_owned(), text.to_owned())];
    let (errors, _) = super::lint::findings(&files);
    assert_eq!(errors, Vec::<String>::new());
    super::simulate::simulate(&super::input(&words(line), &files).unwrap()).unwrap()
}

fn drawn(text: &str, line: &str) -> String {
    super::text::draw(&played(text, line), PLAIN, words(line).all)
}

#[test]
fn an_update_that_passes_is_a_table_that_ends_with_promoted() {
    insta::assert_snapshot!(drawn(CHECKOUT, "--promote=1m"));
}

#[test]
fn a_bad_measurement_takes_the_update_back_and_says_why() {
    insta::assert_snapshot!(drawn(CHECKOUT, "--metrics fail"));
}

#[test]
fn a_pause_that_nobody_ends_says_what_ends_it() {
    insta::assert_snapshot!(drawn(CHECKOUT, "--pods ready=20s,listed=2s"));
}

#[test]
fn everything_is_shown_where_that_is_asked() {
    insta::assert_snapshot!(drawn(
        CHECKOUT,
        "--all --at 4m=promote --at 6m=abort --pods crash=1@10s"
    ));
}

#[test]
fn the_timeline_is_stable_json() {
    let timeline = played(CHECKOUT, "--metrics fail");
    insta::assert_snapshot!(serde_json::to_string_pretty(&timeline).unwrap());
}

#[test]
fn the_picture_is_the_same_text_everywhere() {
    insta::assert_snapshot!(super::svg::draw(&played(CHECKOUT, "--promote=1m")));
    insta::assert_snapshot!(super::svg::draw(&played(CHECKOUT, "--metrics fail")));
}

/// Its text promises: 10 % for five minutes, approval by hand, 50 % for ten minutes, 100 %, and rollback above 5 % errors.
#[test]
fn the_seeds_canary_does_what_its_text_promises() {
    insta::assert_snapshot!(drawn(SEED, "--promote=30m --image myregistry/api:v2.2.0"));
    insta::assert_snapshot!(drawn(SEED, "--image myregistry/api:v2.2.0 --metrics fail"));
}

#[test]
fn what_is_not_acted_on_is_refused_and_not_left_out() {
    let odd = SEED.replace("name: error-rate", "name: coffee-level");
    let (errors, _) = super::lint::findings(&[("rollout.yaml".to_owned(), odd)]);
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn words_that_mean_nothing_say_what_there_is() {
    let files = [("rollout.yaml".to_owned(), CHECKOUT.to_owned())];
    let said = |line: &str| super::input(&words(line), &files).unwrap_err().shown(Dialect::Sluice);
    let lines = ["--pods slow", "--pods crash=1", "--at 5m", "--at soon=abort", "--until never"];
    insta::assert_snapshot!(lines.map(said).join("\n"));
}
