use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    FieldPath, Problem, analysis_run, analysis_template, app_project, application, application_set,
    experiment, rollout, schema,
};
use crate::crd;

/// Longest name of an object of ours, in characters: a DNS subdomain.
const LONGEST_NAME: usize = 253;

/// Returns everything that is wrong with an object of one of our kinds by itself: what the API server would say, and our own
/// rules. `None` if the object is of another kind. For `lint` and admission.
pub fn object(object: &Value) -> Option<Vec<Problem>> {
    let kind = object["kind"].as_str()?;
    let group = object["apiVersion"].as_str()?.split_once('/')?.0;
    let definition = crd::definition(kind).filter(|definition| definition.kind.group == group)?;
    let mut problems = schema::check(definition.schema_once(), object);
    version(object, &definition.kind.api_version(), &mut problems);
    name(object, &mut problems);
    match own_rules(kind, object) {
        Ok(found) => {
            let known: BTreeSet<FieldPath> =
                problems.iter().map(|problem| problem.path.clone()).collect();
            problems.extend(found.into_iter().filter(|problem| !known.contains(&problem.path)));
        }
        // What cannot be read has the wrong type somewhere; the schema names the field.
        Err(error) if problems.is_empty() => {
            problems.push(Problem::new(FieldPath::spec(), format!("cannot be read: {error}")));
        }
        Err(_) => {}
    }
    Some(problems)
}

fn own_rules(kind: &str, object: &Value) -> Result<Vec<Problem>, serde_json::Error> {
    Ok(match kind {
        "Rollout" => rollout(&spec(object)?),
        "AnalysisTemplate" | "ClusterAnalysisTemplate" => analysis_template(&spec(object)?),
        "AnalysisRun" => analysis_run(&spec(object)?),
        "Experiment" => experiment(&spec(object)?),
        "Application" => application(&spec(object)?),
        "ApplicationSet" => application_set(&spec(object)?),
        "AppProject" => {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            app_project(name, &spec(object)?)
        }
        _ => Vec::new(),
    })
}

fn spec<T: DeserializeOwned>(object: &Value) -> Result<T, serde_json::Error> {
    match &object["spec"] {
        Value::Null => serde_json::from_value(Value::Object(serde_json::Map::new())),
        spec => serde_json::from_value(spec.clone()),
    }
}

fn version(object: &Value, wanted: &str, problems: &mut Vec<Problem>) {
    let there = object["apiVersion"].as_str().unwrap_or_default();
    if there != wanted {
        let path = FieldPath::root().field("apiVersion");
        problems.push(Problem::new(path, format!("`{there}` is not served, `{wanted}` is")));
    }
}

fn name(object: &Value, problems: &mut Vec<Problem>) {
    let metadata = &object["metadata"];
    let path = FieldPath::root().field("metadata.name");
    let Some(name) = metadata["name"].as_str() else {
        if metadata["generateName"].is_null() {
            problems.push(Problem::new(path, "required"));
        }
        return;
    };
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let is_end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_name = name.len() <= LONGEST_NAME
        && name.bytes().all(is_inner)
        && is_end(name.bytes().next())
        && is_end(name.bytes().last());
    if !is_name {
        problems.push(Problem::new(path, format!("`{name}` is no name")).hint(
            "use small letters, digits, `-` and `.`, at most 253 of them, with a letter or digit at both ends",
        ));
    }
}
