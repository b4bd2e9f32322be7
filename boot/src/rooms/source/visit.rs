//! What a module's source names: what it imports, the paths in its code, and what it defines.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemImpl, ItemUse, Macro, Stmt, Type, UseTree, Visibility};

use crate::cfg::is_test_only;

/// A name that a `use` brings in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// What it is called here; none of a `*`.
    pub name: Option<String>,
    /// Where it comes from.
    pub path: Vec<String>,
    /// Whether it is brought in for others.
    pub public: bool,
}

/// What a module names, but not what its submodules name.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The names of its items.
    pub items: BTreeSet<String>,
    /// What `use` brings in, for itself or for others.
    pub imports: Vec<Import>,
    /// The paths in its code that have more than one name.
    pub paths: BTreeSet<Vec<String>>,
    /// The last names of the traits that it implements, and of the types that it does so for.
    pub implementations: BTreeSet<(String, String)>,
    /// Its macros with `#[macro_export]`.
    pub exported: BTreeSet<String>,
}

impl Names {
    fn tree(&mut self, tree: &UseTree, path: &mut Vec<String>, public: bool) {
        match tree {
            UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                self.tree(&inner.tree, path, public);
                path.pop();
            }
            UseTree::Name(inner) => self.import(inner.ident.to_string(), None, path, public),
            UseTree::Rename(inner) => {
                self.import(inner.ident.to_string(), Some(inner.rename.to_string()), path, public)
            }
            UseTree::Glob(_) => self.imports.push(Import { name: None, path: path.clone(), public }),
            UseTree::Group(inner) => inner.items.iter().for_each(|tree| self.tree(tree, path, public)),
        }
    }

    fn import(&mut self, last: String, rename: Option<String>, path: &[String], public: bool) {
        let mut path = path.to_vec();
        if last != "self" {
            path.push(last);
        }
        let name = rename.or_else(|| path.last().cloned());
        self.imports.push(Import { name, path, public });
    }

    /// Paths in a macro's words, which are no syntax tree.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.path(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                other => {
                    self.path(&mut path);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.path(&mut path);
    }

    fn path(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.paths.insert(path);
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name) = about(item);
        if is_test_only(attributes) {
            return;
        }
        self.items.extend(name);
        match item {
            Item::Mod(_) => {}
            Item::Macro(definition) if attributes.iter().any(|a| a.path().is_ident("macro_export")) => {
                self.exported.extend(definition.ident.as_ref().map(ToString::to_string));
                self.visit_macro(&definition.mac);
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_test_only(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        if !matches!(statement, Stmt::Local(local) if is_test_only(&local.attrs)) {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_test_only(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let public = !matches!(item.vis, Visibility::Inherited);
        self.tree(&item.tree, &mut Vec::new(), public);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if let (Some((of_trait, _)), Type::Path(of_type)) = (&item.trait_, &*item.self_ty)
            && let (Some(of_trait), Some(of_type)) = (of_trait.segments.last(), of_type.path.segments.last())
        {
            self.implementations.insert((of_trait.ident.to_string(), of_type.ident.to_string()));
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(&mut path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    // `pub(in path)` uses nothing of what it names.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }
}

/// An item's attributes, and its name.
fn about(item: &Item) -> (&[Attribute], Option<String>) {
    macro_rules! about {
        ($($kind:ident)*) => {
            match item {
                $(Item::$kind(item) => (&item.attrs, Some(item.ident.to_string())),)*
                Item::Fn(item) => (&item.attrs, Some(item.sig.ident.to_string())),
                Item::Macro(item) => (&item.attrs, item.ident.as_ref().map(ToString::to_string)),
                Item::Use(item) => (&item.attrs, None),
                Item::Impl(item) => (&item.attrs, None),
                Item::ForeignMod(item) => (&item.attrs, None),
                _ => (&[], None),
            }
        };
    }
    about!(Const Enum ExternCrate Mod Static Struct Trait TraitAlias Type Union)
}
