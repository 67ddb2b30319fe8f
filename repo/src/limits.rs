//! Budgets of one source. All of them can be raised; none can be switched off.

use std::time::Duration;

/// How much one source may take.
///
/// Source: `reliability` 5.4. The budget for YAML nodes is higher than there, because bundles of CRDs exceed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for one conversation with a git server, and for one render. Default 120 s.
    pub time: Duration,
    /// Size of the local copy of a repository in bytes. Default 512 MiB.
    pub store_bytes: u64,
    /// Size of one file in bytes. Default 4 MiB.
    pub file_bytes: u64,
    /// Files that one source may consist of. Default 10,000.
    pub files: usize,
    /// Size of all files of a source, and of the rendered text, in bytes. Default 16 MiB.
    pub manifest_bytes: u64,
    /// Kubernetes objects that one source may give. Default 5,000.
    pub objects: usize,
    /// Nesting of YAML. Default 64.
    pub yaml_depth: usize,
    /// YAML nodes of one file. Default 500,000.
    pub yaml_nodes: usize,
    /// Uses of YAML anchors in one file. Default 1,000, and at most 32 times what an anchor holds is repeated.
    pub yaml_aliases: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            time: Duration::from_secs(120),
            store_bytes: 512 << 20,
            file_bytes: 4 << 20,
            files: 10_000,
            manifest_bytes: 16 << 20,
            objects: 5_000,
            yaml_depth: 64,
            yaml_nodes: 500_000,
            yaml_aliases: 1_000,
        }
    }
}
