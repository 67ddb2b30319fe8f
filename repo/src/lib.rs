//! Turns a source (git; directory of YAML, kustomize) into a list of manifests.
