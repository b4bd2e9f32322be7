//! What cargo says of the workspace's packages.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{KERNELS, Target, plain};
use crate::places::root;
use crate::status::{Doing, Error, Result};

/// The folder of a package of the workspace whose library has tests that run on the host, and behind it those of the
/// workspace's packages that it is made of.
///
/// # Errors
/// Of status [`Status::Usage`](crate::status::Status::Usage) if there is no such package.
pub fn tested_library(package: &str) -> Result<Vec<PathBuf>> {
    let out = plain(&["metadata", "--no-deps", "--format-version", "1"]).output().doing("start cargo")?;
    if !out.status.success() {
        return Err(Error::failed(String::from_utf8_lossy(&out.stderr).trim_end().replace('\n', " ")));
    }
    let workspace: Workspace =
        serde_json::from_slice(&out.stdout).doing("read what cargo says of packages")?;
    let found = workspace.packages.iter().find(|found| found.name == package);
    let found = found.ok_or_else(|| Error::usage(format!("{package}: no such package")))?;
    if KERNELS.concat().contains(&package) {
        return Err(Error::usage(format!("{package}: its tests do not run on the host")));
    }
    if !found.targets.iter().any(|target| target.kind == ["lib"]) {
        return Err(Error::usage(format!("{package}: has no library")));
    }
    Ok(workspace.folders(found))
}

/// The part that is needed; documented with `cargo metadata`.
#[derive(Deserialize)]
struct Workspace {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    /// Its folder, if it is no registry's.
    path: Option<PathBuf>,
}

impl Package {
    fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(root())
    }
}

impl Workspace {
    /// The folder of a package, and those of the packages here that it and its tests depend on, in the end.
    fn folders(&self, package: &Package) -> Vec<PathBuf> {
        let mut folders = vec![package.folder().to_owned()];
        let mut seen = 0;
        while seen < folders.len() {
            let of = self.packages.iter().find(|package| package.folder() == folders[seen]);
            for path in of.iter().flat_map(|of| &of.dependencies).filter_map(|other| other.path.as_ref()) {
                if !folders.contains(path) {
                    folders.push(path.clone());
                }
            }
            seen += 1;
        }
        folders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen failing without those that others of the workspace depend on.
    #[test]
    fn a_package_is_made_of_those_that_it_depends_on_in_the_end() {
        let package = |name: &str, uses: &str| {
            format!(
                r#"{{"name":"{name}","manifest_path":"/w/{name}/Cargo.toml","targets":[],"dependencies":[{uses}]}}"#
            )
        };
        let on = |name: &str| format!(r#"{{"name":"{name}","path":"/w/{name}"}}"#);
        let packages = [
            package("a", &format!(r#"{{"name":"x"}},{}"#, on("b"))),
            package("b", &format!("{},{}", on("c"), on("a"))),
            package("c", ""),
            package("d", &on("a")),
        ];
        let workspace: Workspace =
            serde_json::from_str(&format!(r#"{{"packages":[{}]}}"#, packages.join(","))).unwrap();
        let folders = |number: usize| workspace.folders(&workspace.packages[number]);
        assert_eq!(folders(0), ["/w/a", "/w/b", "/w/c"].map(PathBuf::from));
        assert_eq!(folders(2), ["/w/c"].map(PathBuf::from));
    }
}
