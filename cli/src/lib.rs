//! The kubectl plugin: shows Rollouts and Applications, acts on them, and checks manifests offline.
//!
//! It works with the caller's own rights, and with an Argo controller's objects as well as ours: it reads and patches the
//! same fields as Argo's plugin. Called under the name `kubectl-argo-rollouts` it prints what Argo's plugin prints.

mod application;
mod arguments;
mod commands;
mod connection;
mod failure;
mod phase;
mod reader;
mod style;
mod tree;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

pub use arguments::{Arguments, Dialect};
pub use connection::Connection;
pub use failure::Failure;

/// Runs the plugin with the words of its command line and returns its exit code: 0 for success, 1 for a failure (also
/// Argo's code for a Degraded or timed-out `status`), 2 for words that it does not understand.
pub async fn run(words: &[OsString]) -> ExitCode {
    let dialect = Dialect::of(words.first());
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = error.exit_code();
            // Nothing can be done about a terminal that is gone.
            drop(error.print());
            return ExitCode::from(u8::try_from(code).unwrap_or(2));
        }
    };
    match commands::run(arguments, dialect).await {
        Ok(code) => code,
        Err(failure) => {
            anstream::eprintln!("{}", failure.shown(dialect));
            ExitCode::FAILURE
        }
    }
}
