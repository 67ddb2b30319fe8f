//! The inner half of the relay of [`crate::inside`]: Unix socket in the run folder to a port on the
//! bed's own loopback.

use std::path::Path;

use anyhow::{Context as _, Result};
use tokio::net::{TcpStream, UnixListener};

/// Serves connections of `<run>/relay/<name>` by dialling `127.0.0.1:<port>` for each.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(run: &Path, name: &str, port: u16) -> Result<()> {
    let socket = run.join("relay").join(name);
    std::fs::remove_file(&socket).ok();
    let listener = UnixListener::bind(&socket)
        .with_context(|| format!("cannot make the socket `{}`", socket.display()))?;
    tokio::spawn(async move {
        while let Ok((mut outer, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(mut inner) = TcpStream::connect(("127.0.0.1", port)).await {
                    inner.set_nodelay(true).ok();
                    tokio::io::copy_bidirectional(&mut outer, &mut inner).await.ok();
                }
            });
        }
    });
    Ok(())
}
