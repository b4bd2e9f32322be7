//! Tells by its `cfg` what of a source file is there in an ordinary build, and what in a host test program.

use std::env::consts::{ARCH, OS};

use proc_macro2::TokenStream;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Lit, Meta, Token};

/// Options that no ordinary build sets.
const TEST_ONLY: [&str; 4] = ["test", "loom", "shuttle", "miri"];

/// Which tests of a library a program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tests {
    /// Its unit tests.
    Units,
    /// Its models, which are there where `cfg(loom)` says so.
    Models,
}

/// Whether something with these attributes is for tests only.
#[must_use]
pub fn is_test_only(attributes: &[Attribute]) -> bool {
    is_out(attributes, &ordinary)
}

/// Whether something with these attributes is in no program with such tests, of this computer's, that has all features.
#[must_use]
pub fn is_in_none(attributes: &[Attribute], tests: Tests) -> bool {
    is_out(attributes, &|option| tested(option, tests))
}

fn is_out(attributes: &[Attribute], option: &dyn Fn(&Meta) -> Option<bool>) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            predicates(&list.tokens).first().is_some_and(|predicate| value(predicate, option) == Some(false))
        }
        _ => false,
    })
}

/// The value of an option in an ordinary build, if it is the same in all of them.
fn ordinary(option: &Meta) -> Option<bool> {
    TEST_ONLY.iter().any(|name| option.path().is_ident(name)).then_some(false)
}

/// The value of an option in a test program, if it is known.
fn tested(option: &Meta, tests: Tests) -> Option<bool> {
    let name = option.path().get_ident()?.to_string();
    let Meta::NameValue(pair) = option else {
        let is_set = name == "test" || name == "loom" && tests == Tests::Models;
        return TEST_ONLY.contains(&name.as_str()).then_some(is_set);
    };
    let Expr::Lit(literal) = &pair.value else { return None };
    let Lit::Str(wanted) = &literal.lit else { return None };
    match name.as_str() {
        "feature" => Some(true),
        "target_os" => Some(wanted.value() == OS),
        "target_arch" => Some(wanted.value() == ARCH),
        _ => None,
    }
}

fn predicates(tokens: &TokenStream) -> Vec<Meta> {
    let parser = Punctuated::<Meta, Token![,]>::parse_terminated;
    parser.parse2(tokens.clone()).map(|list| list.into_iter().collect()).unwrap_or_default()
}

/// The value of a predicate, if the options decide it.
fn value(predicate: &Meta, option: &dyn Fn(&Meta) -> Option<bool>) -> Option<bool> {
    let Meta::List(list) = predicate else { return option(predicate) };
    let values: Vec<Option<bool>> =
        predicates(&list.tokens).iter().map(|inner| value(inner, option)).collect();
    let name = list.path.get_ident()?.to_string();
    match name.as_str() {
        "not" => values.first().copied().flatten().map(|value| !value),
        "all" if values.contains(&Some(false)) => Some(false),
        "all" => values.iter().all(|value| *value == Some(true)).then_some(true),
        "any" if values.contains(&Some(true)) => Some(true),
        "any" => values.iter().all(|value| *value == Some(false)).then_some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_only(attribute: &str) -> bool {
        let item: syn::ItemFn = syn::parse_str(&format!("#[{attribute}] fn f() {{}}")).unwrap();
        is_test_only(&item.attrs)
    }

    #[test]
    fn what_an_ordinary_build_never_has_is_told_from_what_it_may_have() {
        for only in
            ["cfg(test)", "cfg(all(test, feature = \"x\"))", "cfg(any(test, loom))", "cfg(not(not(test)))"]
        {
            assert!(test_only(only), "{only}");
        }
        for not in [
            "cfg(not(test))",
            "cfg(any(test, unix))",
            "cfg(feature = \"test\")",
            "inline",
            "cfg_attr(test, x)",
        ] {
            assert!(!test_only(not), "{not}");
        }
    }

    #[test]
    fn what_a_test_program_never_has_is_told_from_what_it_may_have() {
        let in_none = |attribute: &str| {
            let item: syn::ItemFn = syn::parse_str(&format!("#[{attribute}] fn f() {{}}")).unwrap();
            [Tests::Units, Tests::Models].map(|tests| is_in_none(&item.attrs, tests))
        };
        for never in
            ["cfg(not(test))", "cfg(shuttle)", "cfg(target_os = \"none\")", "cfg(not(feature = \"x\"))"]
        {
            assert_eq!(in_none(never), [true; 2], "{never}");
        }
        for may in ["cfg(test)", "cfg(not(miri))", "cfg(feature = \"x\")", "cfg(debug_assertions)", "inline"]
        {
            assert_eq!(in_none(may), [false; 2], "{may}");
        }
        assert_eq!(in_none("cfg(loom)"), [true, false]);
        assert_eq!(in_none("cfg(not(loom))"), [false, true]);
    }
}
