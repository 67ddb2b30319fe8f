//! Licences, sources and duplicate versions of everything that is linked.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages that are linked in two versions, each with the reason why that cannot be helped today.
const DUPLICATES: &[(&str, &str)] = &[
    ("base64", "serde-saphyr is on 0.23, reqwest and kube on 0.22"),
    ("bitflags", "an old leaf still wants 1.x"),
    ("defmt", "optional dependency of jiff's core, never built"),
    ("getrandom", "ring, rand and tempfile are on three generations"),
    ("hashbrown", "indexmap, gix and serde-saphyr are on different generations"),
    ("syn", "derive macros move from 2 to 3 one by one; build time only"),
    ("synstructure", "as syn"),
    ("tower-http", "reqwest is on 0.6, kube on 0.7"),
];

/// Checks every package of the resolved graph.
pub(crate) fn check(metadata: &Value) -> Vec<String> {
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|n| n["id"].as_str())
        .collect();
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        if !package["id"].as_str().is_some_and(|id| used.contains(id)) {
            continue;
        }
        let name = package["name"].as_str().unwrap_or_default();
        versions.entry(name).or_default().insert(package["version"].as_str().unwrap_or_default());
        let licence = package["license"].as_str().unwrap_or_default();
        if !allowed(licence) {
            findings.push(format!("{name}: licence `{licence}` is not on the list"));
        }
        let source = package["source"].as_str();
        if source.is_some_and(|s| !s.starts_with("registry+")) {
            findings.push(format!("{name}: comes from `{}`", source.unwrap_or_default()));
        }
    }
    for (name, versions) in versions.iter().filter(|(_, v)| v.len() > 1) {
        if !DUPLICATES.iter().any(|(known, _)| known == name) {
            let versions: Vec<_> = versions.iter().copied().collect();
            findings.push(format!("{name}: linked as {}", versions.join(" and ")));
        }
    }
    findings
}

/// Evaluates an SPDX expression: every side of `AND`, any side of `OR` (and of the old `/`).
fn allowed(expression: &str) -> bool {
    let expression = expression.trim();
    if let Some((left, right)) = split(expression, " AND ") {
        return allowed(left) && allowed(right);
    }
    for separator in [" OR ", "/"] {
        if let Some((left, right)) = split(expression, separator) {
            return allowed(left) || allowed(right);
        }
    }
    match expression.strip_prefix('(').and_then(|e| e.strip_suffix(')')) {
        Some(inner) => allowed(inner),
        None => LICENCES.contains(&expression),
    }
}

/// Splits at the first separator outside parentheses.
fn split<'a>(expression: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    let mut depth = 0_u32;
    for (at, character) in expression.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && expression[at..].starts_with(separator) => {
                return Some((&expression[..at], &expression[at + separator.len()..]));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn an_expression_is_allowed_if_every_part_that_binds_is() {
        for good in
            ["MIT", "MIT OR GPL-3.0", "(MIT OR Apache-2.0) AND Unicode-3.0", "MIT/Apache-2.0"]
        {
            assert!(allowed(good), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND AGPL-3.0"] {
            assert!(!allowed(bad), "{bad}");
        }
    }
}
