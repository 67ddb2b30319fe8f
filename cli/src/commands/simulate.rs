//! `simulate FILE…`: plays an update in virtual time, without a cluster.

use std::process::ExitCode;

use chrono::TimeDelta;
use serde_json::Value;
use sluice_crds::{duration, yaml};
use sluice_sim::scenario::Scenario;
use sluice_sim::simulate::{
    self, Answers, Assumption, Before, Deed, Input, Outcome, PodsAs, SimulateError, Timeline,
};

use super::lint;
use super::output;
use crate::arguments::{Form, PlainOutput, SimulateArguments};
use crate::failure::Failure;
use crate::style::Style;

mod svg;
mod text;

/// Runs the command. Exits with 1 if nothing could be played, if an invariant was broken, or if it ended otherwise than expected.
pub(crate) fn run(words: &SimulateArguments, style: Style) -> Result<ExitCode, Failure> {
    let files = files(words)?;
    if let Some(scenario) = scenario(&files) {
        return play_scenario(scenario?, words.output);
    }
    let (errors, warnings) = lint::findings(&files);
    warnings.iter().for_each(|warning| anstream::eprintln!("{warning}"));
    if !errors.is_empty() {
        errors.iter().for_each(|error| anstream::eprintln!("{error}"));
        return Err(Failure::new("nothing is simulated, because the manifests are refused"));
    }
    let timeline = simulate::simulate(&input(words, &files)?).map_err(|e| not_played(&e))?;
    match words.output {
        Form::Text => anstream::print!("{}", text::draw(&timeline, style, words.all)),
        Form::Json => output::plain(&timeline, PlainOutput::Json)?,
        Form::Svg => anstream::print!("{}", svg::draw(&timeline)),
    }
    verdict(words, &timeline)
}

fn verdict(words: &SimulateArguments, timeline: &Timeline) -> Result<ExitCode, Failure> {
    let word = timeline.outcome.word();
    match (words.expect, &timeline.outcome) {
        (_, Outcome::Violation { why }) => {
            Err(Failure::new(format!("a decision broke an invariant: {why}"))
                .hint("this is a bug of Sluice: please report it with these files"))
        }
        (Some(expected), _) if expected.word() != word => Err(Failure::new(format!(
            "the update of {}/{} ends {word}, not {}",
            timeline.namespace,
            timeline.name,
            expected.word()
        ))),
        (_, Outcome::Invalid { .. } | Outcome::NotInstalled { .. }) => Ok(ExitCode::FAILURE),
        (
            _,
            Outcome::Promoted { .. }
            | Outcome::Aborted { .. }
            | Outcome::Paused { .. }
            | Outcome::Stuck { .. }
            | Outcome::Unfinished { .. },
        ) => Ok(ExitCode::SUCCESS),
    }
}

fn files(words: &SimulateArguments) -> Result<Vec<(String, String)>, Failure> {
    let names: Vec<&String> = words.filename.iter().chain(&words.files).collect();
    if names.is_empty() {
        return Err(
            Failure::new("simulate: no file named").hint("kubectl sluice simulate rollout.yaml")
        );
    }
    let mut files = Vec::new();
    for name in names {
        for path in lint::below(name.as_ref())? {
            let name = path.display().to_string();
            let text = lint::read(&name)?;
            files.push((name, text));
        }
    }
    Ok(files)
}

/// Returns the scenario, if the only file is one.
fn scenario(files: &[(String, String)]) -> Option<Result<Scenario, Failure>> {
    let [(name, text)] = files else { return None };
    let documents = yaml::values(text).ok()?;
    let is_scenario = |document: &Value| document.get("manifests").is_some();
    let is_one = matches!(&documents[..], [only] if is_scenario(only));
    is_one.then(|| Scenario::parse(text).map_err(|e| Failure::new(format!("{name}: {e}"))))
}

fn play_scenario(scenario: Scenario, form: Form) -> Result<ExitCode, Failure> {
    let transcript = scenario.run().map_err(|error| Failure::new(error.to_string()))?;
    match form {
        Form::Text => anstream::print!("{transcript}"),
        Form::Json => output::plain(&transcript.lines(), PlainOutput::Json)?,
        Form::Svg => {
            return Err(Failure::new("a scenario has no picture")
                .hint("draw the Rollout itself: kubectl sluice simulate rollout.yaml -o svg"));
        }
    }
    Ok(if transcript.violations() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn not_played(error: &SimulateError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        SimulateError::Several(_) => failure.hint("say which with --rollout"),
        SimulateError::NothingNew => {
            failure.hint("push another image with --image, or say what ran before with --from")
        }
        SimulateError::NoWorkload(_) => failure.hint("name its file, too"),
        SimulateError::NoRollout
        | SimulateError::NoContainer(_)
        | SimulateError::Unreadable(_)
        | SimulateError::Trace(_)
        | SimulateError::Yaml(_)
        | SimulateError::Refused(_) => failure,
    }
}

fn input(words: &SimulateArguments, files: &[(String, String)]) -> Result<Input, Failure> {
    let mut manifests = Vec::new();
    for (name, text) in files {
        manifests.extend(yaml::values(text).map_err(|e| Failure::new(format!("{name}: {e}")))?);
    }
    Ok(Input {
        name: words.rollout.clone(),
        before: before(words)?,
        image: words.image.clone(),
        pods: pods(&words.pods)?,
        answers: answers(&words.metrics)?,
        promote_after: words
            .promote
            .as_deref()
            .map(|text| length("--promote", text))
            .transpose()?,
        deeds: words.at.iter().map(|text| deed(text)).collect::<Result<_, _>>()?,
        until: length("--until", &words.until)?,
        ..Input::new(manifests)
    })
}

fn before(words: &SimulateArguments) -> Result<Before, Failure> {
    let is_file = |text: &str| [".yaml", ".yml", ".json"].iter().any(|end| text.ends_with(end));
    Ok(match words.from.as_deref() {
        Some(file) if is_file(file) => {
            let text = lint::read(file)?;
            let values = yaml::values(&text).map_err(|e| Failure::new(format!("{file}: {e}")))?;
            Before::Manifests(values)
        }
        Some(image) => Before::Image(image.to_owned()),
        None => Before::MadeUp,
    })
}

fn answers(words: &str) -> Result<Answers, Failure> {
    Ok(match words {
        "pass" => Answers::default(),
        "fail" => Answers { otherwise: Assumption::Fail, ..Answers::default() },
        file => {
            let scripts = simulate::read_trace(&lint::read(file)?)
                .map_err(|error| Failure::new(format!("{file}: {error}")))?;
            Answers { scripts, ..Answers::default() }
        }
    })
}

fn length(option: &str, text: &str) -> Result<TimeDelta, Failure> {
    duration::parse_or_seconds(text).ok().filter(|length| *length >= TimeDelta::zero()).ok_or_else(
        || {
            Failure::new(format!("{option}: `{text}` is no length of time"))
                .hint("write it as `30s`, `5m` or `1h30m`")
        },
    )
}

fn deed(text: &str) -> Result<(TimeDelta, Deed), Failure> {
    let words = Deed::ALL.map(|(word, _)| word).join(", ");
    let wrong = || {
        Failure::new(format!("--at: `{text}` is not TIME=DEED"))
            .hint(format!("write it as `5m=abort`; deeds are {words}"))
    };
    let (at, word) = text.split_once('=').ok_or_else(wrong)?;
    let deed = Deed::ALL.iter().find(|(known, _)| *known == word).ok_or_else(wrong)?;
    Ok((length("--at", at)?, deed.1))
}

fn pods(words: &[String]) -> Result<PodsAs, Failure> {
    let mut pods = PodsAs::default();
    for word in words {
        let wrong = || {
            Failure::new(format!("--pods: `{word}` says nothing about Pods"))
                .hint("there are ready=5s, listed=1s, terminated=2s, fail=2, fail=all, crash=1@5m")
        };
        let (key, value) = word.split_once('=').ok_or_else(wrong)?;
        let count = |text: &str| match text {
            "all" => Ok(usize::MAX),
            text => text.parse::<usize>().map_err(|_| wrong()),
        };
        match key {
            "ready" => pods.ready = length("--pods ready", value)?,
            "listed" => pods.listed = length("--pods listed", value)?,
            "terminated" => pods.terminated = length("--pods terminated", value)?,
            "fail" => pods.failing = count(value)?,
            "crash" => {
                let (number, at) = value.split_once('@').ok_or_else(wrong)?;
                let number = number.parse().map_err(|_| wrong())?;
                pods.crashes.push((length("--pods crash", at)?, number));
            }
            _ => return Err(wrong()),
        }
    }
    Ok(pods)
}

#[cfg(test)]
mod tests;
