//! Finds the places of one source file that are changed: operators in code that runs, and bodies of functions.
//!
//! What is known before the program runs stays: constants, lengths of arrays, patterns. So does what a macro is given,
//! which is no syntax tree.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::{Path, PathBuf};

use proc_macro2::{Span, TokenStream};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Arm, Attribute, BinOp, Block, Expr, ExprBinary, Item, ItemMod, Local, Meta, Pat, Signature, Stmt};

use super::kinds;
use crate::cfg::{Tests, is_in_none, is_test_only};
use crate::status::{Doing, Result};

/// One change of the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Counted from 1 on in the order of the source.
    pub id: u32,
    /// The source file, from the workspace's folder on.
    pub file: String,
    /// Where it is and what it does, in cargo-mutants' words.
    pub text: String,
    /// A number that tells the source file's text from others.
    pub source: u64,
    /// What is written.
    pub edit: Edit,
}

impl Change {
    /// What a verdict on it is kept by: in another text of the file another change may be at the same place, and say the same.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{:016x} {}", self.source, self.text)
    }
}

/// What a change writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Another expression in the place of the one at these bytes.
    Instead {
        /// The bytes of the expression.
        place: Range<usize>,
        /// The other one, on one line.
        with: String,
    },
    /// A function that returns a value at once.
    Return {
        /// The byte behind the brace that opens the function's body.
        at: usize,
        /// The value.
        value: String,
    },
}

impl Edit {
    /// The bytes of the source that are written anew.
    #[must_use]
    pub fn place(&self) -> Range<usize> {
        match self {
            Self::Instead { place, .. } => place.clone(),
            Self::Return { at, .. } => *at..*at,
        }
    }
}

/// A module that is in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its name behind those of the modules around it.
    pub path: PathBuf,
    /// The file that an attribute names, if one does.
    pub named: Option<String>,
}

/// What is found in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its changes; they have no numbers yet.
    pub changes: Vec<Change>,
    /// The modules that it says are elsewhere.
    pub elsewhere: Vec<Elsewhere>,
}

/// Finds the changes of a file that a program with such tests may have.
///
/// # Errors
/// If it is no Rust.
pub fn changes(file: &str, source: &str, tests: Tests) -> Result<Found> {
    let parsed = syn::parse_file(source).doing(format_args!("parse {file}"))?;
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let mut finder = Finder {
        file,
        source,
        number: hasher.finish(),
        tests,
        names: Vec::new(),
        modules: PathBuf::new(),
        found: Found::default(),
    };
    if !finder.is_unwanted(&parsed.attrs) {
        finder.visit_file(&parsed);
    }
    Ok(finder.found)
}

struct Finder<'a> {
    file: &'a str,
    source: &'a str,
    /// Of the source.
    number: u64,
    tests: Tests,
    /// What the code lies in, from the outermost on.
    names: Vec<String>,
    /// The modules around the code, as far as this file has them.
    modules: PathBuf,
    found: Found,
}

impl Finder<'_> {
    /// Whether code with these attributes is no part of what is tested.
    fn is_unwanted(&self, attributes: &[Attribute]) -> bool {
        is_test_only(attributes) || is_in_none(attributes, self.tests)
    }

    fn text(&self, of: Span) -> &str {
        &self.source[of.byte_range()]
    }

    fn within(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.names.push(name);
        visit(self);
        self.names.pop();
    }

    fn add(&mut self, at: Span, what: String, edit: Edit) {
        let start = at.start();
        let text = format!("{}:{}:{}: {what}", self.file, start.line, start.column + 1);
        let (file, source) = (self.file.into(), self.number);
        self.found.changes.push(Change { id: 0, file, text, source, edit });
    }

    fn function(&mut self, attributes: &[Attribute], signature: &Signature, block: &Block) {
        if self.is_unwanted(attributes) || attributes.iter().any(|a| a.path().is_ident("test")) {
            return;
        }
        self.within(signature.ident.to_string(), |this| {
            this.body(signature, block);
            visit::visit_block(this, block);
        });
    }

    fn body(&mut self, signature: &Signature, block: &Block) {
        let Some(first) = block.stmts.first() else { return };
        let arrow = match &signature.output {
            syn::ReturnType::Default => String::new(),
            syn::ReturnType::Type(_, of) => format!(" -> {}", one_space(self.text(of.span()))),
        };
        let function = self.names.join("::");
        let at = block.brace_token.span.open().byte_range().end;
        // An implementation of `Default` would call itself, and what is there already is no change.
        let calls_itself = |value: &String| signature.ident == "default" && value == "Default::default()";
        let is_there = |value: &String| block.stmts.len() == 1 && self.text(first.span()) == value;
        let mut values = kinds::values(&signature.output);
        values.retain(|value| !calls_itself(value) && !is_there(value));
        for value in values {
            let what = format!("replace {function}{arrow} with {value}");
            self.add(first.span(), what, Edit::Return { at, value });
        }
    }

    fn operator(&mut self, binary: &ExprBinary) {
        let old = self.text(binary.op.span()).to_owned();
        // No parentheses may be put around a condition that binds names.
        let binds = matches!(binary.op, BinOp::And(_)) && (binds(&binary.left) || binds(&binary.right));
        if binds || !binary.attrs.is_empty() {
            return;
        }
        let place = binary.span().byte_range();
        let left = one_line(self.text(binary.left.span()));
        let right = one_line(self.text(binary.right.span()));
        for new in kinds::operators(&old) {
            let what = match self.names.join("::") {
                none if none.is_empty() => format!("replace {old} with {new}"),
                function => format!("replace {old} with {new} in {function}"),
            };
            let edit = Edit::Instead { place: place.clone(), with: format!("({left}) {new} ({right})") };
            self.add(binary.op.span(), what, edit);
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Fn(item) => self.function(&item.attrs, &item.sig, &item.block),
            Item::Impl(item) if !self.is_unwanted(&item.attrs) => {
                let of_type = one_space(self.text(item.self_ty.span()));
                let name = match &item.trait_ {
                    Some((of_trait, _)) => {
                        format!("<impl {} for {of_type}>", one_space(self.text(of_trait.span())))
                    }
                    None => of_type,
                };
                self.within(name, |this| visit::visit_item_impl(this, item));
            }
            Item::Trait(item) if !self.is_unwanted(&item.attrs) => {
                self.within(item.ident.to_string(), |this| visit::visit_item_trait(this, item));
            }
            Item::Mod(item) if !self.is_unwanted(&item.attrs) => self.module(item),
            // Constants, types, and what macros make.
            _ => {}
        }
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        if let syn::ImplItem::Fn(item) = item {
            self.function(&item.attrs, &item.sig, &item.block);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast syn::TraitItem) {
        if let syn::TraitItem::Fn(item) = item
            && let Some(block) = &item.default
        {
            self.function(&item.attrs, &item.sig, block);
        }
    }

    fn visit_local(&mut self, local: &'ast Local) {
        if !self.is_unwanted(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        if !matches!(statement, Stmt::Expr(Expr::Block(block), _) if self.is_unwanted(&block.attrs)) {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_arm(&mut self, arm: &'ast Arm) {
        if !self.is_unwanted(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }

    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        self.operator(binary);
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    fn visit_pat(&mut self, pattern: &'ast Pat) {
        if let Pat::Guard(guarded) = pattern {
            self.visit_expr(&guarded.guard);
        }
    }

    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_generics(&mut self, _: &'ast syn::Generics) {}
    fn visit_path(&mut self, _: &'ast syn::Path) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}
    fn visit_macro(&mut self, _: &'ast syn::Macro) {}
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

impl Finder<'_> {
    fn module(&mut self, item: &ItemMod) {
        let name = item.ident.to_string();
        let path = self.modules.join(&name);
        let Some((_, items)) = &item.content else {
            let named = item.attrs.iter().find_map(named_file);
            return self.found.elsewhere.push(Elsewhere { path, named });
        };
        let around = std::mem::replace(&mut self.modules, path);
        self.within(name, |this| items.iter().for_each(|item| this.visit_item(item)));
        self.modules = around;
    }
}

/// The file that an attribute names as a module's.
fn named_file(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(file), .. }) => Some(file.value()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a condition has a `let` that binds names for what follows.
fn binds(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
            binds(&binary.left) || binds(&binary.right)
        }
        _ => false,
    }
}

/// The same words with one space where there was more.
fn one_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same code on one line, without comments.
fn one_line(code: &str) -> String {
    match code.parse::<TokenStream>() {
        Ok(tokens) if code.contains('\n') => tokens.to_string(),
        _ => code.into(),
    }
}

/// The file of a module that lies in the folder `below`, if it is there.
#[must_use]
pub fn file_of(module: &Elsewhere, beside: &Path, below: &Path) -> Option<PathBuf> {
    let candidates = match &module.named {
        Some(named) => vec![beside.join(named)],
        None => vec![below.join(&module.path).with_extension("rs"), below.join(&module.path).join("mod.rs")],
    };
    candidates.into_iter().find(|file| file.is_file())
}

#[cfg(test)]
mod tests;
