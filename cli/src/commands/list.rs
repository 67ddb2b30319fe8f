//! `list rollouts`.

use std::process::ExitCode;

use chrono::{SecondsFormat, Utc};
use futures::StreamExt as _;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::Rollout;

use crate::arguments::{Dialect, ListArguments, Output};
use crate::commands::output;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::phase;
use crate::span::age;
use crate::style::Style;
use crate::table::{self, Cell, Table};
use crate::tree;

pub(crate) async fn run(
    connection: &Connection,
    list: &ListArguments,
    dialect: Dialect,
    style: Style,
) -> Result<ExitCode, Failure> {
    let api: Api<Rollout> =
        if list.all_namespaces { Api::all(connection.client.clone()) } else { connection.api() };
    let scope = ObjectRef::namespaced(Kind::ROLLOUT, connection.namespace.clone(), "*");
    let found =
        api.list(&ListParams::default()).await.map_err(|e| Failure::of(&scope, "list", &e))?;
    let listing = Listing { list, dialect, style };
    let rollouts: Vec<Rollout> = found.items.into_iter().filter(|r| listing.wants(r)).collect();
    if let Some(form) = list.output.filter(|form| form.is_document()) {
        output::many(&rollouts, "rollout", form)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(listing.head());
    for rollout in &rollouts {
        table.row(listing.row(rollout));
    }
    if !rollouts.is_empty() {
        anstream::print!("{}", table.draw(style));
    } else if !list.watch {
        anstream::eprintln!("No resources found.");
    }
    if list.watch {
        listing.follow(api, &rollouts, table).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is listed, and how it looks.
struct Listing<'a> {
    list: &'a ListArguments,
    dialect: Dialect,
    style: Style,
}

impl Listing<'_> {
    fn wants(&self, rollout: &Rollout) -> bool {
        self.list.name.as_ref().is_none_or(|name| *name == rollout.name_any())
    }

    /// With it the line is longer than 80 characters.
    fn has_strategy(&self) -> bool {
        self.dialect == Dialect::Argo || self.list.output == Some(Output::Wide)
    }

    /// Argo's columns, and more if they are asked for.
    fn head(&self) -> Vec<&'static str> {
        let mut head = Vec::new();
        if self.list.all_namespaces {
            head.push("NAMESPACE");
        }
        head.push("NAME");
        if self.has_strategy() {
            head.push("STRATEGY");
        }
        head.extend(["STATUS", "STEP", "SET-WEIGHT"]);
        head.extend(["READY", "DESIRED", "UP-TO-DATE", "AVAILABLE"]);
        if self.list.output == Some(Output::Wide) {
            head.extend(["AGE", "IMAGES", "MESSAGE"]);
        }
        if self.list.timestamps {
            head.push("TIMESTAMP");
        }
        head
    }

    fn row(&self, rollout: &Rollout) -> Vec<Cell> {
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
        let shown = phase::of(rollout);
        let state = match self.dialect {
            Dialect::Argo => shown.phase.into(),
            Dialect::Sluice => {
                let (state, tone) = self.style.state(&shown.phase);
                Cell::toned(state, tone)
            }
        };
        let mut cells: Vec<Cell> = Vec::new();
        if self.list.all_namespaces {
            cells.push(rollout.namespace().unwrap_or_default().into());
        }
        cells.push(rollout.name_any().into());
        if self.has_strategy() {
            cells.push(if canary.is_some() { "Canary" } else { "BlueGreen" }.into());
        }
        cells.extend([
            state,
            step.into(),
            weight.into(),
            format!("{}/{}", number(status.ready_replicas), number(status.replicas)).into(),
            number(rollout.spec.replicas.or(Some(1))).into(),
            number(status.updated_replicas).into(),
            number(status.available_replicas).into(),
        ]);
        if self.list.output == Some(Output::Wide) {
            let created = rollout.metadata.creation_timestamp.as_ref();
            cells.extend([
                age(Utc::now(), created).into(),
                images(rollout).into(),
                shown.message.into(),
            ]);
        }
        if self.list.timestamps {
            cells.push(Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true).into());
        }
        cells
    }

    /// Goes on with a line for each change, in the columns of the table.
    async fn follow(
        &self,
        api: Api<Rollout>,
        seen: &[Rollout],
        table: Table,
    ) -> Result<(), Failure> {
        let mut known: Vec<Option<String>> =
            seen.iter().map(|rollout| rollout.resource_version()).collect();
        let widths = table.widths();
        let mut has_head = !seen.is_empty();
        let changes = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
        let mut changes = std::pin::pin!(changes);
        while let Some(change) = changes.next().await {
            // The watcher backs off and tries again by itself.
            let Ok(rollout) = change else { continue };
            if !self.wants(&rollout) || known.contains(&rollout.resource_version()) {
                continue;
            }
            known.push(rollout.resource_version());
            if !has_head {
                anstream::print!("{}", Table::new(self.head()).draw(self.style));
                has_head = true;
            }
            anstream::print!("{}", table::line(&self.row(&rollout), &widths, self.style));
        }
        Ok(())
    }
}

fn images(rollout: &Rollout) -> String {
    let template = rollout.spec.template.as_ref();
    let containers = template.and_then(|t| t["spec"]["containers"].as_array());
    let images: Vec<&str> =
        containers.into_iter().flatten().filter_map(|c| c["image"].as_str()).collect();
    images.join(",")
}
