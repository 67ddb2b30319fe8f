//! `kubectl sluice`, and `kubectl argo rollouts` under that name.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // One TLS provider for everything; a second installation keeps the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<_> = std::env::args_os().collect();
    sluice_cli::run(&arguments).await
}
