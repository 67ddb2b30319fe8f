//! The pages of `docs/transcripts`: each command that a page shows is run, and must print what the page shows.
//!
//! A ` ```yaml ` block that begins with `# name.yaml` is that file; in a ` ```console ` block each line after `$ ` is a command, and the
//! lines under it are what it prints. With `UPDATE_GOLDENS` set, a page gets what was printed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use sluice_e2e::{
    bed::{Bed, sibling},
    stage::Stage,
};
use tokio::{process::Command, time::timeout};

/// Set to write the pages anew.
const UPDATE: &str = "UPDATE_GOLDENS";
/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(90);

pub(crate) async fn a_canary_obeys_the_commands_of_kubectl_and_argo(bed: Arc<Bed>) -> Result<()> {
    play(bed, "canary").await
}

pub(crate) async fn a_blue_green_update_obeys_the_commands_of_kubectl_and_argo(
    bed: Arc<Bed>,
) -> Result<()> {
    play(bed, "blue-green").await
}

/// Runs all commands of a page, in order, in a namespace of its own.
async fn play(bed: Arc<Bed>, page: &str) -> Result<()> {
    let stage = Stage::new(bed, &format!("page-{page}")).await?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/transcripts/{page}.md"));
    let shell = Shell::new(&stage)?;
    let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    let mut played = String::new();
    let mut differences = Vec::new();
    let mut lines = text.lines().peekable();
    let mut block = "";
    while let Some(line) = lines.next() {
        played += &format!("{line}\n");
        if let Some(fence) = line.strip_prefix("```") {
            block = if block.is_empty() { fence } else { "" };
        }
        let name = line.strip_prefix("# ").filter(|_| block == "yaml");
        if let Some(name) = name.filter(|name| name.ends_with(".yaml")) {
            let mut content = String::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("```")) {
                content += &format!("{line}\n");
            }
            fs::write(shell.folder.path().join(name), &content)?;
            played += &content;
        }
        let Some(command) = line.strip_prefix("$ ").filter(|_| block == "console") else {
            continue;
        };
        let mut wanted = String::new();
        while let Some(line) =
            lines.next_if(|line| !line.starts_with("```") && !line.starts_with("$ "))
        {
            wanted += &format!("{line}\n");
        }
        let printed = shell.run(command).await?;
        if same(&printed, &wanted) {
            played += &wanted;
        } else {
            differences.push(format!("$ {command}\n{printed}-- instead of\n{wanted}"));
            played += &printed;
        }
    }
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&file, played)?;
    } else {
        ensure!(differences.is_empty(), "docs/transcripts/{page}.md:\n{}", differences.join("\n"));
    }
    stage.then_laws_held().await
}

/// Where the commands run: `kubectl` with Argo's plugin, in a folder with the files of the page.
struct Shell {
    folder: tempfile::TempDir,
    path: String,
    kubeconfig: PathBuf,
}

impl Shell {
    fn new(stage: &Stage) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let bin = folder.path().join("bin");
        fs::create_dir(&bin)?;
        symlink(&stage.scene.bed.parts.kubectl, bin.join("kubectl"))?;
        symlink(sibling("kubectl-sluice")?, bin.join("kubectl-argo-rollouts"))?;
        let admin = stage.scene.bed.authority.kubeconfig("admin", Some("system:masters"))?;
        let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(admin)?)?;
        for context in config["contexts"].as_array_mut().into_iter().flatten() {
            context["context"]["namespace"] = stage.scene.namespace.as_str().into();
        }
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, config.to_string())?;
        let path = format!("{}:/usr/bin:/bin", bin.display());
        Ok(Self { folder, path, kubeconfig })
    }

    /// What the command prints on both streams, and how it ended where that was not well.
    async fn run(&self, command: &str) -> Result<String> {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &format!("exec 2>&1; {command}")])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .kill_on_drop(true);
        let out = timeout(LIMIT, shell.output())
            .await
            .with_context(|| format!("`{command}` did not end in {LIMIT:?}"))??;
        let mut printed = String::from_utf8(out.stdout).context("kubectl prints UTF-8")?;
        if !printed.is_empty() && !printed.ends_with('\n') {
            printed.push('\n');
        }
        if let Some(code) = out.status.code().filter(|code| *code != 0) {
            printed += &format!("(exit {code})\n");
        }
        Ok(printed)
    }
}

/// Whether both say the same, however long things took and whatever the Pods are called.
fn same(one: &str, other: &str) -> bool {
    let plain = |text: &str| -> Vec<Vec<String>> {
        let words = |line: &str| line.split_whitespace().map(plain_word).collect();
        text.lines().map(words).collect()
    };
    plain(one) == plain(other)
}

fn plain_word(word: &str) -> String {
    let (label, value) = word.split_once(':').map_or(("", word), |(label, value)| (label, value));
    if is_time(value) {
        return format!("{label}:<time>");
    }
    match word.rsplit_once('-') {
        Some((set, end)) if end.len() == 5 && set.contains('-') && end.chars().all(is_of_name) => {
            format!("{set}-<name>")
        }
        _ => word.to_owned(),
    }
}

/// Such as `12s` or `1m30s`.
fn is_time(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.ends_with(['s', 'm', 'h'])
        && word.chars().all(|c| c.is_ascii_digit() || "smh".contains(c))
}

/// Of the letters and digits of which Kubernetes makes names.
fn is_of_name(c: char) -> bool {
    "bcdfghjklmnpqrstvwxz2456789".contains(c)
}
