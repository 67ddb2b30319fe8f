//! The kubectl plugin: shows Rollouts and Applications, acts on them, and checks manifests offline.
//!
//! It works with the caller's own rights, and with an Argo controller's objects as well as ours: it reads and patches the
//! same fields as Argo's plugin. Called under the name `kubectl-argo-rollouts` it prints what Argo's plugin prints.

mod application;
mod arguments;
mod commands;
mod connection;
mod failure;
mod git;
mod names;
mod phase;
mod reader;
mod span;
mod style;
mod table;
mod tree;

use std::ffi::OsString;
use std::process::ExitCode;

pub use arguments::{Arguments, ConnectionArguments, Dialect, LookArguments};
pub use connection::Connection;
pub use failure::Failure;

/// Runs the plugin with the words of its command line and returns its exit code: 0 for success, 1 for a failure (also
/// Argo's code for a Degraded or timed-out `status`), 2 for words that it does not understand, where Argo's plugin has 1.
pub async fn run(words: &[OsString]) -> ExitCode {
    let dialect = Dialect::of(words.first());
    let arguments = match Arguments::read(words, dialect) {
        Ok(arguments) => arguments,
        Err(error) => return not_understood(&error, dialect),
    };
    match commands::run(arguments, dialect).await {
        Ok(code) => code,
        Err(failure) => {
            anstream::eprintln!("{}", failure.shown(dialect));
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the words, or the help that they ask for.
fn not_understood(error: &clap::Error, dialect: Dialect) -> ExitCode {
    if dialect == Dialect::Argo && error.use_stderr() {
        let text = error.render().to_string();
        match text.strip_prefix("error: ") {
            Some(text) => anstream::eprint!("Error: {text}"),
            None => anstream::eprint!("{text}"),
        }
        return ExitCode::FAILURE;
    }
    // Nothing can be done about a terminal that is gone.
    drop(error.print());
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
