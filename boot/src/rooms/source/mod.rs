//! A crate's modules, as its source declares them, and what each of them names of the others.

mod imports;
mod visit;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Item, ItemMod, Meta};

use self::visit::Names;
use super::arrow::Arrow;
use crate::cfg::is_test_only;
use crate::status::{Doing, Result};

/// A module that is there in an ordinary build.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// The file that it stands in, from the crate's folder on.
    pub file: String,
    /// What it names.
    names: Names,
}

/// The modules of a crate by their paths; that of the root is empty.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// `""`, `arena`, `arena::map`, ...
    pub modules: BTreeMap<String, Module>,
    /// Macros that `#[macro_export]` puts into the root, and the modules that they stand in.
    pub exported: BTreeMap<String, String>,
    /// The modules with the implementations of a trait for a type, by the last names of both.
    pub implementations: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Source {
    /// Reads the library of the crate in `folder`.
    ///
    /// # Errors
    /// If a file cannot be read, or is no Rust.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut source = Self::default();
        source.file(folder, "", &folder.join("src/lib.rs"))?;
        Ok(source)
    }

    /// All arrows between modules that the source shows.
    #[must_use]
    pub fn arrows(&self) -> BTreeSet<Arrow> {
        imports::arrows(self)
    }

    /// The file of a module.
    #[must_use]
    pub fn file_of(&self, module: &str) -> &str {
        &self.modules[module].file
    }

    /// Whether the root itself defines something of that name.
    #[must_use]
    pub fn root_has(&self, name: &str) -> bool {
        self.modules.get("").is_some_and(|root| root.names.items.contains(name))
    }

    /// The room of a module: `lib` for the root.
    #[must_use]
    pub fn room_of(module: &str) -> &str {
        match module.split("::").next() {
            None | Some("") => "lib",
            Some(room) => room,
        }
    }

    /// All rooms but `lib`.
    #[must_use]
    pub fn rooms(&self) -> BTreeSet<String> {
        self.modules
            .keys()
            .filter(|module| !module.is_empty())
            .map(|module| Self::room_of(module).into())
            .collect()
    }

    /// How many of `names`, from the root on, are modules.
    #[must_use]
    pub fn depth<S: AsRef<str>>(&self, names: &[S]) -> usize {
        (1..=names.len()).take_while(|&depth| self.modules.contains_key(&path(&names[..depth]))).count()
    }

    fn file(&mut self, folder: &Path, module: &str, file: &Path) -> Result<()> {
        let text = fs::read_to_string(file).doing(format_args!("read {}", file.display()))?;
        let parsed = syn::parse_file(&text).doing(format_args!("parse {}", file.display()))?;
        let name = file.strip_prefix(folder).unwrap_or(file).display().to_string();
        let beside = file.parent().unwrap_or(folder);
        let owns_folder =
            matches!(file.file_name().and_then(|name| name.to_str()), Some("lib.rs" | "mod.rs"));
        let below = if owns_folder { beside.to_owned() } else { file.with_extension("") };
        self.module(folder, module, &name, &parsed.items, beside, &below)
    }

    /// Takes a module in. Its submodules are in the folder `below`, or where an attribute says, from `beside` on.
    fn module(
        &mut self,
        folder: &Path,
        module: &str,
        file: &str,
        items: &[Item],
        beside: &Path,
        below: &Path,
    ) -> Result<()> {
        let mut names = Names::default();
        items.iter().for_each(|item| names.visit_item(item));
        for (of_trait, of_type) in &names.implementations {
            let key = (of_trait.clone(), of_type.clone());
            self.implementations.entry(key).or_default().insert(module.into());
        }
        for name in &names.exported {
            self.exported.insert(name.clone(), module.into());
        }
        self.modules.insert(module.into(), Module { file: file.into(), names });
        for item in items {
            let Item::Mod(item) = item else { continue };
            if is_test_only(&item.attrs) {
                continue;
            }
            let name = item.ident.to_string();
            let path = join(module, &name);
            let below = below.join(&name);
            match &item.content {
                Some((_, items)) => self.module(folder, &path, file, items, &below, &below)?,
                None => self.file(folder, &path, &place(item, beside, &below))?,
            }
        }
        Ok(())
    }
}

/// The file of a submodule that would have the folder `below`.
fn place(item: &ItemMod, beside: &Path, below: &Path) -> PathBuf {
    for attribute in &item.attrs {
        if let Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("path")
            && let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) = &pair.value
        {
            return beside.join(path.value());
        }
    }
    let file = below.with_extension("rs");
    if file.is_file() { file } else { below.join("mod.rs") }
}

/// Names as one path.
#[must_use]
pub fn path<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().fold(String::new(), |path, name| join(&path, name.as_ref()))
}

/// The path of something in a module.
#[must_use]
pub fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.into() } else { format!("{module}::{name}") }
}
