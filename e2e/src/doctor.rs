//! What a machine must have before the bed can be built and started, and how to get it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::bed::parts::{Cache, Parts, Say};

/// Room for Go's caches and all parts from nothing, and for one more run of a finished bed.
const COLD_GIB: u64 = 12;
const WARM_GIB: u64 = 3;

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Finding {
    pub name: &'static str,
    pub ok: bool,
    /// What is there.
    pub found: String,
    /// What is needed.
    pub wanted: String,
    /// The command or step that brings it.
    pub hint: String,
    /// Debian's package that [`install_missing`] installs.
    package: Option<&'static str>,
}

/// Looks at everything; changes nothing.
#[must_use]
pub fn examine(cache: &Cache) -> Vec<Finding> {
    let mut findings = vec![
        version("rustc", &["--version"], (1, 95), "rustup toolchain install stable"),
        version(
            "go",
            &["version"],
            (1, 26),
            "install Go 1.26 or later from go.dev, put it into PATH",
        ),
        program("python3", &["-m", "pip", "--version"], "python3 with pip", "python3-pip"),
        program("git", &["--version"], "git", "git"),
        git_http_backend(),
        program("ip", &["-V"], "iproute2", "iproute2"),
        program("unshare", &["--version"], "util-linux", "util-linux"),
        program("nsenter", &["--version"], "util-linux", "util-linux"),
        program("setpriv", &["--version"], "util-linux", "util-linux"),
        program("sha256sum", &["--version"], "coreutils", "coreutils"),
        program("apt-get", &["--version"], "apt of a Debian-like system", "apt"),
        program("dpkg", &["--version"], "dpkg of a Debian-like system", "dpkg"),
    ];
    let user = output("id", &["-u"]).unwrap_or_default();
    findings.push(Finding {
        name: "root",
        ok: user == "0",
        found: format!("user id {user}"),
        wanted: "user id 0, to make network namespaces".to_owned(),
        hint: "run it as root, for example under `sudo -E`".to_owned(),
        package: None,
    });
    findings.push(namespaces());
    findings.push(room(cache));
    findings
}

/// Installs what [`examine`] misses and Debian has, then fails with a list of what is still
/// missing.
///
/// # Errors
/// When something is missing that this cannot bring; each with its hint.
pub fn require(cache: &Cache, say: Say) -> Result<()> {
    let mut findings = examine(cache);
    if findings.iter().any(|finding| !finding.ok) {
        install_missing(&findings, say);
        findings = examine(cache);
    }
    let missing: Vec<_> = findings.iter().filter(|finding| !finding.ok).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = missing.iter().map(|finding| finding.line()).collect();
    bail!("this machine lacks what the bed needs:\n{}", lines.join("\n"))
}

/// Installs the missing Debian packages when this is root and there is apt; says so before.
fn install_missing(findings: &[Finding], say: Say) {
    let missing = |finding: &&Finding| !finding.ok;
    let mut packages: Vec<_> =
        findings.iter().filter(missing).filter_map(|finding| finding.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let root = findings.iter().any(|finding| finding.name == "root" && finding.ok);
    if packages.is_empty() || !root {
        return;
    }
    say(&format!("installing missing packages: apt-get install -y {}", packages.join(" ")));
    for args in [vec!["update", "-q"], [&["install", "-y", "-q"][..], &packages].concat()] {
        let mut apt = Command::new("apt-get");
        apt.args(&args).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        if !apt.status().is_ok_and(|status| status.success()) {
            say(&format!("`apt-get {}` failed", args.join(" ")));
        }
    }
}

impl Finding {
    /// One line for people: what is there, what is wanted, and, when it is missing, what to do.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { name, found, wanted, hint, .. } = self;
        if self.ok {
            format!("  ok       {name}: {found}")
        } else {
            format!("  missing  {name}: found {found}; wanted {wanted}\n           hint: {hint}")
        }
    }
}

fn version(name: &'static str, args: &[&str], least: (u32, u32), hint: &'static str) -> Finding {
    let text = output(name, args);
    let number = text.as_deref().and_then(major_minor);
    Finding {
        name,
        ok: number.is_some_and(|number| number >= least),
        found: text.unwrap_or_else(|| "nothing".to_owned()),
        wanted: format!("{name} {}.{} or later", least.0, least.1),
        hint: hint.to_owned(),
        package: None,
    }
}

/// The first `<number>.<number>` of a text.
fn major_minor(text: &str) -> Option<(u32, u32)> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.')).find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

fn program(name: &'static str, args: &[&str], wanted: &str, package: &'static str) -> Finding {
    let text = output(name, args);
    let first = text.as_deref().and_then(|text| text.lines().next()).map(str::to_owned);
    Finding {
        name,
        ok: text.is_some(),
        found: first.unwrap_or_else(|| "nothing that works".to_owned()),
        wanted: wanted.to_owned(),
        hint: format!("apt-get install -y {package}"),
        package: Some(package),
    }
}

/// Some distributions pack the server side of smart HTTP apart from `git`.
fn git_http_backend() -> Finding {
    let folder = output("git", &["--exec-path"]).unwrap_or_default();
    let program = Path::new(&folder).join("git-http-backend");
    Finding {
        name: "git http-backend",
        ok: program.is_file(),
        found: if program.is_file() { "present" } else { "nothing" }.to_owned(),
        wanted: format!("`{}`", program.display()),
        hint: "apt-get install -y git".to_owned(),
        package: Some("git"),
    }
}

/// Tries it: namespaces, a bridge and a pair of virtual devices, all gone at once.
fn namespaces() -> Finding {
    let script = "ip link add br0 type bridge && ip link add v0 type veth peer name v1 && \
                  mount -t tmpfs tmpfs /run";
    let args = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script];
    let out = Command::new("unshare").args(args).stdin(Stdio::null()).output();
    let (ok, found) = match out {
        Ok(out) if out.status.success() => (true, "allowed".to_owned()),
        Ok(out) => (false, String::from_utf8_lossy(&out.stderr).trim().to_owned()),
        Err(error) => (false, error.to_string()),
    };
    Finding {
        name: "namespaces",
        ok,
        found,
        wanted: "network, mount and pid namespaces with bridge and veth devices".to_owned(),
        hint: "in a container: start it with `--privileged`; kernel modules `bridge`, `veth`"
            .to_owned(),
        package: None,
    }
}

fn room(cache: &Cache) -> Finding {
    let gib = if Parts::all_cached(cache) { WARM_GIB } else { COLD_GIB };
    let free = free_gib(cache.root());
    Finding {
        name: "disk",
        ok: free.is_some_and(|free| free >= gib),
        found: free.map_or("unknown".to_owned(), |free| format!("{free} GiB free")),
        wanted: format!("{gib} GiB free at `{}`", cache.root().display()),
        hint: "make room, or point `SLUICE_BED_CACHE`, `GOCACHE` and `GOMODCACHE` elsewhere"
            .to_owned(),
        package: None,
    }
}

fn free_gib(folder: &Path) -> Option<u64> {
    let text = output("df", &["-Pk", &folder.to_string_lossy()])?;
    let kib: u64 = text.lines().last()?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kib / 1024 / 1024)
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::major_minor;

    #[test]
    fn versions_are_read_from_what_programs_say() {
        let check = |text: &str, version| assert_eq!(major_minor(text), version, "in `{text}`");
        check("rustc 1.95.0 (59807616e 2026-04-14)", Some((1, 95)));
        check("go version go1.26.8 linux/amd64", Some((1, 26)));
        check("pip 23.2.1 from /usr/lib", Some((23, 2)));
        check("no number", None);
    }
}
