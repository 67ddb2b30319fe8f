//! Writes what is generated from the types of this crate: the CustomResourceDefinitions in `crds/yaml`, and
//! `docs/compatibility.md`.

use std::path::Path;

use sluice_crds::crd::{DEFINITIONS, to_yaml};

fn main() -> std::io::Result<()> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = crate_folder.join("yaml");
    std::fs::create_dir_all(&folder)?;
    for definition in &DEFINITIONS {
        std::fs::write(
            folder.join(format!("{}.yaml", definition.kind.plural)),
            to_yaml(&definition.crd()),
        )?;
    }
    let docs = crate_folder.join("../docs");
    std::fs::create_dir_all(&docs)?;
    std::fs::write(docs.join("compatibility.md"), sluice_crds::supported::document())
}
