//! One program of the bed: started with its output in a log file, ended by us and by nobody else.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// A running program and its log.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with output to `<logs>/<name>.log`, appended when the file exists.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(name: &str, mut command: Command, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The process id inside the bed's pid namespace; none after it ended.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill `{}`", self.name))
    }

    /// Sends a signal by its name without `SIG` (`TERM`, `STOP`, `CONT`).
    ///
    /// # Errors
    /// When the process has ended.
    pub async fn signal(&self, signal: &str) -> Result<()> {
        let id = self.child.id().with_context(|| format!("`{}` has ended", self.name))?;
        send_signal(signal, &id.to_string()).await
    }

    /// SIGTERM, then SIGKILL after `grace`; whether the first was enough.
    ///
    /// # Errors
    /// When the process cannot be signalled or waited for.
    pub async fn stop(&mut self, grace: Duration) -> Result<bool> {
        if self.child.try_wait()?.is_some() {
            return Ok(true);
        }
        self.signal("TERM").await?;
        if timeout(grace, self.child.wait()).await.is_ok() {
            return Ok(true);
        }
        self.kill().await?;
        Ok(false)
    }

    /// The exit status if the process has ended.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn wait(&mut self) -> Result<std::process::ExitStatus> {
        self.child.wait().await.with_context(|| format!("cannot wait for `{}`", self.name))
    }

    /// Where the output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Polls `check` every 20 ms until it answers; an early end of the process or the deadline is
    /// an error with the end of the log.
    ///
    /// # Errors
    /// See above.
    pub async fn ready<T, F>(&mut self, deadline: Duration, check: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let started = Instant::now();
        loop {
            let error = match check().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if let Some(status) = self.child.try_wait()? {
                bail!("`{}` ended early ({status}): {}", self.name, self.log_end());
            }
            ensure!(
                started.elapsed() < deadline,
                "`{}` is not ready after {deadline:?}: {error:#}\n{}",
                self.name,
                self.log_end()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn log_end(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// Signals a process (or, with a leading `-`, a process group).
///
/// # Errors
/// When it does not exist.
pub async fn send_signal(signal: &str, target: &str) -> Result<()> {
    let script = r#"kill -s "$1" -- "$2""#;
    let out = Command::new("sh").args(["-c", script, "kill", signal, target]).output().await?;
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "cannot send SIG{signal} to {target}: {}", errors.trim());
    Ok(())
}

/// Polls `check` every 20 ms until it is `Some`.
///
/// # Errors
/// With `what` and the last error after `deadline`.
pub async fn until<T, F>(what: &str, deadline: Duration, check: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let started = Instant::now();
    loop {
        let reason = match check().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        ensure!(started.elapsed() < deadline, "{what}: not within {deadline:?} ({reason})");
        sleep(Duration::from_millis(20)).await;
    }
}
