//! `list rollouts`.

use std::process::ExitCode;

use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::Rollout;

use crate::arguments::{ListArguments, Output};
use crate::commands::output;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::phase;
use crate::style::Style;
use crate::tree;

pub(crate) async fn run(
    connection: &Connection,
    list: &ListArguments,
    _style: Style,
) -> Result<ExitCode, Failure> {
    let api: Api<Rollout> =
        if list.all_namespaces { Api::all(connection.client.clone()) } else { connection.api() };
    let scope = ObjectRef::namespaced(Kind::ROLLOUT, connection.namespace.clone(), "*");
    let found =
        api.list(&ListParams::default()).await.map_err(|e| Failure::of(&scope, "list", &e))?;
    let rollouts: Vec<Rollout> = found
        .items
        .into_iter()
        .filter(|r| list.name.as_ref().is_none_or(|name| *name == r.name_any()))
        .collect();
    if let Some(form) = list.output {
        return print_all(&rollouts, form);
    }
    if rollouts.is_empty() {
        anstream::eprintln!("No resources found.");
        return Ok(ExitCode::SUCCESS);
    }
    anstream::print!("{}", table(&rollouts, list.all_namespaces));
    Ok(ExitCode::SUCCESS)
}

fn print_all(rollouts: &[Rollout], form: Output) -> Result<ExitCode, Failure> {
    for (i, rollout) in rollouts.iter().enumerate() {
        if form == Output::Yaml && i > 0 {
            anstream::println!("---");
        }
        output::print(rollout, "rollout", form)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Lays out Argo's columns.
fn table(rollouts: &[Rollout], all_namespaces: bool) -> String {
    let mut head = vec![
        "NAME",
        "STRATEGY",
        "STATUS",
        "STEP",
        "SET-WEIGHT",
        "READY",
        "DESIRED",
        "UP-TO-DATE",
        "AVAILABLE",
    ];
    if all_namespaces {
        head.insert(0, "NAMESPACE");
    }
    let mut lines: Vec<Vec<String>> = vec![head.into_iter().map(str::to_owned).collect()];
    lines.extend(rollouts.iter().map(|rollout| row(rollout, all_namespaces)));
    let columns = lines[0].len();
    let widths: Vec<usize> = (0..columns)
        .map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(rollout: &Rollout, all_namespaces: bool) -> Vec<String> {
    let status = rollout.status.clone().unwrap_or_default();
    let number = |n: Option<i32>| n.unwrap_or(0).to_string();
    let canary = rollout.spec.strategy.canary.as_deref();
    let steps = canary.and_then(|c| c.steps.as_ref()).map_or(0, Vec::len);
    let (step, weight) = match canary {
        Some(_) if steps > 0 => (
            format!("{}/{steps}", number(status.current_step_index)),
            tree::set_weight(rollout).to_string(),
        ),
        Some(_) | None => ("-".to_owned(), "-".to_owned()),
    };
    let mut cells = vec![
        rollout.name_any(),
        if canary.is_some() { "Canary" } else { "BlueGreen" }.to_owned(),
        phase::of(rollout).phase,
        step,
        weight,
        format!("{}/{}", number(status.ready_replicas), number(status.replicas)),
        number(rollout.spec.replicas.or(Some(1))),
        number(status.updated_replicas),
        number(status.available_replicas),
    ];
    if all_namespaces {
        cells.insert(0, rollout.namespace().unwrap_or_default());
    }
    cells
}
