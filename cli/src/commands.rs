//! One file for each command.

use std::process::ExitCode;

use crate::arguments::{Arguments, Command, Dialect, SetCommand};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::style::Style;

mod act;
mod app;
mod get;
mod image;
mod lint;
mod list;
mod output;
mod promote;
mod quarantine;
mod simulate;
mod status;
mod undo;
mod why;
mod workload;

/// Runs one command.
pub(crate) async fn run(arguments: Arguments, dialect: Dialect) -> Result<ExitCode, Failure> {
    let style = Style::of(arguments.look);
    if let Command::Version { short } = arguments.command {
        version(short, dialect);
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Lint(lint) = &arguments.command {
        return lint::run(lint, dialect);
    }
    if let Command::Simulate(words) = &arguments.command {
        return simulate::run(words, style);
    }
    let connection = Connection::open(&arguments.connection).await?;
    match arguments.command {
        Command::Get(get) => get::run(&connection, &get, dialect, style).await,
        Command::List(list) => list::run(&connection, &list, dialect, style).await,
        Command::Promote(promote) => promote::run(&connection, &promote).await,
        Command::Abort(names) => act::abort(&connection, &names.names).await,
        Command::Retry(retry) => act::retry(&connection, &retry.words).await,
        Command::Pause(names) => act::pause(&connection, &names.names).await,
        Command::Restart(restart) => act::restart(&connection, &restart).await,
        Command::Undo(undo) => undo::run(&connection, &undo, dialect).await,
        Command::Set(SetCommand::Image { name, images }) => {
            image::run(&connection, &name, &images, dialect).await
        }
        Command::Status(status) => status::run(&connection, &status, dialect).await,
        Command::App(command) => app::run(&connection, command, dialect, style).await,
        Command::Quarantine(command) => quarantine::run(&connection, command).await,
        Command::Why(why) => why::run(&connection, &why, style).await,
        Command::Lint(_) | Command::Simulate(_) | Command::Version { .. } => Ok(ExitCode::SUCCESS),
    }
}

fn version(short: bool, dialect: Dialect) {
    let version = env!("CARGO_PKG_VERSION");
    match (dialect, short) {
        (Dialect::Sluice, true) => anstream::println!("{version}"),
        (Dialect::Sluice, false) => anstream::println!("kubectl-sluice: v{version}"),
        (Dialect::Argo, _) => anstream::println!("kubectl-argo-rollouts: v{version}+sluice"),
    }
}
